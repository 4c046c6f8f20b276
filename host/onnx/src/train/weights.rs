//! Which of a file's constants are weights.
//!
//! A constant of floats is a weight if the loss depends on it through operators of shape alone (`Identity`,
//! `Transpose`, `Reshape`, …) and one of these:
//! - it has an axis and stands where an operator has a parameter: kernel or bias of `Conv`, `ConvTranspose` and
//!   `Gemm`, an operand of `MatMul`, what is added to the product of one of these, scale or bias of a normalisation,
//!   the rows of `Gather`, the slope of `PRelu`; or
//! - it is an initializer (not a `Constant` node) of two elements or more, and an operand of `Add`, `Sub`, `Mul`,
//!   `Div`, `Sum`, `Where` or `Concat`.
//!
//! So a divisor of one element, an exponent, a bound or a shape stays what it is. What is a weight by this rule and
//! should not be trained is frozen by its name. The running mean and variance of a batch normalisation are weights of
//! their own kind: they follow the batches.

use std::collections::{HashMap, HashSet};

use crate::proto::TensorProto;
use crate::proto::tensor_proto::DataType;

use super::error::TrainError;
use super::freeze;
use super::node::{self, op};
use super::source::{Node, Source};
use super::tensor;

/// What is trained and what is not.
#[derive(Debug, Default)]
pub struct Selection {
    /// Weights that the optimiser moves, in the file's order.
    pub trained: Vec<String>,
    /// Running statistics that follow the batches, in the file's order.
    pub statistics: Vec<String>,
    /// Weights that stay as they are, because a pattern says so.
    pub frozen: Vec<String>,
    /// Outputs of the batch normalisations that use the batch's statistics.
    pub by_batch: HashSet<String>,
}

/// Where a constant is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Constant,
    Operand,
    Parameter,
}

/// Operators that leave the elements of their first input as they are.
const VIEWS: &[&str] =
    &["Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Expand"];

/// Selects among the constants that `nodes` read, which are those that the loss depends on.
pub fn select(source: &Source, nodes: &[&Node], patterns: &[String]) -> Result<Selection, TrainError> {
    let readers = readers(nodes);
    let producers: HashMap<&str, &Node> = nodes
        .iter()
        .flat_map(|node| node.proto.output.iter().map(|output| (output.as_str(), *node)))
        .collect();
    let statistics = statistics(source, nodes)?;
    let is_statistic =
        |name: &str| statistics.iter().any(|(_, names)| names.iter().any(|other| other == name));

    let mut selection = Selection::default();
    let mut found = Vec::new();
    for leaf in &source.leaves {
        let name = leaf.tensor.name.as_deref().unwrap_or_default();
        let weight = is_float(&leaf.tensor)
            && !leaf.tensor.dims.is_empty()
            && !is_statistic(name)
            && match used(name, &readers, &producers, 0) {
                Use::Parameter => true,
                Use::Operand => !leaf.from_node && elements(&leaf.tensor) >= 2,
                Use::Constant => false,
            };
        if weight || is_statistic(name) {
            found.push((name, weight, &leaf.tensor));
        }
    }
    for pattern in patterns {
        if !found.iter().any(|(name, ..)| freeze::matches(pattern, name)) {
            let weights = found.iter().map(|(name, ..)| (*name).to_owned()).collect();
            return Err(TrainError::Pattern { pattern: pattern.clone(), weights });
        }
    }
    let frozen = |name: &str| patterns.iter().any(|pattern| freeze::matches(pattern, name));
    for (output, names) in &statistics {
        if !names.iter().any(|name| frozen(name)) && !selection.by_batch.insert(output.clone()) {
            unreachable!("a value is given once");
        }
    }
    let moving = |name: &str| {
        statistics.iter().any(|(output, names)| {
            selection.by_batch.contains(output) && names.iter().any(|other| other == name)
        })
    };
    for (name, weight, tensor) in found {
        let list = match (weight, frozen(name) || !(weight || moving(name))) {
            (_, true) => &mut selection.frozen,
            (true, false) => &mut selection.trained,
            (false, false) => &mut selection.statistics,
        };
        if tensor::data_type(tensor) != DataType::Float && !frozen(name) {
            let found = tensor::data_type(tensor).as_str_name().to_lowercase();
            return Err(TrainError::WeightType { name: name.to_owned(), found });
        }
        list.push(name.to_owned());
    }
    if selection.trained.is_empty() {
        let foreign = nodes.iter().find(|node| !node::is_standard(&node.proto));
        let why = match (selection.frozen.len(), foreign) {
            (0, Some(node)) => format!(
                "the model's weights are within the operator {} of {}, which is not differentiated: export it with \
                 ONNX's own operators, a linear model as MatMul and Add, for example as a network of no hidden layer",
                node.proto.op_type.as_deref().unwrap_or_default(),
                node.proto.domain.as_deref().unwrap_or_default(),
            ),
            (0, None) => {
                "the model has no weight that its output depends on: there is nothing to train".to_owned()
            }
            _ => "all weights are frozen: there is nothing to train".to_owned(),
        };
        return Err(TrainError::NoWeights(why));
    }
    Ok(selection)
}

type Readers<'a> = HashMap<&'a str, Vec<(&'a Node, usize)>>;

fn readers<'a>(nodes: &[&'a Node]) -> Readers<'a> {
    let mut readers = Readers::new();
    for node in nodes {
        for (at, input) in node.proto.input.iter().enumerate() {
            readers.entry(input).or_default().push((node, at));
        }
    }
    readers
}

/// The most that any use of a value says of it. Views of views are followed so deep and no deeper.
fn used(name: &str, readers: &Readers<'_>, producers: &HashMap<&str, &Node>, depth: usize) -> Use {
    const MAX_VIEWS: usize = 16;
    let uses = readers.get(name).into_iter().flatten().map(|&(node, at)| {
        let op = if node::is_standard(&node.proto) { op(&node.proto) } else { "" };
        match (op, at) {
            (view, 0) if VIEWS.contains(&view) && depth < MAX_VIEWS => node::output(&node.proto, 0)
                .map_or(Use::Constant, |view| used(view, readers, producers, depth + 1)),
            ("Gemm" | "MatMul", _) | ("Gather", 0) | ("PRelu", 1) => Use::Parameter,
            ("Conv" | "ConvTranspose" | "BatchNormalization" | "LayerNormalization", 1 | 2)
            | ("InstanceNormalization" | "GroupNormalization", 1 | 2) => Use::Parameter,
            ("Add", at) => {
                let other = node::input(&node.proto, 1 - at.min(1)).and_then(|other| producers.get(other));
                match other.map(|node| node::op(&node.proto)) {
                    Some("MatMul" | "Gemm" | "Conv" | "ConvTranspose") => Use::Parameter,
                    _ => Use::Operand,
                }
            }
            ("Sub" | "Mul" | "Div" | "Sum" | "Concat", _) | ("Where", 1 | 2) => Use::Operand,
            _ => Use::Constant,
        }
    });
    uses.max().unwrap_or(Use::Constant)
}

/// The running mean and variance of each batch normalisation, by its output.
fn statistics(source: &Source, nodes: &[&Node]) -> Result<Vec<(String, [String; 2])>, TrainError> {
    let mut all: Vec<(String, [String; 2])> = Vec::new();
    for node in nodes {
        if op(&node.proto) != "BatchNormalization" || !node::is_standard(&node.proto) {
            continue;
        }
        let (Some(output), Some(mean), Some(variance)) =
            (node::output(&node.proto, 0), node::input(&node.proto, 3), node::input(&node.proto, 4))
        else {
            return Err(node.refuse("it lacks its mean or variance"));
        };
        if [mean, variance].iter().any(|name| source.leaf(name).is_none()) {
            return Err(node.refuse("its running mean and variance are not initializers"));
        }
        let names = [mean.to_owned(), variance.to_owned()];
        if all.iter().any(|(_, others)| others.iter().any(|other| names.contains(other))) {
            return Err(node.refuse(format!(
                "it shares its running statistics with another node: freeze \"{mean}\" and \"{variance}\""
            )));
        }
        all.push((output.to_owned(), names));
    }
    Ok(all)
}

fn is_float(tensor: &TensorProto) -> bool {
    matches!(
        tensor::data_type(tensor),
        DataType::Float | DataType::Double | DataType::Float16 | DataType::Bfloat16
    )
}

fn elements(tensor: &TensorProto) -> usize {
    tensor::shape(tensor).map_or(0, |(_, elements)| elements)
}
