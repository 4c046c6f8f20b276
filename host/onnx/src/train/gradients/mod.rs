//! One rule for each operator: from the gradient of its output to those of its inputs, as ONNX nodes.
//!
//! In the rules' docs `g` is the gradient of the output `y`, and `dx` that of the input `x`. Derivatives without a
//! source are of school's calculus.

mod activation;
mod convolution;
mod elementwise;
mod gather;
mod linear;
mod movement;
pub mod normalization;
mod pooling;
mod reduction;
mod slicing;

use crate::proto::{AttributeProto, NodeProto};

use super::backward::{Backward, Step};
use super::error::TrainError;
use super::node::{self, op};
use super::shapes::Window;

/// Gives the gradients of a node's inputs that are wanted, from the gradient of its first output.
pub type Rule = fn(&mut Backward<'_>, &Step, &str) -> Result<(), TrainError>;

const RULES: &[(&str, Rule)] = &[
    ("Abs", elementwise::abs),
    ("Add", elementwise::add),
    ("AveragePool", pooling::average),
    ("BatchNormalization", normalization::batch),
    ("Cast", movement::cast),
    ("Clip", elementwise::clip),
    ("Concat", slicing::concat),
    ("Conv", convolution::conv),
    ("ConvTranspose", convolution::conv_transpose),
    ("Cos", elementwise::cos),
    ("Div", elementwise::div),
    ("Elu", activation::elu),
    ("Erf", elementwise::erf),
    ("Exp", elementwise::exp),
    ("Expand", movement::expand),
    ("Flatten", movement::reshape),
    ("Gather", gather::gather),
    ("Gelu", activation::gelu),
    ("Gemm", linear::gemm),
    ("GlobalAveragePool", pooling::global_average),
    ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", activation::hard_swish),
    ("Identity", movement::identity),
    ("LayerNormalization", normalization::layer),
    ("LeakyRelu", activation::leaky_relu),
    ("Log", elementwise::log),
    ("LogSoftmax", activation::log_softmax),
    ("MatMul", linear::matmul),
    ("MaxPool", pooling::max),
    ("Mul", elementwise::mul),
    ("Neg", elementwise::neg),
    ("PRelu", activation::prelu),
    ("Pad", slicing::pad),
    ("Pow", elementwise::pow),
    ("ReduceMean", reduction::mean),
    ("ReduceSum", reduction::sum),
    ("Reciprocal", elementwise::reciprocal),
    ("Relu", activation::relu),
    ("Reshape", movement::reshape),
    ("Sigmoid", activation::sigmoid),
    ("Sin", elementwise::sin),
    ("Slice", slicing::slice),
    ("Softmax", activation::softmax),
    ("Softplus", activation::softplus),
    ("Split", slicing::split),
    ("Sqrt", elementwise::sqrt),
    ("Squeeze", movement::reshape),
    ("Sub", elementwise::sub),
    ("Sum", elementwise::add),
    ("Tanh", activation::tanh),
    ("Transpose", movement::transpose),
    ("Unsqueeze", movement::reshape),
    ("Where", elementwise::choose),
];

/// The operators that can be differentiated.
pub fn operators() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

/// The rule of a node's operator.
pub fn rule(node: &NodeProto) -> Option<Rule> {
    if !node::is_standard(node) {
        return None;
    }
    RULES.iter().find(|(name, _)| *name == op(node)).map(|(_, rule)| *rule)
}

/// Whether the rule takes gradients of all outputs, not of the first alone.
pub fn of_all_outputs(node: &NodeProto) -> bool {
    op(node) == "Split"
}

/// Strides, dilations and pads, as attributes.
pub fn window_attributes(windows: &[Window]) -> Vec<AttributeProto> {
    let mut attributes = convolution::attributes(windows, 1);
    attributes.pop();
    attributes
}
