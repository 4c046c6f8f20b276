//! Operators that move elements about.

use super::{Call, Outcome, axes, axis, broadcast};
use crate::shapes::range::Range;
use crate::shapes::value::{Value, product};
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    let outputs = match call.operator() {
        "Shape" => vec![shape(call)?],
        "Size" => {
            Value::tensor(ElementType::I64, vec![]).with(Some(vec![call.input(0)?.count()])).into_outputs()
        }
        "Reshape" => vec![reshape(call)?],
        "Flatten" => vec![flatten(call)?],
        "Squeeze" => vec![squeeze(call)?],
        "Unsqueeze" => vec![unsqueeze(call)?],
        "Transpose" => vec![transpose(call)?],
        "Expand" => vec![expand(call)?],
        "Tile" => vec![tile(call)?],
        "Concat" => vec![concat(call)?],
        "Split" => split(call)?,
        "Pad" => vec![pad(call)?],
        "Slice" => vec![slice(call)?],
        "CenterCropPad" => {
            let mut dims = call.dims(0)?.to_vec();
            let sizes = call.input(1)?.numbers.clone()?;
            let axes = match call.ints("axes") {
                Some(axes) => axes.iter().map(|&at| axis(at, dims.len())).collect::<Option<Vec<_>>>()?,
                None => (0..dims.len()).collect(),
            };
            axes.iter().zip(&*sizes).for_each(|(&axis, size)| dims[axis] = size.size());
            call.like(0, dims).into_outputs()
        }
        "DepthToSpace" | "SpaceToDepth" => {
            let block = call.int("blocksize").filter(|&block| block > 0)? as f64;
            let [n, c, h, w] = call.dims(0)? else { return None };
            let (area, block) = (Range::exactly(block * block), Range::exactly(block));
            let dims = match call.operator() {
                "DepthToSpace" => vec![*n, c.divided(area).rising(f64::floor), *h * block, *w * block],
                _ => vec![
                    *n,
                    *c * area,
                    h.divided(block).rising(f64::floor),
                    w.divided(block).rising(f64::floor),
                ],
            };
            call.like(0, dims).into_outputs()
        }
        "Trilu" | "ReverseSequence" => vec![call.same(0)?],
        _ => return None,
    };
    Some(outputs.into())
}

impl Value {
    fn into_outputs(self) -> Vec<Self> {
        vec![self]
    }
}

fn shape(call: &Call) -> Option<Value> {
    let Some(dims) = call.dims(0) else {
        return Some(Value::tensor(ElementType::I64, vec![Range::up_to(crate::signature::MAX_RANK as f64)]));
    };
    let rank = dims.len() as i64;
    let place = |name, default: i64| {
        let at = call.int(name).unwrap_or(default);
        (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize
    };
    let (start, end) = (place("start", 0), place("end", rank));
    let numbers = dims.get(start..end).unwrap_or_default().to_vec();
    Some(Value::tensor(ElementType::I64, vec![Range::from(numbers.len() as u64)]).with(Some(numbers)))
}

/// The same elements, in the same order, in another shape.
fn reshaped(call: &Call, dims: Vec<Range>) -> Option<Value> {
    let value = call.input(0)?;
    let numbers = value.numbers.as_ref().map(|numbers| numbers.to_vec());
    Some(Value::tensor(value.element, dims).at_most(value.count().hi).with(numbers))
}

fn reshape(call: &Call) -> Option<Value> {
    let value = call.input(0)?;
    let count = value.count();
    let attribute =
        call.ints("shape").map(|dims| dims.iter().map(|&dim| Range::exactly(dim as f64)).collect());
    let sizes: Option<Vec<Range>> =
        attribute.or_else(|| call.input(1)?.numbers.as_ref().map(|numbers| numbers.to_vec()));
    let Some(sizes) = sizes else {
        // Whatever its shape, there are no more elements.
        return Some(Value::unknown(value.element).at_most(count.hi));
    };
    let copy_zero = !call.flag("allowzero", false);
    let mut rest = None;
    let mut dims = Vec::with_capacity(sizes.len());
    for (at, size) in sizes.iter().enumerate() {
        dims.push(match size.exact() {
            Some(0.0) if copy_zero => {
                value.dims.as_ref().and_then(|dims| dims.get(at)).copied().unwrap_or(Range::SIZE)
            }
            Some(size) if size < 0.0 => {
                rest = Some(at);
                Range::exactly(1.0)
            }
            // It may turn out to be zero, for the dimension there, or minus one, for the rest.
            None if size.lo < 1.0 => Range::up_to(count.hi),
            _ => *size,
        });
    }
    if let Some(rest) = rest {
        let others = product(&dims);
        dims[rest] = if others.lo >= 1.0 {
            count.corners(others, |count, others| if count == 0.0 { 0.0 } else { (count / others).floor() })
        } else {
            Range::up_to(count.hi)
        };
    }
    reshaped(call, dims)
}

fn flatten(call: &Call) -> Option<Value> {
    let dims = call.dims(0)?;
    let at = call.int("axis").unwrap_or(1);
    let at = usize::try_from(if at < 0 { at + dims.len() as i64 } else { at }).ok()?;
    let (before, after) = dims.split_at_checked(at)?;
    reshaped(call, vec![product(before), product(after)])
}

fn squeeze(call: &Call) -> Option<Value> {
    let value = call.input(0)?;
    let unknown = || Some(Value::unknown(value.element).at_most(value.count().hi));
    let (Some(dims), Ok(given)) = (&value.dims, call.ints_or_input("axes", 1)) else { return unknown() };
    let gone: Vec<usize> = match given {
        Some(given) => axes(&given, dims.len())?,
        // Every one, and whether it is one must be known.
        None if dims.iter().any(|dim| dim.exact().is_none()) => return unknown(),
        None => (0..dims.len()).filter(|&at| dims[at].exact() == Some(1.0)).collect(),
    };
    let kept = dims.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, dim)| *dim);
    reshaped(call, kept.collect())
}

fn unsqueeze(call: &Call) -> Option<Value> {
    let value = call.input(0)?;
    let (Some(dims), Ok(Some(given))) = (&value.dims, call.ints_or_input("axes", 1)) else {
        return Some(Value::unknown(value.element).at_most(value.count().hi));
    };
    let rank = dims.len() + given.len();
    let new = axes(&given, rank)?;
    let mut old = dims.iter().copied();
    let one = Range::exactly(1.0);
    reshaped(
        call,
        (0..rank).map(|at| if new.contains(&at) { one } else { old.next().unwrap_or(one) }).collect(),
    )
}

fn transpose(call: &Call) -> Option<Value> {
    let value = call.input(0)?;
    let Some(dims) = &value.dims else { return call.same(0) };
    let order: Vec<usize> = match call.ints("perm") {
        Some(perm) => perm.iter().map(|&at| axis(at, dims.len())).collect::<Option<_>>()?,
        None => (0..dims.len()).rev().collect(),
    };
    let moved = Value::tensor(value.element, order.iter().map(|&at| dims[at]).collect()).at_most(value.most);
    let numbers = value.numbers.as_ref().zip(rows(dims)).and_then(|(numbers, rows)| {
        let axes: Vec<_> = order.iter().map(|&at| rows[at]).collect();
        view(numbers, 0.0, &axes)
    });
    Some(moved.with(numbers))
}

fn expand(call: &Call) -> Option<Value> {
    let sizes = call.input(1)?.numbers.clone()?;
    let sizes: Vec<Range> = sizes.iter().map(|size| size.size()).collect();
    let value = call.input(0)?;
    let dims = broadcast(value.dims.as_ref()?, &sizes);
    let numbers = super::elementwise::spread(value, &dims);
    Some(call.like(0, dims).with(numbers))
}

fn tile(call: &Call) -> Option<Value> {
    let repeats = call.input(1)?.numbers.clone()?;
    let dims = call.dims(0)?;
    let tiled = dims.iter().zip(&*repeats).map(|(dim, times)| *dim * times.size()).collect();
    Some(call.like(0, tiled))
}

fn concat(call: &Call) -> Option<Value> {
    let first = call.dims(0)?;
    let at = axis(call.int("axis").unwrap_or(0), first.len())?;
    let mut dims = first.to_vec();
    let mut numbers = call.input(0)?.numbers.as_ref().map(|numbers| numbers.to_vec());
    for index in 1..call.inputs.len() {
        let next = call.dims(index)?;
        if next.len() != dims.len() {
            return None;
        }
        for (axis, (dim, next)) in dims.iter_mut().zip(next).enumerate() {
            *dim = if axis == at { *dim + *next } else { dim.max(*next) };
        }
        match (&mut numbers, &call.input(index)?.numbers) {
            (Some(numbers), Some(next)) => numbers.extend(next.iter()),
            _ => numbers = None,
        }
    }
    let rank = dims.len();
    Some(call.like(0, dims).with(numbers.filter(|_| rank == 1)))
}

fn split(call: &Call) -> Option<Vec<Value>> {
    let dims = call.dims(0)?;
    let at = axis(call.int("axis").unwrap_or(0), dims.len())?;
    let parts = call.node.outputs.len();
    let sizes: Vec<Range> = match call.ints_or_input("split", 1) {
        Ok(Some(sizes)) if sizes.len() >= parts => {
            sizes.iter().map(|&size| Range::exactly(size).size()).collect()
        }
        // None is larger than what there is.
        Ok(Some(_)) | Err(()) => vec![Range::up_to(dims[at].hi); parts],
        Ok(None) => {
            let whole = dims[at].divided(Range::exactly(parts.max(1) as f64)).rising(f64::ceil);
            // The last one may be smaller.
            let last = dims[at] - whole * Range::exactly(parts.saturating_sub(1) as f64);
            let last = if whole.exact().is_some() { last.size() } else { Range::up_to(whole.hi) };
            (0..parts).map(|part| if part + 1 == parts { last } else { whole }).collect()
        }
    };
    let starts = sizes.iter().scan(0.0, |start, size| {
        let this = *start;
        *start += size.hi;
        Some(this as usize)
    });
    let numbers = call.input(0)?.numbers.as_ref().filter(|_| dims.len() == 1);
    let part = |(size, start): (&Range, usize)| {
        let mut dims = dims.to_vec();
        dims[at] = *size;
        let own =
            numbers.and_then(|numbers| Some(numbers.get(start..start + size.exact()? as usize)?.to_vec()));
        call.like(0, dims).with(own)
    };
    Some(sizes.iter().zip(starts).take(parts).map(part).collect())
}

fn pad(call: &Call) -> Option<Value> {
    let mut dims = call.dims(0)?.to_vec();
    let attribute = call.ints("pads").or_else(|| call.ints("paddings"));
    let pads: Vec<Range> = match attribute {
        Some(pads) => pads.iter().map(|&pad| Range::exactly(pad as f64)).collect(),
        None => call.input(1)?.numbers.as_ref()?.to_vec(),
    };
    let padded = match call.input(3) {
        Some(_) => axes(&call.exact(3)?, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    let (before, after) = pads.split_at_checked(padded.len())?;
    if after.len() < padded.len() {
        return None;
    }
    for ((axis, before), after) in padded.into_iter().zip(before).zip(after) {
        dims[axis] = (dims[axis] + *before + *after).size();
    }
    Some(call.like(0, dims))
}

fn slice(call: &Call) -> Option<Value> {
    let value = call.input(0)?;
    let Some(dims) = &value.dims else { return call.same(0) };
    let list = |name: &str, at: usize| -> Option<Vec<Range>> {
        match call.ints(name) {
            Some(values) => Some(values.iter().map(|&value| Range::exactly(value as f64)).collect()),
            None => call.input(at)?.numbers.as_ref().map(|numbers| numbers.to_vec()),
        }
    };
    let smaller = || dims.iter().map(|dim| Range::up_to(dim.hi)).collect();
    let (Some(starts), Some(ends)) = (list("starts", 1), list("ends", 2)) else {
        return Some(call.like(0, smaller()).at_most(value.most));
    };
    let given = match (call.ints("axes"), call.input(3)) {
        (Some(_), _) | (None, Some(_)) => {
            list("axes", 3).and_then(|given| given.iter().map(|at| at.exact()).collect::<Option<Vec<_>>>())
        }
        (None, None) => Some((0..starts.len()).map(|at| at as f64).collect()),
    };
    let steps = match call.input(4) {
        Some(_) => list("steps", 4),
        None => Some(vec![Range::exactly(1.0); starts.len()]),
    };
    let (Some(given), Some(steps)) = (given.and_then(|given| axes(&given, dims.len())), steps) else {
        return Some(call.like(0, smaller()).at_most(value.most));
    };
    let mut sliced = dims.clone();
    // Where what is kept of the elements begins, and how many there are of each axis how far apart.
    let once = (1..given.len()).all(|at| !given[..at].contains(&given[at]));
    let mut kept = rows(dims).filter(|_| once).map(|axes| (0.0, axes));
    for (((&axis, start), end), step) in given.iter().zip(&starts).zip(&ends).zip(&steps) {
        let dim = dims[axis];
        let cut = match (dim.exact(), start.exact(), end.exact(), step.exact()) {
            (Some(dim), Some(start), Some(end), Some(step)) if step != 0.0 => {
                let (first, count) = cut(dim, start, end, step);
                if let Some((begin, axes)) = &mut kept {
                    *begin += first * axes[axis].1;
                    axes[axis] = (count, axes[axis].1 * step);
                }
                Range::exactly(count)
            }
            _ => {
                kept = None;
                bounded_cut(dim, *start, *end, *step)
            }
        };
        sliced[axis] = cut;
    }
    let numbers = value.numbers.as_ref().zip(kept);
    let numbers = numbers.and_then(|(numbers, (begin, axes))| view(numbers, begin, &axes));
    Some(call.like(0, sliced).at_most(value.most).with(numbers))
}

/// Of each axis: its size, and how far its elements lie apart in row-major order. None where a size is not known.
fn rows(dims: &[Range]) -> Option<Vec<(f64, f64)>> {
    let mut apart = 1.0;
    let mut axes = Vec::with_capacity(dims.len());
    for dim in dims.iter().rev() {
        let size = dim.exact()?;
        axes.push((size, apart));
        apart *= size;
    }
    axes.reverse();
    Some(axes)
}

/// The elements that lie so far apart along axes of those sizes, row major; few, as those are that are followed.
fn view(numbers: &[Range], begin: f64, axes: &[(f64, f64)]) -> Option<Vec<Range>> {
    let count: f64 = axes.iter().map(|(size, _)| size).product();
    if count == 0.0 || count > numbers.len() as f64 {
        return (count == 0.0).then(Vec::new);
    }
    let mut places = vec![begin];
    for &(size, apart) in axes {
        places = places
            .iter()
            .flat_map(|place| (0..size as usize).map(move |at| place + at as f64 * apart))
            .collect();
    }
    places.into_iter().map(|place| numbers.get(place as usize).filter(|_| place >= 0.0).copied()).collect()
}

/// Where a slice of a known dimension begins, and how many there are.
fn cut(dim: f64, start: f64, end: f64, step: f64) -> (f64, f64) {
    let wrap = |at: f64| if at < 0.0 { at + dim } else { at };
    let (start, end) = if step > 0.0 {
        (wrap(start).clamp(0.0, dim), wrap(end).clamp(0.0, dim))
    } else {
        (wrap(start).clamp(-1.0, dim - 1.0), wrap(end).clamp(-1.0, dim - 1.0))
    };
    (start, ((end - start) / step).ceil().max(0.0))
}

fn bounded_cut(dim: Range, start: Range, end: Range, step: Range) -> Range {
    let mut most = dim.hi;
    let forward = step.lo >= 1.0;
    if forward && start.lo >= 0.0 && end.lo >= 0.0 {
        most = most.min((end.hi - start.lo).max(0.0));
    } else if forward && start.hi < 0.0 {
        most = most.min(-start.lo);
    }
    if forward {
        most = (most / step.lo).ceil();
    }
    Range::up_to(most)
}
