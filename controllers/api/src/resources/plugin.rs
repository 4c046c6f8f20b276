//! Plugin: a WebAssembly component in the registry.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ArtifactRef, Digest};

/// A WebAssembly component that workers run. `sedge plugin push` uploads one and makes this resource, named
/// after the reference with a dot for the colon (`fedavg:0.1.0` → `fedavg.0.1.0`).
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sedge.dev",
    version = "v1alpha1",
    kind = "Plugin",
    namespaced,
    status = "PluginStatus",
    derive = "PartialEq",
    category = "sedge",
    printcolumn = r#"{"name":"Reference","type":"string","jsonPath":".spec.reference"}"#,
    printcolumn = r#"{"name":"Roles","type":"string","jsonPath":".status.roles"}"#,
    printcolumn = r#"{"name":"Bytes","type":"integer","jsonPath":".status.bytes"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Digest","type":"string","jsonPath":".status.digest","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginSpec {
    /// Its `name:tag`; it lies in the registry under `plugins/name`.
    pub reference: ArtifactRef,
    /// The manifest's digest; absent, whatever the tag points at when it is first looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// What the manager found in the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PluginStatus {
    /// `Ready`: it is in the registry and exports a role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Digest of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Roles that it can play.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
    /// Size of the component in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Interfaces that it imports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<String>,
}

/// The WIT world that a plugin is used in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Trains on a node's data; exports `sedge:worker/training`.
    Trainer,
    /// Measures weights; exports `sedge:worker/evaluation`.
    Evaluator,
    /// Answers requests; exports `sedge:worker/inferring`.
    Inferencer,
    /// Finds hard examples; exports `sedge:worker/mining`.
    Miner,
    /// Folds updates; exports `sedge:worker/aggregation`.
    Aggregator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Trainer, Self::Evaluator, Self::Inferencer, Self::Miner, Self::Aggregator];

    /// The role's word, as resources and people write it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Trainer => "trainer",
            Self::Evaluator => "evaluator",
            Self::Inferencer => "inferencer",
            Self::Miner => "miner",
            Self::Aggregator => "aggregator",
        }
    }

    /// The interface that a component of this role exports, without its version.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Trainer => "sedge:worker/training",
            Self::Evaluator => "sedge:worker/evaluation",
            Self::Inferencer => "sedge:worker/inferring",
            Self::Miner => "sedge:worker/mining",
            Self::Aggregator => "sedge:worker/aggregation",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}
