//! Reductions and normalisations.

use super::{Call, Outcome, axes, axis};
use crate::shapes::range::Range;
use crate::shapes::value::Value;
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    let operator = call.operator();
    if operator.starts_with("Reduce") {
        return reduce(call);
    }
    let value = call.same(0)?;
    let copy = value.bytes();
    let outcome: Outcome = match operator {
        "Softmax"
        | "LogSoftmax"
        | "Hardmax"
        | "LpNormalization"
        | "LRN"
        | "MeanVarianceNormalization"
        | "InstanceNormalization"
        | "GroupNormalization"
        | "RMSNormalization" => Outcome::from(value).with_scratch(copy),
        "LayerNormalization" => {
            let mut dims = value.dims.clone()?;
            let at = axis(call.int("axis").unwrap_or(-1), dims.len())?;
            dims[at..].fill(Range::exactly(1.0));
            let statistics = Value::tensor(ElementType::F32, dims);
            Outcome::from(vec![value, statistics.clone(), statistics]).with_scratch(copy)
        }
        "BatchNormalization" => {
            let statistics = |at| call.same(at).unwrap_or_else(|| Value::unknown(ElementType::F32));
            // Means and variances: of the channels, as those that are put in; twice in old versions.
            vec![value, statistics(3), statistics(4), statistics(3), statistics(4)].into()
        }
        "Dropout" => vec![value.clone(), Value { element: ElementType::Bool, ..value }].into(),
        "QuantizeLinear" => {
            let given = call.type_of("output_dtype").filter(|_| call.int("output_dtype") != Some(0));
            let element = given.or_else(|| Some(call.input(2)?.element)).unwrap_or(ElementType::U8);
            Value { element, ..value }.into()
        }
        "DequantizeLinear" => {
            let element = call.input(1).map_or(ElementType::F32, |scale| scale.element);
            Value { element, ..value }.into()
        }
        "DynamicQuantizeLinear" => {
            let scalar = |element| Value::tensor(element, vec![]);
            let quantized = Value { element: ElementType::U8, ..value };
            vec![quantized, scalar(ElementType::F32), scalar(ElementType::U8)].into()
        }
        "SoftmaxCrossEntropyLoss" | "NegativeLogLikelihoodLoss" => {
            let loss = match call.text("reduction") {
                Some("none") => call.like(0, call.dims(1)?.to_vec()),
                _ => call.like(0, vec![]),
            };
            Outcome::from(vec![loss, value]).with_scratch(copy)
        }
        _ => return None,
    };
    Some(outcome)
}

fn reduce(call: &Call) -> Option<Outcome> {
    let value = call.input(0)?;
    let keep = call.flag("keepdims", true);
    let unknown = || Value::unknown(value.element).at_most(value.count().hi);
    let given = call.ints_or_input("axes", 1);
    let result = match (&value.dims, given) {
        (Some(dims), Ok(given)) => {
            let given = given.unwrap_or_default();
            let over = match given.is_empty() {
                true if call.flag("noop_with_empty_axes", false) => Vec::new(),
                true => (0..dims.len()).collect(),
                false => axes(&given, dims.len())?,
            };
            let whole = over.len() == dims.len();
            let one = Range::exactly(1.0);
            let reduced = dims.iter().enumerate().filter_map(|(at, dim)| match (over.contains(&at), keep) {
                (true, true) => Some(one),
                (true, false) => None,
                (false, _) => Some(*dim),
            });
            Value::tensor(value.element, reduced.collect()).with(number(call, value).filter(|_| whole))
        }
        // Dimensions become one, whichever they are.
        (Some(dims), Err(())) if keep => {
            let one = Range::exactly(1.0);
            Value::tensor(value.element, dims.iter().map(|dim| dim.or(one)).collect())
                .at_most(value.count().hi)
        }
        _ => unknown(),
    };
    // Along other axes than the last ones, engines gather the elements first.
    Some(Outcome::from(result).with_scratch(value.bytes()))
}

/// All elements as one.
fn number(call: &Call, value: &Value) -> Option<Vec<Range>> {
    let numbers = value.numbers.as_ref()?.iter().copied();
    let number = match call.operator() {
        "ReduceProd" => numbers.fold(Range::exactly(1.0), |a, b| a * b),
        "ReduceSum" => numbers.fold(Range::exactly(0.0), |a, b| a + b),
        "ReduceMax" => numbers.reduce(Range::max)?,
        "ReduceMin" => numbers.reduce(Range::min)?,
        _ => return None,
    };
    Some(vec![number])
}
