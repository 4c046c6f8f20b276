//! Samples as the bytes of a file, once it is known what goes where. Called by `export`.

use std::io::{self, Seek, Write};
use std::sync::Arc;

use super::export::{ExportError, MAX_COLUMNS};
use crate::description::{Description, Format};
use crate::formats::npz;
use crate::layout::{Field, FileLayout};
use crate::plan::Column;
use crate::samples::{Batch, Samples};
use crate::tensor::{DType, Tensor, Values};

/// Samples that are gathered at a time.
const BATCH: usize = 256;

/// As CSV; `source` says where a column's values are, and None leaves it empty.
pub fn write_csv(
    samples: &Arc<Samples>,
    description: &Description,
    layout: &FileLayout,
    source: &dyn Fn(&Field) -> Option<(usize, usize)>,
    rows: Vec<u32>,
    limit: u64,
    out: impl Write,
) -> Result<(), ExportError> {
    if layout.fields.len() > MAX_COLUMNS {
        let what = format!("a sample has more than {MAX_COLUMNS} values");
        return Err(ExportError::NoTable { what });
    }
    if let Some(list) = layout.fields.iter().find(|field| field.width != 1) {
        let what = format!("cells of \"{:.60}\" have {} values", list.name, list.width);
        return Err(ExportError::NoTable { what });
    }
    let delimiter = if layout.format == Format::Csv { layout.delimiter } else { ',' };
    let mut out = Counted { out: io::BufWriter::with_capacity(1 << 16, out), bytes: 0 };
    if layout.heading {
        for (at, field) in layout.fields.iter().enumerate() {
            let separated = if at > 0 { delimiter.to_string() } else { String::new() };
            write!(out, "{separated}{}", quoted(&field.name, delimiter))?;
        }
        out.write_all(b"\n")?;
    }
    let cells: Vec<_> = layout
        .fields
        .iter()
        .map(|field| {
            let (tensor, place) = source(field)?;
            Some((tensor, place, class_names(samples, description, tensor)))
        })
        .collect();
    let mut done = 0;
    let mut batches = samples.batches_of(rows, BATCH, None);
    while let Some(batch) = batches.try_next()? {
        let count = batch.first().map_or(0, |(_, tensor)| tensor.shape[0]);
        for row in 0..count {
            for (at, cell) in cells.iter().enumerate() {
                if at > 0 {
                    write!(out, "{delimiter}")?;
                }
                if let Some((tensor, place, names)) = cell {
                    write_cell(&mut out, &batch, (*tensor, row, *place), *names, delimiter)?;
                }
            }
            out.write_all(b"\n")?;
            if out.bytes > limit {
                return Err(ExportError::TooLarge { limit, fit: done + row });
            }
        }
        done += count;
    }
    out.flush()?;
    Ok(())
}

/// Of a tensor that has classes by name.
fn class_names<'d>(samples: &Samples, description: &'d Description, tensor: usize) -> Option<&'d [String]> {
    let name = &samples.columns().get(tensor)?.name;
    let classes = match description.tensors.iter().find(|spec| spec.name == *name) {
        Some(spec) => spec.classes.as_ref(),
        None if name == "y" => description.classes.as_ref(),
        None => None,
    };
    classes.map(|classes| classes.names.as_slice())
}

fn write_cell(
    out: &mut impl Write,
    batch: &Batch,
    (tensor, row, place): (usize, usize, usize),
    names: Option<&[String]>,
    delimiter: char,
) -> io::Result<()> {
    let tensor = &batch[tensor].1;
    let width: usize = tensor.shape[1..].iter().product();
    let at = row * width + place;
    let class = |number: i64| usize::try_from(number).ok().and_then(|number| names?.get(number));
    match &tensor.values {
        Values::I64(values) => match class(values[at]) {
            Some(class) => out.write_all(quoted(class, delimiter).as_bytes()),
            None => write!(out, "{}", values[at]),
        },
        Values::I32(values) => write!(out, "{}", values[at]),
        Values::U8(values) => write!(out, "{}", values[at]),
        // What is missing is an empty cell.
        Values::F32(values) if values[at].is_nan() => Ok(()),
        Values::F32(values) => write!(out, "{}", values[at]),
        Values::F64(values) if values[at].is_nan() => Ok(()),
        Values::F64(values) => write!(out, "{}", values[at]),
        Values::F16(values) if values[at].is_nan() => Ok(()),
        Values::F16(values) => write!(out, "{}", values[at].to_f32()),
        Values::BF16(values) if values[at].is_nan() => Ok(()),
        Values::BF16(values) => write!(out, "{}", values[at].to_f32()),
    }
}

/// As a cell that is read as it is.
fn quoted(text: &str, delimiter: char) -> std::borrow::Cow<'_, str> {
    let plain = text.trim() == text && !text.contains([delimiter, '"', '\n', '\r']);
    if plain { text.into() } else { format!("\"{}\"", text.replace('"', "\"\"")).into() }
}

struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// As NPZ; `sources` has for each tensor of the layout the samples' own.
pub fn write_npz(
    samples: &Arc<Samples>,
    layout: &FileLayout,
    sources: &[Option<usize>],
    rows: Vec<u32>,
    limit: u64,
    out: impl Write + Seek,
) -> Result<(), ExportError> {
    let size = |tensor: &Column| {
        // Types that NumPy has not are written as f4; types may differ.
        tensor.width() as u64 * tensor.dtype.size().max(4) as u64
    };
    let widest = |columns: &[Column]| columns.iter().map(size).fold(0u64, u64::saturating_add);
    let sample = widest(&layout.tensors).max(widest(samples.columns())).max(1);
    let fit = usize::try_from(limit / sample).unwrap_or(usize::MAX);
    let count = rows.len();
    if count > fit {
        return Err(ExportError::TooLarge { limit, fit });
    }
    let mut batch = samples.batches_of(rows, count.max(1), None).try_next()?.unwrap_or_default();
    // Images that cannot be decoded may have been left out.
    let count = batch.first().map_or(0, |(_, tensor)| tensor.shape[0]);
    let mut arrays = Vec::new();
    for field in &layout.fields {
        let Some((at, _)) = field.target else { continue };
        let wanted = &layout.tensors[at];
        let shape = std::iter::once(count).chain(wanted.shape.iter().copied()).collect();
        let values = match sources[at] {
            Some(source) => {
                let values = std::mem::replace(&mut batch[source].1.values, Values::empty(DType::U8));
                values
                    .cast(wanted.dtype)
                    .map_err(|_| ExportError::Type { tensor: wanted.name.clone(), dtype: wanted.dtype })?
            }
            None => not_yet(wanted.dtype, count * wanted.width()),
        };
        arrays.push((field.name.clone(), Tensor { shape, values }));
    }
    npz::write(out, &arrays)?;
    Ok(())
}

/// Labels that are not there.
fn not_yet(dtype: DType, count: usize) -> Values {
    match dtype {
        DType::F32 => Values::F32(vec![f32::NAN; count]),
        DType::F64 => Values::F64(vec![f64::NAN; count]),
        // NumPy's files have them as f4.
        DType::F16 | DType::BF16 => Values::F32(vec![f32::NAN; count]),
        DType::I32 => Values::I32(vec![-1; count]),
        // Without a value for "not yet"; whoever reads it casts it back.
        DType::I64 | DType::U8 => Values::I64(vec![-1; count]),
    }
}
