//! Changed copies of files: bytes at random, and for ONNX the messages' own fields, which gets past the readers
//! and into what they read.

use bytes::Bytes;
use sedge_onnx::proto::tensor_shape_proto::dimension;
use sedge_onnx::proto::{AttributeProto, GraphProto, TensorProto, ValueInfoProto, type_proto};

/// Numbers that are the same again for the same seed (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() { None } else { from.get(self.below(from.len())) }
    }
}

/// Numbers at which sizes go wrong.
const EDGES: [i64; 14] = [0, 1, 2, 3, -1, -2, 7, 64, 255, 65_536, 1 << 31, 1 << 40, i64::MAX, i64::MIN];

/// Operators of all kinds, so that a changed graph meets rules for shapes that its own nodes do not have.
const OPERATORS: [&str; 48] = [
    "Add",
    "And",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "ConstantOfShape",
    "Conv",
    "ConvTranspose",
    "CumSum",
    "DepthToSpace",
    "Einsum",
    "Equal",
    "Expand",
    "EyeLike",
    "Flatten",
    "GRU",
    "Gather",
    "GatherND",
    "Gemm",
    "GlobalAveragePool",
    "GridSample",
    "If",
    "Identity",
    "LSTM",
    "LayerNormalization",
    "Loop",
    "MatMul",
    "MaxPool",
    "Mod",
    "NonMaxSuppression",
    "NonZero",
    "OneHot",
    "Pad",
    "Range",
    "ReduceSum",
    "Reshape",
    "Resize",
    "Shape",
    "Slice",
    "Softmax",
    "Split",
    "Tile",
    "TopK",
    "Transpose",
    "Where",
];

pub fn change(corpus: &[Vec<u8>], kind: &str, random: &mut Random) -> Vec<u8> {
    let mut file = random.pick(corpus).cloned().unwrap_or_default();
    if kind == "onnx"
        && !random.next().is_multiple_of(4)
        && let Ok(mut model) = sedge_onnx::read(Bytes::from(file.clone()))
    {
        for _ in 0..=random.below(4) {
            if let Some(graph) = &mut model.graph {
                change_graph(graph, random);
            }
        }
        return sedge_onnx::write(&model).to_vec();
    }
    for _ in 0..=random.below(6) {
        change_bytes(&mut file, corpus, random);
    }
    file
}

fn change_bytes(file: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    if file.is_empty() {
        return;
    }
    let at = random.below(file.len());
    let len = 1 + random.below(16.min(file.len() - at));
    match random.below(7) {
        0 => file[at] ^= 1 << random.below(8),
        1 => file[at] = random.next() as u8,
        2 => file.truncate(at),
        3 => drop(file.drain(at..at + len)),
        4 => {
            let piece = file[at..at + len].to_vec();
            file.splice(at..at, piece);
        }
        5 => {
            let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
            let end = (at + edge.len()).min(file.len());
            file[at..end].copy_from_slice(&edge[..end - at]);
        }
        _ => {
            let Some(other) = random.pick(corpus).filter(|other| !other.is_empty()) else { return };
            let from = random.below(other.len());
            let to = (from + 64).min(other.len());
            file.splice(at..at + len, other[from..to].iter().copied());
        }
    }
}

fn edge(random: &mut Random) -> i64 {
    if random.next().is_multiple_of(2) {
        random.below(12) as i64 - 3
    } else {
        EDGES[random.below(EDGES.len())]
    }
}

fn change_graph(graph: &mut GraphProto, random: &mut Random) {
    // Sometimes a graph inside.
    let inner = graph.node.iter_mut().flat_map(|node| &mut node.attribute).filter_map(|a| a.g.as_mut());
    let mut inner: Vec<_> = inner.collect();
    if !inner.is_empty() && random.next().is_multiple_of(2) {
        let at = random.below(inner.len());
        return change_graph(inner[at], random);
    }
    let names: Vec<String> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().chain(&node.input))
        .chain(graph.initializer.iter().filter_map(|tensor| tensor.name.as_ref()))
        .cloned()
        .collect();
    let count = graph.node.len();
    match random.below(10) {
        0 | 1 if count > 0 => {
            let node = &mut graph.node[random.below(count)];
            node.op_type = random.pick(&OPERATORS).map(|&operator| operator.to_owned());
        }
        2 | 3 if count > 0 => {
            let node = &mut graph.node[random.below(count)];
            let (ends, at) = match random.below(3) {
                0 => (&mut node.output, random.below(3)),
                _ => (&mut node.input, random.below(5)),
            };
            let name = random.pick(&names).cloned().unwrap_or_default();
            match ends.get_mut(at) {
                Some(end) => *end = name,
                None => ends.push(name),
            }
        }
        4 if count > 0 => drop(graph.node.remove(random.below(count))),
        5 if count > 0 => {
            let (from, to) = (random.below(count), random.below(count));
            graph.node.swap(from, to);
        }
        6 | 7 if count > 0 => {
            let node = &mut graph.node[random.below(count)];
            change_attribute(&mut node.attribute, random);
        }
        8 => {
            let count = graph.initializer.len();
            if count > 0 {
                change_tensor(&mut graph.initializer[random.below(count)], random);
            }
        }
        _ => {
            let mut infos: Vec<_> =
                graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info).collect();
            if !infos.is_empty() {
                let at = random.below(infos.len());
                change_info(infos[at], random);
            }
        }
    }
}

fn change_attribute(attributes: &mut Vec<AttributeProto>, random: &mut Random) {
    const NAMES: [&str; 12] = [
        "axis",
        "axes",
        "perm",
        "pads",
        "strides",
        "dilations",
        "kernel_shape",
        "group",
        "keepdims",
        "to",
        "split",
        "blocksize",
    ];
    if attributes.is_empty() || random.next().is_multiple_of(3) {
        let name = NAMES[random.below(NAMES.len())].to_owned();
        let ints = (0..random.below(5)).map(|_| edge(random)).collect();
        let attribute = match random.below(2) {
            0 => AttributeProto { i: Some(edge(random)), r#type: Some(2), ..AttributeProto::default() },
            _ => AttributeProto { ints, r#type: Some(7), ..AttributeProto::default() },
        };
        attributes.retain(|other| other.name.as_ref() != Some(&name));
        attributes.push(AttributeProto { name: Some(name), ..attribute });
        return;
    }
    let at = random.below(attributes.len());
    let attribute = &mut attributes[at];
    if let Some(value) = &mut attribute.i {
        *value = edge(random);
    }
    for value in &mut attribute.ints {
        if random.next().is_multiple_of(2) {
            *value = edge(random);
        }
    }
    if let Some(tensor) = &mut attribute.t {
        change_tensor(tensor, random);
    }
}

/// Values of small tensors, with which graphs compute sizes; now and then the shape.
fn change_tensor(tensor: &mut TensorProto, random: &mut Random) {
    for value in &mut tensor.int64_data {
        *value = edge(random);
    }
    if let Some(raw) = &mut tensor.raw_data {
        let mut bytes = raw.to_vec();
        if let Some(chunk) = (bytes.len() >= 8).then(|| random.below(bytes.len() / 8) * 8) {
            bytes[chunk..chunk + 8].copy_from_slice(&edge(random).to_le_bytes());
        }
        *raw = bytes.into();
    }
    match random.below(6) {
        0 => tensor.dims.push(1),
        1 => {
            if let Some(dim) = tensor.dims.first_mut() {
                *dim = edge(random);
            }
        }
        2 => tensor.data_type = Some(random.below(30) as i32),
        _ => {}
    }
}

fn change_info(info: &mut ValueInfoProto, random: &mut Random) {
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|of| of.value.as_mut())
    else {
        return;
    };
    if random.next().is_multiple_of(3) {
        tensor.elem_type = Some(random.below(20) as i32);
    }
    for dim in tensor.shape.iter_mut().flat_map(|shape| &mut shape.dim) {
        if random.next().is_multiple_of(2) {
            dim.value = Some(dimension::Value::DimValue(edge(random)));
        }
    }
}
