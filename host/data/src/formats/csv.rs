//! Comma-separated values, RFC 4180, straight into tensors: a number is parsed where it stands in the buffer, and what
//! follows it shows whether it was the whole cell; no cell is copied unless it has quotation marks.
//!
//! The first row is a heading unless its cells are numbers or missing, or as the description says. Cells are trimmed; a byte
//! order mark and blank lines are passed over.

use std::sync::Arc;

use memchr::memchr;

use super::text::{Cursor, Quotes, Row, Text};
use crate::description::{Description, Heading};
use crate::draft::{Draft, Schema};
use crate::error::{DataError, Place, Problem};
use crate::plan::{Header, Plan};
use crate::rows::{Rows, Wrong, is_missing};
use crate::source::Blob;
use crate::split::Divider;

/// The rows that are new since the cursor.
pub fn read(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    cursor: &mut Cursor,
    draft: &mut Draft,
) -> Result<(), DataError> {
    let delimiter = description.csv.delimiter as u8;
    let file = blob.name();
    let known = cursor.plan.clone();
    let from = cursor.rows;
    let quotes = Quotes::Between(delimiter);
    let mut text = Text::new(blob, cursor, quotes, description.last_row, description.limits.row_bytes)?;
    let mut scratch = Vec::new();
    let mut pending = None;
    let plan = match known {
        Some(plan) => plan,
        None => {
            let Some(first) = text.next()? else { return Ok(()) };
            let header = header(first.bytes, description, &mut scratch);
            let heading = header.names.is_some();
            let plan = Arc::new(Plan::new(file, header, description)?);
            if !heading {
                pending = Some((first.bytes.to_vec(), first.line, first.quoted));
            }
            text.cursor().plan = Some(Arc::clone(&plan));
            plan
        }
    };
    draft.agree(file, Schema::of_plan(&plan, description))?;
    let mut rows = Rows::new(draft, Arc::clone(&plan), file, divider, from);
    let width = plan.uses.len();
    if let Some((bytes, line, quoted)) = &pending {
        let row = Row { bytes, text: bytes, line: *line, quoted: *quoted };
        take(&mut rows, row, width, delimiter, file, &mut scratch)?;
    }
    while let Some(row) = text.next()? {
        take(&mut rows, row, width, delimiter, file, &mut scratch)?;
    }
    rows.flush()?;
    let end = rows.row();
    text.cursor().rows = end;
    Ok(())
}

/// What the first row says of the columns. It is a row of its own unless it has their names.
pub(crate) fn header(first: &[u8], description: &Description, scratch: &mut Vec<u8>) -> Header {
    let cells = cells(first, description.csv.delimiter as u8, scratch);
    let heading = match description.csv.heading {
        Heading::Auto => !is_data(&cells),
        Heading::Yes => true,
        Heading::No => false,
    };
    let name = |cell: &&[u8]| String::from_utf8_lossy(cell).into_owned();
    Header::flat(heading.then(|| cells.iter().map(name).collect()), cells.len())
}

/// What is wrong with a row.
enum Bad {
    Cell(Wrong),
    Width,
}

/// A row; a bad one is noted, or the end of it all.
#[inline]
pub(crate) fn take(
    rows: &mut Rows<'_>,
    row: Row<'_>,
    width: usize,
    delimiter: u8,
    file: &str,
    scratch: &mut Vec<u8>,
) -> Result<(), DataError> {
    rows.begin();
    let done = if row.quoted {
        quoted(rows, row.bytes, width, delimiter, scratch)
    } else {
        plain(rows, row.bytes, row.text, width, delimiter)
    };
    match done {
        Ok(()) => rows.end(),
        Err(Bad::Cell(wrong)) => rows.fail(Place::Line(row.line), wrong),
        Err(Bad::Width) => {
            let found = cells(row.bytes, delimiter, scratch).len();
            let what = format!("expected {width} cells, as in the first row, got {found}");
            rows.fail_row(Problem::of_row(file, Place::Line(row.line), what))
        }
    }
}

/// A row without quotation marks; `text` begins with it, and may go on.
#[inline]
fn plain(rows: &mut Rows<'_>, line: &[u8], text: &[u8], width: usize, delimiter: u8) -> Result<(), Bad> {
    let (mut at, mut column) = (0, 0);
    while column < width {
        let taken = rows.numbers(column, text, line.len(), &mut at, delimiter);
        column += taken;
        if taken == 0 {
            let rest = &line[at..];
            let len = memchr(delimiter, rest).unwrap_or(rest.len());
            if !rows.skips(column) {
                rows.text(column, rest[..len].trim_ascii()).map_err(Bad::Cell)?;
            }
            at += len + 1;
            column += 1;
        }
        if at > line.len() {
            break;
        }
    }
    // Behind the end of the line, with its last cell.
    if column == width && at > line.len() { Ok(()) } else { Err(Bad::Width) }
}

fn quoted(
    rows: &mut Rows<'_>,
    line: &[u8],
    width: usize,
    delimiter: u8,
    scratch: &mut Vec<u8>,
) -> Result<(), Bad> {
    let cells = cells(line, delimiter, scratch);
    if cells.len() != width {
        return Err(Bad::Width);
    }
    for (column, cell) in cells.into_iter().enumerate() {
        rows.text(column, cell).map_err(Bad::Cell)?;
    }
    Ok(())
}

/// A row's cells, without quotation marks, trimmed.
pub(crate) fn cells<'a>(line: &[u8], delimiter: u8, scratch: &'a mut Vec<u8>) -> Vec<&'a [u8]> {
    scratch.clear();
    let mut ends = Vec::new();
    let mut at = 0;
    loop {
        if line.get(at) == Some(&b'"') {
            at += 1;
            while let Some(step) = memchr(b'"', &line[at..]) {
                scratch.extend_from_slice(&line[at..at + step]);
                at += step + 1;
                if line.get(at) != Some(&b'"') {
                    break;
                }
                scratch.push(b'"');
                at += 1;
            }
        }
        let len = memchr(delimiter, &line[at..]).unwrap_or(line.len() - at);
        scratch.extend_from_slice(&line[at..at + len]);
        ends.push(scratch.len());
        at += len + 1;
        if at > line.len() {
            break;
        }
    }
    let mut start = 0;
    let cell = |end| {
        let cell = scratch[start..end].trim_ascii();
        start = end;
        cell
    };
    ends.into_iter().map(cell).collect()
}

/// Whether a row has numbers, and beside them nothing but cells without a value. `nan` and `inf` are numbers here, so that
/// such a row is refused and not taken for a heading.
fn is_data(cells: &[&[u8]]) -> bool {
    let is_number = |cell: &[u8]| std::str::from_utf8(cell).is_ok_and(|cell| cell.parse::<f64>().is_ok());
    cells.iter().all(|cell| is_number(cell) || is_missing(cell)) && cells.iter().any(|cell| is_number(cell))
}
