//! Which column of a file goes where in which tensor. A format's reader finds the file's columns and asks for a plan;
//! [`Rows`](crate::rows::Rows) follows it, cell by cell.

use crate::description::{Classes, Columns, Description, Missing, Split, TensorSpec};
use crate::error::DataError;
use crate::tensor::DType;

/// Bytes of a sample, at most: lists of a cell may be said to have any length.
const MAX_SAMPLE_BYTES: u64 = 256 << 20;

/// What a file says of its columns.
#[derive(Debug, Clone)]
pub struct Header {
    /// None: they have none.
    pub names: Option<Vec<String>>,
    /// Values of a cell, mostly 1.
    pub widths: Vec<usize>,
}

impl Header {
    /// Of single values.
    pub fn flat(names: Option<Vec<String>>, width: usize) -> Self {
        Self { names, widths: vec![1; width] }
    }

    /// Number from one, and the name.
    pub fn describe(&self, column: usize) -> String {
        match self.names.as_ref().and_then(|names| names.get(column)) {
            Some(name) => format!("{} (\"{name:.60}\")", column + 1),
            None => (column + 1).to_string(),
        }
    }

    /// Of a name, or else of a zero-based index. Err: what is wrong.
    fn find(&self, wanted: &str) -> Result<usize, String> {
        let names = self.names.as_deref().unwrap_or_default();
        let mut bearing = (0..names.len()).filter(|&column| names[column] == wanted);
        let width = self.widths.len();
        match (bearing.next(), bearing.next(), wanted.parse::<usize>()) {
            (Some(column), None, _) => Ok(column),
            (Some(first), Some(second), _) => {
                Err(format!("columns {} and {} are both called \"{wanted}\"", first + 1, second + 1))
            }
            (None, _, Ok(index)) if index < width => Ok(index),
            (None, _, Ok(index)) => {
                Err(format!("no column has the index {index}; there are {width} columns"))
            }
            (None, _, Err(_)) if names.is_empty() => Err(format!(
                "the file has no heading, so the column \"{wanted}\" must be given by its zero-based index"
            )),
            (None, _, Err(_)) => {
                let known: Vec<_> = names.iter().take(16).map(|name| format!("\"{name:.40}\"")).collect();
                Err(format!("no column is called \"{wanted}\"; there are {}", known.join(", ")))
            }
        }
    }
}

/// A tensor of each batch, for status and consumers.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its elements.
    pub dtype: DType,
    /// Per sample.
    pub shape: Vec<usize>,
}

impl Column {
    /// Elements of a sample.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What becomes of a file's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Tensor and place in its row.
    pub target: Option<(usize, usize)>,
    /// It decides the split.
    pub key: bool,
}

/// Where everything goes.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tensors.
    pub tensors: Vec<Column>,
    /// As many: what happens to missing cells.
    pub missing: Vec<Missing>,
    /// As many: whether it takes classes by name.
    pub classes: Vec<Option<Classes>>,
    /// As many: whether it is a label, whose values are counted.
    pub labels: Vec<bool>,
    /// As many: the columns it is made of, in order.
    pub sources: Vec<Vec<usize>>,
    /// One for each of the file's columns.
    pub uses: Vec<Use>,
    /// The file's.
    pub header: Header,
}

impl Plan {
    /// Of a file that has these columns.
    pub fn new(file: &str, header: Header, description: &Description) -> Result<Self, DataError> {
        let width = header.widths.len();
        if width > description.limits.columns {
            let limit = description.limits.columns;
            return Err(DataError::too_large(file, format!("{width} columns; at most {limit} are read")));
        }
        let specs = specs(description);
        let find = |wanted: &str| header.find(wanted).map_err(|what| DataError::no_such(file, what));
        let mut uses = vec![Use { target: None, key: false }; width];
        if let Split::Column { column, .. } | Split::Time { column, .. } = &description.split {
            uses[find(column)?].key = true;
        }
        let mut sources: Vec<Vec<usize>> = Vec::with_capacity(specs.len());
        let mut taken = vec![false; width];
        for spec in &specs {
            let columns = match &spec.columns {
                Columns::One(column) => vec![find(column)?],
                Columns::Many(columns) => columns.iter().map(|c| find(c)).collect::<Result<_, _>>()?,
                Columns::Rest => Vec::new(),
            };
            for &column in &columns {
                if std::mem::replace(&mut taken[column], true) {
                    let column = header.describe(column);
                    return Err(DataError::no_such(file, format!("column {column} is taken by two tensors")));
                }
            }
            sources.push(columns);
        }
        for (spec, columns) in specs.iter().zip(&mut sources) {
            if spec.columns == Columns::Rest {
                *columns = (0..width).filter(|&column| !taken[column] && !uses[column].key).collect();
                if columns.is_empty() {
                    let what = match &description.label {
                        Some(_) => "the label is the only column: there is nothing to learn from".to_owned(),
                        None => format!("no column is left for the tensor \"{}\"", spec.name),
                    };
                    return Err(DataError::malformed(file, what));
                }
            }
        }
        let mut tensors = Vec::with_capacity(specs.len());
        for (index, (spec, columns)) in specs.iter().zip(&sources).enumerate() {
            let mut place = 0;
            for &column in columns {
                uses[column].target = Some((index, place));
                place += header.widths[column];
            }
            let shape = match &spec.columns {
                Columns::One(_) if place == 1 => Vec::new(),
                _ => vec![place],
            };
            tensors.push(Column { name: spec.name.clone(), dtype: spec.dtype, shape });
        }
        let bytes = tensors.iter().map(|column| column.width() as u64 * column.dtype.size() as u64);
        let bytes = bytes.fold(0u64, u64::saturating_add);
        let limit = description.limits.bytes.min(MAX_SAMPLE_BYTES);
        if bytes > limit {
            let what = format!("a sample of {bytes} bytes; at most {limit} are read");
            return Err(DataError::too_large(file, what));
        }
        let is_label = |spec: &TensorSpec| matches!(spec.columns, Columns::One(_)) && !spec.dtype.is_float();
        Ok(Self {
            tensors,
            missing: specs.iter().map(|spec| spec.missing).collect(),
            labels: specs.iter().map(is_label).collect(),
            classes: specs.into_iter().map(|spec| spec.classes).collect(),
            sources,
            uses,
            header,
        })
    }

    /// Name of each place of a tensor's row.
    pub fn places(&self, tensor: usize) -> Vec<String> {
        let named = |&column: &usize| {
            let name = match self.header.names.as_ref().and_then(|names| names.get(column)) {
                Some(name) => name.clone(),
                None => column.to_string(),
            };
            let width = self.header.widths[column];
            (0..width).map(move |place| if width == 1 { name.clone() } else { format!("{name}[{place}]") })
        };
        self.sources[tensor].iter().flat_map(named).collect()
    }
}

/// The tensors that a description asks for.
pub fn specs(description: &Description) -> Vec<TensorSpec> {
    if !description.tensors.is_empty() {
        return description.tensors.clone();
    }
    let spec = |name: &str, columns, dtype| TensorSpec {
        name: name.to_owned(),
        columns,
        dtype,
        missing: Missing::Refuse,
        classes: None,
    };
    let mut specs = vec![spec("x", Columns::Rest, DType::F32)];
    if let Some(label) = &description.label {
        let classes = description.classes.clone();
        specs.push(TensorSpec { classes, ..spec("y", Columns::One(label.clone()), DType::I64) });
    }
    specs
}
