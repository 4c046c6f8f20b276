//! Operators that compute element by element, with broadcasting.

use super::{Call, Outcome, broadcast};
use crate::outline::Attribute;
use crate::shapes::range::Range;
use crate::shapes::value::{MAX_NUMBERS, Value, product};
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    let value = match call.operator() {
        "Identity" => call.input(0)?.clone(),
        "Abs" => unary(call, |x| if x.lo >= 0.0 { x } else { x.max(-x).size() })?,
        "Neg" => unary(call, |x| -x)?,
        "Floor" => unary(call, |x| x.rising(f64::floor))?,
        "Ceil" => unary(call, |x| x.rising(f64::ceil))?,
        "Round" => unary(call, |x| x.rising(f64::round_ties_even))?,
        "Sqrt" => unary(call, |x| if x.lo >= 0.0 { x.rising(f64::sqrt) } else { Range::ANY })?,
        "Reciprocal" => unary(call, |x| Range::exactly(1.0).divided(x))?,
        "Relu" => unary(call, |x| x.max(Range::exactly(0.0)))?,
        "Sign" => unary(call, |x| x.rising(|x| if x == 0.0 { 0.0 } else { x.signum() }))?,
        "Not" => unary(call, |x| Range::exactly(1.0) - truth(x))?,
        "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitwiseNot" | "Celu" | "Cos" | "Cosh"
        | "Elu" | "Erf" | "Exp" | "Gelu" | "HardSigmoid" | "HardSwish" | "LeakyRelu" | "Log" | "Mish"
        | "Selu" | "Shrink" | "Sigmoid" | "Sin" | "Sinh" | "Softplus" | "Softsign" | "Swish" | "Tan"
        | "Tanh" | "ThresholdedRelu" => call.same(0)?,
        "IsInf" | "IsNaN" => Value { element: ElementType::Bool, ..call.same(0)? },
        "Cast" => cast(call.input(0)?, call.type_of("to")?),
        "CastLike" => cast(call.input(0)?, call.element(1)),
        "BitCast" => Value { element: call.type_of("to")?, ..call.same(0)? },
        "Clip" => clip(call)?,
        "Add" => binary(call, |a, b| a + b)?,
        "Sub" => binary(call, |a, b| a - b)?,
        "Mul" => binary(call, |a, b| a * b)?,
        "Div" if is_integer(call.element(0)) => binary(call, |a, b| a.divided(b).rising(f64::trunc))?,
        "Div" => binary(call, Range::divided)?,
        "Mod" => binary(call, |a, b| match (a.exact(), b.exact()) {
            // The signs of others depend on an attribute.
            (Some(a), Some(b)) if a >= 0.0 && b > 0.0 => Range::exactly(a % b),
            (_, Some(b)) if a.lo >= 0.0 && b > 0.0 => Range::up_to(b),
            _ => Range::ANY,
        })?,
        "Pow" => binary(
            call,
            |a, b| {
                if a.lo >= 0.0 && b.lo >= 0.0 { a.corners(b, f64::powf) } else { Range::ANY }
            },
        )?,
        "PRelu" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" => binary(call, |_, _| Range::ANY)?,
        "Max" => variadic(call, Range::max)?,
        "Min" => variadic(call, Range::min)?,
        "Sum" => variadic(call, |a, b| a + b)?,
        "Mean" => variadic(call, |_, _| Range::ANY)?,
        "Equal" => compare(call, |a, b| match (a.exact(), b.exact()) {
            (Some(a), Some(b)) => known(a == b),
            _ if a.hi < b.lo || b.hi < a.lo => known(false),
            _ => Range::TRUTH,
        })?,
        "Less" => compare(call, |a, b| decide(a.hi < b.lo, a.lo >= b.hi))?,
        "LessOrEqual" => compare(call, |a, b| decide(a.hi <= b.lo, a.lo > b.hi))?,
        "Greater" => compare(call, |a, b| decide(a.lo > b.hi, a.hi <= b.lo))?,
        "GreaterOrEqual" => compare(call, |a, b| decide(a.lo >= b.hi, a.hi < b.lo))?,
        "And" => compare(call, |a, b| truth(a).min(truth(b)))?,
        "Or" => compare(call, |a, b| truth(a).max(truth(b)))?,
        "Xor" => compare(call, |a, b| match (truth(a).exact(), truth(b).exact()) {
            (Some(a), Some(b)) => known(a != b),
            _ => Range::TRUTH,
        })?,
        "Where" => choose(call)?,
        _ => return None,
    };
    Some(value.into())
}

fn known(truth: bool) -> Range {
    Range::exactly(f64::from(u8::from(truth)))
}

fn decide(yes: bool, no: bool) -> Range {
    if yes || no { known(yes) } else { Range::TRUTH }
}

fn truth(value: Range) -> Range {
    match value.exact() {
        Some(value) => known(value != 0.0),
        None if value.lo > 0.0 => known(true),
        None => Range::TRUTH,
    }
}

pub(super) fn is_integer(element: ElementType) -> bool {
    matches!(
        element,
        ElementType::U8 | ElementType::I32 | ElementType::I64 | ElementType::Other(3..=5 | 12 | 13)
    )
}

fn unary(call: &Call, of: impl Fn(Range) -> Range) -> Option<Value> {
    let numbers = call.input(0)?.numbers.as_ref().map(|numbers| numbers.iter().map(|&x| of(x)).collect());
    Some(call.same(0)?.with(numbers))
}

fn cast(value: &Value, to: ElementType) -> Value {
    let convert = |x: Range| match to {
        ElementType::Bool => truth(x),
        to if is_integer(to) => x.rising(f64::trunc),
        _ => x,
    };
    let numbers = value.numbers.as_ref().map(|numbers| numbers.iter().map(|&x| convert(x)).collect());
    Value { element: to, numbers: None, constant: false, ..value.clone() }.with(numbers)
}

fn clip(call: &Call) -> Option<Value> {
    let bound = |name: &str, at: usize, none: f64| match (call.attribute(name), call.input(at)) {
        (Some(Attribute::Float(bound)), _) => Range::exactly(f64::from(*bound)),
        (_, Some(value)) => value.scalar().unwrap_or(Range::ANY),
        _ => Range::exactly(none),
    };
    let (least, most) = (bound("min", 1, f64::MIN), bound("max", 2, f64::MAX));
    unary(call, |x| x.max(least).min(most))
}

fn binary(call: &Call, of: impl Fn(Range, Range) -> Range) -> Option<Value> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    Some(combine(a, b, a.element, of))
}

fn compare(call: &Call, of: impl Fn(Range, Range) -> Range) -> Option<Value> {
    Some(combine(call.input(0)?, call.input(1)?, ElementType::Bool, of))
}

fn variadic(call: &Call, of: impl Fn(Range, Range) -> Range) -> Option<Value> {
    let mut result = call.input(0)?.clone();
    for at in 1..call.inputs.len() {
        result = combine(&result, call.input(at)?, result.element, &of);
    }
    Some(result)
}

/// Broadcast; an operand of unknown rank leaves the shape unknown.
fn combine(a: &Value, b: &Value, element: ElementType, of: impl Fn(Range, Range) -> Range) -> Value {
    let (Some(a_dims), Some(b_dims)) = (&a.dims, &b.dims) else {
        // One element changes nothing but, perhaps, the number of dimensions.
        let most = match (a.count().exact(), b.count().exact()) {
            (_, Some(1.0)) => a.count().hi,
            (Some(1.0), _) => b.count().hi,
            _ => f64::INFINITY,
        };
        return Value::unknown(element).at_most(most);
    };
    let dims = broadcast(a_dims, b_dims);
    let numbers = numbers(a, b, &dims, of);
    Value::tensor(element, dims).with(numbers)
}

fn numbers(a: &Value, b: &Value, dims: &[Range], of: impl Fn(Range, Range) -> Range) -> Option<Vec<Range>> {
    let (left, right) = (spread(a, dims)?, spread(b, dims)?);
    Some(left.into_iter().zip(right).map(|(a, b)| of(a, b)).collect())
}

/// A value's numbers, broadcast to that shape.
pub(super) fn spread(value: &Value, dims: &[Range]) -> Option<Vec<Range>> {
    let numbers = value.numbers.as_ref()?;
    let count = product(dims).exact().filter(|&count| count <= MAX_NUMBERS as f64)? as usize;
    if numbers.len() == count {
        return Some(numbers.to_vec());
    }
    if let [number] = &**numbers {
        return Some(vec![*number; count]);
    }
    let own: Vec<usize> = value.dims.as_ref()?.iter().map(|dim| dim.lo as usize).collect();
    let all: Vec<usize> = dims.iter().map(|dim| dim.lo as usize).collect();
    let offset = all.len().checked_sub(own.len())?;
    let place = |mut flat: usize| {
        let (mut at, mut stride) = (0, 1);
        for (axis, &size) in all.iter().enumerate().rev() {
            let index = flat % size;
            flat /= size;
            if let Some(&own) = axis.checked_sub(offset).and_then(|axis| own.get(axis)) {
                at += if own == 1 { 0 } else { index } * stride;
                stride *= own;
            }
        }
        numbers.get(at).copied()
    };
    (0..count).map(place).collect()
}

fn choose(call: &Call) -> Option<Value> {
    let (condition, yes, no) = (call.input(0)?, call.input(1)?, call.input(2)?);
    let both = combine(yes, no, yes.element, Range::or);
    let (Some(dims), Some(by)) = (&both.dims, &condition.dims) else {
        return Some(Value::unknown(yes.element));
    };
    let dims = broadcast(dims, by);
    let numbers = (|| {
        let condition = spread(condition, &dims);
        let (yes, no) = (spread(yes, &dims)?, spread(no, &dims)?);
        let pairs = yes.into_iter().zip(no).enumerate();
        let chosen = pairs.map(|(at, (yes, no))| match condition.as_ref().and_then(|c| c[at].exact()) {
            Some(0.0) => no,
            Some(_) => yes,
            None => yes.or(no),
        });
        Some(chosen.collect())
    })();
    Some(Value::tensor(yes.element, dims).with(numbers))
}
