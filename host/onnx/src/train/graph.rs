//! A graph that is being written: nodes in order, constants, and names that no two values share.
//!
//! [`loss`](super::loss), [`gradients`](super::gradients) and [`optimizer`](super::optimizer) write to it. It speaks
//! opset 13 or later: operators whose form changed since have one function here that knows both.

use std::collections::{HashMap, HashSet};

use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, NodeProto, TensorProto};

use super::dim::{Shape, sizes};
use super::node;
use super::tensor;

/// A graph that is being written.
pub struct Graph {
    /// In an order in which they can be computed.
    pub nodes: Vec<NodeProto>,
    /// Values that never change.
    pub constants: Vec<TensorProto>,
    names: HashSet<String>,
    /// Constants by content: one value is written once.
    known: HashMap<(Vec<usize>, Vec<u64>, bool), String>,
    fresh: usize,
    opset: i64,
}

impl Graph {
    /// Without nodes; `names` are taken.
    pub fn new(opset: i64, names: HashSet<String>) -> Self {
        let (nodes, constants, known) = (Vec::new(), Vec::new(), HashMap::new());
        Self { nodes, constants, names, known, fresh: 0, opset }
    }

    /// A name that no value has: `hint`, or `hint` and a number.
    pub fn name(&mut self, hint: &str) -> String {
        let mut name = hint.to_owned();
        while !self.names.insert(name.clone()) {
            self.fresh += 1;
            name = format!("{hint}.{}", self.fresh);
        }
        name
    }

    /// A node with one output, whose name is new.
    pub fn op(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        let output = self.name(&op.to_lowercase());
        self.op_as(op, inputs, attributes, &output);
        output
    }

    /// A node whose one output has that name.
    pub fn op_as(&mut self, op: &str, inputs: &[&str], attributes: Vec<AttributeProto>, output: &str) {
        self.nodes.push(NodeProto {
            op_type: Some(op.to_owned()),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: attributes,
            ..NodeProto::default()
        });
    }

    /// A constant f32 tensor.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let bits = values.iter().map(|value| u64::from(value.to_bits())).collect();
        self.constant((dims.to_vec(), bits, true), |name| tensor::of_floats(name, dims, values))
    }

    /// A constant f32 without axes.
    pub fn scalar(&mut self, value: f32) -> String {
        self.floats(&[], &[value])
    }

    /// A constant vector of i64.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let bits = values.iter().map(|&value| value as u64).collect();
        let dims = [values.len()];
        self.constant((dims.to_vec(), bits, false), |name| tensor::of_ints(name, &dims, values))
    }

    /// A constant i64 without axes.
    pub fn int(&mut self, value: i64) -> String {
        self.constant((vec![], vec![value as u64], false), |name| tensor::of_ints(name, &[], &[value]))
    }

    fn constant(
        &mut self,
        key: (Vec<usize>, Vec<u64>, bool),
        make: impl FnOnce(&str) -> TensorProto,
    ) -> String {
        if let Some(name) = self.known.get(&key) {
            return name.clone();
        }
        let name = self.name("constant");
        self.constants.push(make(&name));
        self.known.insert(key, name.clone());
        name
    }

    /// Of one value.
    pub fn unary(&mut self, op: &str, a: &str) -> String {
        self.op(op, &[a], vec![])
    }

    /// The sum, element by element.
    pub fn add(&mut self, a: &str, b: &str) -> String {
        self.op("Add", &[a, b], vec![])
    }

    /// The difference.
    pub fn sub(&mut self, a: &str, b: &str) -> String {
        self.op("Sub", &[a, b], vec![])
    }

    /// The product.
    pub fn mul(&mut self, a: &str, b: &str) -> String {
        self.op("Mul", &[a, b], vec![])
    }

    /// The quotient.
    pub fn div(&mut self, a: &str, b: &str) -> String {
        self.op("Div", &[a, b], vec![])
    }

    /// Times a number.
    pub fn scale(&mut self, a: &str, by: f32) -> String {
        if by == 1.0 {
            return a.to_owned();
        }
        let by = self.scalar(by);
        self.mul(a, &by)
    }

    /// Truth values or integers as f32.
    pub fn to_float(&mut self, a: &str) -> String {
        self.op("Cast", &[a], vec![node::with_int("to", DataType::Float as i64)])
    }

    /// f32 or truth values as i64.
    pub fn to_int(&mut self, a: &str) -> String {
        self.op("Cast", &[a], vec![node::with_int("to", DataType::Int64 as i64)])
    }

    /// 1 where `a` is greater than `than`, else 0.
    pub fn greater(&mut self, a: &str, than: f32) -> String {
        let than = self.scalar(than);
        let mask = self.op("Greater", &[a, &than], vec![]);
        self.to_float(&mask)
    }

    /// The sum over `axes`, or over all.
    pub fn reduce_sum(&mut self, a: &str, axes: Option<&[i64]>, keep: bool) -> String {
        let keep = vec![node::with_int("keepdims", keep.into())];
        match axes {
            Some(axes) => {
                let axes = self.ints(axes);
                self.op("ReduceSum", &[a, &axes], keep)
            }
            None => self.op("ReduceSum", &[a], keep),
        }
    }

    /// `ReduceMean` or `ReduceMax` over `axes`, which stay with size 1. Axes are an input since opset 18.
    pub fn reduce(&mut self, op: &str, a: &str, axes: &[i64]) -> String {
        let keep = node::with_int("keepdims", 1);
        if self.opset >= 18 {
            let axes = self.ints(axes);
            self.op(op, &[a, &axes], vec![keep])
        } else {
            self.op(op, &[a], vec![node::with_ints("axes", axes), keep])
        }
    }

    /// With its axes in another order.
    pub fn transpose(&mut self, a: &str, order: &[usize]) -> String {
        if order.iter().enumerate().all(|(at, &axis)| at == axis) {
            return a.to_owned();
        }
        let order: Vec<i64> = order.iter().map(|&axis| axis as i64).collect();
        self.op("Transpose", &[a], vec![node::with_ints("perm", &order)])
    }

    /// In a shape that is known, save for one size that may be -1.
    pub fn reshape(&mut self, a: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[a, &shape], vec![])
    }

    /// With axes of size 1 at those positions of the result.
    pub fn unsqueeze(&mut self, a: &str, axes: &[i64]) -> String {
        let axes = self.ints(axes);
        self.op("Unsqueeze", &[a, &axes], vec![])
    }

    /// Without those axes, which have size 1.
    pub fn squeeze(&mut self, a: &str, axes: &[i64]) -> String {
        let axes = self.ints(axes);
        self.op("Squeeze", &[a, &axes], vec![])
    }

    /// The product of two matrices, each perhaps transposed.
    pub fn gemm(&mut self, a: &str, b: &str, alpha: f32, transposed: (bool, bool)) -> String {
        let mut attributes = vec![];
        if alpha != 1.0 {
            attributes.push(node::with_float("alpha", alpha));
        }
        for (name, set) in [("transA", transposed.0), ("transB", transposed.1)] {
            if set {
                attributes.push(node::with_int(name, 1));
            }
        }
        self.op("Gemm", &[a, b], attributes)
    }

    /// Padded with `value`: so many elements before and behind, axis by axis.
    pub fn pad(&mut self, a: &str, pads: &[(usize, usize)], value: f32) -> String {
        if pads.iter().all(|&pad| pad == (0, 0)) {
            return a.to_owned();
        }
        let before = pads.iter().map(|pad| pad.0 as i64);
        let pads: Vec<i64> = before.chain(pads.iter().map(|pad| pad.1 as i64)).collect();
        let (pads, value) = (self.ints(&pads), self.scalar(value));
        self.op("Pad", &[a, &pads, &value], vec![])
    }

    /// The first `size` elements of each of `axes`.
    pub fn first(&mut self, a: &str, axes: &[i64], size: &[i64]) -> String {
        let (starts, ends, axes) = (self.ints(&vec![0; axes.len()]), self.ints(size), self.ints(axes));
        self.op("Slice", &[a, &starts, &ends, &axes], vec![])
    }

    /// In the shape of `like`, whose elements are as many.
    pub fn reshape_like(&mut self, a: &str, like: &str, shape: Option<&Shape>) -> String {
        let unknown = |shape: &Shape| shape.iter().filter(|dim| dim.size().is_none()).count();
        match shape {
            Some(shape) if unknown(shape) <= 1 && !shape.iter().any(|dim| dim.is(0)) => {
                let sizes: Vec<i64> =
                    shape.iter().map(|dim| dim.size().map_or(-1, |size| size as i64)).collect();
                self.reshape(a, &sizes)
            }
            _ => {
                let shape = self.unary("Shape", like);
                self.op("Reshape", &[a, &shape], vec![])
            }
        }
    }

    /// Repeated along axes of size 1 until it has the shape of `like`.
    pub fn expand_like(&mut self, a: &str, like: &str, shape: Option<&Shape>) -> String {
        let shape = match shape.and_then(|shape| sizes(shape)) {
            Some(sizes) => self.ints(&sizes.iter().map(|&size| size as i64).collect::<Vec<_>>()),
            None => self.unary("Shape", like),
        };
        self.op("Expand", &[a, &shape], vec![])
    }

    /// How many elements `a` has, as f32 without axes.
    pub fn count(&mut self, a: &str) -> String {
        let size = self.unary("Size", a);
        self.to_float(&size)
    }
}
