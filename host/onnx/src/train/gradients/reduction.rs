//! Sums and means over axes.

use crate::train::backward::{Backward, Step};
use crate::train::dim::elements;
use crate::train::error::TrainError;
use crate::train::node;

use super::elementwise::give;

type Done = Result<(), TrainError>;

/// Every element of a sum has the sum's gradient.
pub fn sum(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let axes = axes(b, step)?;
    let g = with_axes(b, step, g, &axes)?;
    let x = step.input(0)?;
    let gradient = b.graph.expand_like(&g, x, b.shapes.of(x));
    give(b, step, gradient)
}

/// Every element of a mean has the mean's gradient, divided by their number.
pub fn mean(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let axes = axes(b, step)?;
    let g = with_axes(b, step, g, &axes)?;
    spread_mean(b, step, &g, &axes)
}

/// The gradient of a mean over `axes`, which `g` still has, with size 1.
pub fn spread_mean(b: &mut Backward<'_>, step: &Step, g: &str, axes: &[usize]) -> Done {
    let x = step.input(0)?;
    let shape = b.shape(step, x)?;
    let reduced: Vec<_> = axes.iter().map(|&at| shape[at].clone()).collect();
    let share = match elements(&reduced).and_then(|dim| dim.size()) {
        Some(count) => b.graph.scale(g, 1.0 / count.max(1) as f32),
        None => {
            let (whole, left) = (b.graph.count(x), b.graph.count(g));
            let count = b.graph.div(&whole, &left);
            b.graph.div(g, &count)
        }
    };
    let gradient = b.graph.expand_like(&share, x, Some(&shape));
    give(b, step, gradient)
}

fn axes(b: &Backward<'_>, step: &Step) -> Result<Vec<usize>, TrainError> {
    let rank = b.shape(step, step.input(0)?)?.len();
    let axes = b.shapes.reduced_axes(step.proto(), rank);
    axes.ok_or_else(|| step.refuse("its axes are known only when it is computed"))
}

/// `g` with the axes that the reduction took away.
fn with_axes(b: &mut Backward<'_>, step: &Step, g: &str, axes: &[usize]) -> Result<String, TrainError> {
    if node::int(step.proto(), "keepdims").unwrap_or(1) != 0 || axes.is_empty() {
        return Ok(g.to_owned());
    }
    Ok(b.graph.unsqueeze(g, &axes.iter().map(|&axis| axis as i64).collect::<Vec<_>>()))
}
