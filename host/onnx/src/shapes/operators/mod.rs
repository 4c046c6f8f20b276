//! A rule for each operator: from what is known of its inputs to what is known of its outputs, and the memory
//! that engines need while they compute it.
//!
//! Rules never fail: where inputs do not fit together the engine will say so; what they then give does not
//! matter as long as it is no less than what is allocated before that. A rule that cannot tell gives None, and
//! the outputs are unknown. Sources: the operator specifications at <https://onnx.ai/onnx/operators/>.

mod convolution;
mod elementwise;
mod generate;
mod layout;
mod matrix;
mod reduce;
mod select;
mod sequence;
mod signal;

use super::range::Range;
use super::value::Value;
use crate::outline::{Attribute, Node};
use crate::signature::ElementType;

/// Bytes that one thread packs of a matrix or an unrolled image at a time, at most: engines multiply in blocks
/// that fit the processor's caches.
const BLOCK: f64 = 4.0 * 1024.0 * 1024.0;

/// A node and what is known of its inputs.
pub(super) struct Call<'a> {
    pub node: &'a Node,
    pub inputs: Vec<Option<&'a Value>>,
    pub opset: i64,
    pub threads: f64,
}

/// What is known of its outputs, and the bytes that it takes beside them.
pub(super) struct Outcome {
    pub outputs: Vec<Value>,
    pub scratch: f64,
}

impl From<Vec<Value>> for Outcome {
    fn from(outputs: Vec<Value>) -> Self {
        Self { outputs, scratch: 0.0 }
    }
}

impl From<Value> for Outcome {
    fn from(output: Value) -> Self {
        vec![output].into()
    }
}

impl Outcome {
    fn with_scratch(self, scratch: f64) -> Self {
        Self { scratch, ..self }
    }
}

/// Applies the operator's rule.
pub(super) fn apply(call: &Call) -> Option<Outcome> {
    if !call.node.domain.is_empty() {
        return None;
    }
    elementwise::rule(call)
        .or_else(|| layout::rule(call))
        .or_else(|| generate::rule(call))
        .or_else(|| select::rule(call))
        .or_else(|| reduce::rule(call))
        .or_else(|| matrix::rule(call))
        .or_else(|| convolution::rule(call))
        .or_else(|| signal::rule(call))
        .or_else(|| sequence::rule(call))
}

/// Inputs whose elements, not only their shapes, may decide how large an output is; every input of an operator
/// that is not listed whose output's elements do. See `sensitive` in the evaluator.
pub(super) fn deciding(node: &Node) -> &'static [usize] {
    match node.operator.as_str() {
        "Reshape" | "Expand" | "Tile" | "OneHot" | "TopK" | "Split" | "SplitToSequence" | "Squeeze"
        | "Unsqueeze" | "CenterCropPad" | "AffineGrid" | "Upsample" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMean" | "ReduceMin" | "ReduceProd"
        | "ReduceSum" | "ReduceSumSquare" => &[1],
        "ConstantOfShape" | "If" | "HannWindow" | "HammingWindow" | "BlackmanWindow" => &[0],
        "Range" | "MelWeightMatrix" => &[0, 1, 2],
        "Slice" => &[1, 2, 3, 4],
        "Pad" => &[1, 3],
        "Resize" | "STFT" => &[1, 2, 3],
        "DFT" | "Col2Im" => &[1, 2],
        "MaxUnpool" | "NonMaxSuppression" => &[2],
        "Loop" => &[0, 1],
        _ => &[],
    }
}

impl Call<'_> {
    fn operator(&self) -> &str {
        &self.node.operator
    }

    /// The input at that place, unless it is left out.
    fn input(&self, at: usize) -> Option<&Value> {
        self.inputs.get(at).copied().flatten()
    }

    fn dims(&self, at: usize) -> Option<&[Range]> {
        self.input(at)?.dims.as_deref()
    }

    fn element(&self, at: usize) -> ElementType {
        // What an engine has no type for is at most as wide.
        self.input(at).map_or(ElementType::F64, |value| value.element)
    }

    /// The elements of an input, all known exactly.
    fn exact(&self, at: usize) -> Option<Vec<f64>> {
        self.input(at)?.exact()
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.node.attributes.get(name)
    }

    fn int(&self, name: &str) -> Option<i64> {
        match self.attribute(name)? {
            Attribute::Int(value) => Some(*value),
            _ => None,
        }
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name).map_or(default, |value| value != 0)
    }

    fn text(&self, name: &str) -> Option<&str> {
        match self.attribute(name)? {
            Attribute::Text(value) => Some(value),
            _ => None,
        }
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attribute(name)? {
            Attribute::Ints(values) => Some(values),
            _ => None,
        }
    }

    /// Integers that older versions keep in an attribute and newer ones in an input. Err where they are an input
    /// that is not known.
    fn ints_or_input(&self, name: &str, at: usize) -> Result<Option<Vec<f64>>, ()> {
        if let Some(values) = self.ints(name) {
            return Ok(Some(values.iter().map(|&value| value as f64).collect()));
        }
        match self.input(at) {
            None => Ok(None),
            Some(_) => self.exact(at).map(Some).ok_or(()),
        }
    }

    /// An element type in an attribute.
    fn type_of(&self, name: &str) -> Option<ElementType> {
        ElementType::from_number(u64::try_from(self.int(name)?).ok()?)
    }

    /// A tensor of an input's element type.
    fn like(&self, at: usize, dims: Vec<Range>) -> Value {
        Value::tensor(self.element(at), dims)
    }

    /// An output of the very shape of an input.
    fn same(&self, at: usize) -> Option<Value> {
        self.input(at).map(|value| Value { numbers: None, constant: false, ..value.clone() })
    }
}

/// An axis from the start on; negative ones count from the end.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    usize::try_from(if axis < 0 { axis.checked_add(rank)? } else { axis })
        .ok()
        .filter(|&axis| (axis as i64) < rank)
}

/// As [`axis`], of numbers out of a tensor.
fn axes(axes: &[f64], rank: usize) -> Option<Vec<usize>> {
    axes.iter().map(|&at| axis(at as i64, rank)).collect()
}

/// The shape that shapes are broadcast to.
fn broadcast(a: &[Range], b: &[Range]) -> Vec<Range> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut dims = long.to_vec();
    let offset = long.len() - short.len();
    for (dim, other) in dims[offset..].iter_mut().zip(short) {
        let one = |range: Range| range.exact() == Some(1.0);
        let zero = |range: Range| range.exact() == Some(0.0);
        *dim = match (*dim, *other) {
            (a, b) if one(a) => b,
            (a, b) if one(b) => a,
            (a, b) if zero(a) || zero(b) => Range::exactly(0.0),
            // Either is one, or both are the same.
            (a, b) if a.exact().is_some_and(|a| a > 1.0) || b.exact().is_some_and(|b| b > 1.0) => {
                if a.exact().is_some() { a } else { b }
            }
            (a, b) => a.max(b),
        };
    }
    dims
}
