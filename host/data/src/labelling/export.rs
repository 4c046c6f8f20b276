//! Samples as a file for labels.

use std::io::{self, Seek, Write};
use std::sync::Arc;

use super::write::{write_csv, write_npz};
use super::{Form, LABEL};
use crate::description::{Description, Format};
use crate::error::DataError;
use crate::layout::{Field, FileLayout};
use crate::plan::Column;
use crate::samples::{Part, Samples};
use crate::tensor::DType;

/// Columns of CSV.
pub(super) const MAX_COLUMNS: usize = 1 << 16;

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
