//! Fourier transforms.

use super::{Call, Outcome, axis};
use crate::shapes::range::Range;
use crate::shapes::value::Value;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    let result = match call.operator() {
        "DFT" => transform(call)?,
        "STFT" => short_time(call)?,
        _ => return None,
    };
    // Complex numbers of input and output, and the transform's own buffers.
    let scratch = 4.0 * result.bytes() + 4.0 * call.input(0)?.bytes();
    Some(Outcome::from(result).with_scratch(scratch))
}

fn half(length: Range) -> Range {
    length.rising(|length| (length / 2.0).floor() + 1.0)
}

fn transform(call: &Call) -> Option<Value> {
    let mut dims = call.dims(0)?.to_vec();
    let at = match (call.int("axis"), call.input(2)) {
        (Some(at), _) => at,
        (None, Some(at)) => at.scalar()?.exact()? as i64,
        (None, None) if call.opset < 20 => 1,
        (None, None) => -2,
    };
    let at = axis(at, dims.len())?;
    let (half_only, back) = (call.flag("onesided", false), call.flag("inverse", false));
    dims[at] = match call.input(1) {
        Some(length) => length.scalar()?.size(),
        None if half_only && back => ((dims[at] - Range::exactly(1.0)) * Range::exactly(2.0)).size(),
        None => dims[at],
    };
    if half_only && !back {
        dims[at] = half(dims[at]);
    }
    // Real numbers alone where a half was the input.
    *dims.last_mut()? = Range::exactly(if half_only && back { 1.0 } else { 2.0 });
    Some(call.like(0, dims))
}

fn short_time(call: &Call) -> Option<Value> {
    let [batch, length, ..] = *call.dims(0)? else { return None };
    let step = call.input(1)?.scalar()?;
    let frame = match (call.input(3), call.input(2)) {
        (Some(frame), _) => frame.scalar()?.size(),
        (None, window) => *window?.dims.as_ref()?.first()?,
    };
    let frames = ((length - frame).divided(step).rising(f64::floor) + Range::exactly(1.0)).size();
    let bins = if call.flag("onesided", true) { half(frame) } else { frame };
    Some(call.like(0, vec![batch, frames, bins, Range::exactly(2.0)]))
}
