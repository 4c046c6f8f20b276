//! Operators that move elements and compute nothing.

use crate::proto::NodeProto;
use crate::train::dim::{Dim, Shape, elements};
use crate::train::node::{self, input, output};

use super::{Entry, MAX_ENTRIES, Shapes, axis};

/// Axes that a shape may have.
const MAX_RANK: usize = crate::MAX_RANK;

impl Shapes {
    pub(super) fn shape_of(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        let bound = |name: &str, or: usize| match node::int(node, name) {
            Some(at) if at < 0 => usize::try_from(at + x.len() as i64).unwrap_or(0),
            Some(at) => usize::try_from(at).unwrap_or(usize::MAX).min(x.len()),
            None => or,
        };
        let dims = x.get(bound("start", 0)..bound("end", x.len())).unwrap_or_default();
        self.entries.insert(output(node, 0)?.to_owned(), dims.iter().map(Entry::of).collect());
        Some(vec![Dim::known(dims.len())])
    }

    pub(super) fn flatten(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        let at = node::int(node, "axis").unwrap_or(1);
        let at = usize::try_from(if at < 0 { at + x.len() as i64 } else { at }).ok()?;
        let (rows, columns) = x.split_at_checked(at)?;
        Some(vec![elements(rows)?, elements(columns)?])
    }

    pub(super) fn reshape(&mut self, node: &NodeProto) -> Option<Shape> {
        let wanted = input(node, 1)?;
        let Some(entries) = self.entries.get(wanted).cloned() else {
            // Of a shape that is not known, its length may be: that is the rank.
            let rank = self.of(wanted)?.first()?.size().filter(|&rank| rank <= MAX_RANK)?;
            return Some((0..rank).map(|_| self.unknown()).collect());
        };
        let x = self.input(node, 0);
        let copies = node::int(node, "allowzero").unwrap_or(0) == 0;
        let mut shape = Shape::new();
        let mut rest = None;
        for (at, entry) in entries.iter().enumerate() {
            shape.push(match entry {
                Entry::Int(-1) => {
                    rest = Some(at);
                    Dim::known(1)
                }
                Entry::Int(0) if copies => match x.as_ref().and_then(|x| x.get(at)) {
                    Some(dim) => dim.clone(),
                    None => self.unknown(),
                },
                other => other.dim()?,
            });
        }
        if let Some(at) = rest {
            let all = x.as_ref().and_then(|x| elements(x));
            let dim = all.zip(elements(&shape)).and_then(|(all, others)| all.over(&others));
            shape[at] = dim.unwrap_or_else(|| self.unknown());
        }
        // Integers stay what they are in any shape of at most one axis.
        if shape.len() <= 1
            && let Some(values) = input(node, 0).and_then(|name| self.entries.get(name)).cloned()
        {
            self.entries.insert(output(node, 0)?.to_owned(), values);
        }
        Some(shape)
    }

    /// The order of a transposition.
    pub fn order(node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
        let Some(order) = node::ints(node, "perm") else { return Some((0..rank).rev().collect()) };
        let order: Vec<usize> = order.iter().map(|&at| axis(at, rank)).collect::<Option<_>>()?;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        sorted.iter().copied().eq(0..rank).then_some(order)
    }

    pub(super) fn transposed(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        Some(Self::order(node, x.len())?.into_iter().map(|at| x[at].clone()).collect())
    }

    pub(super) fn squeeze(&mut self, node: &NodeProto) -> Option<Shape> {
        self.follow_first(node);
        let x = self.input(node, 0)?;
        let axes: Vec<usize> = match input(node, 1) {
            Some(name) => self.ints(name)?.into_iter().map(|at| axis(at, x.len())).collect::<Option<_>>()?,
            None if x.iter().all(|dim| dim.size().is_some()) => {
                (0..x.len()).filter(|&at| x[at].is(1)).collect()
            }
            None => return None,
        };
        Some(x.into_iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, dim)| dim).collect())
    }

    pub(super) fn unsqueeze(&mut self, node: &NodeProto) -> Option<Shape> {
        self.follow_first(node);
        let x = self.input(node, 0)?;
        let axes = self.ints(input(node, 1)?)?;
        let rank = x.len() + axes.len();
        let axes: Vec<usize> = axes.into_iter().map(|at| axis(at, rank)).collect::<Option<_>>()?;
        let mut rest = x.into_iter();
        (0..rank).map(|at| if axes.contains(&at) { Some(Dim::known(1)) } else { rest.next() }).collect()
    }

    /// The integers of the first input are those of the output.
    fn follow_first(&mut self, node: &NodeProto) {
        if let (Some(values), Some(output)) =
            (input(node, 0).and_then(|name| self.entries.get(name)).cloned(), output(node, 0))
        {
            self.entries.insert(output.to_owned(), values);
        }
    }

    pub(super) fn concat(&mut self, node: &NodeProto) -> Option<Shape> {
        self.follow(node, |inputs| {
            let entries = inputs.concat();
            (entries.len() <= MAX_ENTRIES).then_some(entries)
        });
        let mut shape = self.input(node, 0)?;
        let at = axis(node::int(node, "axis")?, shape.len())?;
        let parts: Option<Vec<Dim>> =
            (0..node.input.len()).map(|part| self.input(node, part)?.get(at).cloned()).collect();
        let total = parts.and_then(|parts| {
            parts.iter().try_fold(0usize, |sum, dim| sum.checked_add(dim.size()?)).map(Dim::known)
        });
        shape[at] = total.unwrap_or_else(|| self.unknown());
        Some(shape)
    }

    pub(super) fn gather(&mut self, node: &NodeProto) -> Option<Shape> {
        self.follow(node, |inputs| {
            let [values, indices] = inputs else { return None };
            let pick = |index: &Entry| match index {
                Entry::Int(at) => values.get(axis(*at, values.len())?).cloned(),
                Entry::Size(_) => None,
            };
            indices.iter().map(pick).collect()
        });
        let (x, indices) = (self.input(node, 0)?, self.input(node, 1)?);
        let at = axis(node::int(node, "axis").unwrap_or(0), x.len())?;
        Some([&x[..at], &indices, &x[at + 1..]].concat())
    }

    /// The bounds of a slice: axis, start, end, step; as the file gives them.
    pub fn bounds(&self, node: &NodeProto, rank: usize) -> Option<Vec<(usize, i64, i64, i64)>> {
        let (starts, ends) = (self.ints(input(node, 1)?)?, self.ints(input(node, 2)?)?);
        let axes = match input(node, 3) {
            Some(name) => self.ints(name)?,
            None => (0..starts.len() as i64).collect(),
        };
        let steps = match input(node, 4) {
            Some(name) => self.ints(name)?,
            None => vec![1; starts.len()],
        };
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return None;
        }
        (0..starts.len()).map(|at| Some((axis(axes[at], rank)?, starts[at], ends[at], steps[at]))).collect()
    }

    pub(super) fn slice(&mut self, node: &NodeProto) -> Option<Shape> {
        let mut shape = self.input(node, 0)?;
        if let Some(bounds) = self.bounds(node, shape.len()) {
            for &(at, start, end, step) in &bounds {
                let all = start == 0 && end >= i64::from(i32::MAX) && step == 1;
                if all {
                    continue;
                }
                let size = shape[at].size().and_then(|size| Some(span(size, start, end, step)?.1));
                shape[at] = size.map_or_else(|| self.unknown(), Dim::known);
            }
            if let [(0, start, end, step)] = bounds[..]
                && let Some(values) = input(node, 0).and_then(|name| self.entries.get(name)).cloned()
                && let Some((first, count)) = span(values.len(), start, end, step)
            {
                let picked =
                    (0..count as i64).map(|at| values.get(usize::try_from(first as i64 + at * step).ok()?));
                if let Some(picked) = picked.map(|entry| entry.cloned()).collect::<Option<Vec<_>>>() {
                    self.entries.insert(output(node, 0)?.to_owned(), picked);
                }
            }
            return Some(shape);
        }
        Some(shape.iter().map(|_| self.unknown()).collect())
    }

    /// The sizes of a split's parts.
    pub fn parts(&self, node: &NodeProto, size: usize) -> Option<Vec<usize>> {
        let parts = match input(node, 1) {
            Some(name) => self
                .ints(name)?
                .into_iter()
                .map(|part| usize::try_from(part).ok())
                .collect::<Option<Vec<_>>>()?,
            None => {
                let count = node::int(node, "num_outputs").map_or(node.output.len(), |count| count as usize);
                let part = size.div_ceil(count.max(1));
                (0..node.output.len()).map(|at| part.min(size.saturating_sub(at * part))).collect()
            }
        };
        (parts.len() == node.output.len() && parts.iter().sum::<usize>() == size).then_some(parts)
    }

    pub(super) fn split(&mut self, node: &NodeProto) {
        let Some(shape) = self.input(node, 0) else { return };
        let Some(at) = axis(node::int(node, "axis").unwrap_or(0), shape.len()) else { return };
        let parts = shape[at].size().and_then(|size| self.parts(node, size));
        for (part, name) in node.output.iter().enumerate() {
            let mut shape = shape.clone();
            shape[at] = match &parts {
                Some(parts) => Dim::known(parts[part]),
                None => self.unknown(),
            };
            self.set(name, shape);
        }
    }

    pub(super) fn expand(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        let wanted = self.filled_shape(input(node, 1)?)?;
        Some(self.broadcast(&x, &wanted))
    }

    pub(super) fn filled(&mut self, node: &NodeProto) -> Option<Shape> {
        self.filled_shape(input(node, 0)?)
    }

    /// The shape that a value spells out.
    fn filled_shape(&mut self, name: &str) -> Option<Shape> {
        if let Some(entries) = self.entries.get(name) {
            return entries.iter().map(Entry::dim).collect();
        }
        let rank = self.of(name)?.first()?.size().filter(|&rank| rank <= MAX_RANK)?;
        Some((0..rank).map(|_| self.unknown()).collect())
    }

    /// How many elements a padding adds before and behind, axis by axis; negative ones are taken away.
    pub fn pads(&self, node: &NodeProto, rank: usize) -> Option<Vec<(i64, i64)>> {
        let pads = self.ints(input(node, 1)?)?;
        let axes: Vec<usize> = match input(node, 3) {
            Some(name) => self.ints(name)?.into_iter().map(|at| axis(at, rank)).collect::<Option<_>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return None;
        }
        let mut all = vec![(0, 0); rank];
        for (index, &at) in axes.iter().enumerate() {
            all[at] = (pads[index], pads[index + axes.len()]);
        }
        Some(all)
    }

    pub(super) fn pad(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        let Some(pads) = self.pads(node, x.len()) else {
            return Some(x.iter().map(|_| self.unknown()).collect());
        };
        let padded = x.iter().zip(pads).map(|(dim, (before, behind))| match dim.size() {
            _ if (before, behind) == (0, 0) => dim.clone(),
            Some(size) => {
                let size =
                    i64::try_from(size).ok().and_then(|size| size.checked_add(before)?.checked_add(behind));
                size.and_then(|size| usize::try_from(size).ok()).map_or_else(|| self.unknown(), Dim::known)
            }
            None => self.unknown(),
        });
        Some(padded.collect())
    }
}

/// The first element that a slice takes of an axis, and how many; as NumPy, which ONNX follows.
pub fn span(size: usize, start: i64, end: i64, step: i64) -> Option<(usize, usize)> {
    // Wide enough for the difference of any two numbers of a file.
    let (size, step) = (i128::try_from(size).ok()?, i128::from(step));
    let from_front = |at: i64| if at < 0 { i128::from(at) + size } else { at.into() };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let start = from_front(start).clamp(low.max(0), high.max(0));
    let end = from_front(end).clamp(low, high);
    let count = match step {
        0 => return None,
        step if step > 0 => (end - start + step - 1) / step,
        step => (start - end - step - 1) / -step,
    };
    Some((usize::try_from(start).ok()?, usize::try_from(count.max(0)).ok()?))
}
