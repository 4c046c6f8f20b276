//! What becomes of a dataset's files: which columns become which tensors, which samples are held out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A tensor of each batch: of one column, of several, or where it names none, of those that no other tensor and no split
/// takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.column) && has(self.columns))", "message": "name a column or columns, not both"},
    {"rule": "!has(self.classes) || has(self.column)", "message": "classes are of one column"},
    {"rule": "!(has(self.fill) && self.missing == 'nan')", "message": "missing cells are filled or nan, not both"},
]))]
pub struct TensorSpec {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// By its name or zero-based index: a value per sample, shape `[n]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub column: Option<String>,
    /// As above, several: shape `[n, k]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4096), inner(length(min = 1, max = 253)))]
    pub columns: Vec<String>,
    /// Type of its elements. `f32` by default.
    #[serde(default)]
    pub dtype: ElementType,
    /// What happens where a cell is missing: `refuse`, the default, or `nan`.
    #[serde(default)]
    pub missing: Missing,
    /// What a missing cell becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<f64>,
    /// The column holds names of classes, and the tensor their numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
}

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum ElementType {
    #[default]
    F32,
    F64,
    F16,
    BF16,
    I64,
    I32,
    U8,
}

/// What happens where a cell has no value: it is empty, `null`, `NA` or `NaN`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Missing {
    /// The row is a bad one.
    #[default]
    Refuse,
    /// Not a number.
    Nan,
}

/// Names of classes; a class's number is its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Classes {
    /// The first has the number zero.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65_536), inner(length(min = 1, max = 1024)))]
    pub names: Vec<String>,
    /// No others: a row of another class is a bad one. Otherwise a class that is met for the first time is added.
    #[serde(default)]
    pub fixed: bool,
}

/// A deterministic division of samples: by share, by a column's values, or by time. A row's side depends on nothing but this,
/// its number in its file and its own values, so that a file that grows leaves each row on its side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.column) && has(self.time))", "message": "split by column or by time, not by both"},
    {"rule": "!(has(self.column) || has(self.time)) || self.test == 0.0",
     "message": "a share is not split off where a column or a time decides"},
]))]
pub struct Split {
    /// Share of samples held out for testing, from 0 to 0.99, of any twenty rows in a row. 0 by default.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.99))]
    pub test: f64,
    /// Seed that decides which, up to 2^53 - 1. 0 by default.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub seed: u64,
    /// Rows with certain values in a column are held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<SplitColumn>,
    /// Rows from a time on are held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<SplitTime>,
}

/// Rows that are told by a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplitColumn {
    /// By name or index; it is in no tensor, unless one names it.
    #[schemars(length(min = 1, max = 253))]
    pub column: String,
    /// The values of rows that are held out.
    #[schemars(length(min = 1, max = 4096), inner(length(max = 1024)))]
    pub test: Vec<String>,
}

/// Rows that are told by their time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplitTime {
    /// By name or index. Times as in ISO 8601 (UTC where they name no zone), or seconds since 1970.
    #[schemars(length(min = 1, max = 253))]
    pub column: String,
    /// Rows of this time and later ones are held out.
    #[schemars(length(min = 1, max = 64))]
    pub from: String,
}

/// How CSV is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Csv {
    /// Between cells, one ASCII character; a comma by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1))]
    pub delimiter: Option<String>,
    /// Whether the first row has names: `auto`, the default, `yes` or `no`.
    #[serde(default)]
    pub heading: Heading,
}

/// Whether the first row has names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Heading {
    /// Unless its cells are numbers.
    #[default]
    Auto,
    /// It has.
    Yes,
    /// It has not.
    No,
}

/// What images become: the tensor `x`, beside the labels `y` (i64).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageSpec {
    /// Pixels.
    #[schemars(range(min = 1, max = 8192))]
    pub width: u32,
    /// Pixels.
    #[schemars(range(min = 1, max = 8192))]
    pub height: u32,
    /// `rgb`, the default, or `grey`.
    #[serde(default)]
    pub colour: Colour,
    /// Order of the dimensions: `chw`, the default, or `hwc`.
    #[serde(default)]
    pub layout: Layout,
    /// How an image of other proportions is made to fit: `stretch`, the default, `cover` or `contain`.
    #[serde(default)]
    pub fit: Fit,
    /// Of `x`: floating point, whose elements are (value / 255 − mean) / std, or `u8`, values as they are. `f32` by default.
    #[serde(default)]
    pub dtype: ElementType,
    /// Per channel, or one for all. 0 by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub mean: Vec<f32>,
    /// Per channel, or one for all. 1 by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    pub std: Vec<f32>,
}

/// Channels of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Colour {
    #[default]
    Rgb,
    Grey,
}

/// Order of an image's dimensions: channels, height, width.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Layout {
    #[default]
    Chw,
    Hwc,
}

/// How an image of other proportions is made to fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fit {
    /// Distorted.
    #[default]
    Stretch,
    /// Its middle.
    Cover,
    /// All of it, with black beside it.
    Contain,
}

/// What happens to a row that is not as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum BadRows {
    /// Nothing is read.
    #[default]
    Refuse,
    /// It is left out and counted, and the first of them are shown.
    Skip,
}

/// What happens to a text file's last row where no end of line follows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LastRow {
    /// It is a row until one of the dataset's files is seen to grow; from then on it waits.
    #[default]
    Auto,
    /// It is a row; should it go on after all, it is read anew.
    Take,
    /// It waits for its end.
    Wait,
}
