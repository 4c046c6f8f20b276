//! Rows picked by index: embeddings, and single elements of an axis.

use crate::train::backward::{Backward, Step};
use crate::train::error::TrainError;
use crate::train::node;
use crate::train::shapes::axis;

use super::elementwise::give;

type Done = Result<(), TrainError>;

/// `y` is the rows of `x` that the indices name. With the indices as a matrix `E` that has a single 1 in each row,
/// `y = E·x`, so `dx = Eᵀ·g`: rows that are picked more than once have their gradients added up. `E` has as many
/// elements as there are indices times rows; no engine but some could scatter with less.
pub fn gather(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    if !b.wants(step, 0) {
        return Ok(());
    }
    let (x, indices) = (step.input(0)?, step.input(1)?);
    let (shape, index_shape) = (b.shape(step, x)?, b.shape(step, indices)?);
    let at = axis(node::int(step.proto(), "axis").unwrap_or(0), shape.len())
        .ok_or_else(|| step.refuse("its axis is none of its input's"))?;
    let rows = shape[at].size().ok_or_else(|| {
        step.refuse(format!("the size of axis {at} of \"{x}\" is known only when it is computed"))
    })?;
    if let (true, Some([index])) = (index_shape.is_empty(), b.shapes.ints(indices).as_deref()) {
        // One element of the axis: zeros around its gradient.
        let index = axis(*index, rows).ok_or_else(|| step.refuse("its index is beyond its axis"))?;
        let g = b.graph.unsqueeze(g, &[at as i64]);
        let mut pads = vec![(0, 0); shape.len()];
        pads[at] = (index, rows - 1 - index);
        let gradient = b.graph.pad(&g, &pads, 0.0);
        return give(b, step, gradient);
    }
    // `g` is [before…, indices…, behind…]; to the front with the indices, all of which become one axis.
    let (count, rank) = (index_shape.len(), shape.len() - 1 + index_shape.len());
    let order: Vec<usize> = (at..at + count).chain(0..at).chain(at + count..rank).collect();
    let turned = b.graph.transpose(g, &order);
    let flat = b.graph.reshape(indices, &[-1]);
    let (depth, off_on) = (b.graph.int(rows as i64), b.graph.floats(&[2], &[0.0, 1.0]));
    let picks = b.graph.op("OneHot", &[&flat, &depth, &off_on], vec![node::with_int("axis", -1)]);
    let picks = b.graph.transpose(&picks, &[1, 0]);
    let others: Vec<_> =
        shape.iter().enumerate().filter(|&(axis, _)| axis != at).map(|(_, dim)| dim.clone()).collect();
    // Rows are as long as what is left of `x`; the number of indices may be known only when it is computed.
    let matrix =
        match (
            crate::train::dim::elements(&others).and_then(|dim| dim.size()),
            crate::train::dim::elements(&index_shape).and_then(|dim| dim.size()),
        ) {
            (Some(width), _) => b.graph.reshape(&turned, &[-1, width as i64]),
            (None, Some(count)) => b.graph.reshape(&turned, &[count as i64, -1]),
            _ => return Err(step.refuse(
                "neither the number of its indices nor the length of its rows is known before it is computed",
            )),
        };
    let sums = b.graph.op("MatMul", &[&picks, &matrix], vec![]);
    if at == 0 {
        let gradient = b.graph.reshape_like(&sums, x, Some(&shape));
        return give(b, step, gradient);
    }
    // [rows, before…, behind…]: the rows go back to their place.
    let mut front = vec![shape[at].clone()];
    front.extend(others);
    if front.iter().filter(|dim| dim.size().is_none()).count() > 1 {
        return Err(step.refuse("more than one size of its input is known only when it is computed"));
    }
    let sizes: Vec<i64> = front.iter().map(|dim| dim.size().map_or(-1, |size| size as i64)).collect();
    let sums = b.graph.reshape(&sums, &sizes);
    let order: Vec<usize> = (1..=at).chain([0]).chain(at + 1..shape.len()).collect();
    let gradient = b.graph.transpose(&sums, &order);
    give(b, step, gradient)
}
