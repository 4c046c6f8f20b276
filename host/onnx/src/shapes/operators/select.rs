//! Operators that pick elements, by index or by what they are.

use super::{Call, Outcome, axis};
use crate::shapes::range::Range;
use crate::shapes::value::Value;
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    let outputs = match call.operator() {
        "Gather" => vec![gather(call)?],
        "GatherElements" => vec![call.like(0, call.dims(1)?.to_vec())],
        "GatherND" => vec![gather_nd(call)?],
        "Scatter" | "ScatterElements" | "ScatterND" | "TensorScatter" => vec![call.same(0)?],
        "CumSum" | "CumProd" => {
            return Some(Outcome::from(call.same(0)?).with_scratch(call.input(0)?.bytes()));
        }
        "ArgMax" | "ArgMin" => {
            let mut dims = call.dims(0)?.to_vec();
            let at = axis(call.int("axis").unwrap_or(0), dims.len())?;
            if call.flag("keepdims", true) {
                dims[at] = Range::exactly(1.0);
            } else {
                dims.remove(at);
            }
            vec![Value::tensor(ElementType::I64, dims)]
        }
        "TopK" => return top_k(call),
        "Compress" => {
            let value = call.input(0)?;
            match call.int("axis") {
                None => vec![call.like(0, vec![Range::up_to(value.count().hi)])],
                Some(at) => {
                    let mut dims = value.dims.clone()?;
                    let at = axis(at, dims.len())?;
                    dims[at] = Range::up_to(dims[at].hi);
                    vec![call.like(0, dims)]
                }
            }
        }
        "Unique" => return unique(call),
        "NonMaxSuppression" => return non_max_suppression(call),
        _ => return None,
    };
    Some(outputs.into())
}

fn gather(call: &Call) -> Option<Value> {
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let (dims, picked) = (data.dims.as_ref()?, indices.dims.as_ref()?);
    let at = axis(call.int("axis").unwrap_or(0), dims.len())?;
    let gathered = [&dims[..at], picked, &dims[at + 1..]].concat();
    let numbers = data.numbers.as_ref().filter(|_| dims.len() == 1).and_then(|numbers| {
        let any = || numbers.iter().copied().reduce(Range::or);
        let pick = |index: &Range| match index.exact() {
            Some(index) => {
                let index = if index < 0.0 { index + numbers.len() as f64 } else { index };
                numbers.get(index as usize).copied()
            }
            None => any(),
        };
        match &indices.numbers {
            Some(indices) => indices.iter().map(pick).collect(),
            None => {
                let count = indices.count().exact().filter(|&count| count <= numbers.len() as f64)?;
                Some(vec![any()?; count as usize])
            }
        }
    });
    Some(call.like(0, gathered).with(numbers))
}

fn gather_nd(call: &Call) -> Option<Value> {
    let (dims, picked) = (call.dims(0)?, call.dims(1)?);
    let batch = usize::try_from(call.int("batch_dims").unwrap_or(0)).ok()?;
    let (depth, outer) = picked.split_last()?;
    let rest = dims.get(batch.checked_add(depth.exact()? as usize)?..)?;
    Some(call.like(0, [outer, rest].concat()))
}

fn top_k(call: &Call) -> Option<Outcome> {
    let value = call.input(0)?;
    let mut dims = value.dims.clone()?;
    let at = axis(call.int("axis").unwrap_or(-1), dims.len())?;
    let wanted = match call.int("k") {
        Some(k) => Some(Range::exactly(k as f64)),
        None => call.input(1).and_then(Value::scalar),
    };
    dims[at] = wanted.map_or(Range::up_to(dims[at].hi), |k| dims[at].min(k.size()));
    let outcome = Outcome::from(vec![call.like(0, dims.clone()), Value::tensor(ElementType::I64, dims)]);
    // Pairs of value and index, to be sorted.
    Some(outcome.with_scratch(value.count().hi * 16.0))
}

fn unique(call: &Call) -> Option<Outcome> {
    let value = call.input(0)?;
    let count = Range::up_to(value.count().hi);
    let outcome = match call.int("axis") {
        None => vec![call.like(0, vec![count])],
        Some(at) => {
            let mut dims = value.dims.clone()?;
            let at = axis(at, dims.len())?;
            dims[at] = Range::up_to(dims[at].hi);
            vec![call.like(0, dims)]
        }
    };
    let indices = (0..3).map(|_| Value::tensor(ElementType::I64, vec![count]));
    let outputs: Vec<_> = outcome.into_iter().chain(indices).collect();
    Some(Outcome::from(outputs).with_scratch(count.hi * 32.0 + value.bytes()))
}

fn non_max_suppression(call: &Call) -> Option<Outcome> {
    let [batch, boxes, _] = call.dims(0)? else { return None };
    let [_, classes, _] = call.dims(1)? else { return None };
    let most = match call.input(2) {
        Some(value) => value.scalar().map_or(*boxes, |most| boxes.min(most.size())),
        None => Range::exactly(0.0),
    };
    let found = Range::up_to((*batch * *classes * most).hi);
    let outcome = Outcome::from(Value::tensor(ElementType::I64, vec![found, Range::exactly(3.0)]));
    // Candidates of all classes, with their scores and boxes.
    Some(outcome.with_scratch((*batch * *classes * *boxes).hi * 32.0))
}
