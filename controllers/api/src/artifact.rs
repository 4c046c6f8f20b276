//! How plugins and models lie in an OCI registry.
//!
//! A plugin is a CNCF wasm OCI artifact: the wasm config and one layer with the component. A model has
//! one layer per graph, titled with the graph's name, and one with its weights; its config is [`ModelConfig`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Config of a plugin (CNCF TAG Runtime, wasm OCI artifact).
pub const PLUGIN_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The layer of a plugin.
pub const PLUGIN_LAYER: &str = "application/wasm";
/// Config of a model; also its `artifactType`.
pub const MODEL_CONFIG: &str = "application/vnd.sedge.model.config.v1+json";
/// A graph of a model, in ONNX.
pub const MODEL_GRAPH: &str = "application/vnd.sedge.model.graph.v1.onnx";
/// The weights of a model, in safetensors.
pub const MODEL_WEIGHTS: &str = "application/vnd.sedge.model.weights.v1.safetensors";
/// Annotation that names a layer.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Media type of the manifests that we write.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Largest manifest that is read, in bytes (the OCI distribution specification's own advice).
pub const MAX_MANIFEST_BYTES: u64 = 4 << 20;
/// Largest component that is read, in bytes.
pub const MAX_PLUGIN_BYTES: u64 = 256 << 20;
/// Largest graph or weights that are read, in bytes.
pub const MAX_MODEL_LAYER_BYTES: u64 = 16 << 30;

/// The repository of the plugins called `name`.
pub fn plugin_repository(name: &str) -> String {
    format!("plugins/{name}")
}

/// The repository of the models called `name`.
pub fn model_repository(name: &str) -> String {
    format!("models/{name}")
}

/// The config blob of a model artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelConfig {
    /// Graphs by name, each with the digest of its layer.
    pub graphs: BTreeMap<String, Digest>,
    /// The layer with the weights; absent where a model has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsSummary>,
}

/// What is known of weights without reading them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightsSummary {
    /// The layer.
    pub digest: Digest,
    /// Number of named tensors.
    pub tensors: u64,
    /// Number of elements in all of them.
    pub parameters: u64,
}
