//! Where samples are, other than on the node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An S3-compatible store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3Source {
    /// E.g. `https://minio.example:9000`; absent: Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^https?://[^@?#]+$"))]
    pub endpoint: Option<String>,
    /// E.g. `eu-central-1`; absent: `us-east-1`, which stores other than Amazon's take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// The bucket.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// The object, or the prefix that objects have; a prefix ends with a slash. Absent: the whole bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub prefix: Option<String>,
    /// Name of a Secret of this namespace with `accessKeyId`, `secretAccessKey` and, of temporary keys, `sessionToken`.
    /// Absent: requests are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub credentials: Option<String>,
}

/// A file of an HTTP server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpSource {
    /// E.g. `https://data.example/digits.parquet`, without user, password or query.
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://[^@?#]+$"))]
    pub url: String,
    /// Name of a Secret of this namespace whose `authorization` is the value of that header. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub credentials: Option<String>,
}
