//! Write Sedge plugins in Rust.
//!
//! A plugin is a WebAssembly component that plays a role: it implements that role's trait ([`Trainer`],
//! [`Evaluator`], [`Aggregator`], [`Inferencer`], [`Miner`]) and exports it with the macro of the same name.
//! Build it as a `cdylib` for `wasm32-wasip2` and upload it with `sedge plugin push`.
//!
//! Tensors live on the host; a plugin holds handles. What a plugin computes, it computes with graphs: the
//! job's model has some (`train`, `evaluate`, `infer`), and the host has its own for arithmetic on weights.
//! `wit/worker.wit` is the contract in full.
//!
//! A trainer that makes one pass over its node's data:
//!
//! ```no_run
//! use sedge_sdk::dataset::{self, Batching, Split};
//! use sedge_sdk::{Error, Graph, Tensor, Trainer, Update, Weights};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields)]
//! struct Parameters {
//!     learning_rate: f32,
//! }
//!
//! struct OnePass;
//!
//! impl Trainer for OnePass {
//!     type Parameters = Parameters;
//!
//!     fn train(parameters: Parameters, round: u32, start: &Weights) -> Result<Update, Error> {
//!         let graph = Graph::load("train")?;
//!         let mut weights = start.tensors();
//!         let mut samples = 0;
//!         let batching = Batching { size: 32, shuffle: Some(round.into()) };
//!         for batch in dataset::read("train", Split::Train, batching)? {
//!             let batch = batch?;
//!             samples += batch.samples();
//!             // Inputs: the batch (`x`, `y`), the learning rate, and the weights.
//!             let mut inputs = batch.into_columns();
//!             inputs.push(("lr".into(), Tensor::scalar(parameters.learning_rate)));
//!             inputs.append(&mut weights);
//!             // Outputs: the loss, and for each weight NAME its next value, NAME.next.
//!             for (name, tensor) in graph.compute(inputs)?.into_tensors() {
//!                 if let Some(name) = name.strip_suffix(".next") {
//!                     weights.push((name.into(), tensor));
//!                 }
//!             }
//!         }
//!         Ok(Update { weights: Weights::new(weights), samples, metrics: vec![] })
//!     }
//! }
//!
//! sedge_sdk::export_trainer!(OnePass);
//! # fn main() {}
//! ```

#[doc(hidden)]
pub mod bindings;
pub mod dataset;
mod error;
mod graph;
pub mod job;
mod roles;
pub mod tensor;

pub use bindings::capabilities::sedge::worker::model::Weights;
pub use error::Error;
pub use graph::{Graph, Outputs};
pub use job::Metric;
pub use roles::*;
pub use tensor::{Element, NamedTensor, Tensor, TensorType};

/// The crate whose `f16` and `bf16` tensors are made of.
pub use half;
