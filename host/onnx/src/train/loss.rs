//! What is minimised, and what an evaluation counts. `z` is the model's output before its last activation where the
//! loss has that activation in it, `N` the samples of the batch.
//!
//! | loss | of a sample | its gradient by `z` |
//! | --- | --- | --- |
//! | softmax-cross-entropy | `−log softmax(z)[y]` | `softmax(z) − onehot(y)` |
//! | mse | mean over the outputs of `(z − y)²` | `2 (z − y) / outputs` |
//! | binary-cross-entropy | mean over the outputs of `max(z, 0) − z·y + log(1 + exp(−\|z\|))` | `(sigmoid(z) − y) / outputs` |
//!
//! The loss is the mean over the samples, so gradients are divided by `N`. Neither form overflows or takes the
//! logarithm of 0, however large `z` is (Goodfellow, Bengio, Courville, *Deep Learning*, 2016, 4.1 and 6.2.2).

use crate::proto::tensor_proto::DataType;

use super::dim::{Dim, Shape};
use super::error::TrainError;
use super::graph::Graph;
use super::node::{self, op};
use super::source::{Node, Source, name_of};

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// One class of several: `y` is i64 `[N]`, the indices of the classes.
    SoftmaxCrossEntropy,
    /// Numbers: `y` is f32, of the output's shape (`[N]` where the model gives one number per sample).
    Mse,
    /// Truth values, 0 or 1: `y` is f32, shaped as for [`Mse`](Self::Mse).
    BinaryCrossEntropy,
}

/// The value that the loss is put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub z: String,
    /// Its shape.
    pub shape: Shape,
}

impl Loss {
    /// The value before the last activation, going back from `output` through what changes nothing.
    pub fn before_activation(self, source: &Source, output: &str) -> String {
        let producer = |name: &str| -> Option<&Node> {
            source.nodes.iter().find(|node| node.proto.output.iter().any(|output| output == name))
        };
        let mut name = output.to_owned();
        while let Some(node) = producer(&name) {
            let Some(input) = node::input(&node.proto, 0) else { break };
            let is_float = || node::int(&node.proto, "to") == Some(DataType::Float as i64);
            match (op(&node.proto), self) {
                _ if !node::is_standard(&node.proto) => break,
                ("Identity", _) if !source.dropouts.contains_key(&name) => name = input.to_owned(),
                ("Cast", _) if is_float() && producer(input).is_some() => name = input.to_owned(),
                ("Softmax" | "LogSoftmax", Self::SoftmaxCrossEntropy)
                | ("Sigmoid", Self::BinaryCrossEntropy) => {
                    return input.to_owned();
                }
                _ => break,
            }
        }
        name
    }

    /// The type and shape of `y`, batch aside.
    pub fn labels(self, target: &Target) -> (DataType, Vec<Dim>) {
        match self {
            Self::SoftmaxCrossEntropy => (DataType::Int64, vec![]),
            Self::Mse | Self::BinaryCrossEntropy => {
                let rest = target.shape.get(1..).unwrap_or_default();
                let one = rest.iter().all(|dim| dim.is(1));
                (DataType::Float, if one { vec![] } else { rest.to_vec() })
            }
        }
    }

    /// Writes `loss`, the mean over the batch, and gives the gradient of `z`.
    pub fn train(self, graph: &mut Graph, target: &Target) -> Result<String, TrainError> {
        let z = target.z.as_str();
        match self {
            Self::SoftmaxCrossEntropy => {
                let parts = CrossEntropy::write(graph, target)?;
                let samples = graph.count("y");
                let loss = graph.div(&parts.sum, &samples);
                one_element(graph, &loss, "loss");
                let residual = graph.sub(&parts.p, &parts.one_hot);
                Ok(graph.div(&residual, &samples))
            }
            Self::Mse => {
                let difference = difference(graph, target);
                let (sum, count) = (sum_of_squares(graph, &difference), graph.count(z));
                let loss = graph.div(&sum, &count);
                one_element(graph, &loss, "loss");
                let twice = graph.scale(&difference, 2.0);
                Ok(graph.div(&twice, &count))
            }
            Self::BinaryCrossEntropy => {
                let y = labels_like(graph, target);
                let (sum, count) = (binary_sum(graph, z, &y), graph.count(z));
                let loss = graph.div(&sum, &count);
                one_element(graph, &loss, "loss");
                let p = graph.unary("Sigmoid", z);
                let residual = graph.sub(&p, &y);
                Ok(graph.div(&residual, &count))
            }
        }
    }

    /// Writes the sums of an evaluation and gives their names and types: `loss_sum`, and `correct` or another sum.
    pub fn evaluate(
        self,
        graph: &mut Graph,
        target: &Target,
    ) -> Result<Vec<(&'static str, DataType)>, TrainError> {
        let z = target.z.as_str();
        match self {
            Self::SoftmaxCrossEntropy => {
                let parts = CrossEntropy::write(graph, target)?;
                one_element(graph, &parts.sum, "loss_sum");
                let attributes = vec![node::with_int("axis", 1), node::with_int("keepdims", 0)];
                let answer = graph.op("ArgMax", &[z], attributes);
                let right = graph.op("Equal", &[&answer, "y"], vec![]);
                count_true(graph, &right);
                Ok(vec![("loss_sum", DataType::Float), ("correct", DataType::Int64)])
            }
            Self::Mse => {
                let difference = difference(graph, target);
                let sum = sum_of_squares(graph, &difference);
                per_sample(graph, &sum, z, "loss_sum");
                let distance = graph.unary("Abs", &difference);
                let sum = graph.reduce_sum(&distance, None, false);
                per_sample(graph, &sum, z, "absolute_error_sum");
                Ok(vec![("loss_sum", DataType::Float), ("absolute_error_sum", DataType::Float)])
            }
            Self::BinaryCrossEntropy => {
                let y = labels_like(graph, target);
                let sum = binary_sum(graph, z, &y);
                per_sample(graph, &sum, z, "loss_sum");
                // A sample is right where all its outputs are.
                let (answer, truth) = (graph.greater(z, 0.0), graph.greater(&y, 0.5));
                let wrong = graph.sub(&answer, &truth);
                let wrong = graph.unary("Abs", &wrong);
                let rows = graph.reshape(&wrong, &[0, -1]);
                let wrong = graph.reduce_sum(&rows, Some(&[1]), false);
                let half = graph.scalar(0.5);
                let right = graph.op("Less", &[&wrong, &half], vec![]);
                count_true(graph, &right);
                Ok(vec![("loss_sum", DataType::Float), ("correct", DataType::Int64)])
            }
        }
    }
}

/// The parts of a softmax cross-entropy.
struct CrossEntropy {
    p: String,
    one_hot: String,
    /// Over the batch.
    sum: String,
}

impl CrossEntropy {
    /// Log-softmax is spelt out as `z − max − log(sum(exp(z − max)))`: some engines compute ONNX's own as
    /// `log(softmax(z))`, which is minus infinity where the probability rounds to zero.
    fn write(graph: &mut Graph, target: &Target) -> Result<Self, TrainError> {
        let z = target.z.as_str();
        let classes = match target.shape.as_slice() {
            [_, classes] => classes.size(),
            _ => None,
        };
        let classes = classes.and_then(|classes| i64::try_from(classes).ok()).ok_or_else(|| {
            TrainError::Ends(format!(
                "softmax-cross-entropy is of scores [batch, classes] with a known number of classes, which \"{z}\" is not"
            ))
        })?;
        let (depth, off_on) = (graph.int(classes), graph.floats(&[2], &[0.0, 1.0]));
        let one_hot = graph.op("OneHot", &["y", &depth, &off_on], vec![node::with_int("axis", -1)]);
        let most = graph.reduce("ReduceMax", z, &[1]);
        let shifted = graph.sub(z, &most);
        let powers = graph.unary("Exp", &shifted);
        let total = graph.reduce_sum(&powers, Some(&[1]), true);
        let p = graph.div(&powers, &total);
        let log_total = graph.unary("Log", &total);
        let log_p = graph.sub(&shifted, &log_total);
        let of_label = graph.mul(&log_p, &one_hot);
        let likelihood = graph.reduce_sum(&of_label, None, false);
        Ok(Self { p, one_hot, sum: graph.unary("Neg", &likelihood) })
    }
}

/// `y` in the shape of `z`.
fn labels_like(graph: &mut Graph, target: &Target) -> String {
    let same = target.shape.len() == 1 || target.shape.iter().skip(1).any(|dim| !dim.is(1));
    if same { "y".to_owned() } else { graph.reshape_like("y", &target.z, Some(&target.shape)) }
}

fn difference(graph: &mut Graph, target: &Target) -> String {
    let y = labels_like(graph, target);
    graph.sub(&target.z, &y)
}

fn sum_of_squares(graph: &mut Graph, a: &str) -> String {
    let squares = graph.mul(a, a);
    graph.reduce_sum(&squares, None, false)
}

/// `Σ max(z, 0) − z·y + log(1 + exp(−|z|))`.
fn binary_sum(graph: &mut Graph, z: &str, y: &str) -> String {
    let one = graph.scalar(1.0);
    let positive = graph.unary("Relu", z);
    let product = graph.mul(z, y);
    let size = graph.unary("Abs", z);
    let power = graph.unary("Neg", &size);
    let power = graph.unary("Exp", &power);
    let power = graph.add(&power, &one);
    let log = graph.unary("Log", &power);
    let sum = graph.sub(&positive, &product);
    let sum = graph.add(&sum, &log);
    graph.reduce_sum(&sum, None, false)
}

/// A sum over outputs and samples as one over samples of the mean over outputs.
fn per_sample(graph: &mut Graph, sum: &str, z: &str, output: &str) {
    let count = graph.count(z);
    let mean = graph.div(sum, &count);
    let shape = graph.unary("Shape", z);
    let (start, end) = (graph.ints(&[0]), graph.ints(&[1]));
    let samples = graph.op("Slice", &[&shape, &start, &end], vec![]);
    let samples = graph.float_of(&samples);
    let sum = graph.mul(&mean, &samples);
    one_element(graph, &sum, output);
}

/// `correct`, i64 with one element.
fn count_true(graph: &mut Graph, right: &str) {
    let right = graph.float_of(right);
    let count = graph.reduce_sum(&right, Some(&[0]), true);
    let cast = vec![node::with_int("to", DataType::Int64 as i64)];
    graph.op_as("Cast", &[&count], cast, "correct");
}

fn one_element(graph: &mut Graph, a: &str, output: &str) {
    let shape = graph.ints(&[1]);
    graph.op_as("Reshape", &[a, &shape], vec![], output);
}

/// The output that the loss is put on: the one that is named, or the only one of floats.
pub fn output(source: &Source, named: Option<&str>) -> Result<String, TrainError> {
    use crate::proto::type_proto::Value;
    if let Some(name) = named {
        let given = source.nodes.iter().any(|node| node.proto.output.iter().any(|output| output == name));
        return match given {
            true => Ok(name.to_owned()),
            false => Err(TrainError::Ends(format!("no node of the model gives \"{name}\""))),
        };
    }
    let is_float =
        |info: &&crate::proto::ValueInfoProto| match info.r#type.as_ref().and_then(|of| of.value.as_ref()) {
            Some(Value::TensorType(kind)) => kind.elem_type == Some(DataType::Float.into()),
            _ => false,
        };
    let found: Vec<&str> = source.outputs.iter().filter(is_float).map(name_of).collect();
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => {
            Err(TrainError::Ends("the model has no output of float32 that a loss could be put on".to_owned()))
        }
        many => Err(TrainError::Ends(format!(
            "the model has several outputs: say which the loss is put on (--output): {}",
            many.join(", ")
        ))),
    }
}
