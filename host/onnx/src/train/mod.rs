//! Training graphs out of an inference graph.
//!
//! ```text
//!  ModelProto ─▶ source ─▶ shapes ─▶ weights: which constants are trained
//!                                       │
//!               ┌───────────────────────┼────────────────────────────┐
//!      forward ─▶ loss ─▶ backward ─▶ optimizer            forward ─▶ loss   source, weights as inputs
//!               ▼                                               ▼            ▼
//!             train                                          evaluate      infer
//! ```
//!
//! The graphs are plain ONNX: whatever engine infers can train. A weight `NAME` is an input of its own name, and its
//! next value is the output `NAME.next`; what an optimiser, a batch normalisation or dropout remembers is weights too.
//! With `N` samples in a batch:
//!
//! | graph | inputs | outputs |
//! | --- | --- | --- |
//! | train | `x` as the model has it, `y`, `lr` f32 `[1]`, weights | `loss` f32 `[1]` (mean), `NAME.next` for each |
//! | evaluate | `x`, `y`, weights | `loss_sum` f32 `[1]`, and `correct` i64 `[1]` or `absolute_error_sum` f32 `[1]` |
//! | infer | the model's own, weights | the model's own |
//!
//! `y` is i64 `[N]` for classes, else f32 of the output's shape, `[N]` if that is one number per sample. Sums are
//! over the samples of a batch, so that batches add up. `sedge model trainable` calls [`trainable`]; it does no I/O.

mod backward;
mod classical;
mod dim;
mod dropout;
mod error;
mod forward;
mod freeze;
mod gradients;
mod graph;
mod loss;
mod node;
mod optimizer;
mod ports;
mod shapes;
mod source;
mod tensor;
mod upgrade;
mod weights;

use std::collections::{HashMap, HashSet};

use crate::proto::tensor_proto::DataType;
use crate::proto::{GraphProto, ModelProto, TensorProto, ValueInfoProto};

pub use error::{Place, TrainError};
pub use gradients::operators;
pub use loss::Loss;
pub use optimizer::Optimizer;

use backward::Backward;
use graph::Graph;
use loss::Target;
use shapes::{BATCH, Shapes};
use source::{Source, name_of};
use weights::Selection;

/// What to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What is minimised.
    pub loss: Loss,
    /// How weights move.
    pub optimizer: Optimizer,
    /// Patterns of weights that stay as they are; `*` is any text, `?` any character.
    pub freeze: Vec<String>,
    /// The value that the loss is put on; the model's only output of floats if none.
    pub output: Option<String>,
}

/// What a weight is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The optimiser moves it.
    Trained,
    /// A running mean or variance, which follows the batches.
    Statistic,
    /// What an optimiser or dropout remembers from step to step.
    State,
}

/// A weight and its first values.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// The name of the graphs' input.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// In row-major order.
    pub values: Vec<f32>,
    /// What it is there for.
    pub role: Role,
}

/// The graphs and the first weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Trainable {
    /// A step of training.
    pub train: ModelProto,
    /// Loss and right answers.
    pub evaluate: ModelProto,
    /// The model as it was, its weights inputs.
    pub infer: ModelProto,
    /// Every weight of `train`, in its inputs' order.
    pub weights: Vec<Weight>,
    /// Weights that stay constants, because a pattern says so.
    pub frozen: Vec<String>,
}

/// The names of what the graphs take and give besides weights.
const PORTS: [&str; 7] = ["x", "y", "lr", "loss", "loss_sum", "correct", "absolute_error_sum"];

/// Makes the training graphs of `model`.
pub fn trainable(model: ModelProto, options: &Options) -> Result<Trainable, TrainError> {
    options.optimizer.check()?;
    let mut source = Source::read(model)?;
    let input = only_input(&source)?;
    let shapes = Shapes::infer(&source, &input);
    upgrade::softmax(&mut source, &shapes)?;
    upgrade::spell_out(&mut source, &shapes);
    let output = loss::output(&source, options.output.as_deref())?;
    let z = options.loss.before_activation(&source, &output);
    let selection = weights::select(&source, &forward::leading_to(&source, &z), &options.freeze)?;

    // A weight keeps its name in all graphs, so it gives way where the contract has a name of its own.
    let first = names_of_weights(&source, &selection);
    source.rename(&first);
    let renamed = |name: &String| first.get(name).cloned().unwrap_or_else(|| name.clone());
    let mut selection = Selection {
        trained: selection.trained.iter().map(renamed).collect(),
        statistics: selection.statistics.iter().map(renamed).collect(),
        ..selection
    };
    let infer = infer(&source, &selection)?;
    let names = rename_values(&mut source, &selection, &input);
    let renamed = |name: String| names.get(&name).cloned().unwrap_or(name);
    selection.by_batch = selection.by_batch.into_iter().map(renamed).collect();
    let z = renamed(z);
    let shapes = Shapes::infer(&source, "x");
    let target = target(&shapes, z)?;

    let evaluate = evaluate(&source, &selection, &shapes, &target, options.loss)?;
    let (train, states) = train(&source, &selection, &shapes, &target, options)?;
    let mut weights = selected(&source, &selection)?;
    weights.extend(states);
    Ok(Trainable { train, evaluate, infer, weights, frozen: selection.frozen })
}

/// The name of the input that samples go to.
fn only_input(source: &Source) -> Result<String, TrainError> {
    match source.inputs.as_slice() {
        [one] => Ok(name_of(one).to_owned()),
        inputs => {
            let names = inputs.iter().map(name_of).collect::<Vec<_>>().join(", ");
            Err(TrainError::Ends(format!(
                "a training graph takes one input `x`, but the model has {}: {names}",
                inputs.len()
            )))
        }
    }
}

/// New names of weights that are called like a port of the graphs.
fn names_of_weights(source: &Source, selection: &Selection) -> HashMap<String, String> {
    let mut taken = source.names();
    let weights = selection.trained.iter().chain(&selection.statistics);
    let clashing = weights.filter(|name| PORTS.contains(&name.as_str()) || *name == "__metadata__");
    clashing.map(|name| (name.clone(), unlike(&mut taken, &format!("{name}.weight")))).collect()
}

/// Calls the input `x`, and what is in the way of the contract's names something else; the new names.
fn rename_values(source: &mut Source, selection: &Selection, input: &str) -> HashMap<String, String> {
    let mut taken = source.names();
    let weights: HashSet<&str> =
        selection.trained.iter().chain(&selection.statistics).map(String::as_str).collect();
    let next = weights.iter().map(|name| format!("{name}.next"));
    let reserved: Vec<String> = PORTS.iter().map(|&name| name.to_owned()).chain(next).collect();
    taken.extend(reserved.iter().cloned());
    let present = source.names();
    let clashing = reserved.iter().filter(|name| present.contains(*name) && *name != input);
    let mut names: HashMap<String, String> =
        clashing.map(|name| (name.clone(), unlike(&mut taken, &format!("{name}.value")))).collect();
    names.insert(input.to_owned(), "x".to_owned());
    source.rename(&names);
    names
}

fn unlike(taken: &mut HashSet<String>, wanted: &str) -> String {
    let mut name = wanted.to_owned();
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// The value that the loss is put on, which must have the samples as its first axis.
fn target(shapes: &Shapes, z: String) -> Result<Target, TrainError> {
    let shape = shapes.of(&z).cloned().ok_or_else(|| {
        TrainError::Ends(format!(
            "the shape of \"{z}\", on which the loss is put, cannot be told: export the model with the shapes of its \
             values"
        ))
    })?;
    match shape.first() {
        Some(first) if first.size().is_none() => Ok(Target { z, shape }),
        Some(first) => Err(TrainError::Ends(format!(
            "the model gives {} rows whatever the batch: export it with a batch of any size (dynamic_axes or \
             dynamic_shapes in PyTorch)",
            first.size().unwrap_or_default()
        ))),
        None => Err(TrainError::Ends(format!("\"{z}\", on which the loss is put, has no axis of samples"))),
    }
}

/// The selected weights and their first values.
fn selected(source: &Source, selection: &Selection) -> Result<Vec<Weight>, TrainError> {
    let trained = selection.trained.iter().map(|name| (name, Role::Trained));
    let statistics = selection.statistics.iter().map(|name| (name, Role::Statistic));
    trained
        .chain(statistics)
        .map(|(name, role)| {
            let tensor = source.leaf(name).map(|leaf| &leaf.tensor);
            let external = tensor.is_some_and(tensor::is_external);
            let read = tensor.and_then(|tensor| Some((tensor::shape(tensor)?.0, tensor::floats(tensor)?)));
            let (shape, values) = read.ok_or_else(|| {
                TrainError::File(crate::OnnxError::malformed(match external {
                    true => format!("the values of \"{name}\" lie in another file"),
                    false => format!("\"{name}\" has not as many values as its shape says"),
                }))
            })?;
            Ok(Weight { name: name.clone(), shape, values, role })
        })
        .collect()
}

fn ports_of(source: &Source, selection: &Selection) -> Vec<ValueInfoProto> {
    let names = selection.trained.iter().chain(&selection.statistics);
    let shape =
        |name: &String| source.leaf(name).and_then(|leaf| tensor::shape(&leaf.tensor)).unwrap_or_default().0;
    names.map(|name| ports::fixed(name, DataType::Float, &shape(name))).collect()
}

/// `x`, as the model declares its input, for any number of samples.
fn x_port(source: &Source, shapes: &Shapes) -> Result<ValueInfoProto, TrainError> {
    let data_type = source.inputs.first().and_then(ports::elem_type).unwrap_or(DataType::Float.into());
    let shape = shapes.of("x").filter(|shape| shape.first() == Some(&dim::Dim::symbol(BATCH)));
    let shape = shape.ok_or_else(|| {
        TrainError::Ends("the model does not say how many axes its input has, or it has none".to_owned())
    })?;
    Ok(ports::samples("x", data_type, &shape[1..]))
}

fn train(
    source: &Source,
    selection: &Selection,
    shapes: &Shapes,
    target: &Target,
    options: &Options,
) -> Result<(ModelProto, Vec<Weight>), TrainError> {
    let mut graph = Graph::new(source.opset, reserved(source, selection));
    let nodes = forward::leading_to(source, &target.z);
    let pass = forward::train(&mut graph, source, &nodes, shapes, selection)?;
    let seed = options.loss.train(&mut graph, target)?;
    let wanted = forward::depending(&nodes, &selection.trained);
    let constants =
        source.leaves.iter().map(|leaf| (leaf.tensor.name.as_deref().unwrap_or_default(), &leaf.tensor));
    let constants = constants.filter(|(name, _)| !wanted.contains(*name)).collect();
    let seed = (target.z.clone(), seed);
    let back = Backward::new(&mut graph, shapes, constants, &wanted, seed).run(&pass.steps);
    let gradients = back.map_err(|error| match error {
        TrainError::NotDifferentiable { place, .. } => {
            let weights = forward::weights_before(&nodes, place.index, &selection.trained);
            TrainError::NotDifferentiable { place, weights }
        }
        other => other,
    })?;

    let mut moved = Vec::new();
    for name in &selection.trained {
        let shape = source.leaf(name).and_then(|leaf| tensor::shape(&leaf.tensor)).unwrap_or_default().0;
        let gradient = gradients.get(name).cloned().ok_or_else(|| {
            TrainError::NoWeights(format!(
                "the loss has no gradient by \"{name}\", which it uses only through steps or comparisons: freeze it"
            ))
        })?;
        moved.push((name.clone(), shape, gradient));
    }
    let mut states: Vec<Weight> = Vec::new();
    let zeros = |name: String, shape: Vec<usize>| {
        let values = vec![0.0; shape.iter().product()];
        Weight { name, shape, values, role: Role::State }
    };
    states.extend(
        options.optimizer.write(&mut graph, &moved).into_iter().map(|state| zeros(state.name, state.shape)),
    );
    if let Some(name) = pass.counter {
        let one = graph.scalar(1.0);
        graph.op_as("Add", &[&name, &one], vec![], &format!("{name}.next"));
        states.push(zeros(name, vec![1]));
    }

    let mut inputs = vec![
        x_port(source, shapes)?,
        y_port(options.loss, target),
        ports::fixed("lr", DataType::Float, &[1]),
    ];
    let mut outputs = vec![ports::fixed("loss", DataType::Float, &[1])];
    let state_ports = states.iter().map(|state| ports::fixed(&state.name, DataType::Float, &state.shape));
    for port in ports_of(source, selection).into_iter().chain(state_ports) {
        outputs.push(ValueInfoProto { name: Some(format!("{}.next", name_of(&port))), ..port.clone() });
        inputs.push(port);
    }
    Ok((finish(source, selection, graph, "train", inputs, outputs), states))
}

fn evaluate(
    source: &Source,
    selection: &Selection,
    shapes: &Shapes,
    target: &Target,
    loss: Loss,
) -> Result<ModelProto, TrainError> {
    let mut graph = Graph::new(source.opset, reserved(source, selection));
    forward::infer(&mut graph, &forward::leading_to(source, &target.z));
    let sums = loss.evaluate(&mut graph, target)?;
    let mut inputs = vec![x_port(source, shapes)?, y_port(loss, target)];
    inputs.extend(ports_of(source, selection));
    let outputs = sums.into_iter().map(|(name, data_type)| ports::fixed(name, data_type, &[1])).collect();
    Ok(finish(source, selection, graph, "evaluate", inputs, outputs))
}

fn infer(source: &Source, selection: &Selection) -> Result<ModelProto, TrainError> {
    let mut graph = Graph::new(source.opset, HashSet::new());
    graph.nodes = source.nodes.iter().map(|node| node.proto.clone()).collect();
    let inputs = source.inputs.iter().cloned().chain(ports_of(source, selection)).collect();
    Ok(finish(source, selection, graph, "infer", inputs, source.outputs.clone()))
}

fn y_port(loss: Loss, target: &Target) -> ValueInfoProto {
    let (data_type, rest) = loss.labels(target);
    ports::samples("y", data_type.into(), &rest)
}

/// The names that no value of a new graph may have.
fn reserved(source: &Source, selection: &Selection) -> HashSet<String> {
    let mut names = source.names();
    names.extend(PORTS.iter().map(|&name| name.to_owned()));
    names.extend(selection.trained.iter().chain(&selection.statistics).map(|name| format!("{name}.next")));
    names
}

/// The file of a graph that was written.
fn finish(
    source: &Source,
    selection: &Selection,
    mut graph: Graph,
    name: &str,
    input: Vec<ValueInfoProto>,
    output: Vec<ValueInfoProto>,
) -> ModelProto {
    let outputs: HashSet<String> = output.iter().map(|info| name_of(info).to_owned()).collect();
    forward::prune(&mut graph, &outputs);
    let weights: HashSet<&str> =
        selection.trained.iter().chain(&selection.statistics).map(String::as_str).collect();
    let read: HashSet<&str> =
        graph.nodes.iter().flat_map(node::reads).chain(outputs.iter().map(String::as_str)).collect();
    let is_read = |tensor: &&TensorProto| {
        let name = tensor.name.as_deref().unwrap_or_default();
        read.contains(name) && !weights.contains(name)
    };
    let leaves = source.leaves.iter().map(|leaf| &leaf.tensor);
    let initializer = leaves.filter(is_read).cloned().chain(graph.constants.iter().cloned()).collect();
    let graph = GraphProto {
        name: Some(name.to_owned()),
        node: graph.nodes,
        initializer,
        input,
        output,
        ..GraphProto::default()
    };
    let mut model = source.header.clone();
    for set in &mut model.opset_import {
        if matches!(set.domain.as_deref(), None | Some("" | "ai.onnx")) {
            set.version = Some(source.opset);
        }
    }
    model.training_info.clear();
    model.producer_name = Some("sedge".to_owned());
    model.producer_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    model.graph = Some(graph);
    model
}

#[cfg(test)]
mod tests;
