//! A whole file as messages, and back.

use bytes::Bytes;
use prost::Message as _;

use super::error::OnnxError;
use super::proto::ModelProto;
use super::wire::{Fields, Value};

/// Layers of graphs in graphs, or of types in types, at most.
pub const MAX_NESTING: usize = 16;

/// Nodes in all graphs of a file, at most. Engines plan along chains of nodes by recursion, on a stack that
/// has an end.
pub const MAX_NODES: usize = 10_000;

/// Messages and texts in a file, at most: an empty one takes two bytes there and a hundred times as much in
/// memory.
const MAX_PARTS: usize = 1 << 20;

/// Bytes of a file that are lists of numbers in protobuf's own form, at most: one byte there may be eight in memory.
const MAX_NUMBERS: usize = 32 << 20;

/// The file's messages; tensors' raw bytes stay where they are in `file`.
///
/// Refused are files that are damaged, nested too deeply or of too many parts (see [`check`]).
pub fn read(file: Bytes) -> Result<ModelProto, OnnxError> {
    check(&file)?;
    ModelProto::decode(file)
        .map_err(|error| OnnxError::malformed(format!("the ONNX file is damaged: {error}")))
}

/// The file of `model`.
pub fn write(model: &ModelProto) -> Bytes {
    model.encode_to_vec().into()
}

/// Refuses what would break its reader: more than one graph, graphs or types in more than [`MAX_NESTING`]
/// layers, more than [`MAX_NODES`] nodes, or more parts than are worth reading. Engines go through graphs by
/// recursion, and where the stack ends, so does the process.
pub fn check(file: &[u8]) -> Result<(), OnnxError> {
    let mut graphs = 0;
    for field in Fields(file) {
        graphs += usize::from(matches!(field?, (7, Value::Bytes(_))));
    }
    match graphs {
        0 => return Err(OnnxError::malformed("the file has no ONNX graph")),
        1 => {}
        _ => return Err(OnnxError::malformed("the ONNX file has more than one graph")),
    }
    Counts::default().walk(file, Kind::Model, 0)
}

/// Messages that hold others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Info,
    Type,
    Sequence,
    TensorType,
    SparseTensor,
    Training,
    Function,
    Device,
    Sharding,
    ShardedDimension,
    /// Holds messages that hold none.
    Leaf,
}

#[derive(Default)]
struct Counts {
    nodes: usize,
    parts: usize,
    numbers: usize,
}

impl Counts {
    fn walk(&mut self, bytes: &[u8], kind: Kind, depth: usize) -> Result<(), OnnxError> {
        if depth > MAX_NESTING {
            return Err(OnnxError::malformed(format!(
                "the ONNX file has graphs or types in more than {MAX_NESTING} layers"
            )));
        }
        for field in Fields(bytes) {
            let (number, value) = field?;
            if kind.has_numbers(number) {
                // A number that is not packed has its field's number before it.
                self.numbers += if let Value::Bytes(packed) = &value { packed.len() } else { 2 };
                if self.numbers > MAX_NUMBERS {
                    return Err(OnnxError::too_large(format!(
                        "the ONNX file has more than {MAX_NUMBERS} bytes of numbers one by one: keep them as raw_data"
                    )));
                }
            }
            let Value::Bytes(inner) = value else { continue };
            let inside = kind.inside(number);
            self.parts += 1;
            self.nodes += usize::from(matches!(inside, Some((Kind::Node, _))));
            for (count, most, what) in [(self.nodes, MAX_NODES, "nodes"), (self.parts, MAX_PARTS, "parts")] {
                if count > most {
                    return Err(OnnxError::too_large(format!("the ONNX file has more than {most} {what}")));
                }
            }
            let Some((inside, deeper)) = inside else { continue };
            self.walk(inner, inside, depth + deeper)?;
        }
        Ok(())
    }
}

impl Kind {
    /// Whether field `number` may be a list of numbers whose form in memory is larger: `ints` of attributes, and
    /// dimensions and data of tensors.
    fn has_numbers(self, number: u64) -> bool {
        matches!(
            (self, number),
            (Self::Attribute, 8) | (Self::Leaf, 1 | 5 | 7 | 11) | (Self::SparseTensor, 3)
        )
    }

    /// The kind of message in field `number`, and whether it lies a layer deeper; none for texts and bytes.
    fn inside(self, number: u64) -> Option<(Self, usize)> {
        use Kind::*;
        Some(match (self, number) {
            (Model, 7) => (Graph, 0),
            (Model, 20) => (Training, 0),
            (Model, 25) => (Function, 0),
            (Model, 8 | 14 | 26) => (Leaf, 0),
            (Training, 1 | 2) => (Graph, 1),
            (Training, 3 | 4) => (Leaf, 0),
            (Function, 7) => (Node, 0),
            (Function, 11) => (Attribute, 0),
            (Function, 12) => (Info, 0),
            (Function, 9 | 14) => (Leaf, 0),
            (Graph, 1) => (Node, 0),
            (Graph, 11..=13) => (Info, 0),
            (Graph, 15) => (SparseTensor, 0),
            (Graph, 5 | 14 | 16) => (Leaf, 0),
            (Node, 5) => (Attribute, 0),
            (Node, 9) => (Leaf, 0),
            (Node, 10) => (Device, 0),
            (Device, 2) => (Sharding, 0),
            (Sharding, 3) => (Leaf, 0),
            (Sharding, 4) => (ShardedDimension, 0),
            (ShardedDimension, 2) => (Leaf, 0),
            (Attribute, 6 | 11) => (Graph, 1),
            (Attribute, 14 | 15) => (Type, 0),
            (Attribute, 22 | 23) => (SparseTensor, 0),
            (Attribute, 5 | 10) => (Leaf, 0),
            (SparseTensor, 1 | 2) => (Leaf, 0),
            (Info, 2) => (Type, 0),
            (Info, 4) => (Leaf, 0),
            (Type, 1 | 8) => (TensorType, 0),
            (Type, 4 | 5 | 9) => (Sequence, 0),
            (TensorType, 2) => (Leaf, 0),
            (Sequence, 1 | 2) => (Type, 1),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tests::field;

    const TRAIN: &[u8] = include_bytes!("../../tests/data/train-4-8-3.onnx");

    #[test]
    fn a_file_is_the_same_after_it_was_read_and_written() {
        let model = read(Bytes::from_static(TRAIN)).unwrap();
        assert_eq!(read(write(&model)).unwrap(), model);
        assert_eq!(model.graph.unwrap().output[0].name.as_deref(), Some("loss"));
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let graphs = |layers| (0..layers).fold(vec![], |graph, _| field(1, &field(5, &field(6, &graph))));
        let types = |layers| {
            let nested = (0..layers).fold(vec![], |of, _| field(4, &field(1, &of)));
            field(11, &[field(1, b"x"), field(2, &nested)].concat())
        };
        assert!(read(field(7, &graphs(MAX_NESTING)).into()).is_ok());
        assert!(read(field(7, &types(MAX_NESTING)).into()).is_ok());
        for layers in [MAX_NESTING + 1, 2000] {
            for graph in [graphs(layers), types(layers)] {
                let error = read(field(7, &graph).into()).unwrap_err();
                assert_eq!(error.message, "the ONNX file has graphs or types in more than 16 layers");
            }
        }
    }

    #[test]
    fn what_would_take_far_more_memory_than_disk_is_refused() {
        let empty_tensors = field(5, b"").repeat(MAX_PARTS);
        let error = read(field(7, &empty_tensors).into()).unwrap_err();
        assert_eq!(error.message, "the ONNX file has more than 1048576 parts");
        let numbers = field(5, &field(7, &vec![0; MAX_NUMBERS + 1]));
        let error = read(field(7, &numbers).into()).unwrap_err();
        assert!(error.message.ends_with("bytes of numbers one by one: keep them as raw_data"), "{error}");
        let empty_nodes = field(1, b"").repeat(MAX_NODES + 1);
        let error = read(field(7, &empty_nodes).into()).unwrap_err();
        assert_eq!(error.message, "the ONNX file has more than 10000 nodes");
    }
}
