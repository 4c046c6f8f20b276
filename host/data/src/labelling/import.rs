//! Labelled rows out of a file: each is checked as the dataset's own files are, and those that have a label are written to
//! another file, which is to lie beside them. What is wrong with any refuses all.

use std::io::{Seek, Write};
use std::sync::Arc;

use super::known::{Labels, compare};
use super::{Fingerprints, Form};
use crate::description::{BadRows, Description, LastRow};
use crate::draft::{Draft, Schema};
use crate::error::{DataError, Place, Problem, shown};
use crate::formats::text::{Cursor, Quotes, Row, Text};
use crate::formats::{csv, npz};
use crate::layout::{FileLayout, label_column};
use crate::plan::Plan;
use crate::rows::{Rows, is_missing};
use crate::samples::Samples;
use crate::source::{Blob, Origin};
use crate::split::Divider;
use crate::tensor::{DType, Element as _, Tensor, Values, each};

/// Rows that are held until they are known to be right.
const BLOCK: usize = 4096;

/// A file that is to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// How it is written.
    pub form: Form,
    /// What people are told of it.
    pub shown: &'a str,
    /// Of the dataset, with the classes that it learnt.
    pub description: &'a Description,
    /// What the dataset has; None: nothing yet.
    pub known: Option<&'a Samples>,
    /// Samples that came in before: they do not once more.
    pub earlier: &'a Fingerprints,
    /// Whether a label may be one that the dataset has not.
    pub new_labels: bool,
    /// Bytes of arrays, unpacked, at most.
    pub limit: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Samples of the file.
    pub samples: u64,
    /// Of them, written.
    pub taken: u64,
    /// Of them, without a label.
    pub unlabelled: u64,
    /// Of them, those that came in before.
    pub repeated: u64,
}

/// Take the labelled rows of the only file of `origin`, and write them to `out`.
pub fn import(origin: &Origin, wanted: &Import<'_>, out: impl Write + Seek) -> Result<Imported, DataError> {
    // A bad row is not passed over here, whatever the dataset does with those of its own files: somebody is there to mend it.
    let mut description = wanted.description.clone();
    description.bad_rows = BadRows::Refuse;
    description.last_row = LastRow::Take;
    description.check()?;
    let listing = origin.list(wanted.form.format(), &description.limits)?;
    let entry = listing.entries.first().filter(|_| !listing.folder);
    let entry = entry.ok_or_else(|| DataError::NotFound { file: wanted.shown.to_owned() })?;
    let blob = origin.open(entry)?;
    let imported = match wanted.form {
        Form::Csv => {
            // Text takes more room in memory than in its file; it is let go row by row.
            description.limits.bytes = u64::MAX;
            import_csv(&blob, wanted, &description, out)
        }
        Form::Npz => import_npz(&blob, wanted, &description, out),
    };
    imported.map_err(|error| error.renamed(blob.name(), wanted.shown))
}

fn import_csv(
    blob: &Blob,
    wanted: &Import<'_>,
    description: &Description,
    out: impl Write,
) -> Result<Imported, DataError> {
    let file = wanted.shown;
    let written = |error: std::io::Error| unwritten(file, &error);
    let mut out = std::io::BufWriter::new(out);
    let delimiter = description.csv.delimiter as u8;
    let mut cursor = Cursor::default();
    let limit = description.limits.row_bytes;
    let mut text = Text::new(blob, &mut cursor, Quotes::Between(delimiter), description.last_row, limit)?;
    let mut scratch = Vec::new();
    let Some(first) = text.next()? else {
        return Err(DataError::malformed(file, "it is empty"));
    };
    let header = csv::header(first.bytes, description, &mut scratch);
    let heading = header.names.is_some();
    let plan = Arc::new(Plan::new(file, header, description)?);
    let layout = FileLayout::of_plan(&plan, description);
    if let Some(known) = wanted.known.and_then(Samples::layout) {
        compare(file, known, &layout)?;
    }
    let label = layout.label.ok_or_else(|| no_label(file))?;
    let labels = Labels::of(wanted, &layout);
    let mut draft = Draft::new(description, None, 0);
    draft.agree(file, Schema::of_plan(&plan, description))?;
    let divider = Divider::new(&description.split, None)?;
    let mut imported = Imported::default();
    let mut pending = None;
    if heading {
        out.write_all(first.bytes).and_then(|()| out.write_all(b"\n")).map_err(written)?;
    } else {
        pending = Some((first.bytes.to_vec(), first.line, first.quoted));
    }
    let width = plan.uses.len();
    let mut number = 0;
    let mut kept: Vec<(u64, Vec<u8>)> = Vec::new();
    loop {
        let mut rows = Rows::new(&mut draft, Arc::clone(&plan), file, divider.clone(), number);
        let mut over = false;
        while kept.len() < BLOCK {
            let (bytes, line, quoted) = match pending.take() {
                Some(pending) => pending,
                None => match text.next()? {
                    Some(row) => (row.bytes.to_vec(), row.line, row.quoted),
                    None => {
                        over = true;
                        break;
                    }
                },
            };
            imported.samples += 1;
            let cells = csv::cells(&bytes, delimiter, &mut scratch);
            if cells.len() == width && is_missing(cells[label]) {
                imported.unlabelled += 1;
                continue;
            }
            let row = Row { bytes: &bytes, text: &bytes, line, quoted };
            csv::take(&mut rows, row, width, delimiter, file, &mut scratch)?;
            kept.push((line, bytes));
        }
        rows.flush()?;
        number = rows.row();
        drop(rows);
        let mut waiting = kept.drain(..);
        for chunk in draft.chunks.drain(..) {
            // As many rows were kept as there are samples of them.
            for (row, (line, bytes)) in (0..chunk.len()).zip(waiting.by_ref()) {
                if labels.strange(&chunk, row).is_some() {
                    let found = csv::cells(&bytes, delimiter, &mut scratch)[label];
                    let what = labels.refusal(&shown(found));
                    let column = Some(plan.header.describe(label));
                    let place = Place::Line(line);
                    return Err(DataError::Malformed(Problem { file: file.to_owned(), place, column, what }));
                }
                if wanted.earlier.have(&chunk, row) {
                    imported.repeated += 1;
                    continue;
                }
                out.write_all(&bytes).and_then(|()| out.write_all(b"\n")).map_err(written)?;
                imported.taken += 1;
            }
        }
        drop(waiting);
        if over {
            break;
        }
    }
    out.flush().map_err(written)?;
    Ok(imported)
}

fn import_npz(
    blob: &Blob,
    wanted: &Import<'_>,
    description: &Description,
    out: impl Write + Seek,
) -> Result<Imported, DataError> {
    let file = wanted.shown;
    let mut arrays = npz::read_arrays(blob, file, wanted.limit)?;
    let label = label_column(description).ok_or_else(|| no_label(file))?.to_owned();
    if let Some(known) = wanted.known.and_then(Samples::layout) {
        let place = |name: &str| known.fields.iter().position(|field| field.name == name);
        // In the order of the dataset's own, whatever wrote them.
        arrays.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    }
    let Some((_, labels)) = arrays.iter().find(|(name, _)| *name == label) else {
        let there: Vec<_> = arrays.iter().take(16).map(|(name, _)| format!("\"{name:.40}\"")).collect();
        let what = format!("no array is called \"{label}\"; there are {}", there.join(", "));
        return Err(DataError::NoSuchColumn { file: file.to_owned(), what });
    };
    let count = labels.shape.first().copied().unwrap_or(0);
    if labels.values.len() != count {
        let what = format!("the labels \"{label}\" are {labels:?}; there is one for each sample");
        return Err(DataError::malformed(file, what));
    }
    if let Some((name, array)) = arrays.iter().find(|(_, array)| array.shape.first() != Some(&count)) {
        let what = format!("\"{label}\" has {count} samples, \"{name:.60}\" is {array:?}");
        return Err(DataError::malformed(file, what));
    }
    let is_there = |row: usize| {
        each!(&labels.values, values => {
            let value = values[row].to_f64();
            !value.is_nan() && value != -1.0
        })
    };
    let labelled: Vec<usize> = (0..count).filter(|row| is_there(*row)).collect();
    check_values(file, &arrays, &labelled)?;
    for (_, array) in &mut arrays {
        *array = only(array, count, &labelled);
    }
    let mut imported = Imported {
        samples: count as u64,
        unlabelled: (count - labelled.len()) as u64,
        ..Imported::default()
    };
    if labelled.is_empty() {
        return Ok(imported);
    }
    // Labels that were not there are gone, and with them what kept labels from being integers.
    if description.label.is_some()
        && let Some((_, array)) = arrays.iter_mut().find(|(name, _)| *name == label)
    {
        let Tensor { shape, values } =
            std::mem::replace(array, Tensor { shape: Vec::new(), values: Values::empty(DType::U8) });
        let values = values.cast(DType::I64).map_err(|at| {
            let column = Some(format!("\"{label:.60}\""));
            let what = "the label is not an integer".to_owned();
            let place = Place::Row(labelled[at] as u64);
            DataError::Malformed(Problem { file: file.to_owned(), place, column, what })
        })?;
        *array = Tensor { shape, values };
    }
    let mut draft = Draft::new(description, None, 0);
    npz::take(file, arrays.clone(), description, Divider::new(&description.split, None)?, &mut draft)?;
    let schema = draft.schema.clone().unwrap_or_default();
    if let Some(layout) = &schema.layout {
        if let Some(known) = wanted.known.and_then(Samples::layout) {
            compare(file, known, layout)?;
        }
        let labels = Labels::of(wanted, layout);
        let mut fresh = Vec::with_capacity(labelled.len());
        let mut rows = draft.chunks.iter().flat_map(|chunk| (0..chunk.len()).map(move |row| (chunk, row)));
        for (index, sample) in labelled.iter().enumerate() {
            let Some((chunk, row)) = rows.next() else { break };
            if let Some(strange) = labels.strange(chunk, row) {
                let column = Some(format!("\"{label:.60}\""));
                let what = labels.refusal(&strange.to_string());
                let place = Place::Row(*sample as u64);
                return Err(DataError::Malformed(Problem { file: file.to_owned(), place, column, what }));
            }
            if wanted.earlier.have(chunk, row) {
                imported.repeated += 1;
            } else {
                fresh.push(index);
            }
        }
        drop(rows);
        imported.taken = fresh.len() as u64;
        for (_, array) in &mut arrays {
            *array = only(array, labelled.len(), &fresh);
        }
    }
    npz::write(out, &arrays).map_err(|error| unwritten(file, &error))?;
    Ok(imported)
}

/// Only finite values in the samples that are meant.
fn check_values(file: &str, arrays: &[(String, Tensor)], rows: &[usize]) -> Result<(), DataError> {
    for (name, array) in arrays.iter().filter(|(_, array)| array.values.dtype().is_float()) {
        let width = array.values.len() / array.shape[0].max(1);
        let odd = each!(&array.values, values => rows.iter().find(|&&row| {
            values[row * width..(row + 1) * width].iter().any(|value| !value.to_f64().is_finite())
        }));
        if let Some(&row) = odd {
            let column = Some(format!("\"{name:.60}\""));
            let what = "a value is not a finite number".to_owned();
            let place = Place::Row(row as u64);
            return Err(DataError::Malformed(Problem { file: file.to_owned(), place, column, what }));
        }
    }
    Ok(())
}

/// Some samples of an array of `count`.
fn only(array: &Tensor, count: usize, rows: &[usize]) -> Tensor {
    let width = array.values.len() / count.max(1);
    let mut values = Values::empty(array.values.dtype());
    for row in rows {
        values.extend(&array.values, row * width..(row + 1) * width);
    }
    let shape = std::iter::once(rows.len()).chain(array.shape[1..].iter().copied()).collect();
    Tensor { shape, values }
}

fn no_label(file: &str) -> DataError {
    let what = "the description of the dataset does not say which column is the label; name it as label, or call its tensor y";
    DataError::NoSuchColumn { file: file.to_owned(), what: what.to_owned() }
}

fn unwritten(file: &str, error: &std::io::Error) -> DataError {
    DataError::Unreadable {
        file: file.to_owned(),
        what: format!("what is taken of it cannot be written: {error}"),
    }
}
