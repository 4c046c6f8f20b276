//! Tensors and the engines that compute with them.
use std::sync::Arc;
use bytes::Bytes;
use sedge_api::Digest;

/// Element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType { /// half
 F16, /// single
 F32, /// double
 F64, /// brain float
 BF16, /// byte
 U8, /// 32-bit integer
 I32, /// 64-bit integer
 I64 }

/// As `wasi:nn/errors.error-code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ErrorCode { InvalidArgument, InvalidEncoding, Timeout, RuntimeError, UnsupportedOperation, TooLarge, NotFound, Security, Unknown }

/// Why a graph was not loaded or did not compute.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct NnError { /// For the guest.
 pub code: ErrorCode, /// For people: names the input and both shapes.
 pub message: String }

/// Writable memory, 64-byte aligned, zeroed, of one owner; becomes tensors.
pub struct Buffer(());
impl Buffer {
    /// Bounded by the caller.
    pub fn zeroed(_len: usize) -> Self { todo!() }
    /// All of it.
    pub fn as_mut_slice(&mut self) -> &mut [u8] { todo!() }
}

/// Reference-counted tensor; clone copies the handle.
#[derive(Clone)]
pub struct Tensor(());
impl Tensor {
    /// Copies `bytes` (little endian) into an aligned buffer; checks bytes = elements × size without overflow.
    pub fn from_bytes(_dtype: DType, _shape: &[usize], _bytes: &[u8]) -> Result<Self, NnError> { todo!() }
    /// Element type.
    pub fn dtype(&self) -> DType { todo!() }
    /// Shape.
    pub fn shape(&self) -> &[usize] { todo!() }
    /// Little endian, row major.
    pub fn bytes(&self) -> &[u8] { todo!() }
    /// Bytes.
    pub fn byte_len(&self) -> usize { todo!() }
}

/// An input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Port { pub name: String, pub dtype: Option<DType>, /// None: any size.
 pub shape: Option<Vec<Option<usize>>> }

/// A loaded graph.
pub trait Graph: Send + Sync {
    /// Inputs it needs.
    fn inputs(&self) -> &[Port];
    /// Outputs it gives.
    fn outputs(&self) -> &[Port];
    /// Consumes its inputs; blocking; call it off the async executor.
    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError>;
}

/// Loads graphs.
pub trait Engine: Send + Sync {
    /// e.g. `rten`.
    fn name(&self) -> &'static str;
    /// From an ONNX file's bytes.
    fn load(&self, onnx: Bytes) -> Result<Arc<dyn Graph>, NnError>;
}

/// Graphs of a node: each loaded once per digest, dropped with its last user.
pub struct Graphs(());
impl Graphs {
    /// With the engines of this build; `threads` per compute.
    pub fn new(_threads: usize) -> Self { todo!() }
    /// Names of the engines, the preferred one first.
    pub fn engines(&self) -> Vec<String> { todo!() }
    /// Load or share. `read` is called only where it is not loaded yet. Blocking.
    pub fn load(&self, _digest: &Digest, _read: impl FnOnce() -> std::io::Result<Bytes>) -> Result<Arc<dyn Graph>, NnError> { todo!() }
    /// The host's own graphs (`sedge:lerp`, `sedge:non-finite`).
    pub fn builtin(&self, _name: &str) -> Option<Arc<dyn Graph>> { todo!() }
}
