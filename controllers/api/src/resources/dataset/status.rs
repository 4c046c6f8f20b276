//! What a node found in a dataset.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the node found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetStatus {
    /// `Ready`: the node has read it. With a reason other than `Read`, it has not read what came since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Number of samples, test and train together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u64>,
    /// Of them, held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_samples: Option<u64>,
    /// Files or objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// When something new was last found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<Time>,
    /// The tensors that a batch has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<DatasetColumn>,
    /// Of the first columns, what their values are like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statistics: Vec<ColumnStatistics>,
    /// What was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problems: Option<DatasetProblems>,
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

/// What the values of a column are like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ColumnStatistics {
    /// The tensor that it is part of.
    pub tensor: String,
    /// The column; empty where it is all of the tensor.
    pub column: String,
    /// Values.
    pub count: u64,
    /// Cells without one.
    pub missing: u64,
    /// The smallest, where there is a value, as below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// The standard deviation of the population.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// Of a label: its values, or the names of its classes, and how often each came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub distinct: BTreeMap<String, u64>,
}

/// Rows and files that were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetProblems {
    /// How many.
    pub count: u64,
    /// The first of them, with file, line and column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
}
