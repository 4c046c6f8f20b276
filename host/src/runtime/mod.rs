//! WebAssembly workers.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use bytes::Bytes;
use sedge_api::Digest;
use tokio_util::sync::CancellationToken;
use crate::data::Dataset;
use crate::model::{Model, Weights};
use crate::nn::Graphs;

/// Why a worker's call ended badly. `reason` becomes the worker's status.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
#[allow(missing_docs)]
pub struct Failure { pub reason: Reason, pub message: String }
/// One CamelCase word (`Display`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reason { /// Not a component of the role's world, or it imports what no world names.
 InvalidPlugin, Trapped, OutOfMemory, DeadlineExceeded, Cancelled, /// It returned an error of its own.
 PluginError, /// The host could not do its part (disk, …).
 HostError }
impl std::fmt::Display for Reason { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") } }

/// The engine, compiled components and their cache; clone copies the handle.
#[derive(Clone)]
pub struct Runtime(());
impl Runtime {
    /// `cache`: folder for precompiled code.
    pub fn new(_cache: &Path, _graphs: Arc<Graphs>) -> Result<Self, Failure> { todo!() }
    /// Tensor graphs.
    pub fn graphs(&self) -> &Arc<Graphs> { todo!() }
    /// Compile or map. `read` is called where nothing usable is cached. `digest` is of the component's bytes. Blocking.
    pub fn component(&self, _digest: &Digest, _read: impl FnOnce() -> std::io::Result<Bytes>) -> Result<Component, Failure> { todo!() }
}
/// A compiled component; clone copies the handle.
#[derive(Clone)]
pub struct Component(());

/// What a worker is given.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Grants { /// JSON object.
 pub parameters: String, pub datasets: BTreeMap<String, Arc<Dataset>>, pub model: Option<Arc<Model>>,
 /// Linear memory and tensors together.
 pub memory_bytes: u64, /// Wall clock of one call.
 pub call: Duration, pub observer: Arc<dyn Observer>, /// Ends the call under way.
 pub cancel: CancellationToken }

/// Hears what a worker says. Called from the worker's thread; must not block.
pub trait Observer: Send + Sync {
    /// Whole lines, without the newline, cut to a bounded length.
    fn log(&self, line: &str);
    /// From `job.report`.
    fn progress(&self, done: u64, total: u64, metrics: &[Metric]);
    /// What `job.report` answers: whether the guest is to stop.
    fn should_stop(&self) -> bool;
}
/// One measured value.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Metric { pub name: String, pub value: f64 }
/// What a trainer gives.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct Update { pub weights: Weights, pub samples: u64, pub metrics: Vec<Metric> }
/// What an evaluator gives.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Report { pub samples: u64, pub metrics: Vec<Metric> }

/// A trainer, instantiated anew for each call (so that a trap leaves nothing behind).
#[derive(Clone)]
pub struct Trainer(());
impl Trainer {
    /// Checks the component against the world.
    pub fn new(_runtime: &Runtime, _component: &Component, _grants: Grants) -> Result<Self, Failure> { todo!() }
    /// One round.
    pub async fn train(&self, _round: u32, _start: Weights) -> Result<Update, Failure> { todo!() }
}
/// An evaluator.
#[derive(Clone)]
pub struct Evaluator(());
impl Evaluator {
    /// Checks the component against the world.
    pub fn new(_runtime: &Runtime, _component: &Component, _grants: Grants) -> Result<Self, Failure> { todo!() }
    /// Measure.
    pub async fn evaluate(&self, _candidate: Weights) -> Result<Report, Failure> { todo!() }
}
/// An aggregator.
pub struct Aggregator(());
impl Aggregator {
    /// Checks the component against the world.
    pub fn new(_runtime: &Runtime, _component: &Component, _grants: Grants) -> Result<Self, Failure> { todo!() }
    /// Begin a round.
    pub async fn begin(&self, _round: u32, _current: Weights) -> Result<Aggregate, Failure> { todo!() }
}
/// One round's fold: one instance, one update at a time.
pub struct Aggregate(());
impl Aggregate {
    /// Outer error: the fold is lost (trap, limit). Inner: this update was refused by the plugin, with its words.
    pub async fn add(&mut self, _update: Update) -> Result<Result<(), String>, Failure> { todo!() }
    /// The new weights.
    pub async fn finish(self) -> Result<Weights, Failure> { todo!() }
}
