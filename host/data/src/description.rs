//! What a dataset is said to be: its format, which columns become which tensors, how samples are divided, and what
//! happens to rows that are not as they should be. Whoever declares a dataset fills it in; [`Dataset`](crate::Dataset)
//! follows it, and writes the classes that it learns into its own copy, which is to be kept.

mod image;
mod reading;

use serde::{Deserialize, Serialize};

pub use self::image::{Colour, Fit, ImageSpec, Layout};
pub use self::reading::{BadRows, Csv, Heading, LastRow, Limits};
use crate::error::DataError;
use crate::tensor::DType;

/// A dataset's description.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Description {
    /// How the files are written.
    pub format: Format,
    /// Short for the two tensors `x` (f32: all other columns) and `y` (i64: this column, by name or zero-based
    /// index), where `tensors` is empty. In an NPZ file, the array of labels.
    pub label: Option<String>,
    /// The classes that `label`, or an image's label, counts; None: the labels of tables are integers as they are, and
    /// those of images are learnt.
    pub classes: Option<Classes>,
    /// The tensors of a batch. Empty: as `label` says, and without one, everything as `x`.
    pub tensors: Vec<TensorSpec>,
    /// Which samples are held out.
    pub split: Split,
    /// How CSV is written.
    pub csv: Csv,
    /// What images become.
    pub image: ImageSpec,
    /// What happens to a row that is not as it should be.
    pub bad_rows: BadRows,
    /// What happens to a text file's last row where no end of line follows it.
    pub last_row: LastRow,
    /// What is read at most.
    pub limits: Limits,
}

/// How files are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Comma-separated values.
    #[default]
    Csv,
    /// A JSON object a line. The first one's keys are the columns; an array of numbers is a column of several places.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's IPC, file or stream.
    Arrow,
    /// A NumPy array; the first dimension counts samples.
    Npy,
    /// NumPy arrays under names.
    Npz,
    /// Folders of PNG and JPEG files; a folder's name is the class.
    ImageFolder,
    /// CSV: the image's path, relative to the list's folder, and where there is a second column, its label.
    ImageList,
}

impl Format {
    /// How names of such files end, for a folder of them.
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Csv | Self::ImageList => &["csv"],
            Self::JsonLines => &["jsonl", "ndjson"],
            Self::Parquet => &["parquet"],
            Self::Arrow => &["arrow", "arrows", "feather", "ipc"],
            Self::Npy => &["npy"],
            Self::Npz => &["npz"],
            Self::ImageFolder => &["png", "jpg", "jpeg"],
        }
    }

    /// Whether rows that are appended to a file are read without those before them.
    pub fn grows(self) -> bool {
        matches!(self, Self::Csv | Self::JsonLines | Self::ImageList)
    }
}

/// A tensor of each batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub columns: Columns,
    /// Type of its elements.
    #[serde(default)]
    pub dtype: DType,
    /// What happens where a cell is missing.
    #[serde(default)]
    pub missing: Missing,
    /// The column holds names of classes, and the tensor their numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
}

/// Columns, each by its name or its zero-based index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Columns {
    /// One: a value per sample, shape `[n]`, or `[n, k]` where each cell has k values.
    One(String),
    /// Several: shape `[n, k]`.
    Many(Vec<String>),
    /// Those that no other tensor and no split takes, in their order.
    Rest,
}

/// Cells that have no value: empty ones, `null`, `NA`, `N/A`, `NaN` in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// The row is a bad one.
    #[default]
    Refuse,
    /// This instead.
    Fill(f64),
    /// Not a number; in floating-point tensors.
    Nan,
}

/// Names of classes and their numbers, which are their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Classes {
    /// The first has the number zero.
    pub names: Vec<String>,
    /// No others: a row of another class is a bad one. Otherwise a class that is met for the first time is added.
    pub fixed: bool,
}

/// Which samples are held out for tests. A row's side depends on nothing but what is written here, its place in its
/// file and its own values: a file that grows leaves each row on its side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Split {
    /// None.
    #[default]
    None,
    /// A share of any twenty rows in a row, drawn by the seed and the rows' numbers.
    #[serde(rename_all = "camelCase")]
    Share {
        /// From 0 to below 1.
        test: f64,
        /// Which ones.
        #[serde(default)]
        seed: u64,
    },
    /// Rows that have one of these values in a column.
    #[serde(rename_all = "camelCase")]
    Column {
        /// By name or index.
        column: String,
        /// As text.
        test: Vec<String>,
    },
    /// Rows whose time is this one or a later.
    #[serde(rename_all = "camelCase")]
    Time {
        /// By name or index. Times as in ISO 8601 (UTC where they name no zone), or seconds since 1970.
        column: String,
        /// As above.
        from: String,
    },
}

impl Description {
    /// Whether it can be followed at all; what only the data can tell is told when it is read.
    pub fn check(&self) -> Result<(), DataError> {
        let wrong = |what: String| Err(DataError::description(what));
        if let Split::Share { test, .. } = self.split
            && !(0.0..1.0).contains(&test)
        {
            return wrong(format!("a test share of {test} is not from 0 to below 1"));
        }
        let delimiter = self.csv.delimiter;
        if !delimiter.is_ascii()
            || delimiter.is_ascii_alphanumeric()
            || matches!(delimiter, '"' | '\n' | '\r' | '.' | '+' | '-')
        {
            return wrong(format!(
                "csv.delimiter {delimiter:?}: use one ASCII character, such as ',' or ';'"
            ));
        }
        if self.label.is_some() && !self.tensors.is_empty() {
            return wrong(
                "label and tensors exclude each other: name the label's tensor in tensors".to_owned(),
            );
        }
        for (index, tensor) in self.tensors.iter().enumerate() {
            let name = &tensor.name;
            if self.tensors[..index].iter().any(|other| other.name == *name) {
                return wrong(format!("two tensors are called \"{name}\""));
            }
            if tensor.missing == Missing::Nan && !tensor.dtype.is_float() {
                return wrong(format!(
                    "tensor \"{name}\": {} has no value for missing cells; use missing: {{fill: …}}",
                    tensor.dtype
                ));
            }
            let several = !matches!(tensor.columns, Columns::One(_));
            if tensor.classes.is_some() && (several || tensor.dtype.is_float()) {
                return wrong(format!(
                    "tensor \"{name}\": classes are of one column, in a tensor of integers; use columns: {{one: …}} \
                     and dtype: i64"
                ));
            }
        }
        if self.tensors.iter().filter(|tensor| tensor.columns == Columns::Rest).count() > 1 {
            return wrong("two tensors take the rest of the columns".to_owned());
        }
        self.image.check()
    }
}
