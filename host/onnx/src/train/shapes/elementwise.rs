//! Operators that work element by element, with broadcasting.

use crate::proto::NodeProto;
use crate::train::dim::{Dim, Shape};
use crate::train::node;

use super::{Entry, Shapes};

/// Operators whose first output has the shape of their first input.
const SAME: &[&str] = &[
    "Abs",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "Mish",
    "Neg",
    "Not",
    "PRelu",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
    "ThresholdedRelu",
];

/// Operators whose output has the shape that their inputs broadcast to.
const BROADCAST: &[&str] = &[
    "Add",
    "And",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

impl Shapes {
    pub(super) fn elementwise(&mut self, node: &NodeProto) -> Option<Shape> {
        let op = node::op(node);
        if SAME.contains(&op) {
            if matches!(op, "Identity" | "Cast") {
                self.follow(node, |entries| Some(entries.first()?.clone()));
            }
            return self.input(node, 0);
        }
        if !BROADCAST.contains(&op) {
            return None;
        }
        self.follow(node, |inputs| arithmetic(op, inputs));
        let mut shape = self.input(node, 0)?;
        for at in 1..node.input.len() {
            let other = self.input(node, at)?;
            shape = self.broadcast(&shape, &other);
        }
        Some(shape)
    }

    /// Computes the integers of the output from those of the inputs, where they are known.
    pub(super) fn follow(
        &mut self,
        node: &NodeProto,
        compute: impl FnOnce(&[Vec<Entry>]) -> Option<Vec<Entry>>,
    ) {
        let inputs: Option<Vec<Vec<Entry>>> =
            node.input.iter().map(|name| self.entries.get(name).cloned()).collect();
        if let (Some(inputs), Some(output)) = (inputs, node::output(node, 0))
            && let Some(entries) = compute(&inputs)
        {
            self.entries.insert(output.to_owned(), entries);
        }
    }

    /// <https://onnx.ai/onnx/repo-docs/Broadcasting.html>; of two sizes that are not known to be the same nothing
    /// is known.
    pub(super) fn broadcast(&mut self, a: &[Dim], b: &[Dim]) -> Shape {
        let rank = a.len().max(b.len());
        let one = Dim::known(1);
        let dim = |shape: &[Dim], at: usize| {
            (at + shape.len()).checked_sub(rank).map_or(one.clone(), |at| shape[at].clone())
        };
        (0..rank)
            .map(|at| match (dim(a, at), dim(b, at)) {
                (a, b) if a == b || b.is(1) => a,
                (a, b) if a.is(1) => b,
                (a, _) if a.size().is_some() => a,
                (_, b) if b.size().is_some() => b,
                _ => self.unknown(),
            })
            .collect()
    }
}

fn arithmetic(op: &str, inputs: &[Vec<Entry>]) -> Option<Vec<Entry>> {
    let [a, b] = inputs else { return None };
    let length = if a.len() == 1 { b.len() } else { a.len() };
    let at = |of: &[Entry], at: usize| if of.len() == 1 { of.first().cloned() } else { of.get(at).cloned() };
    (0..length)
        .map(|index| match (op, at(a, index)?, at(b, index)?) {
            ("Add", Entry::Int(a), Entry::Int(b)) => a.checked_add(b).map(Entry::Int),
            ("Sub", Entry::Int(a), Entry::Int(b)) => a.checked_sub(b).map(Entry::Int),
            ("Mul", Entry::Int(a), Entry::Int(b)) => a.checked_mul(b).map(Entry::Int),
            ("Div", Entry::Int(a), Entry::Int(b)) => a.checked_div(b).map(Entry::Int),
            ("Mul", a, b) => Some(Entry::of(&a.dim()?.times(&b.dim()?)?)),
            ("Div", a, b) => Some(Entry::of(&a.dim()?.over(&b.dim()?)?)),
            _ => None,
        })
        .collect()
}
