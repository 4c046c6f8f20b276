//! Dataset: samples that a node holds.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Samples that a node holds. They stay there; jobs name the Dataset, and its node reads it for them.
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
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DatasetSpec {
    /// The EdgeNode that holds the samples.
    #[schemars(length(min = 1, max = 63))]
    pub node: String,
    /// The file, relative to the node's dataset directory.
    #[schemars(length(min = 1, max = 4096))]
    pub path: String,
    /// How the file is to be read.
    pub format: DatasetFormat,
    /// The column that is the label, by its heading or by its zero-based index. It becomes the tensor
    /// `y` (i64), the other columns of a CSV file or NPY matrix become `x` (f32). An NPZ file's arrays keep their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How samples are divided into train and test.
    #[serde(default)]
    pub split: Split,
}

/// The format of a dataset's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DatasetFormat {
    /// Comma-separated values with a heading.
    Csv,
    /// One NumPy array; the first dimension counts samples.
    Npy,
    /// Several NumPy arrays, one per tensor, with equal first dimensions.
    Npz,
}

/// A deterministic division of samples: the same seed gives the same split on every node, every time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Split {
    /// Share of samples held out for testing, from 0 to 0.99. 0 by default.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.99))]
    pub test: f64,
    /// Seed of the permutation that decides which, up to 2^53 - 1. 0 by default.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_i64))]
    pub seed: u64,
}

impl Default for Split {
    fn default() -> Self {
        Self { test: 0.0, seed: 0 }
    }
}

/// What the node found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetStatus {
    /// `Ready`: the node has read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Number of samples, test and train together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// The tensors that a batch has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<DatasetColumn>,
}

/// One tensor of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetColumn {
    /// Its name.
    pub name: String,
    /// Type of its elements, e.g. `f32` or `i64`.
    pub dtype: String,
    /// Its shape without the first dimension, which counts samples.
    pub shape: Vec<u64>,
}
