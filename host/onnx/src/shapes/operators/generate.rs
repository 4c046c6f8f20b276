//! Operators whose output is made out of sizes.

use super::{Call, Outcome};
use crate::outline::Attribute;
use crate::shapes::range::Range;
use crate::shapes::value::{MAX_NUMBERS, Value};
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    let value = match call.operator() {
        "Constant" => constant(call)?,
        "ConstantOfShape" => {
            let sizes = call.input(0)?.numbers.clone()?;
            let dims = sizes.iter().map(|size| size.size()).collect();
            let (element, fill) = match call.attribute("value") {
                Some(Attribute::Tensor(of)) => {
                    (of.element, of.values.as_ref().and_then(|v| v.first().copied()))
                }
                _ => (ElementType::F32, Some(0.0)),
            };
            filled(Value::tensor(element, dims), fill)
        }
        "Range" => range(call)?,
        "OneHot" => {
            let mut dims = call.dims(0)?.to_vec();
            let depth = call.input(1)?.scalar()?.size();
            let at = super::axis(call.int("axis").unwrap_or(-1), dims.len() + 1)?;
            dims.insert(at, depth);
            Value::tensor(call.element(2), dims)
        }
        "EyeLike" => {
            let element = call.type_of("dtype").unwrap_or(call.element(0));
            Value::tensor(element, call.dims(0)?.to_vec())
        }
        "RandomNormal" | "RandomUniform" => {
            let dims = call.ints("shape")?.iter().map(|&size| Range::exactly(size as f64).size()).collect();
            Value::tensor(call.type_of("dtype").unwrap_or(ElementType::F32), dims)
        }
        "RandomNormalLike" | "RandomUniformLike" | "Bernoulli" => {
            let element = call.type_of("dtype").unwrap_or(call.element(0));
            Value { element, ..call.same(0)? }
        }
        "Multinomial" => {
            let [batch, _] = call.dims(0)? else { return None };
            let samples = Range::exactly(call.int("sample_size").unwrap_or(1) as f64).size();
            Value::tensor(call.type_of("dtype").unwrap_or(ElementType::I32), vec![*batch, samples])
        }
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => {
            let element = call.type_of("output_datatype").unwrap_or(ElementType::F32);
            Value::tensor(element, vec![call.input(0)?.scalar()?.size()])
        }
        "MelWeightMatrix" => {
            let element = call.type_of("output_datatype").unwrap_or(ElementType::F32);
            let bands = call.input(0)?.scalar()?.size();
            let half = call.input(1)?.scalar()?.size().rising(|length| (length / 2.0).floor() + 1.0);
            Value::tensor(element, vec![half, bands])
        }
        "NonZero" => {
            let value = call.input(0)?;
            let rank = value.rank()?;
            Value::tensor(ElementType::I64, vec![Range::from(rank as u64), Range::up_to(value.count().hi)])
        }
        _ => return None,
    };
    Some(value.into())
}

fn constant(call: &Call) -> Option<Value> {
    use crate::outline::Constant;

    let [attribute] =
        ["value", "value_int", "value_ints", "value_float", "value_floats", "value_string", "value_strings"]
            .iter()
            .filter_map(|name| call.attribute(name))
            .collect::<Vec<_>>()[..]
    else {
        return None;
    };
    Some(match attribute {
        Attribute::Tensor(of) => Value::from(of),
        Attribute::Int(value) => Value::from(&Constant::scalar(ElementType::I64, *value as f64)),
        Attribute::Float(value) => Value::from(&Constant::scalar(ElementType::F32, f64::from(*value))),
        Attribute::Ints(values) => {
            let values = values.iter().map(|&value| value as f64).collect();
            Value::from(&Constant::vector(ElementType::I64, values))
        }
        Attribute::Floats(values) => {
            let values = values.iter().map(|&value| f64::from(value)).collect();
            Value::from(&Constant::vector(ElementType::F32, values))
        }
        // Texts, or nothing.
        Attribute::Text(_) | Attribute::Graph(_) | Attribute::Other => {
            Value::tensor(ElementType::Other(8), vec![Range::up_to(MAX_NUMBERS as f64)])
        }
    })
}

fn filled(value: Value, fill: Option<f64>) -> Value {
    let count = value.count().exact().filter(|&count| count <= MAX_NUMBERS as f64);
    let numbers = fill.zip(count).map(|(fill, count)| vec![Range::new(fill, fill); count as usize]);
    value.with(numbers)
}

fn range(call: &Call) -> Option<Value> {
    let [start, limit, delta] = [0, 1, 2].map(|at| call.input(at).and_then(Value::scalar));
    let (start, limit, delta) = (start?, limit?, delta?);
    let count = (limit - start).divided(delta).rising(f64::ceil).size();
    let numbers = match (start.exact(), delta.exact(), count.exact()) {
        (Some(start), Some(delta), Some(count)) if count <= MAX_NUMBERS as f64 => {
            Some((0..count as usize).map(|at| Range::exactly(start + at as f64 * delta)).collect())
        }
        _ => None,
    };
    Some(call.like(0, vec![count]).with(numbers))
}
