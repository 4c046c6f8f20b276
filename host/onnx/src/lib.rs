//! ONNX files, as what they are: protobuf messages from people and machines that we do not know.
//!
//! ```text
//!  bytes ──▶ signature: what goes in and out, without reading weights ──▶ the host's engines
//!    ├────▶ Outline: checked, its constants folded away ──▶ the memory that a compute takes
//!    └────▶ read (bounded) ──▶ proto::ModelProto ──▶ rewritten ──▶ write ──▶ bytes
//!                                    └──▶ train: training graphs out of an inference graph
//! ```
//!
//! It stands alone: no tensor engine, no wasm, no network.

mod error;
mod file;
mod freeze;
mod hints;
mod inline;
mod outline;
mod shapes;
mod signature;
pub mod train;
mod wire;

pub use error::{ErrorKind, OnnxError};
pub use file::{read, write};
pub use freeze::{Weight, freeze};
pub use hints::without_hints;
pub use inline::inline_external;
pub use outline::Outline;
pub use shapes::{Bound, Given, Loops, MAX_DECIDING};
pub use signature::{Declared, ElementType, MAX_RANK, Signature, signature};

/// The messages of `proto/onnx.proto`, generated.
#[allow(missing_docs, clippy::all, rustdoc::all)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}
