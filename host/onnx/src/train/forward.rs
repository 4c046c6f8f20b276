//! The forward pass of a training graph: the inference graph's nodes up to the loss, in their training forms.

use std::collections::HashSet;

use super::backward::Step;
use super::dropout::Counter;
use super::error::TrainError;
use super::gradients::normalization;
use super::graph::Graph;
use super::node::{self, op};
use super::shapes::Shapes;
use super::source::{Node, Source};
use super::weights::Selection;

/// The name of the weight that counts steps for dropout.
const STEP: &str = "dropout.step";

/// A forward pass that was written.
pub struct Forward {
    /// What to go back along.
    pub steps: Vec<Step>,
    /// Running statistics (name, value after the batch).
    pub statistics: Vec<(String, String)>,
    /// The weight that counts the steps, if there is dropout.
    pub counter: Option<String>,
}

/// The nodes that `target` depends on, in order.
pub fn leading_to<'a>(source: &'a Source, target: &str) -> Vec<&'a Node> {
    let mut needed: HashSet<&str> = HashSet::from([target]);
    let mut nodes: Vec<&Node> = Vec::new();
    for node in source.nodes.iter().rev() {
        if node.proto.output.iter().any(|output| needed.contains(output.as_str())) {
            needed.extend(node::reads(&node.proto));
            nodes.push(node);
        }
    }
    nodes.reverse();
    nodes
}

/// Operators whose output does not change with small changes of their inputs, or is no number of floats: no
/// gradient goes through them, and none is missed.
const FLAT: &[&str] = &[
    "And",
    "ArgMax",
    "ArgMin",
    "Ceil",
    "ConstantOfShape",
    "Equal",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "Range",
    "Round",
    "Shape",
    "Sign",
    "Size",
    "Xor",
];

/// The values that change with the trained weights, by way of floats.
pub fn depending(nodes: &[&Node], weights: &[String]) -> HashSet<String> {
    let mut wanted: HashSet<String> = weights.iter().cloned().collect();
    for node in nodes {
        let flat = node::is_standard(&node.proto) && FLAT.contains(&op(&node.proto));
        if !flat && node::reads(&node.proto).iter().any(|name| wanted.contains(*name)) {
            wanted.extend(node.proto.output.iter().cloned());
        }
    }
    wanted
}

/// Writes the nodes as they compute an inference. `LogSoftmax` is spelt out: some engines compute it as
/// `log(softmax(x))`, which is minus infinity where the probability rounds to zero.
pub fn infer(graph: &mut Graph, nodes: &[&Node]) {
    for node in nodes {
        infer_node(graph, node);
    }
}

fn infer_node(graph: &mut Graph, node: &Node) {
    match (op(&node.proto), node::input(&node.proto, 0), node::output(&node.proto, 0)) {
        ("LogSoftmax", Some(x), Some(y)) if node::is_standard(&node.proto) => {
            let axis = node::int(&node.proto, "axis").unwrap_or(-1);
            let most = graph.reduce("ReduceMax", x, &[axis]);
            let shifted = graph.sub(x, &most);
            let powers = graph.unary("Exp", &shifted);
            let total = graph.reduce_sum(&powers, Some(&[axis]), true);
            let log = graph.unary("Log", &total);
            graph.op_as("Sub", &[&shifted, &log], vec![], y);
        }
        _ => graph.nodes.push(node.proto.clone()),
    }
}

/// Writes the nodes as they compute in training: batch normalisation by the batch, dropout with its mask.
pub fn train(
    graph: &mut Graph,
    source: &Source,
    nodes: &[&Node],
    shapes: &Shapes,
    selection: &Selection,
) -> Result<Forward, TrainError> {
    let mut forward = Forward { steps: Vec::new(), statistics: Vec::new(), counter: None };
    let mut counter: Option<Counter> = None;
    for node in nodes {
        let mut step = Step { node: (*node).clone(), normalised: None };
        let output = node::output(&node.proto, 0).unwrap_or_default();
        let standard = node::is_standard(&node.proto);
        let rank = || -> Result<usize, TrainError> {
            let shape = step.input(0).ok().and_then(|name| shapes.of(name));
            shape.map(Vec::len).ok_or_else(|| step.refuse("the number of its input's axes is not known"))
        };
        match op(&node.proto) {
            "Identity" if source.dropouts.contains_key(output) => {
                let counter = match &mut counter {
                    Some(counter) => counter,
                    None => {
                        let name = graph.name(STEP);
                        forward.counter = Some(name.clone());
                        counter.insert(Counter::new(graph, &name))
                    }
                };
                let x = step.input(0)?;
                step.node.proto = counter.write(graph, x, output, source.dropouts[output]);
            }
            "BatchNormalization" if standard && selection.by_batch.contains(output) => {
                let form = normalization::batch_form(graph, &step, rank()?)?;
                forward.statistics.push((step.input(3)?.to_owned(), form.mean));
                forward.statistics.push((step.input(4)?.to_owned(), form.variance));
                step.normalised = Some(form.normalised);
            }
            "LayerNormalization" if standard => {
                step.normalised = Some(normalization::layer_form(graph, &step, rank()?)?);
            }
            _ => infer_node(graph, node),
        }
        forward.steps.push(step);
    }
    Ok(forward)
}

/// Weights among what a node depends on: what to freeze for it not to matter.
pub fn weights_before(nodes: &[&Node], index: usize, weights: &[String]) -> Vec<String> {
    let mut needed: HashSet<&str> = HashSet::new();
    for node in nodes.iter().rev() {
        let here = node.place.index == index;
        if here || node.proto.output.iter().any(|output| needed.contains(output.as_str())) {
            needed.extend(node::reads(&node.proto));
        }
    }
    weights.iter().filter(|name| needed.contains(name.as_str())).cloned().collect()
}

/// Takes away nodes of which nothing that is asked for depends.
pub fn prune(graph: &mut Graph, outputs: &HashSet<String>) {
    let mut needed: HashSet<String> = outputs.clone();
    let mut kept = Vec::with_capacity(graph.nodes.len());
    for proto in graph.nodes.drain(..).rev() {
        if proto.output.iter().any(|output| needed.contains(output)) {
            needed.extend(node::reads(&proto).into_iter().map(str::to_owned));
            kept.push(proto);
        }
    }
    kept.reverse();
    graph.nodes = kept;
    graph.constants.retain(|tensor| tensor.name.as_ref().is_some_and(|name| needed.contains(name)));
}
