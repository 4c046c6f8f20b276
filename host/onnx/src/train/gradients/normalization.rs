//! Normalisation, `y = scale · x̂ + bias` with `x̂ = (x − mean) / √(variance + ε)`: its training form and its gradient.
//!
//! Over the `m` elements that share a mean (Ioffe and Szegedy 2015, <https://arxiv.org/abs/1502.03167>, section 3):
//! `dscale = Σ g·x̂`, `dbias = Σ g`, and with `h = g · scale`, `dx = (h − mean(h) − x̂ · mean(h·x̂)) / √(variance + ε)`.

use crate::train::backward::{Backward, Normalised, Step};
use crate::train::error::TrainError;
use crate::train::graph::Graph;
use crate::train::node;
use crate::train::shapes::axis;

use super::elementwise::give;

type Done = Result<(), TrainError>;

/// What the training form of a batch normalisation gives beside its output.
pub struct BatchForm {
    /// For the gradient.
    pub normalised: Normalised,
    /// The running mean after this batch.
    pub mean: String,
    /// The running variance after this batch.
    pub variance: String,
}

/// Writes the training form of a `BatchNormalization`: statistics of the batch, which the running ones follow.
///
/// As PyTorch has it: the batch is normalised by the variance of its values, while the running variance follows
/// the unbiased estimate, `m / (m − 1)` times as large (`torch.nn.BatchNorm2d`). ONNX's `momentum` is the share of
/// the old value, 0.9 if not given.
pub fn batch_form(graph: &mut Graph, step: &Step, rank: usize) -> Result<BatchForm, TrainError> {
    let axes: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
    let x = step.input(0)?;
    let (mean, variance, normalised) = normalise(graph, step, &axes, 1e-5)?;
    let (scale, bias) = (per_channel(graph, step.input(1)?, rank), per_channel(graph, step.input(2)?, rank));
    let scaled = graph.mul(&normalised.x_hat, &scale);
    graph.op_as("Add", &[&scaled, &bias], vec![], step.output()?);

    let kept = node::float(step.proto(), "momentum").unwrap_or(0.9);
    let (mean, variance) = (graph.reshape(&mean, &[-1]), graph.reshape(&variance, &[-1]));
    let (all, channels, one) = (graph.count(x), graph.count(&mean), graph.scalar(1.0));
    let m = graph.div(&all, &channels);
    let less = graph.sub(&m, &one);
    let less = graph.op("Max", &[&less, &one], vec![]);
    let correction = graph.div(&m, &less);
    let unbiased = graph.mul(&variance, &correction);
    let mut follow = |running: &str, of_batch: &str| {
        let old = graph.scale(running, kept);
        let new = graph.scale(of_batch, 1.0 - kept);
        graph.add(&old, &new)
    };
    let (mean, variance) = (follow(step.input(3)?, &mean), follow(step.input(4)?, &unbiased));
    Ok(BatchForm { normalised, mean, variance })
}

/// Writes a `LayerNormalization` so that its gradient finds x̂.
pub fn layer_form(graph: &mut Graph, step: &Step, rank: usize) -> Result<Normalised, TrainError> {
    if step.proto().output.iter().skip(1).any(|name| !name.is_empty()) {
        return Err(step.refuse("it gives its mean and deviation too; export it without"));
    }
    let axes: Vec<i64> = layer_axes(step, rank)?.map(|at| at as i64).collect();
    let (_, _, normalised) = normalise(graph, step, &axes, 1e-5)?;
    let scaled = ("Mul", [normalised.x_hat.as_str(), step.input(1)?]);
    match node::input(step.proto(), 2) {
        Some(bias) => {
            let scaled = graph.op(scaled.0, &scaled.1, vec![]);
            graph.op_as("Add", &[&scaled, bias], vec![], step.output()?);
        }
        None => graph.op_as(scaled.0, &scaled.1, vec![], step.output()?),
    }
    Ok(normalised)
}

fn layer_axes(step: &Step, rank: usize) -> Result<std::ops::Range<usize>, TrainError> {
    let at = axis(node::int(step.proto(), "axis").unwrap_or(-1), rank);
    Ok(at.ok_or_else(|| step.refuse("its axis is none of its input's"))?..rank)
}

/// Mean, variance and x̂ of the first input over `axes`.
fn normalise(
    graph: &mut Graph,
    step: &Step,
    axes: &[i64],
    epsilon: f32,
) -> Result<(String, String, Normalised), TrainError> {
    let x = step.input(0)?;
    let epsilon = graph.scalar(node::float(step.proto(), "epsilon").unwrap_or(epsilon));
    let mean = graph.reduce("ReduceMean", x, axes);
    let centred = graph.sub(x, &mean);
    let squares = graph.mul(&centred, &centred);
    let variance = graph.reduce("ReduceMean", &squares, axes);
    let safe = graph.add(&variance, &epsilon);
    let deviation = graph.unary("Sqrt", &safe);
    let inverse = graph.unary("Reciprocal", &deviation);
    let x_hat = graph.mul(&centred, &inverse);
    Ok((mean, variance, Normalised { x_hat, inverse }))
}

/// A vector with an element for each channel, as `[C, 1, …]`, which broadcasts over `[N, C, …]`.
fn per_channel(graph: &mut Graph, vector: &str, rank: usize) -> String {
    if rank <= 2 {
        return vector.to_owned();
    }
    let shape: Vec<i64> = std::iter::once(-1).chain(std::iter::repeat_n(1, rank - 2)).collect();
    graph.reshape(vector, &shape)
}

/// `BatchNormalization`, by the batch's statistics or, where those are frozen, by the running ones.
pub fn batch(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let rank = b.shape(step, step.input(0)?)?.len();
    let axes: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
    let normalised = match &step.normalised {
        Some(normalised) => normalised.clone(),
        None => by_running_statistics(b, step, rank)?,
    };
    if b.wants(step, 1) {
        let product = b.graph.mul(g, &normalised.x_hat);
        let gradient = b.graph.reduce_sum(&product, Some(&axes), false);
        b.give(step, 1, gradient)?;
    }
    if b.wants(step, 2) {
        let gradient = b.graph.reduce_sum(g, Some(&axes), false);
        b.give(step, 2, gradient)?;
    }
    if !b.wants(step, 0) {
        return Ok(());
    }
    let scale = per_channel(b.graph, step.input(1)?, rank);
    let h = b.graph.mul(g, &scale);
    let gradient = match step.normalised {
        Some(_) => input_gradient(b.graph, &h, &normalised, &axes),
        None => b.graph.mul(&h, &normalised.inverse),
    };
    give(b, step, gradient)
}

fn by_running_statistics(b: &mut Backward<'_>, step: &Step, rank: usize) -> Result<Normalised, TrainError> {
    let epsilon = b.graph.scalar(node::float(step.proto(), "epsilon").unwrap_or(1e-5));
    let mean = per_channel(b.graph, step.input(3)?, rank);
    let variance = per_channel(b.graph, step.input(4)?, rank);
    let safe = b.graph.add(&variance, &epsilon);
    let deviation = b.graph.unary("Sqrt", &safe);
    let inverse = b.graph.unary("Reciprocal", &deviation);
    let centred = b.graph.sub(step.input(0)?, &mean);
    let x_hat = b.graph.mul(&centred, &inverse);
    Ok(Normalised { x_hat, inverse })
}

/// `LayerNormalization`.
pub fn layer(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let shape = b.shape(step, step.input(0)?)?;
    let axes: Vec<i64> = layer_axes(step, shape.len())?.map(|at| at as i64).collect();
    let normalised = step.normalised.clone().ok_or_else(|| step.refuse("it has no training form"))?;
    if b.wants(step, 1) {
        let product = b.graph.mul(g, &normalised.x_hat);
        b.give_reduced(step, 1, product)?;
    }
    if b.wants(step, 2) {
        b.give_reduced(step, 2, g.to_owned())?;
    }
    if b.wants(step, 0) {
        let h = b.graph.mul(g, step.input(1)?);
        let gradient = input_gradient(b.graph, &h, &normalised, &axes);
        b.give(step, 0, gradient)?;
    }
    Ok(())
}

fn input_gradient(graph: &mut Graph, h: &str, normalised: &Normalised, axes: &[i64]) -> String {
    let mean = graph.reduce("ReduceMean", h, axes);
    let product = graph.mul(h, &normalised.x_hat);
    let along = graph.reduce("ReduceMean", &product, axes);
    let along = graph.mul(&normalised.x_hat, &along);
    let rest = graph.sub(h, &mean);
    let rest = graph.sub(&rest, &along);
    graph.mul(&rest, &normalised.inverse)
}
