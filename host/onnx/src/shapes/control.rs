//! Graphs in nodes: branches and loops.

use super::evaluation::{Evaluation, Step};
use super::operators;
use super::range::Range;
use super::value::Value;
use crate::outline::{Attribute, Graph, Node};
use crate::signature::ElementType;

/// Rounds of a loop after which changing elements are no longer followed, and then changing sizes.
const FOLLOW_ELEMENTS: usize = 8;
const FOLLOW_SIZES: usize = 64;

/// Rounds that no one waits for the end of.
const ENDLESS: f64 = (1u64 << 40) as f64;

impl Evaluation {
    /// `If`: the branch that is taken, where that is known; else what either may give.
    pub(super) fn branches<'g>(
        &mut self,
        node: &'g Node,
        yes: &'g Graph,
        no: &'g Graph,
        step: &mut Step<'g>,
    ) -> Option<Vec<Value>> {
        let condition = self.get((*node.inputs.first()?)?).scalar().unwrap_or(Range::TRUTH);
        let taken = match condition.exact() {
            Some(condition) => vec![if condition == 0.0 { no } else { yes }],
            None => vec![yes, no],
        };
        let mut results = Vec::new();
        for branch in taken {
            step.inner.push(self.graph(branch));
            results.push(branch.outputs.iter().map(|&slot| self.get(slot)).collect::<Vec<_>>());
        }
        results.into_iter().reduce(|a, b| a.iter().zip(&b).map(|(a, b)| a.or(b)).collect())
    }

    /// `Loop`: round by round, each with everything that a state may have been, until nothing changes.
    pub(super) fn repeat<'g>(
        &mut self,
        node: &'g Node,
        body: &'g Graph,
        step: &mut Step<'g>,
    ) -> Option<Vec<Value>> {
        let given = |at: usize| node.inputs.get(at).copied().flatten();
        let trips =
            given(0).map_or(Range::SIZE, |slot| self.get(slot).scalar().unwrap_or(Range::SIZE).size());
        let proceeds = given(1).map_or(Range::TRUTH, |slot| self.get(slot).scalar().unwrap_or(Range::TRUTH));
        let trips = if proceeds.exact() == Some(0.0) { Range::exactly(0.0) } else { trips };
        let mut states =
            node.inputs.get(2..)?.iter().map(|slot| Some(self.get((*slot)?))).collect::<Option<Vec<_>>>()?;
        let [number, condition, carried @ ..] = &body.inputs[..] else { return None };
        if carried.len() != states.len() || body.outputs.len() <= states.len() {
            return None;
        }
        for round in 0.. {
            let last = (trips.hi - 1.0).max(0.0);
            let scalar = |element, range| Value::tensor(element, vec![]).with(Some(vec![range]));
            self.set(number.slot, scalar(ElementType::I64, Range::up_to(last)));
            // A round is only begun where it is true.
            self.set(condition.slot, scalar(ElementType::Bool, Range::exactly(1.0)));
            for (input, state) in carried.iter().zip(&states) {
                self.set(input.slot, Value { constant: false, ..state.clone() });
            }
            step.inner = vec![super::evaluation::Trace { rounds: 2, ..self.graph(body) }];
            let goes_on = self.get(body.outputs[0]).scalar().and_then(Range::exact) == Some(1.0);
            let begins = given(1).is_none() || proceeds.exact() == Some(1.0);
            if goes_on && begins && (given(0).is_none() || trips.lo >= ENDLESS) {
                self.loops.endless.get_or_insert_with(|| node.label.clone());
            }
            let next = body.outputs.iter().skip(1).map(|&slot| self.get(slot));
            let joined: Vec<_> = states.iter().zip(next).map(|(a, b)| widen(a, a.or(&b), round)).collect();
            let settled = joined == states;
            states = joined;
            if settled || round as f64 + 1.0 >= trips.hi {
                break;
            }
        }
        let mut scanned = 0.0;
        let scans: Vec<_> = body.outputs[1 + states.len()..]
            .iter()
            .map(|&slot| {
                let of = self.get(slot);
                let dims = of.dims.map(|dims| [&[Range::up_to(trips.hi)], &dims[..]].concat());
                let all = dims.map_or(Value::unknown(of.element), |dims| Value::tensor(of.element, dims));
                scanned += all.bytes();
                all
            })
            .collect();
        // What the rounds gave, before it is put together.
        step.scratch = scanned;
        Some(states.into_iter().chain(scans).collect())
    }

    /// `Scan`: states keep their shapes, and the number of rounds is a dimension of what is scanned.
    pub(super) fn scan<'g>(
        &mut self,
        node: &'g Node,
        body: &'g Graph,
        step: &mut Step<'g>,
    ) -> Option<Vec<Value>> {
        let Some(Attribute::Int(count)) = node.attributes.get("num_scan_inputs") else { return None };
        let axis_of = |name: &str, at: usize, rank: usize| match node.attributes.get(name) {
            Some(Attribute::Ints(axes)) => operators::axis(axes.get(at).copied().unwrap_or(0), rank),
            _ => operators::axis(0, rank),
        };
        let given = node.inputs.iter().map(|slot| Some(self.get((*slot)?))).collect::<Option<Vec<_>>>()?;
        let states = given.len().checked_sub(usize::try_from(*count).ok()?)?;
        let mut length = Range::exactly(0.0);
        for (at, (input, value)) in body.inputs.iter().zip(given).enumerate() {
            let mut value = Value { constant: false, numbers: None, ..value };
            if let Some(index) = at.checked_sub(states) {
                let dims = value.dims.as_mut()?;
                let axis = axis_of("scan_input_axes", index, dims.len())?;
                length = length.max(dims.remove(axis));
            }
            self.set(input.slot, value);
        }
        step.inner = vec![super::evaluation::Trace { rounds: 2, ..self.graph(body) }];
        let mut scanned = 0.0;
        let mut outputs = Vec::with_capacity(body.outputs.len());
        for (at, &slot) in body.outputs.iter().enumerate() {
            let mut value = Value { numbers: None, ..self.get(slot) };
            if let Some(index) = at.checked_sub(states) {
                let mut dims = value.dims.clone()?;
                let axis = axis_of("scan_output_axes", index, dims.len() + 1)?;
                dims.insert(axis, length);
                value = Value::tensor(value.element, dims);
                scanned += value.bytes();
            }
            outputs.push(value);
        }
        step.scratch = scanned;
        Some(outputs)
    }
}

/// `joined`, and what changes for too long given up as unknown.
fn widen(before: &Value, joined: Value, round: usize) -> Value {
    let mut value = Value { constant: before.constant, ..joined };
    if round >= FOLLOW_ELEMENTS && value.numbers != before.numbers {
        value.numbers = None;
    }
    if round >= FOLLOW_SIZES && (value.dims != before.dims || value.most != before.most) {
        value.most = f64::INFINITY;
        value.dims = match (value.dims, &before.dims) {
            (Some(dims), Some(old)) if dims.len() == old.len() => Some(
                dims.iter().zip(old).map(|(new, old)| if new == old { *new } else { Range::SIZE }).collect(),
            ),
            _ => None,
        };
    }
    if round >= FOLLOW_SIZES && value.sequence != before.sequence {
        value.sequence = Some(Range::SIZE);
    }
    value
}
