//! WebAssembly workers: components that run one role each, in a sandbox.
//!
//! ```text
//!  plugin bytes ─▶ engine (compile once, map from cache) ─▶ Component
//!  Component + Grants ─▶ trainer | evaluator | aggregator ─▶ call (own thread, time, reasons)
//!            │                │ one instance per round
//!            └─▶ inferencer | miner ─▶ standing (call after call, on any thread)
//!                             ▼
//!                    state: tensors, graphs, weights, datasets, job  (what a guest's imports do)
//! ```
//!
//! A guest has no capability but its world's imports. What it may use is in its [`Grants`]: memory (linear
//! memory and tensors on one account), time per call, datasets, one model. Whatever it does, the outcome is a
//! value or a [`Failure`]; the node goes on.

mod aggregator;
mod bindings;
mod cache;
mod call;
mod datasets;
mod engine;
mod evaluator;
mod failure;
mod graphs;
mod inferencer;
mod job;
mod memory;
mod miner;
mod standing;
mod state;
mod stdio;
mod tensors;
mod threads;
mod trainer;
mod watch;
mod weights;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use aggregator::{Aggregate, Aggregator};
pub use engine::{Component, Runtime};
pub use evaluator::Evaluator;
pub use failure::{Failure, Reason};
pub use inferencer::{Inferencer, Signature};
pub use miner::Miner;
pub use standing::Instance;
pub use trainer::Trainer;

use crate::data::Dataset;
use crate::model::{Model, Weights};
use crate::nn::Tensor;

/// Tensors with their names.
pub type NamedTensors = Vec<(String, Tensor)>;

/// What a worker is given.
#[derive(Clone)]
pub struct Grants {
    /// What `job.parameters` returns: a JSON object.
    pub parameters: String,
    /// The datasets that it may read, by the name it asks with.
    pub datasets: BTreeMap<String, Arc<Dataset>>,
    /// The model whose graphs it may load.
    pub model: Option<Arc<Model>>,
    /// Linear memory and tensors together, in bytes.
    pub memory_bytes: u64,
    /// Wall-clock time of one call.
    pub call: Duration,
    /// Hears what it says.
    pub observer: Arc<dyn Observer>,
    /// Ends the call under way, and every later one.
    pub cancel: CancellationToken,
}

/// Hears what a worker says. Called from the worker's thread; must not block.
pub trait Observer: Send + Sync {
    /// A line of its standard output or error, without the newline, at most 4 KiB.
    fn log(&self, line: &str);
    /// What it told `job.report`.
    fn progress(&self, done: u64, total: u64, metrics: &[Metric]);
    /// Whether `job.report` is to tell it to stop.
    fn should_stop(&self) -> bool;
}

/// One measured value.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// e.g. `accuracy`.
    pub name: String,
    /// Finite.
    pub value: f64,
}

/// What a trainer gives.
#[derive(Clone)]
pub struct Update {
    /// The weights after training.
    pub weights: Weights,
    /// Samples that they rest on.
    pub samples: u64,
    /// Measured on the way.
    pub metrics: Vec<Metric>,
}

/// What an evaluator gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Samples measured.
    pub samples: u64,
    /// Measured values.
    pub metrics: Vec<Metric>,
}
