//! scikit-learn's operators that are arithmetic, in ONNX's own.
//!
//! Its exporter writes scalers and linear models as single nodes of `ai.onnx.ml` with their numbers in attributes
//! (<https://onnx.ai/onnx/operators/index.html#ai-onnx-ml>), which no gradient reaches and few engines compute.
//! [`Source`](super::source::Source) asks for their plain form when it reads a file; trees, kernels and what else has
//! none stay as they are.
//!
//! | operator | becomes |
//! | --- | --- |
//! | `Scaler` | `(x − offset) · scale`, which are no weights |
//! | `LinearRegressor` | `Gemm` of two weights, `NAME.coefficients` and `NAME.intercepts` |
//! | `LinearClassifier` | the same, `Softmax` or `Sigmoid`, and the label of the largest |
//! | `Normalizer` of sums | `x / Σ \|x\|`, and nothing behind a softmax, whose sum is 1 |
//! | `ArrayFeatureExtractor` of a list | `Gather` |
//! | `ZipMap` | nothing: scores stay a tensor |

use crate::proto::tensor_proto::DataType;
use crate::proto::{AttributeProto, NodeProto, TensorProto};

use super::node::{self, attribute, input, op, output};
use super::source::{Leaf, Node};
use super::tensor;

/// The operators' set.
const DOMAIN: &str = "ai.onnx.ml";

/// What stands for a node.
pub struct Form<'a> {
    of: &'a Node,
    /// In an order in which they can be computed.
    pub nodes: Vec<Node>,
    /// Their constants.
    pub leaves: Vec<Leaf>,
}

/// The plain form of `of`, if it has one; `nodes` and `leaves` are those that stand before it.
pub fn form<'a>(of: &'a Node, nodes: &[Node], leaves: &[Leaf]) -> Option<Form<'a>> {
    let proto = &of.proto;
    if proto.domain.as_deref() != Some(DOMAIN) {
        return None;
    }
    let mut form = Form { of, nodes: Vec::new(), leaves: Vec::new() };
    let x = input(proto, 0)?;
    match op(proto) {
        "Scaler" => form.scaler(x)?,
        "LinearRegressor" => form.regressor(x)?,
        "LinearClassifier" => form.classifier(x)?,
        "Normalizer" if node::text(proto, "norm") == "L1" => form.normalizer(x, nodes)?,
        "ArrayFeatureExtractor" => form.extractor(x, leaves)?,
        "ZipMap" => form.node("Identity", &[x], output(proto, 0)?, vec![]),
        _ => return None,
    }
    Some(form)
}

impl Form<'_> {
    fn scaler(&mut self, x: &str) -> Option<()> {
        let result = output(&self.of.proto, 0)?;
        let mut last = self.as_floats(x);
        for (operator, name) in [("Sub", "offset"), ("Mul", "scale")] {
            let values = floats(&self.of.proto, name);
            if !values.is_empty() {
                let numbers = self.constant(tensor::of_floats(&self.inner(name), &[values.len()], values));
                let moved = self.inner(operator);
                self.node(operator, &[&last, &numbers], &moved, vec![]);
                last = moved;
            }
        }
        self.node("Identity", &[&last], result, vec![]);
        Some(())
    }

    fn regressor(&mut self, x: &str) -> Option<()> {
        let proto = &self.of.proto;
        let targets = usize::try_from(node::int(proto, "targets").unwrap_or(1)).ok()?;
        if !matches!(node::text(proto, "post_transform"), "" | "NONE") {
            return None;
        }
        self.linear(x, targets, output(proto, 0)?)
    }

    /// Scores of each class, and the label of the largest. Two classes with one row of coefficients, and labels that
    /// are texts, have no plain form here.
    fn classifier(&mut self, x: &str) -> Option<()> {
        let proto = &self.of.proto;
        let labels = node::ints(proto, "classlabels_ints").unwrap_or_default();
        let activation = match node::text(proto, "post_transform") {
            "" | "NONE" => "Identity",
            "SOFTMAX" => "Softmax",
            "LOGISTIC" => "Sigmoid",
            _ => return None,
        };
        let label = output(proto, 0);
        if labels.len() < 2 {
            return None;
        }
        let z = self.inner("z");
        self.linear(x, labels.len(), &z)?;
        if let Some(scores) = output(proto, 1) {
            let axis = (activation == "Softmax").then(|| node::with_int("axis", -1));
            self.node(activation, &[&z], scores, axis.into_iter().collect());
        }
        if let Some(label) = label {
            let place = self.inner("place");
            let attributes = vec![node::with_int("axis", -1), node::with_int("keepdims", 0)];
            self.node("ArgMax", &[&z], &place, attributes);
            let labels = self.constant(tensor::of_ints(&self.inner("labels"), &[labels.len()], labels));
            self.node("Gather", &[&labels, &place], label, vec![]);
        }
        Some(())
    }

    fn normalizer(&mut self, x: &str, nodes: &[Node]) -> Option<()> {
        let result = output(&self.of.proto, 0)?;
        let before = nodes.iter().rev().find(|node| node.proto.output.iter().any(|output| output == x));
        if before.is_some_and(|node| node::is_standard(&node.proto) && op(&node.proto) == "Softmax") {
            self.node("Identity", &[x], result, vec![]);
            return Some(());
        }
        let x = self.as_floats(x);
        let (sizes, sum) = (self.inner("sizes"), self.inner("sum"));
        let last = self.constant(tensor::of_ints(&self.inner("last"), &[1], &[-1]));
        self.node("Abs", &[&x], &sizes, vec![]);
        self.node("ReduceSum", &[&sizes, &last], &sum, vec![node::with_int("keepdims", 1)]);
        self.node("Div", &[&x, &sum], result, vec![]);
        Some(())
    }

    /// Of a list in the file, such as that of the labels: its result is one row.
    fn extractor(&mut self, x: &str, leaves: &[Leaf]) -> Option<()> {
        let proto = &self.of.proto;
        let list = leaves.iter().find(|leaf| leaf.tensor.name.as_deref() == Some(x))?;
        if list.tensor.dims.len() != 1 {
            return None;
        }
        let row = self.constant(tensor::of_ints(&self.inner("row"), &[2], &[1, -1]));
        let places = self.inner("places");
        self.node("Reshape", &[input(proto, 1)?, &row], &places, vec![]);
        self.node("Gather", &[x, &places], output(proto, 0)?, vec![]);
        Some(())
    }

    /// `x · coefficientsᵀ + intercepts`, with a row of coefficients for each of `rows`.
    fn linear(&mut self, x: &str, rows: usize, result: &str) -> Option<()> {
        let (coefficients, intercepts) =
            (floats(&self.of.proto, "coefficients"), floats(&self.of.proto, "intercepts"));
        let columns = coefficients.len().checked_div(rows)?;
        let fits = columns > 0 && columns * rows == coefficients.len();
        if !fits || !(intercepts.is_empty() || intercepts.len() == rows) {
            return None;
        }
        let x = self.as_floats(x);
        let mut inputs = vec![x, self.weight("coefficients", &[rows, columns], coefficients)];
        if !intercepts.is_empty() {
            inputs.push(self.weight("intercepts", &[rows], intercepts));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.node("Gemm", &inputs, result, vec![node::with_int("transB", 1)]);
        Some(())
    }

    /// These operators take numbers of several types.
    fn as_floats(&mut self, x: &str) -> String {
        let name = self.inner("x");
        self.node("Cast", &[x], &name, vec![node::with_int("to", DataType::Float as i64)]);
        name
    }

    fn weight(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let node = self.of.proto.name.as_deref().filter(|name| !name.is_empty());
        let name = format!("{}.{name}", node.or(output(&self.of.proto, 0)).unwrap_or_default());
        self.leaves.push(Leaf { tensor: tensor::of_floats(&name, dims, values), from_node: false });
        name
    }

    fn constant(&mut self, tensor: TensorProto) -> String {
        let name = tensor.name.clone().unwrap_or_default();
        self.leaves.push(Leaf { tensor, from_node: true });
        name
    }

    fn node(&mut self, operator: &str, inputs: &[&str], result: &str, attribute: Vec<AttributeProto>) {
        let proto = NodeProto {
            op_type: Some(operator.to_owned()),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![result.to_owned()],
            attribute,
            ..NodeProto::default()
        };
        self.nodes.push(Node { proto, place: self.of.place.clone() });
    }

    /// The name of a value that only this form has.
    fn inner(&self, what: &str) -> String {
        let output = self.of.proto.output.iter().find(|name| !name.is_empty());
        format!("{}:{what}", output.map_or("", String::as_str))
    }
}

fn floats<'a>(proto: &'a NodeProto, name: &str) -> &'a [f32] {
    attribute(proto, name).map_or(&[], |attribute| &attribute.floats)
}
