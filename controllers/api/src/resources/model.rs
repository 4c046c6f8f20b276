//! Model: named graphs and weights in the registry.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EngineOptions, GraphEngine, ModelEngines};
use crate::{ArtifactRef, Digest};

/// Named ONNX graphs and weights. `sedge model push` uploads one and makes this resource, named after the
/// reference with a dot for the colon (`digits:1` → `digits.1`).
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sedge.dev",
    version = "v1alpha1",
    kind = "Model",
    namespaced,
    status = "ModelStatus",
    derive = "PartialEq",
    category = "sedge",
    printcolumn = r#"{"name":"Reference","type":"string","jsonPath":".spec.reference"}"#,
    printcolumn = r#"{"name":"Graphs","type":"string","jsonPath":".status.graphs"}"#,
    printcolumn = r#"{"name":"Parameters","type":"integer","jsonPath":".status.parameters"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".status.engine","priority":1}"#,
    printcolumn = r#"{"name":"Passed Over","type":"string","jsonPath":".status.engines[*].passedOver[*]","priority":1}"#,
    printcolumn = r#"{"name":"Digest","type":"string","jsonPath":".status.digest","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSpec {
    /// Its `name:tag`; it lies in the registry under `models/name`.
    pub reference: ArtifactRef,
    /// The manifest's digest; absent, whatever the tag points at when it is first looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// How its graphs are computed; a job takes it up when it begins.
    #[serde(default, skip_serializing_if = "EngineOptions::is_empty")]
    pub engine: EngineOptions,
    /// By name of a graph: what goes before `engine`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub graphs: BTreeMap<String, EngineOptions>,
}

impl ModelSpec {
    /// What it says of engines.
    pub fn engines(&self) -> ModelEngines {
        ModelEngines { engine: self.engine.clone(), graphs: self.graphs.clone() }
    }
}

/// What the manager found in the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// `Ready`: it is in the registry and well formed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Digest of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Names of its graphs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graphs: Vec<String>,
    /// Number of elements in its weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// Size of its weights in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_bytes: Option<u64>,
    /// Names of the engines that its workers compute it with, each once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Which engine computes which graph, as the workers on it last said; one graph may have several, on
    /// several nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<GraphEngine>,
}
