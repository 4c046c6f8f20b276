//! Columns whose plain numbers are read where they lie, one run of neighbours after the other.

use super::cells::Ends;
use super::decimal::Decimal;
use crate::plan::{Plan, Use};
use crate::tensor::DType;

#[derive(Debug, Clone, Copy)]
pub struct Slot {
    /// How it is read.
    pub kind: Kind,
    /// Its tensor, and the place in its row.
    pub tensor: usize,
    /// As above.
    pub place: usize,
    /// Columns from this one on that go to neighbouring places, this one included.
    pub run: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes nowhere.
    None,
    /// Of a type whose plain numbers are read where they lie.
    Number,
    /// By the long road.
    Other,
}

/// For each of the file's columns.
pub fn slots(plan: &Plan) -> Vec<Slot> {
    let slot = |uses: &Use| {
        let (tensor, place) = uses.target.unwrap_or_default();
        let kind = match plan.tensors[tensor].dtype {
            _ if uses.key => Kind::Other,
            _ if uses.target.is_none() => Kind::None,
            _ if plan.classes[tensor].is_some() => Kind::Other,
            DType::F32 | DType::F64 | DType::I64 => Kind::Number,
            _ => Kind::Other,
        };
        Slot { kind, tensor, place, run: 1 }
    };
    let mut slots: Vec<Slot> = plan.uses.iter().map(slot).collect();
    for column in (1..slots.len()).rev() {
        let (before, next) = (slots[column - 1], slots[column]);
        let neighbours = (before.tensor, before.place + 1) == (next.tensor, next.place);
        if neighbours && before.kind == Kind::Number && next.kind == Kind::Number {
            slots[column - 1].run += next.run;
        }
    }
    slots
}

/// As [`Rows::numbers`](super::Rows::numbers). Where cells end is found first, for many of them: then no cell waits for the one before it to be
/// read, and the processor reads several at once.
#[inline(always)]
pub fn run_of<T: Decimal>(
    places: &mut [T],
    ends: &mut Ends,
    text: &[u8],
    end: usize,
    at: &mut usize,
    delimiter: u8,
) -> usize {
    let mut taken = 0;
    while taken < places.len() && *at <= end {
        let places = &mut places[taken..];
        let ends = ends.find(text, *at..end, delimiter, places.len());
        for (place, &cell_end) in places.iter_mut().zip(ends) {
            let Some(value) = T::parse(&text[*at..], cell_end - *at) else { return taken };
            *place = value;
            *at = cell_end + 1;
            taken += 1;
        }
    }
    taken
}
