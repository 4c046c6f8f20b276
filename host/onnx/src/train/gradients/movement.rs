//! Operators that leave the elements as they are, in another shape or order: the gradient goes the same way back.

use crate::proto::tensor_proto::DataType;
use crate::train::backward::{Backward, Step};
use crate::train::error::TrainError;
use crate::train::node;
use crate::train::shapes::Shapes;

use super::elementwise::give;

type Done = Result<(), TrainError>;

/// `dx = g`.
pub fn identity(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    give(b, step, g.to_owned())
}

/// A cast from f32 to f32; to anything else there is no gradient.
pub fn cast(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    match node::int(step.proto(), "to") {
        Some(to) if to == DataType::Float as i64 => give(b, step, g.to_owned()),
        _ => Err(step.refuse("it casts to another type than float32, in which nothing is trained")),
    }
}

/// `Reshape` and its kin: `g` in the shape of `x`.
pub fn reshape(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let x = step.input(0)?;
    let gradient = b.graph.reshape_like(g, x, b.shapes.of(x));
    give(b, step, gradient)
}

/// The order is undone.
pub fn transpose(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let rank = b.shape(step, step.input(0)?)?.len();
    let order =
        Shapes::order(step.proto(), rank).ok_or_else(|| step.refuse("its perm is no order of its axes"))?;
    let mut back = vec![0; rank];
    for (to, &from) in order.iter().enumerate() {
        back[from] = to;
    }
    let gradient = b.graph.transpose(g, &back);
    give(b, step, gradient)
}

/// What was repeated is added up.
pub fn expand(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    if b.wants(step, 0) { b.give_reduced(step, 0, g.to_owned()) } else { Ok(()) }
}
