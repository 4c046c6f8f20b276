//! The shapes of a graph's values before a batch is seen, as far as gradients need them: ranks, and sizes as
//! products of numbers and symbols.
//!
//! [`Shapes::infer`] goes through the nodes once. It also follows small vectors of integers, because exporters
//! compute the shape of a reshape by nodes. Of what it does not know it believes what the file says.

mod elementwise;
mod linear;
mod movement;
mod spatial;

use std::collections::HashMap;

use crate::proto::tensor_shape_proto::dimension::Value;
use crate::proto::type_proto::Value as Type;
use crate::proto::{NodeProto, ValueInfoProto};

use super::dim::{Dim, Shape};
use super::node::{self, input};
use super::source::{Source, name_of};
use super::tensor;

pub use movement::span;
pub use spatial::Window;

/// Integers that are followed, of one value at most.
const MAX_ENTRIES: usize = 64;

/// The symbol of the first axis of the model's input: the samples of a batch.
pub const BATCH: u32 = 0;

/// The shapes of a graph's values.
#[derive(Debug, Default)]
pub struct Shapes {
    shapes: HashMap<String, Shape>,
    /// Integers, of values that have no axis or one.
    entries: HashMap<String, Vec<Entry>>,
    named: HashMap<String, u32>,
    symbols: u32,
}

/// An integer that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Int(i64),
    Size(Dim),
}

impl Entry {
    fn of(dim: &Dim) -> Self {
        match dim.size().and_then(|size| i64::try_from(size).ok()) {
            Some(size) => Self::Int(size),
            None => Self::Size(dim.clone()),
        }
    }

    fn dim(&self) -> Option<Dim> {
        match self {
            Self::Int(size) => usize::try_from(*size).ok().map(Dim::known),
            Self::Size(dim) => Some(dim.clone()),
        }
    }
}

impl Shapes {
    /// Those of `source`; the first axis of `batched` is [`BATCH`].
    pub fn infer(source: &Source, batched: &str) -> Self {
        let mut shapes = Self { symbols: BATCH + 1, ..Self::default() };
        for leaf in &source.leaves {
            let name = leaf.tensor.name.as_deref().unwrap_or_default();
            if let Some((dims, _)) = tensor::shape(&leaf.tensor) {
                if dims.len() <= 1
                    && let Some(values) = tensor::ints(&leaf.tensor, MAX_ENTRIES)
                {
                    shapes.entries.insert(name.to_owned(), values.into_iter().map(Entry::Int).collect());
                }
                shapes.set(name, dims.into_iter().map(Dim::known).collect());
            }
        }
        for info in &source.inputs {
            if let Some(mut shape) = shapes.declared(info) {
                if let (true, Some(first)) = (name_of(info) == batched, shape.first_mut()) {
                    *first = Dim::symbol(BATCH);
                }
                shapes.set(name_of(info), shape);
            }
        }
        let declared: HashMap<&str, &ValueInfoProto> =
            source.declared.iter().chain(&source.outputs).map(|info| (name_of(info), info)).collect();
        for node in &source.nodes {
            shapes.node(&node.proto);
            for output in &node.proto.output {
                if let (false, Some(info)) =
                    (shapes.shapes.contains_key(output), declared.get(output.as_str()))
                    && let Some(shape) = shapes.declared(info)
                {
                    shapes.set(output, shape);
                }
            }
        }
        shapes
    }

    /// The shape of a value, where its rank is known.
    pub fn of(&self, name: &str) -> Option<&Shape> {
        self.shapes.get(name)
    }

    /// The integers of a value, where all are known.
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        let known = |entry: &Entry| match entry {
            Entry::Int(value) => Some(*value),
            Entry::Size(_) => None,
        };
        self.entries.get(name)?.iter().map(known).collect()
    }

    /// A size that is like no other.
    fn unknown(&mut self) -> Dim {
        self.symbols += 1;
        Dim::symbol(self.symbols - 1)
    }

    fn set(&mut self, name: &str, shape: Shape) {
        self.shapes.insert(name.to_owned(), shape);
    }

    fn declared(&mut self, info: &ValueInfoProto) -> Option<Shape> {
        let Some(Type::TensorType(kind)) = info.r#type.as_ref()?.value.as_ref() else { return None };
        let mut shape = Shape::new();
        for dim in &kind.shape.as_ref()?.dim {
            shape.push(match &dim.value {
                Some(Value::DimValue(size)) if *size >= 0 => Dim::known(usize::try_from(*size).ok()?),
                Some(Value::DimParam(name)) if !name.is_empty() => match self.named.get(name) {
                    Some(&symbol) => Dim::symbol(symbol),
                    None => {
                        self.named.insert(name.clone(), self.symbols);
                        self.unknown()
                    }
                },
                _ => self.unknown(),
            });
        }
        Some(shape)
    }

    /// The shape of an input of a node.
    fn input(&self, node: &NodeProto, at: usize) -> Option<Shape> {
        self.of(input(node, at)?).cloned()
    }

    fn node(&mut self, node: &NodeProto) {
        if !node::is_standard(node) {
            return;
        }
        let shape = match node::op(node) {
            "MatMul" => self.matmul(node),
            "Gemm" => self.gemm(node),
            "Conv" => self.conv(node),
            "ConvTranspose" => self.conv_transpose(node),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" | "GlobalMaxPool" => self.global_pool(node),
            "ReduceMean" | "ReduceSum" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1"
            | "ReduceL2" | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" => self.reduced(node),
            "ArgMax" | "ArgMin" => self.arg(node),
            "Shape" => self.shape_of(node),
            "Size" => Some(vec![]),
            "Flatten" => self.flatten(node),
            "Reshape" => self.reshape(node),
            "Transpose" => self.transposed(node),
            "Squeeze" => self.squeeze(node),
            "Unsqueeze" => self.unsqueeze(node),
            "Concat" => self.concat(node),
            "Slice" => self.slice(node),
            "Gather" => self.gather(node),
            "Split" => return self.split(node),
            "Expand" => self.expand(node),
            "Pad" => self.pad(node),
            "ConstantOfShape" => self.filled(node),
            "Range" => Some(vec![self.unknown()]),
            _ => self.elementwise(node),
        };
        if let (Some(shape), Some(output)) = (shape, node::output(node, 0)) {
            self.set(output, shape);
        }
    }
}

/// An axis counted from the front.
pub fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let at = if axis < 0 { axis.checked_add(rank)? } else { axis };
    if (0..rank).contains(&at) { usize::try_from(at).ok() } else { None }
}
