//! Dataset: samples that a node reads, out of its own files, a store or a server.

mod reading;
mod source;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use reading::*;
pub use source::*;
pub use status::*;

/// Samples that a node reads: of its own files, which stay there, of an object store, or of an HTTP server. Jobs name the
/// Dataset, and its node reads it for them, and goes on reading what is added.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sedge.dev",
    version = "v1alpha1",
    kind = "Dataset",
    namespaced,
    status = "DatasetStatus",
    derive = "PartialEq",
    shortname = "ds",
    category = "sedge",
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".spec.node"}"#,
    printcolumn = r#"{"name":"Format","type":"string","jsonPath":".spec.format"}"#,
    printcolumn = r#"{"name":"Samples","type":"integer","jsonPath":".status.samples"}"#,
    printcolumn = r#"{"name":"Problems","type":"integer","jsonPath":".status.problems.count","priority":1}"#,
    printcolumn = r#"{"name":"Changed","type":"date","jsonPath":".status.lastChange","priority":1}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("oneOf" = [{"required": ["path"]}, {"required": ["s3"]}, {"required": ["http"]}]))]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.label) && has(self.tensors))",
     "message": "label and tensors exclude each other: name the label's tensor in tensors"},
]))]
pub struct DatasetSpec {
    /// The EdgeNode that reads the samples.
    #[schemars(length(min = 1, max = 63))]
    pub node: String,
    /// The file, or the folder of files, relative to the node's dataset directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub path: Option<String>,
    /// An object, or all objects below a prefix, of an S3-compatible store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Source>,
    /// A file of an HTTP server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSource>,
    /// How the files are written.
    pub format: DatasetFormat,
    /// The column that is the label, by its name or by its zero-based index. It becomes the tensor `y` (i64), the other
    /// columns of a table become `x` (f32). An NPZ file's arrays keep their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The classes that the label, or an image's label, names. Absent: labels of tables are integers as they are; an image's
    /// are learnt, in the order in which they are met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Classes>,
    /// The tensors of a batch, where `x` and `y` do not do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256))]
    pub tensors: Vec<TensorSpec>,
    /// How samples are divided into train and test.
    #[serde(default)]
    pub split: Split,
    /// How CSV is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<Csv>,
    /// What images become.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
    /// What happens to a row that is not as it should be: `refuse`, the default, or `skip`.
    #[serde(default)]
    pub bad_rows: BadRows,
    /// What happens to a text file's last row while no end of line follows it: `take`, `wait`, or `auto`, the
    /// default: it is taken until a file is seen to grow.
    #[serde(default)]
    pub last_row: LastRow,
}

/// How the files of a dataset are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetFormat {
    /// Comma-separated values, with a heading unless the first row is of numbers.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow's IPC, file or stream.
    Arrow,
    /// One NumPy array; the first dimension counts samples.
    Npy,
    /// Several NumPy arrays, one per tensor, with equal first dimensions.
    Npz,
    /// Folders of PNG and JPEG files; a folder's name is the class.
    ImageFolder,
    /// CSV: an image's path, relative to the list's folder, and its label.
    ImageList,
}
