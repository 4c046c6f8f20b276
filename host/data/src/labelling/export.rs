//! Samples as a file for labels.

use std::io::{self, Seek, Write};
use std::sync::Arc;

use super::{Form, LABEL};
use crate::description::{Description, Format};
use crate::error::DataError;
use crate::formats::npz;
use crate::layout::{Field, FileLayout};
use crate::plan::Column;
use crate::samples::{Batch, Part, Samples};
use crate::tensor::{DType, Tensor, Values};

/// Samples that are gathered at a time.
const BATCH: usize = 256;
/// Columns of CSV.
const MAX_COLUMNS: usize = 1 << 16;

/// What is to be written.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// How.
    pub form: Form,
    /// Of a dataset whose files have such columns; None: as the samples are, and a label beside them.
    pub like: Option<&'a FileLayout>,
    /// That many of the latest samples; None: all.
    pub latest: Option<usize>,
    /// Bytes of the file, at most.
    pub limit: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Samples.
    pub samples: usize,
    /// Columns or arrays that are left for whoever labels, at most 16 of them.
    pub empty: Vec<String>,
}

/// Why samples were not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Files of that dataset are of another kind.
    #[error("its files are {}; write a file that ends with .{}", name(*format), if *format == Format::Npz { "npz" } else { "csv" })]
    Form {
        /// Of its files.
        format: Format,
    },
    /// No tensor of one is a tensor of the other.
    #[error(
        "the samples are {samples}, and none of that is in {wanted}, as the other dataset's are; exported by themselves they fit no other"
    )]
    NothingAlike {
        /// Tensors that there are.
        samples: String,
        /// Tensors that are wanted.
        wanted: String,
    },
    /// A tensor is there, but not like it.
    #[error("\"{tensor}\" has {samples} values a sample, the other dataset's has {wanted}")]
    Width {
        /// Its name.
        tensor: String,
        /// Values that there are.
        samples: usize,
        /// Values that are wanted.
        wanted: usize,
    },
    /// A value that the other dataset's type does not have.
    #[error("\"{tensor}\" has a value that is not of type {dtype}, as in the other dataset")]
    Type {
        /// Its name.
        tensor: String,
        /// What is wanted.
        dtype: DType,
    },
    /// Columns that CSV has no cells for.
    #[error("{what}; write a file that ends with .npz, or a file of that format by another tool")]
    NoTable {
        /// Which.
        what: String,
    },
    /// More than may be written.
    #[error("more than {limit} bytes; about {fit} samples fit: ask for no more with --limit")]
    TooLarge {
        /// Bytes.
        limit: u64,
        /// Samples.
        fit: usize,
    },
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The samples cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Write samples; `description` is that of their dataset, with the classes that it learnt.
pub fn export(
    samples: &Arc<Samples>,
    description: &Description,
    wanted: &Export<'_>,
    out: impl Write + Seek,
) -> Result<Exported, ExportError> {
    let own;
    let (layout, sources) = match wanted.like {
        Some(like) => {
            if (like.format == Format::Npz) != (wanted.form == Form::Npz) {
                return Err(ExportError::Form { format: like.format });
            }
            (like, pair(samples.columns(), like)?)
        }
        None => {
            own = of_itself(samples, wanted.form);
            (&own, (0..own.tensors.len()).map(|at| (at < samples.columns().len()).then_some(at)).collect())
        }
    };
    let all = samples.len(Part::All);
    let count = wanted.latest.map_or(all, |latest| latest.min(all));
    let rows = samples.select(Part::All, all - count..all);
    let source = |field: &Field| field.target.and_then(|(tensor, place)| Some((sources[tensor]?, place)));
    let empty = layout.fields.iter().filter(|field| source(field).is_none() && field.target.is_some());
    let exported =
        Exported { samples: count, empty: empty.take(16).map(|field| field.name.clone()).collect() };
    match wanted.form {
        Form::Csv => write_csv(samples, description, layout, &source, rows, wanted.limit, out)?,
        Form::Npz => write_npz(samples, layout, &sources, rows, wanted.limit, out)?,
    }
    Ok(exported)
}

/// For each tensor of the layout, that of the samples: the one of its name. Where one is left on each side beside the label,
/// and they are of one size, they are the same under two names.
fn pair(samples: &[Column], like: &FileLayout) -> Result<Vec<Option<usize>>, ExportError> {
    let mut pairs = Vec::with_capacity(like.tensors.len());
    for tensor in &like.tensors {
        let found = samples.iter().position(|column| column.name == tensor.name);
        if let Some(found) = found
            && samples[found].width() != tensor.width()
        {
            let (samples, wanted) = (samples[found].width(), tensor.width());
            return Err(ExportError::Width { tensor: tensor.name.clone(), samples, wanted });
        }
        pairs.push(found);
    }
    let label = like.label_tensor();
    let mut lacking = (0..pairs.len()).filter(|at| pairs[*at].is_none() && Some(*at) != label);
    let mut left = (0..samples.len()).filter(|at| !pairs.contains(&Some(*at)));
    if let (Some(lacks), None, Some(has), None) = (lacking.next(), lacking.next(), left.next(), left.next())
        && like.tensors[lacks].width() == samples[has].width()
    {
        pairs[lacks] = Some(has);
    }
    if pairs.iter().enumerate().all(|(at, pair)| pair.is_none() || Some(at) == label) {
        let wanted = show(&like.tensors);
        return Err(ExportError::NothingAlike { samples: show(samples), wanted });
    }
    Ok(pairs)
}

fn show(columns: &[Column]) -> String {
    let one = |column: &Column| format!("{:.60} {}{:?}", column.name, column.dtype, column.shape);
    columns.iter().take(8).map(one).collect::<Vec<_>>().join(", ")
}

fn name(format: Format) -> String {
    serde_json::to_value(format).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// The columns that samples have of themselves, and a label where they have none.
fn of_itself(samples: &Samples, form: Form) -> FileLayout {
    let mut tensors = samples.columns().to_vec();
    let table = samples.layout().filter(|layout| layout.format != Format::Npz && layout.heading);
    let read = |layout: &Arc<FileLayout>| -> Vec<Field> {
        layout.fields.iter().filter(|field| field.target.is_some()).cloned().collect()
    };
    let (mut fields, mut label) = match table {
        Some(layout) if form == Form::Csv => (read(layout), layout.label.is_some()),
        _ => {
            let mut fields = Vec::new();
            for (at, tensor) in tensors.iter().enumerate() {
                match tensor.width() {
                    width if width == 1 || form == Form::Npz => {
                        fields.push(Field { name: tensor.name.clone(), width, target: Some((at, 0)) });
                    }
                    width => fields.extend((0..width.min(MAX_COLUMNS + 1)).map(|place| Field {
                        name: format!("{}[{place}]", tensor.name),
                        width: 1,
                        target: Some((at, place)),
                    })),
                }
            }
            (fields, samples.layout().is_some_and(|layout| layout.label.is_some()))
        }
    };
    label |= fields.iter().any(|field| field.name == LABEL);
    if !label {
        fields.push(Field { name: LABEL.to_owned(), width: 1, target: Some((tensors.len(), 0)) });
        tensors.push(Column { name: LABEL.to_owned(), dtype: DType::I64, shape: Vec::new() });
    }
    FileLayout { format: form.format(), delimiter: ',', heading: true, tensors, fields, label: None }
}

fn write_csv(
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

fn write_npz(
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
