//! Rows of a table into tensors. A format's reader gives the cells of a row one after the other, in any order, and ends
//! the row or gives it up; [`Rows`] writes each value straight to its place in its tensor.
//!
//! ```text
//!  begin ─▶ number │ text │ value │ missing … ─▶ end       (or fail: the row is a bad one)
//! ```

mod cells;
mod decimal;
mod runs;

use std::sync::Arc;

use self::cells::Ends;
use self::runs::{Kind, Slot, run_of, slots};

use crate::description::Missing;
use crate::draft::{Chunk, Draft};
use crate::error::{DataError, Place, Problem, shown};
use crate::plan::Plan;
use crate::split::{Divider, Side};
use crate::tensor::{DType, Element, Values, each};

/// Bytes of a chunk, about: samples that are read while they are in the processor's cache are looked at there.
const CHUNK_BYTES: usize = 512 << 10;
/// Samples of a chunk, at most.
const CHUNK_ROWS: usize = 1 << 16;

/// A typed cell of a format that has types.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Missing,
    /// An integer or a truth value.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Text(&'a str),
}

/// What is wrong with a cell: its column, and what was found there.
#[derive(Debug)]
pub struct Wrong {
    /// Zero-based.
    pub column: usize,
    /// For a person.
    pub what: String,
}

/// Takes the rows of one file.
pub struct Rows<'a> {
    draft: &'a mut Draft,
    plan: Arc<Plan>,
    file: &'a str,
    divider: Divider,
    /// As in the plan, for the fastest road.
    slots: Vec<Slot>,
    values: Vec<Values>,
    widths: Vec<usize>,
    /// Elements of each tensor before the row.
    starts: Vec<usize>,
    holes: Vec<Vec<usize>>,
    ends: Ends,
    sides: Vec<Side>,
    /// Where a column decides, of this row.
    side: Option<Side>,
    full: usize,
    row: u64,
}

impl<'a> Rows<'a> {
    /// Of the file, from its row number `row` on.
    pub fn new(draft: &'a mut Draft, plan: Arc<Plan>, file: &'a str, divider: Divider, row: u64) -> Self {
        let widths: Vec<usize> = plan.tensors.iter().map(crate::plan::Column::width).collect();
        let bytes: usize =
            plan.tensors.iter().zip(&widths).map(|(column, width)| width * column.dtype.size()).sum();
        let full = (CHUNK_BYTES / bytes.max(1)).clamp(1, CHUNK_ROWS);
        let slots = slots(&plan);
        let values: Vec<Values> = plan.tensors.iter().map(|column| Values::empty(column.dtype)).collect();
        Self {
            draft,
            file,
            divider,
            slots,
            starts: vec![0; values.len()],
            holes: vec![Vec::new(); values.len()],
            values,
            widths,
            plan,
            ends: Ends::default(),
            sides: Vec::new(),
            side: None,
            full,
            row,
        }
    }

    /// Number of the next row in its file.
    pub fn row(&self) -> u64 {
        self.row
    }

    /// A new row.
    #[inline]
    pub fn begin(&mut self) {
        for ((values, start), width) in self.values.iter_mut().zip(&mut self.starts).zip(&self.widths) {
            *start = values.len();
            values.resize(*start + width);
        }
        self.side = None;
    }

    /// Cells from `column` on whose tensors take plain numbers, and that are plain numbers: their places are written, `at` is
    /// moved behind the delimiter of the last one. `text` begins with the line, which ends at `end`, and may go on. Gives how
    /// many there were; for the next, try [`Self::text`], which also says what is wrong.
    #[inline(always)]
    pub fn numbers(
        &mut self,
        column: usize,
        text: &[u8],
        end: usize,
        at: &mut usize,
        delimiter: u8,
    ) -> usize {
        let Slot { kind, tensor, place, run } = self.slots[column];
        let from = self.starts[tensor] + place;
        match (kind, &mut self.values[tensor]) {
            (Kind::Number, Values::F32(values)) => {
                run_of(&mut values[from..from + run], &mut self.ends, text, end, at, delimiter)
            }
            (Kind::Number, Values::F64(values)) => {
                run_of(&mut values[from..from + run], &mut self.ends, text, end, at, delimiter)
            }
            (Kind::Number, Values::I64(values)) => {
                run_of(&mut values[from..from + run], &mut self.ends, text, end, at, delimiter)
            }
            _ => 0,
        }
    }

    /// Whether nothing is to be done for a column.
    #[inline(always)]
    pub fn skips(&self, column: usize) -> bool {
        self.slots[column].kind == Kind::None
    }

    /// A cell as text, trimmed.
    pub fn text(&mut self, column: usize, text: &[u8]) -> Result<(), Wrong> {
        let uses = self.plan.uses[column];
        if uses.key {
            self.side = Some(self.divider.by_text(text).map_err(|what| Wrong { column, what })?);
        }
        let Some((tensor, place)) = uses.target else { return Ok(()) };
        let integer = !self.plan.tensors[tensor].dtype.is_float();
        if is_missing(text) {
            return self.hole(column, tensor, place).map_err(|()| {
                let found = match shown(text) {
                    text if text.is_empty() => "the cell is empty".to_owned(),
                    text => format!("\"{text}\" is not a value"),
                };
                Wrong { column, what: format!("{found}; expected {}", self.expected(tensor)) }
            });
        }
        let at = self.starts[tensor] + place;
        if let Some(encoder) = &mut self.draft.encoders[tensor] {
            let number = encoder.encode(text).map_err(|what| Wrong { column, what })?;
            return self.put(column, at, tensor, Cell::Int(number));
        }
        let not = |rows: &Self| Wrong {
            column,
            what: format!("\"{}\" is not {}", shown(text), rows.expected(tensor)),
        };
        let parsed = std::str::from_utf8(text).ok().and_then(|text| {
            let whole = if integer { text.parse().ok().map(Cell::Int) } else { None };
            whole.or_else(|| text.parse().ok().map(Cell::Float))
        });
        let done = parsed.is_some_and(|cell| set(&mut self.values[tensor], at, cell));
        if done { Ok(()) } else { Err(not(self)) }
    }

    /// A cell of a type.
    pub fn value(&mut self, column: usize, offset: usize, cell: Cell<'_>) -> Result<(), Wrong> {
        let uses = self.plan.uses[column];
        if uses.key && offset == 0 {
            self.side = Some(match cell {
                Cell::Text(text) => {
                    self.divider.by_text(text.as_bytes()).map_err(|what| Wrong { column, what })?
                }
                Cell::Int(number) => self.divider.by_number(number as f64),
                Cell::Float(number) => self.divider.by_number(number),
                Cell::Missing => Side::Train,
            });
        }
        let Some((tensor, place)) = uses.target else { return Ok(()) };
        let at = self.starts[tensor] + place + offset;
        match cell {
            Cell::Missing => self.missing(column, tensor, place + offset),
            Cell::Float(number) if number.is_nan() => self.missing(column, tensor, place + offset),
            _ if self.draft.encoders[tensor].is_some() => {
                let name = match cell {
                    Cell::Text(text) => text.to_owned(),
                    Cell::Int(number) => number.to_string(),
                    Cell::Float(number) => number.to_string(),
                    Cell::Missing => String::new(),
                };
                let Some(encoder) = &mut self.draft.encoders[tensor] else { return Ok(()) };
                let number = encoder.encode(name.as_bytes()).map_err(|what| Wrong { column, what })?;
                self.put(column, at, tensor, Cell::Int(number))
            }
            Cell::Text(text) => self.text(column, text.trim().as_bytes()),
            cell => self.put(column, at, tensor, cell),
        }
    }

    fn missing(&mut self, column: usize, tensor: usize, place: usize) -> Result<(), Wrong> {
        self.hole(column, tensor, place).map_err(|()| Wrong {
            column,
            what: format!("the value is missing; expected {}", self.expected(tensor)),
        })
    }

    fn put(&mut self, column: usize, at: usize, tensor: usize, cell: Cell<'_>) -> Result<(), Wrong> {
        if set(&mut self.values[tensor], at, cell) {
            return Ok(());
        }
        let found = match cell {
            Cell::Float(number) => number.to_string(),
            Cell::Int(number) => number.to_string(),
            Cell::Text(_) | Cell::Missing => String::new(),
        };
        Err(Wrong { column, what: format!("{found} is not {}", self.expected(tensor)) })
    }

    fn hole(&mut self, _column: usize, tensor: usize, place: usize) -> Result<(), ()> {
        let at = self.starts[tensor] + place;
        let fill = match self.plan.missing[tensor] {
            Missing::Refuse => return Err(()),
            Missing::Fill(value) => value,
            Missing::Nan => f64::NAN,
        };
        each!(&mut self.values[tensor], values => values[at] = Element::from_f64(fill).ok_or(())?);
        self.holes[tensor].push(at);
        Ok(())
    }

    fn expected(&self, tensor: usize) -> String {
        let dtype = self.plan.tensors[tensor].dtype;
        match dtype {
            _ if self.plan.classes[tensor].is_some() => "a class".to_owned(),
            DType::I64 if self.plan.labels[tensor] => "an integer label".to_owned(),
            dtype if dtype.is_float() => format!("a finite number of type {dtype}"),
            dtype => format!("an integer of type {dtype}"),
        }
    }

    /// The row is complete. Err: the samples take too much memory.
    #[inline]
    pub fn end(&mut self) -> Result<(), DataError> {
        let side = match self.side {
            Some(side) => side,
            None => self.divider.by_row(self.row),
        };
        self.sides.push(side);
        self.row += 1;
        if self.sides.len() >= self.full { self.flush() } else { Ok(()) }
    }

    /// The row is a bad one. Err: bad rows are not allowed.
    #[cold]
    pub fn fail(&mut self, place: Place, wrong: Wrong) -> Result<(), DataError> {
        let column = Some(self.plan.header.describe(wrong.column));
        let problem = Problem { file: self.file.to_owned(), place, column, what: wrong.what };
        self.fail_row(problem)
    }

    /// As above, of a row whose cells cannot be told apart.
    #[cold]
    pub fn fail_row(&mut self, problem: Problem) -> Result<(), DataError> {
        // A row may fail before it began; then the starts are those of the row before it, which stands.
        for (index, values) in self.values.iter_mut().enumerate() {
            let start = self.sides.len() * self.widths[index];
            values.resize(start);
            let holes = &mut self.holes[index];
            let kept = holes.partition_point(|&hole| hole < start);
            holes.truncate(kept);
        }
        self.row += 1;
        self.draft.bad(problem)
    }

    /// Number of a class of a tensor; None where it has none.
    pub fn encode(&mut self, tensor: usize, name: &str) -> Option<i64> {
        self.draft.encoders[tensor].as_mut()?.encode(name.trim().as_bytes()).ok()
    }

    /// Rows that are whole already: of each tensor, the elements of `len` rows.
    pub fn push_whole(&mut self, values: Vec<Values>, len: usize) -> Result<(), DataError> {
        self.flush()?;
        let sides = (self.row..self.row + len as u64).map(|row| self.divider.by_row(row)).collect();
        self.row += len as u64;
        self.draft.push(self.file, Chunk { values, sides, images: Vec::new() }, &[])
    }

    /// Rows of a chunk.
    pub fn full(&self) -> usize {
        self.full
    }

    /// Hand over what is complete.
    pub fn flush(&mut self) -> Result<(), DataError> {
        let empty = |values: &Values| Values::empty(values.dtype());
        let emptied: Vec<Values> = self.values.iter().map(empty).collect();
        let values = std::mem::replace(&mut self.values, emptied);
        for (values, width) in self.values.iter_mut().zip(&self.widths) {
            // The next chunk is as large, mostly; a small one asks for little.
            let expected = if self.sides.len() >= self.full { (self.full + 1) * width } else { 0 };
            if !values.try_reserve(expected) {
                return Err(DataError::too_large(self.file, "memory for more samples is not to be had"));
            }
        }
        let sides = std::mem::take(&mut self.sides);
        let mut holes = vec![Vec::new(); values.len()];
        std::mem::swap(&mut holes, &mut self.holes);
        // Within a row, cells may have come in another order than their places.
        for holes in &mut holes {
            holes.sort_unstable();
            // A JSON object may have a key twice.
            holes.dedup();
        }
        self.draft.push(self.file, Chunk { values, sides, images: Vec::new() }, &holes)
    }
}

fn set(values: &mut Values, at: usize, cell: Cell<'_>) -> bool {
    fn to<T: Element>(cell: Cell<'_>) -> Option<T> {
        match cell {
            Cell::Int(value) => T::from_i64(value),
            Cell::Float(value) if value.is_finite() => T::from_f64(value),
            Cell::Float(_) | Cell::Text(_) | Cell::Missing => None,
        }
    }
    each!(values, values => match to(cell) {
        Some(value) => {
            values[at] = value;
            true
        }
        None => false,
    })
}

/// Cells without a value.
pub fn is_missing(text: &[u8]) -> bool {
    matches!(text.len(), 0 | 2..=4)
        && (text.is_empty()
            || [&b"na"[..], b"n/a", b"nan", b"null"].iter().any(|none| text.eq_ignore_ascii_case(none)))
}
