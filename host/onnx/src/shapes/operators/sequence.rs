//! Sequences of tensors.

use super::{Call, Outcome, axis};
use crate::shapes::range::Range;
use crate::shapes::value::Value;
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    let one = Range::exactly(1.0);
    let value = match call.operator() {
        "SequenceEmpty" => {
            let element = call.type_of("dtype").unwrap_or(ElementType::F32);
            Value::tensor(element, vec![Range::exactly(0.0)]).sequence(Range::exactly(0.0))
        }
        "SequenceConstruct" => {
            let all = (0..call.inputs.len()).map(|at| call.input(at).cloned()).collect::<Option<Vec<_>>>()?;
            let count = Range::from(all.len() as u64);
            all.into_iter().reduce(|a, b| a.or(&b))?.sequence(count)
        }
        "SequenceInsert" => {
            let (sequence, tensor) = (call.input(0)?, call.input(1)?);
            let count = sequence.sequence?;
            let of = Value { sequence: None, ..sequence.clone() };
            let of = if count.hi == 0.0 { tensor.clone() } else { of.or(tensor) };
            of.sequence(count + one)
        }
        "SequenceErase" => {
            let sequence = call.input(0)?.clone();
            let count = (sequence.sequence? - one).size();
            sequence.sequence(count)
        }
        "SequenceAt" => Value { sequence: None, numbers: None, ..call.input(0)?.clone() },
        "SequenceLength" => {
            let count = call.input(0)?.sequence.unwrap_or(Range::SIZE);
            Value::tensor(ElementType::I64, vec![]).with(Some(vec![count]))
        }
        "SplitToSequence" => {
            let mut dims = call.dims(0)?.to_vec();
            let at = axis(call.int("axis").unwrap_or(0), dims.len())?;
            let whole = dims[at];
            let (size, count) = match call.input(1) {
                None => {
                    if !call.flag("keepdims", true) {
                        dims.remove(at);
                        return Some(call.like(0, dims).sequence(whole).into());
                    }
                    (one, whole)
                }
                Some(split) => match (split.rank(), split.numbers.as_deref()) {
                    (Some(0), Some([size])) if size.lo >= 1.0 => {
                        (whole.min(*size), whole.corners(*size, |whole, size| (whole / size).ceil()))
                    }
                    (Some(1), Some(sizes)) => {
                        (sizes.iter().copied().reduce(Range::max)?, Range::from(sizes.len() as u64))
                    }
                    _ => (Range::up_to(whole.hi), Range::up_to(whole.hi)),
                },
            };
            dims[at] = size;
            call.like(0, dims).sequence(count)
        }
        "ConcatFromSequence" => {
            let sequence = call.input(0)?;
            let count = sequence.sequence?;
            let mut dims = sequence.dims.clone()?;
            let new = call.flag("new_axis", false);
            let at = axis(call.int("axis")?, dims.len() + usize::from(new))?;
            if new {
                dims.insert(at, count);
            } else {
                dims[at] = dims[at] * count;
            }
            call.like(0, dims)
        }
        _ => return None,
    };
    Some(value.into())
}
