//! The node: it runs workers, WebAssembly components that train, evaluate, aggregate and infer in a sandbox.
//!
//! ```text
//!  manager ──desired──▶ link ──▶ worker ──▶ runtime (wasmtime) ──▶ nn (wasi:nn) ──▶ engine
//!     ▲                   │        │  │         │
//!     └────status─────────┘        │  └─────────┴──▶ data, model, artifacts
//!                                  ├──▶ federation ◀──gRPC──▶ other nodes
//!                                  └──▶ serving ◀──REST, gRPC── applications, other nodes
//!  manager ◀──samples to be labelled, labelled rows──▶ link ──▶ labelling ──▶ files of datasets
//! ```

pub mod artifacts;
pub mod data;
pub mod federation;
mod labelling;
mod learning;
pub mod link;
mod machine;
pub mod model;
pub mod nn;
mod node;
pub mod runtime;
pub mod serving;
pub mod worker;

/// Shared with the tests in `tests/`.
#[cfg(test)]
#[path = "../tests/found/mod.rs"]
mod found;
#[cfg(test)]
#[path = "../tests/onnx_files/mod.rs"]
mod onnx_files;

pub use node::{Node, NodeConfig, NodeError, Role};
