//! The protocol's names of element types, and tensors out of what came on the wire.

use std::sync::Arc;

use bytes::Bytes;

use super::super::endpoint::{ServeError, ServeErrorKind};
use crate::nn::{DType, EngineMemory, NnError, Tensor, element_count};

/// All that is served, as an error lists it.
const SERVED: &str = "FP16, FP32, FP64, BF16, INT64, INT32, UINT8";

/// What the protocol calls a type.
pub(super) const fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "FP16",
        DType::F32 => "FP32",
        DType::F64 => "FP64",
        DType::BF16 => "BF16",
        DType::I64 => "INT64",
        DType::I32 => "INT32",
        DType::U8 => "UINT8",
    }
}

/// The type of a tensor that is said to be of `datatype`.
pub(super) fn parse(datatype: &str, tensor: &str) -> Result<DType, ServeError> {
    Ok(match datatype {
        "FP16" => DType::F16,
        "FP32" => DType::F32,
        "FP64" => DType::F64,
        "BF16" => DType::BF16,
        "INT64" => DType::I64,
        "INT32" => DType::I32,
        "UINT8" => DType::U8,
        other => {
            return Err(invalid(format!(
                "tensor `{tensor:.100}` is of datatype `{other:.20}`; served are {SERVED}"
            )));
        }
    })
}

/// The client asked for what cannot be.
pub(super) fn invalid(message: impl Into<String>) -> ServeError {
    ServeError::new(ServeErrorKind::InvalidArgument, message)
}

/// What is wrong with a tensor that came.
pub(super) fn wrong(tensor: &str, error: &NnError) -> ServeError {
    invalid(format!("tensor `{tensor:.100}`: {}", error.message))
}

/// Bytes that a tensor of that shape takes.
pub(super) fn byte_len(tensor: &str, dtype: DType, shape: &[usize]) -> Result<usize, ServeError> {
    // No overflow: `element_count` has multiplied by the size.
    element_count(dtype, shape).map(|count| count * dtype.size()).map_err(|error| wrong(tensor, &error))
}

/// Part of a request's body.
struct Received(Bytes);

impl EngineMemory for Received {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A tensor of raw elements: it shares the body's memory where that is aligned for its type, else they are
/// copied to where they are.
pub(super) fn tensor(name: &str, dtype: DType, shape: &[usize], bytes: Bytes) -> Result<Tensor, ServeError> {
    let made = if bytes.as_ptr().addr().is_multiple_of(dtype.size()) {
        Tensor::from_engine(dtype, shape, Arc::new(Received(bytes)))
    } else {
        Tensor::from_bytes(dtype, shape, &bytes)
    };
    made.map_err(|error| wrong(name, &error))
}

/// A tensor's elements as the wire takes them, not copied.
pub(super) fn raw(tensor: &Tensor) -> Bytes {
    struct Elements(Tensor);
    impl AsRef<[u8]> for Elements {
        fn as_ref(&self) -> &[u8] {
            self.0.bytes()
        }
    }
    Bytes::from_owner(Elements(tensor.clone()))
}
