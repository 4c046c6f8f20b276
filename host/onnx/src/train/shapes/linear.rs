//! Products of matrices.

use crate::proto::NodeProto;
use crate::train::dim::Shape;
use crate::train::node;

use super::Shapes;

impl Shapes {
    /// As NumPy's matmul: a vector counts as a matrix of one row or column, which the result has not.
    pub(super) fn matmul(&mut self, node: &NodeProto) -> Option<Shape> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let (rows, columns) = (a.len().checked_sub(1)?, b.len().checked_sub(1)?);
        let mut shape = self.broadcast(&a[..rows.saturating_sub(1)], &b[..columns.saturating_sub(1)]);
        if rows > 0 {
            shape.push(a[rows - 1].clone());
        }
        if columns > 0 {
            shape.push(b[columns].clone());
        }
        Some(shape)
    }

    pub(super) fn gemm(&mut self, node: &NodeProto) -> Option<Shape> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        let set = |name: &str| node::int(node, name).unwrap_or(0) != 0;
        let (row, column) = (usize::from(set("transA")), usize::from(!set("transB")));
        Some(vec![a.get(row)?.clone(), b.get(column)?.clone()])
    }
}
