//! What the files of a dataset have: columns or arrays by name, and what becomes of each. Readers make it of the first file;
//! who writes a file that is to be read like the others follows it (see [`labelling`](crate::labelling)).

use serde::{Deserialize, Serialize};

use crate::description::{Columns, Description, Format};
use crate::plan::{Column, Plan};

/// Columns or arrays of each file, and the tensors that they become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileLayout {
    /// How the files are written.
    pub format: Format,
    /// Between cells of CSV.
    pub delimiter: char,
    /// Whether columns have names.
    pub heading: bool,
    /// The tensors of a batch.
    pub tensors: Vec<Column>,
    /// In the order of the file.
    pub fields: Vec<Field>,
    /// Which of them is the label, where that can be told.
    pub label: Option<usize>,
}

/// A column of a table, or an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// Its name; of a column without one, its zero-based index.
    pub name: String,
    /// Values of a sample.
    pub width: usize,
    /// The tensor, and where in its row the values go; None: it is not read.
    pub target: Option<(usize, usize)>,
}

impl FileLayout {
    /// Of a table.
    pub(crate) fn of_plan(plan: &Plan, description: &Description) -> Self {
        let names = plan.header.names.as_deref();
        let field = |(column, width): (usize, &usize)| Field {
            name: names.and_then(|names| names.get(column).cloned()).unwrap_or_else(|| column.to_string()),
            width: *width,
            target: plan.uses[column].target,
        };
        let fields = plan.header.widths.iter().enumerate().map(field).collect();
        Self::new(description, names.is_some(), plan.tensors.clone(), fields)
    }

    /// Of arrays that are tensors as they are.
    pub(crate) fn of_arrays(columns: &[Column], description: &Description) -> Self {
        let array = |tensor: &Column| {
            let spec = description.tensors.iter().find(|spec| spec.name == tensor.name);
            match spec.map(|spec| &spec.columns) {
                Some(Columns::One(array)) => array.clone(),
                _ => tensor.name.clone(),
            }
        };
        let field = |(at, column): (usize, &Column)| Field {
            name: array(column),
            width: column.width(),
            target: Some((at, 0)),
        };
        let fields = columns.iter().enumerate().map(field).collect();
        Self::new(description, true, columns.to_vec(), fields)
    }

    fn new(description: &Description, heading: bool, tensors: Vec<Column>, fields: Vec<Field>) -> Self {
        let label = label_tensor(description)
            .and_then(|name| tensors.iter().position(|tensor| tensor.name == name))
            .and_then(|at| fields.iter().position(|field| field.target == Some((at, 0)) && field.width == 1));
        let delimiter = description.csv.delimiter;
        Self { format: description.format, delimiter, heading, tensors, fields, label }
    }

    /// The tensor of the label.
    pub fn label_tensor(&self) -> Option<usize> {
        Some(self.fields.get(self.label?)?.target?.0)
    }

    /// Whether it is one that files can have: it may come from another node.
    pub fn is_sound(&self) -> bool {
        const MOST: usize = 1 << 16;
        let within = |field: &Field| match field.target {
            None => true,
            Some((tensor, place)) => {
                let width = self.tensors.get(tensor).and_then(|tensor| {
                    tensor.shape.iter().try_fold(1usize, |width, &size| width.checked_mul(size))
                });
                width.is_some_and(|width| place.checked_add(field.width).is_some_and(|end| end <= width))
            }
        };
        self.fields.len() <= MOST
            && self.tensors.len() <= MOST
            && self.delimiter.is_ascii()
            && self.fields.iter().all(within)
            && self.label.is_none_or(|label| label < self.fields.len())
    }
}

/// The tensor that is the label: as `label` says; else the one called `y`; else the only one of integers that is made of one
/// column.
fn label_tensor(description: &Description) -> Option<&str> {
    if let Some(label) = &description.label {
        return Some(if description.format == Format::Npz { label } else { "y" });
    }
    let single = || description.tensors.iter().filter(|spec| matches!(spec.columns, Columns::One(_)));
    if let Some(named) = single().find(|spec| spec.name == "y") {
        return Some(&named.name);
    }
    let mut labels = single().filter(|spec| spec.classes.is_some() || !spec.dtype.is_float());
    match (labels.next(), labels.next()) {
        (Some(only), None) => Some(&only.name),
        _ => None,
    }
}

/// The column or array that the label's tensor is made of.
pub(crate) fn label_column(description: &Description) -> Option<&str> {
    if let Some(label) = &description.label {
        return Some(label);
    }
    let tensor = label_tensor(description)?;
    let spec = description.tensors.iter().find(|spec| spec.name == tensor)?;
    match &spec.columns {
        Columns::One(column) => Some(column),
        Columns::Many(_) | Columns::Rest => None,
    }
}
