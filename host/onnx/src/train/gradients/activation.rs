//! Activations. Where the derivative can be told from the output, the input need not be kept.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use crate::train::backward::{Backward, Step};
use crate::train::error::TrainError;
use crate::train::node;

use super::elementwise::{give, times};

type Done = Result<(), TrainError>;

/// `dx = g` where `y > 0`, else 0; at 0 it is 0, as PyTorch and TensorFlow have it.
pub fn relu(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let mask = b.graph.greater(step.output()?, 0.0);
    times(b, step, g, &mask)
}

/// `dx = g` where `x > 0`, else `alpha · g`.
pub fn leaky_relu(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let alpha = node::float(step.proto(), "alpha").unwrap_or(0.01);
    let scaled = b.graph.scale(g, alpha);
    let gradient = where_positive(b, step, g, &scaled)?;
    give(b, step, gradient)
}

/// `dx = g` where `x > 0`, else `slope · g`; `dslope = Σ g · x` over the x that are not positive.
pub fn prelu(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let slope = step.input(1)?;
    if b.wants(step, 1) {
        let zero = b.graph.scalar(0.0);
        let product = b.graph.mul(g, step.input(0)?);
        let gradient = where_positive(b, step, &zero, &product)?;
        b.give_reduced(step, 1, gradient)?;
    }
    let scaled = b.graph.mul(g, slope);
    let gradient = where_positive(b, step, g, &scaled)?;
    give(b, step, gradient)
}

/// `dx = g` where `x > 0`, else `g · (y + alpha)`.
pub fn elu(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let alpha = b.graph.scalar(node::float(step.proto(), "alpha").unwrap_or(1.0));
    let slope = b.graph.add(step.output()?, &alpha);
    let scaled = b.graph.mul(g, &slope);
    let gradient = where_positive(b, step, g, &scaled)?;
    give(b, step, gradient)
}

fn where_positive(b: &mut Backward<'_>, step: &Step, then: &str, other: &str) -> Result<String, TrainError> {
    let zero = b.graph.scalar(0.0);
    let positive = b.graph.op("Greater", &[step.input(0)?, &zero], vec![]);
    Ok(b.graph.op("Where", &[&positive, then, other], vec![]))
}

/// `dx = g · y · (1 − y)`.
pub fn sigmoid(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let y = step.output()?;
    let one = b.graph.scalar(1.0);
    let rest = b.graph.sub(&one, y);
    let slope = b.graph.mul(y, &rest);
    times(b, step, g, &slope)
}

/// `dx = g · (1 − y²)`.
pub fn tanh(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let y = step.output()?;
    let one = b.graph.scalar(1.0);
    let square = b.graph.mul(y, y);
    let slope = b.graph.sub(&one, &square);
    times(b, step, g, &slope)
}

/// `dx = g · sigmoid x`.
pub fn softplus(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let slope = b.graph.unary("Sigmoid", step.input(0)?);
    times(b, step, g, &slope)
}

/// `dx = alpha · g` where `0 < y < 1`, else 0.
pub fn hard_sigmoid(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let y = step.output()?;
    let one = b.graph.scalar(1.0);
    let above = b.graph.greater(y, 0.0);
    let below = b.graph.op("Less", &[y, &one], vec![]);
    let below = b.graph.to_float(&below);
    let inside = b.graph.mul(&above, &below);
    let slope = b.graph.scale(&inside, node::float(step.proto(), "alpha").unwrap_or(0.2));
    times(b, step, g, &slope)
}

/// `y = x · clip(x/6 + 1/2, 0, 1)`: the slope is 0 below −3, 1 above 3, and `x/3 + 1/2` between.
pub fn hard_swish(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let x = step.input(0)?;
    let (half, high) = (b.graph.scalar(0.5), b.graph.scalar(3.0));
    let third = b.graph.scale(x, 1.0 / 3.0);
    let between = b.graph.add(&third, &half);
    let above = b.graph.greater(x, -3.0);
    let slope = b.graph.mul(&above, &between);
    let one = b.graph.scalar(1.0);
    let over = b.graph.op("Greater", &[x, &high], vec![]);
    let slope = b.graph.op("Where", &[&over, &one, &slope], vec![]);
    times(b, step, g, &slope)
}

/// `y = x · Φ(x)`, whose slope is `Φ(x) + x · φ(x)`; or the approximation by tanh (Hendrycks and Gimpel 2016,
/// <https://arxiv.org/abs/1606.08415>), `y = x · (1 + tanh u) / 2` with `u = √(2/π) · (x + 0.044715 x³)`.
pub fn gelu(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    const CUBIC: f32 = 0.044_715;
    let tanh = node::text(step.proto(), "approximate") == "tanh";
    let x = step.input(0)?;
    let graph = &mut *b.graph;
    let one = graph.scalar(1.0);
    let square = graph.mul(x, x);
    let (distribution, density) = if tanh {
        let root = (2.0 / PI).sqrt();
        let cubic = graph.scale(&square, CUBIC);
        let cubic = graph.add(&cubic, &one);
        let u = graph.mul(x, &cubic);
        let u = graph.scale(&u, root);
        let t = graph.unary("Tanh", &u);
        let distribution = graph.add(&t, &one);
        let distribution = graph.scale(&distribution, 0.5);
        let t_square = graph.mul(&t, &t);
        let rest = graph.sub(&one, &t_square);
        let inner = graph.scale(&square, 3.0 * CUBIC);
        let inner = graph.add(&inner, &one);
        let density = graph.mul(&rest, &inner);
        (distribution, graph.scale(&density, 0.5 * root))
    } else {
        let scaled = graph.scale(x, FRAC_1_SQRT_2);
        let erf = graph.unary("Erf", &scaled);
        let distribution = graph.add(&erf, &one);
        let distribution = graph.scale(&distribution, 0.5);
        let exponent = graph.scale(&square, -0.5);
        let bell = graph.unary("Exp", &exponent);
        (distribution, graph.scale(&bell, 1.0 / (2.0 * PI).sqrt()))
    };
    let weighted = graph.mul(x, &density);
    let slope = graph.add(&distribution, &weighted);
    times(b, step, g, &slope)
}

/// `dx = y · (g − Σ g · y)`, the sum over the axis.
pub fn softmax(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let (y, axis) = (step.output()?, node::int(step.proto(), "axis").unwrap_or(-1));
    let weighted = b.graph.mul(g, y);
    let sum = b.graph.reduce_sum(&weighted, Some(&[axis]), true);
    let rest = b.graph.sub(g, &sum);
    times(b, step, &rest, y)
}

/// `dx = g − exp(y) · Σ g`, the sum over the axis.
pub fn log_softmax(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let axis = node::int(step.proto(), "axis").unwrap_or(-1);
    let sum = b.graph.reduce_sum(g, Some(&[axis]), true);
    let p = b.graph.unary("Exp", step.output()?);
    let share = b.graph.mul(&p, &sum);
    let gradient = b.graph.sub(g, &share);
    give(b, step, gradient)
}
