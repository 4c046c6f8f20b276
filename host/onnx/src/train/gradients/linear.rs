//! Products of matrices: `Y = A·B` has `dA = g·Bᵀ` and `dB = Aᵀ·g`.

use crate::train::backward::{Backward, Step};
use crate::train::dim::Shape;
use crate::train::error::TrainError;
use crate::train::node;

type Done = Result<(), TrainError>;

/// `Y = alpha · A'·B' + beta · C`, where `A'` and `B'` may be transposed.
pub fn gemm(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let set = |name: &str| node::int(step.proto(), name).unwrap_or(0) != 0;
    let (ta, tb) = (set("transA"), set("transB"));
    let alpha = node::float(step.proto(), "alpha").unwrap_or(1.0);
    let (left, right) = (step.input(0)?, step.input(1)?);
    if b.wants(step, 0) {
        let gradient = match ta {
            false => b.graph.gemm(g, right, alpha, (false, !tb)),
            true => b.graph.gemm(right, g, alpha, (tb, true)),
        };
        b.give(step, 0, gradient)?;
    }
    if b.wants(step, 1) {
        let gradient = match tb {
            false => b.graph.gemm(left, g, alpha, (!ta, false)),
            true => b.graph.gemm(g, left, alpha, (true, ta)),
        };
        b.give(step, 1, gradient)?;
    }
    if b.wants(step, 2) {
        let gradient = b.graph.scale(g, node::float(step.proto(), "beta").unwrap_or(1.0));
        b.give_reduced(step, 2, gradient)?;
    }
    Ok(())
}

/// Matrices, stacks of matrices that are broadcast, and vectors, which count as a row before the product and as a
/// column behind it.
pub fn matmul(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let (left, right) = (step.input(0)?, step.input(1)?);
    let (a_shape, b_shape) = (b.shape(step, left)?, b.shape(step, right)?);
    if a_shape.len() == 2 && b_shape.len() == 2 {
        if b.wants(step, 0) {
            let gradient = b.graph.gemm(g, right, 1.0, (false, true));
            b.give(step, 0, gradient)?;
        }
        if b.wants(step, 1) {
            let gradient = b.graph.gemm(left, g, 1.0, (true, false));
            b.give(step, 1, gradient)?;
        }
        return Ok(());
    }
    if let (Some(inner), Some(outer)) = (columns(&a_shape), columns(&b_shape))
        && a_shape.len() > 2
        && b_shape.len() == 2
    {
        return rows_times_matrix(b, step, g, (inner, outer));
    }
    stacks(b, step, g, (&a_shape, &b_shape))
}

fn columns(shape: &Shape) -> Option<i64> {
    shape.last()?.size().and_then(|size| i64::try_from(size).ok())
}

/// A stack of rows times one matrix, as a dense layer over a sequence: the rows of all its matrices are one.
fn rows_times_matrix(b: &mut Backward<'_>, step: &Step, g: &str, (inner, outer): (i64, i64)) -> Done {
    let (left, right) = (step.input(0)?, step.input(1)?);
    let g_rows = b.graph.reshape(g, &[-1, outer]);
    if b.wants(step, 1) {
        let rows = b.graph.reshape(left, &[-1, inner]);
        let gradient = b.graph.gemm(&rows, &g_rows, 1.0, (true, false));
        b.give(step, 1, gradient)?;
    }
    if b.wants(step, 0) {
        let rows = b.graph.gemm(&g_rows, right, 1.0, (false, true));
        let gradient = b.graph.reshape_like(&rows, left, b.shapes.of(left));
        b.give(step, 0, gradient)?;
    }
    Ok(())
}

fn stacks(b: &mut Backward<'_>, step: &Step, g: &str, (a_shape, b_shape): (&Shape, &Shape)) -> Done {
    let (left, right) = (step.input(0)?, step.input(1)?);
    let output = b.shape(step, step.output()?)?;
    let one = || crate::train::dim::Dim::known(1);
    // With vectors as matrices; `stack` is what is before the last two axes of the result.
    let (mut a_full, mut b_full) = (a_shape.clone(), b_shape.clone());
    let (mut a_matrix, mut b_matrix, mut g_matrix) = (left.to_owned(), right.to_owned(), g.to_owned());
    let mut stack = output.len();
    for (is_vector, row) in [(a_shape.len() == 1, true), (b_shape.len() == 1, false)] {
        if !is_vector {
            stack = stack.saturating_sub(1);
            continue;
        }
        let at = if row { 0 } else { 1 };
        let (full, matrix) = if row { (&mut a_full, &mut a_matrix) } else { (&mut b_full, &mut b_matrix) };
        full.insert(at, one());
        *matrix = b.graph.unsqueeze(matrix, &[at as i64]);
        // A row's product has lost the axis before the last, a column's the last.
        let lost = if row && b_shape.len() > 1 { -2 } else { -1 };
        g_matrix = b.graph.unsqueeze(&g_matrix, &[lost]);
    }
    for (at, vector) in [(0, a_shape.len() == 1), (1, b_shape.len() == 1)] {
        if !b.wants(step, at) {
            continue;
        }
        let (other, full) = if at == 0 { (&b_matrix, &a_full) } else { (&a_matrix, &b_full) };
        let rank = if at == 0 { b_full.len() } else { a_full.len() };
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 1, rank - 2);
        let turned = b.graph.transpose(other, &order);
        let gradient = match at {
            0 => b.graph.op("MatMul", &[&g_matrix, &turned], vec![]),
            _ => b.graph.op("MatMul", &[&turned, &g_matrix], vec![]),
        };
        let mut from = output[..stack].to_vec();
        from.extend_from_slice(&full[full.len() - 2..]);
        if !vector {
            b.give_reduced_from(step, at, gradient, &from)?;
            continue;
        }
        // A vector is used by every matrix of the stack; then it loses the axis that it was given.
        let axes: Vec<i64> = (0..stack as i64).collect();
        let summed =
            if axes.is_empty() { gradient } else { b.graph.reduce_sum(&gradient, Some(&axes), false) };
        let gradient = b.graph.squeeze(&summed, &[at as i64]);
        b.give(step, at, gradient)?;
    }
    Ok(())
}
