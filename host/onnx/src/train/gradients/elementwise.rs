//! Arithmetic and functions element by element, with broadcasting.

use std::f32::consts::PI;

use crate::train::backward::{Backward, Step};
use crate::train::error::TrainError;
use crate::train::node;
use crate::train::tensor;

type Done = Result<(), TrainError>;

/// Each operand of a sum has the sum's gradient.
pub fn add(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    for at in 0..step.proto().input.len() {
        if b.wants(step, at) {
            b.give_reduced(step, at, g.to_owned())?;
        }
    }
    Ok(())
}

/// `da = g`, `db = −g`.
pub fn sub(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    if b.wants(step, 0) {
        b.give_reduced(step, 0, g.to_owned())?;
    }
    if b.wants(step, 1) {
        let negative = b.graph.unary("Neg", g);
        b.give_reduced(step, 1, negative)?;
    }
    Ok(())
}

/// `da = g · b`, `db = g · a`.
pub fn mul(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    for (at, other) in [(0, 1), (1, 0)] {
        if b.wants(step, at) {
            let gradient = b.graph.mul(g, step.input(other)?);
            b.give_reduced(step, at, gradient)?;
        }
    }
    Ok(())
}

/// `da = g / b`, `db = −g · y / b`.
pub fn div(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let divisor = step.input(1)?;
    let quotient = b.graph.div(g, divisor);
    if b.wants(step, 1) {
        let product = b.graph.mul(&quotient, step.output()?);
        let negative = b.graph.unary("Neg", &product);
        b.give_reduced(step, 1, negative)?;
    }
    if b.wants(step, 0) {
        b.give_reduced(step, 0, quotient)?;
    }
    Ok(())
}

/// `da = g · b · aᵇ⁻¹`, `db = g · y · ln a`, the latter 0 where `a` is not positive: there it is not defined.
pub fn pow(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let (base, exponent) = (step.input(0)?, step.input(1)?);
    if b.wants(step, 0) {
        let slope = match b.fixed(exponent) {
            Some(2.0) => b.graph.scale(base, 2.0),
            Some(value) => {
                let less = b.graph.scalar(value - 1.0);
                let power = b.graph.op("Pow", &[base, &less], vec![]);
                b.graph.scale(&power, value)
            }
            None => {
                let one = b.graph.scalar(1.0);
                let less = b.graph.sub(exponent, &one);
                let power = b.graph.op("Pow", &[base, &less], vec![]);
                b.graph.mul(&power, exponent)
            }
        };
        let gradient = b.graph.mul(g, &slope);
        b.give_reduced(step, 0, gradient)?;
    }
    if b.wants(step, 1) {
        let (zero, one) = (b.graph.scalar(0.0), b.graph.scalar(1.0));
        let positive = b.graph.op("Greater", &[base, &zero], vec![]);
        let safe = b.graph.op("Where", &[&positive, base, &one], vec![]);
        let log = b.graph.unary("Log", &safe);
        let slope = b.graph.mul(step.output()?, &log);
        let gradient = b.graph.mul(g, &slope);
        b.give_reduced(step, 1, gradient)?;
    }
    Ok(())
}

/// `dx` is `g` where the condition holds, and the other's where not.
pub fn choose(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let condition = step.input(0)?;
    let zero = b.graph.scalar(0.0);
    if b.wants(step, 1) {
        let gradient = b.graph.op("Where", &[condition, g, &zero], vec![]);
        b.give_reduced(step, 1, gradient)?;
    }
    if b.wants(step, 2) {
        let gradient = b.graph.op("Where", &[condition, &zero, g], vec![]);
        b.give_reduced(step, 2, gradient)?;
    }
    Ok(())
}

/// `dx = g` where `x` lies between the bounds or on one, else 0. The bounds themselves are not trained.
pub fn clip(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let x = step.input(0)?;
    let mut gradient = g.to_owned();
    for (at, compare) in [(1, "GreaterOrEqual"), (2, "LessOrEqual")] {
        if let Some(bound) = node::input(step.proto(), at) {
            let inside = b.graph.op(compare, &[x, bound], vec![]);
            let inside = b.graph.to_float(&inside);
            gradient = b.graph.mul(&gradient, &inside);
        }
    }
    give(b, step, gradient)
}

/// `dx = −g`.
pub fn neg(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let gradient = b.graph.unary("Neg", g);
    give(b, step, gradient)
}

/// `dx = g · sign x`.
pub fn abs(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let sign = b.graph.unary("Sign", step.input(0)?);
    times(b, step, g, &sign)
}

/// `dx = g · y`.
pub fn exp(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    times(b, step, g, step.output()?)
}

/// `dx = g / x`.
pub fn log(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let gradient = b.graph.div(g, step.input(0)?);
    give(b, step, gradient)
}

/// `dx = g / 2y`.
pub fn sqrt(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let half = b.graph.scale(g, 0.5);
    let gradient = b.graph.div(&half, step.output()?);
    give(b, step, gradient)
}

/// `dx = −g · y²`.
pub fn reciprocal(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let y = step.output()?;
    let square = b.graph.mul(y, y);
    let negative = b.graph.unary("Neg", &square);
    times(b, step, g, &negative)
}

/// `dx = g · 2/√π · exp(−x²)`.
pub fn erf(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let x = step.input(0)?;
    let square = b.graph.mul(x, x);
    let negative = b.graph.unary("Neg", &square);
    let bell = b.graph.unary("Exp", &negative);
    let slope = b.graph.scale(&bell, 2.0 / PI.sqrt());
    times(b, step, g, &slope)
}

/// `dx = g · cos x`.
pub fn sin(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let slope = b.graph.unary("Cos", step.input(0)?);
    times(b, step, g, &slope)
}

/// `dx = −g · sin x`.
pub fn cos(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let sine = b.graph.unary("Sin", step.input(0)?);
    let slope = b.graph.unary("Neg", &sine);
    times(b, step, g, &slope)
}

/// The gradient of the first input, if it is wanted.
pub fn give(b: &mut Backward<'_>, step: &Step, gradient: String) -> Done {
    if b.wants(step, 0) { b.give(step, 0, gradient) } else { Ok(()) }
}

/// `dx = g · slope`.
pub fn times(b: &mut Backward<'_>, step: &Step, g: &str, slope: &str) -> Done {
    let gradient = b.graph.mul(g, slope);
    give(b, step, gradient)
}

impl Backward<'_> {
    /// The one number that a constant consists of.
    fn fixed(&self, name: &str) -> Option<f32> {
        let values = tensor::numbers(self.constants.get(name)?, 1)?;
        values.first().map(|&value| value as f32)
    }
}
