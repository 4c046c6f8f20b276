//! Tensors and the engines that compute with them: what `wasi:nn` means on this node.
//!
//! ```text
//!  ONNX bytes ──▶ Graphs (once per digest and options) ──▶ Engine ──▶ Graph ─┐
//!  guest's bytes, datasets, mapped weights ──▶ Tensor ──▶ compute ──▶ Tensor ──▶ back in, or to a guest
//! ```
//!
//! [`runtime`](crate::runtime) turns the calls of guests into calls of this module; [`model`](crate::model)
//! and [`data`](crate::data) make tensors. Nothing outside `engines/` names a tensor engine.

mod buffer;
mod builtin;
pub mod copies;
mod dtype;
mod engines;
mod error;
mod freezer;
mod graph;
mod graphs;
mod interrupt;
mod load;
mod measured;
mod options;
mod tensor;

/// Bytes of stack that loading a graph or computing with it may need: engines recurse along a graph's nodes,
/// whose number is bounded. A thread that does either has as many.
pub const STACK: usize = 16 << 20;

pub(crate) use buffer::Region;
pub use buffer::{ALIGNMENT, Buffer, Spares};
pub use dtype::{DType, Element};
pub use error::{ErrorCode, NnError};
pub use graph::{Engine, Graph, Memory, Port, check_inputs};
pub use graphs::{Choice, Graphs, Loaded, PassedOver};
pub use half::{bf16, f16};
pub use interrupt::Interrupt;
pub(crate) use interrupt::check as check_interrupt;
pub use options::{EngineSettings, GraphOptions, ModelOptions, Optimization, Provider};
pub(crate) use tensor::check_len;
pub use tensor::{EngineMemory, MAX_RANK, Tensor, describe, element_count};
