//! The rounds of a federated job, node to node: weights never pass the control plane.
//!
//! ```text
//!  trainer / evaluator node                     cloud node
//!  participant ──Join: Hello, Update, Report──▶ service ──▶ connection (one per participant)
//!      │        ◀──Train, Evaluate + weights──                   │ events, at most two payloads
//!      ▼                                                          ▼
//!  runtime::Trainer / Evaluator                 aggregation ──▶ rounds (pure) ──▶ checkpoint
//!                                                   └──▶ runtime::Aggregator, one update at a time
//! ```
//! [`crate::worker`] runs [`aggregation`] for an aggregator and [`participant`] for the others.

pub(crate) mod aggregation;
mod checkpoint;
mod connection;
mod frames;
mod means;
pub(crate) mod participant;
mod payload;
pub(crate) mod rounds;
mod seats;
mod service;

#[cfg(test)]
mod tests;

pub(crate) use seats::Seats;
pub(crate) use service::Door;
pub use service::Federation;

use std::time::Duration;

use sedge_api::federation::CHUNK;
use sedge_api::node;

use crate::runtime::Metric;

/// Flow control: what one stream may have in flight. A participant that sends weights without having been
/// asked for them costs the aggregator no more than this.
const WINDOW: u32 = 2 << 20;
/// The largest HTTP/2 frame: fewer, larger writes.
const FRAME: u32 = 256 << 10;
/// The largest message: a chunk and what frames it.
const MAX_MESSAGE: usize = CHUNK + (64 << 10);
/// How often a silent connection is probed, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Metrics taken of one report, and bytes of a metric's name: with these a hundred rounds fit into one message
/// to the manager.
const MAX_METRICS: usize = 64;
const MAX_METRIC_NAME: usize = 253;

/// How long a payload may take: at least 128 KiB/s after ten seconds, so that a peer that drips cannot
/// hold one of the few places for ever.
fn transfer_time(bytes: u64) -> Duration {
    Duration::from_secs(10 + bytes / (128 << 10))
}

fn to_wire(metrics: &[Metric]) -> Vec<node::Metric> {
    let finite = metrics.iter().filter(|metric| metric.value.is_finite()).take(MAX_METRICS);
    finite.map(|metric| node::Metric { name: metric.name.clone(), value: metric.value }).collect()
}

/// Metrics as a peer sent them: finite, of bounded number and length.
fn from_wire(metrics: Vec<node::Metric>) -> Vec<Metric> {
    let fit = |metric: &node::Metric| metric.value.is_finite() && metric.name.len() <= MAX_METRIC_NAME;
    let fitting = metrics.into_iter().filter(fit).take(MAX_METRICS);
    fitting.map(|metric| Metric { name: metric.name, value: metric.value }).collect()
}
