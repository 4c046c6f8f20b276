//! What an ONNX file declares of its graph's inputs and outputs. Engines drop some of it: rten, for one,
//! reads `int64` and `bool` as `int32`.
//!
//! A walk over the protobuf wire format that skips everything but
//! `ModelProto.graph.{input, output, initializer.name}`, how many nodes there are and how deeply graphs are nested; it copies names and
//! dimensions, and nothing grows beyond the file's own size. Field numbers are those of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use std::collections::HashSet;

use super::super::error::NnError;
use super::super::tensor::MAX_RANK;

/// Inputs and outputs that are read, at most; each.
const MAX_PORTS: usize = 1 << 16;

/// Layers of graphs in graphs, or of types in types, at most.
const MAX_NESTING: usize = 16;

/// Nodes in all graphs of a file, at most. Engines plan along chains of nodes by recursion, on a stack of
/// [`STACK`](super::super::STACK) bytes.
const MAX_NODES: usize = 10_000;

/// An input or output as the file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub name: String,
    /// None where the file does not say.
    pub element: Option<ElementType>,
    pub shape: Option<Vec<Option<usize>>>,
}

/// `TensorProto.DataType`, as far as tensors of ours can be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    F32,
    U8,
    I32,
    I64,
    Bool,
    /// Another, by its number.
    Other(u64),
}

impl ElementType {
    fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => return None,
            1 => Self::F32,
            2 => Self::U8,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            other => Self::Other(other),
        })
    }

    /// As ONNX calls it.
    pub fn name(self) -> String {
        let name = match self {
            Self::F32 => "float32",
            Self::U8 => "uint8",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::Bool => "bool",
            Self::Other(3) => "int8",
            Self::Other(4) => "uint16",
            Self::Other(5) => "int16",
            Self::Other(8) => "string",
            Self::Other(10) => "float16",
            Self::Other(11) => "float64",
            Self::Other(12) => "uint32",
            Self::Other(13) => "uint64",
            Self::Other(14) => "complex64",
            Self::Other(15) => "complex128",
            Self::Other(16) => "bfloat16",
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
    pub outputs: Vec<Declared>,
}

/// The signature of the ONNX file `model`.
pub fn signature(model: &[u8]) -> Result<Signature, NnError> {
    let mut graph = None;
    for field in Fields(model) {
        if let (7, Value::Bytes(bytes)) = field?
            && graph.replace(bytes).is_some()
        {
            return Err(NnError::encoding("the ONNX file has more than one graph"));
        }
    }
    let graph = graph.ok_or_else(|| NnError::encoding("the file has no ONNX graph"))?;
    check_nesting(graph, Message::Graph, 0, &mut 0)?;

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
            return Err(NnError::too_large(format!("the graph has more than {MAX_PORTS} inputs or outputs")));
        }
    }
    inputs.retain(|input| !initializers.contains(input.name.as_str()));
    Ok(Signature { inputs, outputs })
}

/// Messages that can hold one of their own kind.
#[derive(Clone, Copy)]
enum Message {
    Graph,
    Node,
    Attribute,
    Value,
    Type,
    Sequence,
}

/// Refuses what is nested too deeply or has too many nodes: engines go through both by recursion, and where
/// the stack ends, so does the process.
fn check_nesting(bytes: &[u8], message: Message, depth: usize, nodes: &mut usize) -> Result<(), NnError> {
    use Message::{Attribute, Graph, Node, Sequence, Type, Value as Info};
    if depth > MAX_NESTING {
        return Err(NnError::encoding(format!(
            "the ONNX file has graphs or types in more than {MAX_NESTING} layers"
        )));
    }
    for field in Fields(bytes) {
        let (number, Value::Bytes(inner)) = field? else { continue };
        let (inside, deeper) = match (message, number) {
            (Graph, 1) => (Node, 0),
            (Graph, 11..=13) => (Info, 0),
            (Node, 5) => (Attribute, 0),
            (Attribute, 6 | 11) => (Graph, 1),
            (Info, 2) => (Type, 0),
            (Type, 4) => (Sequence, 0),
            (Sequence, 1) => (Type, 1),
            _ => continue,
        };
        *nodes += usize::from(matches!(inside, Node));
        if *nodes > MAX_NODES {
            return Err(NnError::too_large(format!("the ONNX file has more than {MAX_NODES} nodes")));
        }
        check_nesting(inner, inside, depth + deeper, nodes)?;
    }
    Ok(())
}

/// `ValueInfoProto`.
fn declared(value: &[u8]) -> Result<Declared, NnError> {
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
fn dimensions(shape: &[u8], of: &str) -> Result<Vec<Option<usize>>, NnError> {
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
            return Err(NnError::too_large(format!("\"{of}\" has more than {MAX_RANK} dimensions")));
        }
    }
    Ok(dims)
}

/// The last field of that number, which is what protobuf says of a field given twice.
fn message(bytes: &[u8], number: u64) -> Result<Option<&[u8]>, NnError> {
    let mut last = None;
    for field in Fields(bytes) {
        if let (found, Value::Bytes(value)) = field?
            && found == number
        {
            last = Some(value);
        }
    }
    Ok(last)
}

fn text(bytes: &[u8], number: u64) -> Result<&str, NnError> {
    let bytes = message(bytes, number)?.unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| NnError::encoding("the ONNX file has a name that is not UTF-8"))
}

/// The fields of a protobuf message: number and value.
struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes, which nothing here needs.
    Fixed,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), NnError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| NnError::encoding("the ONNX file is damaged: not a protobuf message")))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRAIN: &[u8] = include_bytes!("../../../tests/data/train-4-8-3.onnx");

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

    /// A field with that content.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut len = content.len();
        while len >= 0x80 {
            bytes.push(len as u8 | 0x80);
            len >>= 7;
        }
        bytes.push(len as u8);
        bytes.extend(content);
        bytes
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let graphs = |layers| (0..layers).fold(vec![], |graph, _| field(1, &field(5, &field(6, &graph))));
        let types = |layers| {
            let nested = (0..layers).fold(vec![], |of, _| field(4, &field(1, &of)));
            field(11, &[field(1, b"x"), field(2, &nested)].concat())
        };
        assert!(signature(&field(7, &graphs(MAX_NESTING))).is_ok());
        assert!(signature(&field(7, &types(MAX_NESTING))).is_ok());
        for layers in [MAX_NESTING + 1, 2000] {
            for graph in [graphs(layers), types(layers)] {
                let error = signature(&field(7, &graph)).unwrap_err();
                assert_eq!(error.message, "the ONNX file has graphs or types in more than 16 layers");
            }
        }
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
