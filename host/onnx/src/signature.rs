//! What an ONNX file declares of its graph's inputs and outputs. Engines drop some of it: rten, for one,
//! reads `int64` and `bool` as `int32`.
//!
//! A walk over the protobuf wire format that skips everything but `ModelProto.graph.{input, output,
//! initializer.name}`; it copies names and dimensions, and nothing grows beyond the file's own size.

use std::collections::HashSet;

use super::error::OnnxError;
use super::file::check;
use super::wire::{Fields, Value, message, text};

/// Inputs and outputs that are read, at most; each.
const MAX_PORTS: usize = 1 << 16;

/// Dimensions that an input or output may have, at most.
pub const MAX_RANK: usize = 32;

/// An input or output as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// As the graph calls it.
    pub name: String,
    /// None where the file does not say.
    pub element: Option<ElementType>,
    /// None where the file does not say, or of a dimension where it has a name or nothing.
    pub shape: Option<Vec<Option<usize>>>,
}

/// `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// `float32`.
    F32,
    /// `uint8`.
    U8,
    /// `int32`.
    I32,
    /// `int64`.
    I64,
    /// `bool`.
    Bool,
    /// `float16`.
    F16,
    /// `float64`.
    F64,
    /// `bfloat16`.
    Bf16,
    /// Another, by its number.
    Other(u64),
}

impl ElementType {
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::F32,
            2 => Self::U8,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            16 => Self::Bf16,
            other => Self::Other(other),
        })
    }

    /// As `TensorProto.DataType` has it.
    pub(crate) fn number(self) -> Option<i32> {
        Some(match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::F64 => 11,
            Self::Bf16 => 16,
            Self::Other(number) => i32::try_from(number).ok()?,
        })
    }

    /// Bits that an element takes in a file; of a text, which has no size, roughly what it takes in memory.
    pub(crate) fn bits(self) -> u64 {
        match self {
            Self::F32 | Self::I32 | Self::Other(12) => 32,
            Self::I64 | Self::F64 | Self::Other(13 | 14) => 64,
            Self::F16 | Self::Bf16 | Self::Other(4 | 5) => 16,
            Self::U8 | Self::Bool => 8,
            Self::Other(8) => 256,
            Self::Other(15) => 128,
            Self::Other(21..=23) => 4,
            Self::Other(25 | 26) => 2,
            Self::Other(27 | 28) => 6,
            // Eight bits in the others that there are; and no engine knows one that is not.
            Self::Other(_) => 8,
        }
    }

    /// Where a file keeps elements that are not raw bytes, and entries for each.
    pub(crate) fn list(self) -> (&'static str, u64) {
        match self {
            Self::F32 => ("float_data", 1),
            Self::Other(14) => ("float_data", 2),
            Self::F64 => ("double_data", 1),
            Self::Other(15) => ("double_data", 2),
            Self::I64 => ("int64_data", 1),
            Self::Other(12 | 13) => ("uint64_data", 1),
            Self::Other(8) => ("string_data", 1),
            _ => ("int32_data", 1),
        }
    }

    /// As ONNX calls it.
    pub fn name(self) -> String {
        let name = match self {
            Self::F32 => "float32",
            Self::U8 => "uint8",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::Bool => "bool",
            Self::F16 => "float16",
            Self::F64 => "float64",
            Self::Bf16 => "bfloat16",
            Self::Other(3) => "int8",
            Self::Other(4) => "uint16",
            Self::Other(5) => "int16",
            Self::Other(8) => "string",
            Self::Other(12) => "uint32",
            Self::Other(13) => "uint64",
            Self::Other(14) => "complex64",
            Self::Other(15) => "complex128",
            Self::Other(number) => return format!("element type {number}"),
        };
        name.to_owned()
    }
}

/// What a graph takes and gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// Without those that an initializer fixes.
    pub inputs: Vec<Declared>,
    /// In the file's order.
    pub outputs: Vec<Declared>,
}

/// The signature of the ONNX file `model`.
pub fn signature(model: &[u8]) -> Result<Signature, OnnxError> {
    check(model)?;
    let graph = message(model, 7)?.unwrap_or_default();
    let mut initializers = HashSet::new();
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for field in Fields(graph) {
        match field? {
            (5, Value::Bytes(tensor)) => {
                initializers.insert(text(tensor, 8)?);
            }
            (11, Value::Bytes(value)) => inputs.push(declared(value)?),
            (12, Value::Bytes(value)) => outputs.push(declared(value)?),
            _ => {}
        }
        if inputs.len() > MAX_PORTS || outputs.len() > MAX_PORTS {
            return Err(OnnxError::too_large(format!(
                "the graph has more than {MAX_PORTS} inputs or outputs"
            )));
        }
    }
    inputs.retain(|input| !initializers.contains(input.name.as_str()));
    Ok(Signature { inputs, outputs })
}

/// `ValueInfoProto`.
fn declared(value: &[u8]) -> Result<Declared, OnnxError> {
    let name = text(value, 1)?.to_owned();
    let (mut element, mut shape) = (None, None);
    if let Some(tensor) = message(value, 2)?.map(|of_type| message(of_type, 1)).transpose()?.flatten() {
        for field in Fields(tensor) {
            match field? {
                (1, Value::Varint(number)) => element = ElementType::from_number(number),
                (2, Value::Bytes(dims)) => shape = Some(dimensions(dims, &name)?),
                _ => {}
            }
        }
    }
    Ok(Declared { name, element, shape })
}

/// `TensorShapeProto`: None for a dimension that has a name or nothing.
fn dimensions(shape: &[u8], of: &str) -> Result<Vec<Option<usize>>, OnnxError> {
    let mut dims = Vec::new();
    for field in Fields(shape) {
        let (1, Value::Bytes(dimension)) = field? else { continue };
        let mut size = None;
        for field in Fields(dimension) {
            if let (1, Value::Varint(number)) = field? {
                // A negative size, as some exporters write, means any size as well.
                size = i64::try_from(number).ok().and_then(|number| usize::try_from(number).ok());
            }
        }
        dims.push(size);
        if dims.len() > MAX_RANK {
            return Err(OnnxError::too_large(format!("\"{of}\" has more than {MAX_RANK} dimensions")));
        }
    }
    Ok(dims)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRAIN: &[u8] = include_bytes!("../../tests/data/train-4-8-3.onnx");

    #[test]
    fn inputs_and_outputs_are_as_the_file_declares_them() {
        let signature = signature(TRAIN).unwrap();
        let x = &signature.inputs[0];
        assert_eq!((x.name.as_str(), x.element), ("x", Some(ElementType::F32)));
        assert_eq!(x.shape, Some(vec![None, Some(4)]));
        let y = &signature.inputs[1];
        assert_eq!((y.name.as_str(), y.element), ("y", Some(ElementType::I64)));
        let outputs: Vec<_> = signature.outputs.iter().map(|output| output.name.as_str()).collect();
        assert_eq!(outputs, ["loss", "correct", "w0.next", "b0.next", "w1.next", "b1.next"]);
        assert_eq!(signature.outputs[1].element, Some(ElementType::I64));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = signature(&bytes);
        }

        #[test]
        fn no_damage_panics(at in 0..TRAIN.len(), byte in any::<u8>(), end in 0..TRAIN.len()) {
            let mut damaged = TRAIN.to_vec();
            damaged[at] = byte;
            let _ = signature(&damaged);
            let _ = signature(&TRAIN[..end]);
        }
    }
}
