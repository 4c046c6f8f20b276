//! Parts of a tensor, put together and taken out.

use crate::train::backward::{Backward, Step};
use crate::train::dim::sizes;
use crate::train::error::TrainError;
use crate::train::node;
use crate::train::shapes::{axis, span};

use super::elementwise::give;

type Done = Result<(), TrainError>;

/// Each part's gradient is its part of `g`.
pub fn concat(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let at = node::int(step.proto(), "axis").unwrap_or(0);
    let mut start = 0;
    for part in 0..step.proto().input.len() {
        let name = step.input(part)?;
        let shape = b.shape(step, name)?;
        let index = axis(at, shape.len()).ok_or_else(|| step.refuse("its axis is none of its input's"))?;
        let size = shape[index].size().ok_or_else(|| {
            step.refuse(format!("how much of its output is of \"{name}\" is known only when it is computed"))
        })? as i64;
        if b.wants(step, part) {
            let (from, to, axes) =
                (b.graph.ints(&[start]), b.graph.ints(&[start + size]), b.graph.ints(&[index as i64]));
            let gradient = b.graph.op("Slice", &[g, &from, &to, &axes], vec![]);
            b.give(step, part, gradient)?;
        }
        start += size;
    }
    Ok(())
}

/// The parts' gradients one after the other, zeros for parts that the loss does not depend on.
pub fn split(b: &mut Backward<'_>, step: &Step, _: &str) -> Done {
    let at = node::int(step.proto(), "axis").unwrap_or(0);
    let mut parts = Vec::new();
    for name in &step.proto().output {
        match b.gradient(name) {
            Some(gradient) => parts.push(gradient.to_owned()),
            None => {
                // Times 0 it would be NaN where the part is not finite.
                let zero = b.graph.scalar(0.0);
                let part = b.shapes.of(name).cloned();
                parts.push(b.graph.expand_like(&zero, name, part.as_ref()));
            }
        }
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let gradient = b.graph.op("Concat", &parts, vec![node::with_int("axis", at)]);
    give(b, step, gradient)
}

/// `g` with zeros where nothing was taken.
pub fn slice(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let x = step.input(0)?;
    let shape = b.shape(step, x)?;
    let bounds = b.shapes.bounds(step.proto(), shape.len());
    let bounds = bounds.ok_or_else(|| step.refuse("its bounds are known only when it is computed"))?;
    let mut pads = vec![(0, 0); shape.len()];
    let mut gradient = g.to_owned();
    for (at, start, end, pace) in bounds {
        if start == 0 && end >= i64::from(i32::MAX) && pace == 1 {
            continue;
        }
        let whole = shape[at].size().ok_or_else(|| {
            step.refuse(format!("the size of axis {at} of \"{x}\" is known only when it is computed"))
        })?;
        let (first, count) = span(whole, start, end, pace).ok_or_else(|| step.refuse("its step is 0"))?;
        if count == 0 {
            return Err(step.refuse("it takes nothing, so there is no gradient"));
        }
        let gap = usize::try_from(pace.unsigned_abs()).unwrap_or(usize::MAX);
        let low = if pace < 0 {
            gradient = reversed(b, &gradient, at);
            first.saturating_sub((count - 1).saturating_mul(gap))
        } else {
            first
        };
        let mut spread = count;
        if gap > 1 && count > 1 {
            gradient = spread_out(b, &gradient, at, shape.len(), gap);
            spread = (count - 1) * gap + 1;
            gradient = b.graph.first(&gradient, &[at as i64], &[spread as i64]);
        }
        pads[at] = (low, whole.saturating_sub(low + spread));
    }
    let gradient = b.graph.pad(&gradient, &pads, 0.0);
    give(b, step, gradient)
}

/// In the opposite order along an axis.
fn reversed(b: &mut Backward<'_>, a: &str, at: usize) -> String {
    let (last, before_first, axes, back) = (
        b.graph.ints(&[-1]),
        b.graph.ints(&[i64::from(i32::MIN)]),
        b.graph.ints(&[at as i64]),
        b.graph.ints(&[-1]),
    );
    b.graph.op("Slice", &[a, &last, &before_first, &axes, &back], vec![])
}

/// With `gap − 1` zeros behind each element along an axis.
fn spread_out(b: &mut Backward<'_>, a: &str, at: usize, rank: usize, gap: usize) -> String {
    let apart = b.graph.unsqueeze(a, &[at as i64 + 1]);
    let mut pads = vec![(0, 0); rank + 1];
    pads[at + 1] = (0, gap - 1);
    let padded = b.graph.pad(&apart, &pads, 0.0);
    // The axis and the one behind it become one; a 0 copies a size, and what is behind moves up by one.
    let shape = b.graph.unary("Shape", &padded);
    let (start, middle) = (b.graph.ints(&[0]), b.graph.ints(&[at as i64]));
    let (behind, end) = (b.graph.ints(&[at as i64 + 2]), b.graph.ints(&[rank as i64 + 1]));
    let before = b.graph.op("Slice", &[&shape, &start, &middle], vec![]);
    let behind = b.graph.op("Slice", &[&shape, &behind, &end], vec![]);
    let joined = b.graph.ints(&[-1]);
    let shape = b.graph.op("Concat", &[&before, &joined, &behind], vec![node::with_int("axis", 0)]);
    b.graph.op("Reshape", &[&padded, &shape], vec![])
}

/// What was added is cut off again; only zeros or another constant can be added.
pub fn pad(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    if !matches!(node::text(step.proto(), "mode"), "" | "constant") {
        return Err(
            step.refuse("it pads with elements of its input; only constant padding has a gradient here")
        );
    }
    let x = step.input(0)?;
    let shape = b.shape(step, x)?;
    let pads = b.shapes.pads(step.proto(), shape.len());
    let pads = pads.ok_or_else(|| step.refuse("its pads are known only when it is computed"))?;
    let padded = |&(_, pad): &(usize, &(i64, i64))| *pad != (0, 0);
    let axes: Vec<usize> = pads.iter().enumerate().filter(padded).map(|(at, _)| at).collect();
    let mut gradient = g.to_owned();
    if !axes.is_empty() {
        let changed: Vec<_> = axes.iter().map(|&at| shape[at].clone()).collect();
        let whole = sizes(&changed)
            .ok_or_else(|| step.refuse(format!("the sizes of \"{x}\" are known only when it is computed")))?;
        // Cut by what was added, then padded by what was taken away.
        let kept: Vec<(i64, i64)> = axes
            .iter()
            .zip(whole)
            .map(|(&at, size)| {
                (pads[at].0.max(0), pads[at].0.max(0) + size as i64 + pads[at].0.min(0) + pads[at].1.min(0))
            })
            .collect();
        let starts = b.graph.ints(&kept.iter().map(|kept| kept.0).collect::<Vec<_>>());
        let ends = b.graph.ints(&kept.iter().map(|kept| kept.1).collect::<Vec<_>>());
        let axes = b.graph.ints(&axes.iter().map(|&at| at as i64).collect::<Vec<_>>());
        gradient = b.graph.op("Slice", &[&gradient, &starts, &ends, &axes], vec![]);
        let taken: Vec<(usize, usize)> = pads
            .iter()
            .map(|&(before, behind)| {
                (before.min(0).unsigned_abs() as usize, behind.min(0).unsigned_abs() as usize)
            })
            .collect();
        gradient = b.graph.pad(&gradient, &taken, 0.0);
    }
    give(b, step, gradient)
}
