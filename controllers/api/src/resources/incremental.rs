//! IncrementalLearningJob: keep a model good while the world drifts.

mod rules;
mod status;

use kube::CustomResource;
use schemars::JsonSchema;
use sedge_triggers::TriggerSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Batching, HardExampleMining, Instances, NodeSelection, Resources, RolloutPolicy, ServingSide, any_object,
};
use crate::ArtifactRef;

pub use status::*;

/// Watch a dataset, train when a trigger fires, measure the candidate beside the deployed model, and deploy it by a hot
/// swap when it is better. The node that holds the dataset decides; once the job is accepted, and where evaluation and
/// deployment are on that node too, it needs no link to the manager.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sedge.dev",
    version = "v1alpha1",
    kind = "IncrementalLearningJob",
    namespaced,
    status = "IncrementalLearningJobStatus",
    derive = "PartialEq",
    shortname = "ilj",
    category = "sedge",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Round","type":"integer","jsonPath":".status.learning.round"}"#,
    printcolumn = r#"{"name":"Deployed","type":"integer","jsonPath":".status.learning.deployed"}"#,
    printcolumn = r#"{"name":"Accuracy","type":"number","jsonPath":".status.learning.measured.deployed[?(@.name==\"accuracy\")].value"}"#,
    printcolumn = r#"{"name":"New samples","type":"integer","jsonPath":".status.learning.figures.newSamples"}"#,
    printcolumn = r#"{"name":"Drift","type":"number","jsonPath":".status.learning.figures.drift"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".status.pinned.train.node","priority":1}"#,
    printcolumn = r#"{"name":"Waiting for","type":"string","jsonPath":".status.learning.waiting","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncrementalLearningJobSpec {
    /// The Dataset that is watched and trained on; its node trains. It stays what it was when the job began.
    #[schemars(length(min = 1, max = 253))]
    pub dataset: String,
    /// The model to begin with, `name:tag`: version 0. It stays what it was when the job began.
    pub model: ArtifactRef,
    /// How and when a candidate is made.
    pub train: LearningTraining,
    /// How it is measured, and when it is good enough.
    pub evaluate: LearningEvaluation,
    /// Where it is deployed.
    pub deploy: LearningDeployment,
    /// What is kept of earlier versions.
    #[serde(default)]
    pub keep: KeptVersions,
    /// Tries of a stage after the first has failed, before its round has: after 1s, 2s, 4s, up to 5m. 3 by default.
    #[serde(default = "default_retries")]
    #[schemars(range(min = 0, max = 20))]
    pub retries: u32,
    /// Let another version serve again; `sedge model rollback` writes this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRequest>,
}

/// How and when a candidate is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LearningTraining {
    /// A plugin with the role trainer, `name:tag`. It reads the round's rows as `train`, earlier ones that are mixed in
    /// among them.
    pub plugin: ArtifactRef,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// What it may use.
    #[serde(default)]
    pub resources: Resources,
    /// When a round begins.
    pub trigger: TriggerSpec,
    /// Earlier rows that each round mixes in, against forgetting; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayPolicy>,
    /// What the figure `drift` of triggers is; absent: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftDetection>,
}

/// Earlier rows that a round mixes in: a uniform sample of all rows before its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplayPolicy {
    /// Their share of what the round trains on, from above 0 to 0.9.
    #[schemars(range(min = 0.000_001, max = 0.9))]
    pub share: f64,
    /// At most so many. 10000 by default.
    #[serde(default = "default_reservoir")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub reservoir: u32,
}

/// Whether arriving rows are still what the deployed model was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DriftDetection {
    /// How it is detected.
    pub detector: DriftDetector,
    /// The detector's parameters, e.g. `window: 500`. On errors also `window`, rows that are measured together (100), and
    /// `metric`, what is watched in place of 1 − accuracy; what the detector counts in values are windows then.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// On what: the `features` of the rows, or the deployed version's `errors` on them. features by default. A model's
    /// outputs are watched where they are: by a miner of the service, `drift-miner` say, whose hard share triggers know.
    #[serde(default)]
    pub on: DriftSubject,
}

/// The drift detectors that every node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum DriftDetector {
    /// The population stability index of a window against what was trained on.
    Psi,
    /// The Kolmogorov–Smirnov statistic of the same.
    Ks,
    /// ADWIN: a mean that is no longer what it was.
    Adwin,
    /// Page–Hinkley: a mean that has moved up or down.
    PageHinkley,
}

impl DriftDetector {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::Ks => "ks",
            Self::Adwin => "adwin",
            Self::PageHinkley => "page-hinkley",
        }
    }
}

/// What drift is detected on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum DriftSubject {
    /// What rows have beside their label.
    #[default]
    Features,
    /// What the job's evaluator measures of the deployed version on rows that have arrived since it was trained, window by
    /// window; by adwin or page-hinkley, and where the evaluator is on the node that trains.
    Errors,
}

/// How a candidate is measured, beside the deployed version on the same data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LearningEvaluation {
    /// A plugin with the role evaluator, `name:tag`. It reads the Dataset as `test`.
    pub plugin: ArtifactRef,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// What it may use.
    #[serde(default)]
    pub resources: Resources,
    /// The Dataset to measure on; its node evaluates. Absent: what the split of the job's Dataset holds out. It stays what
    /// it was when the job began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub dataset: Option<String>,
    /// When a candidate is deployed, e.g. `difference.accuracy > 0.01`, or on the rows alone that are new,
    /// `difference.recent.accuracy >= 0`.
    pub trigger: TriggerSpec,
}

/// Where versions are deployed: to a service that is there, or to one of the job's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.service) != has(self.inferencer)", "message": "name a service or write an inferencer, one of the two"},
]))]
pub struct LearningDeployment {
    /// A JointInferenceService whose model is changed; the first time when the first candidate is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<DeployedService>,
    /// A JointInferenceService of the job's name is made, and goes with the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferencer: Option<OwnInferencer>,
}

/// A side of a JointInferenceService.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeployedService {
    /// The service, of the job's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The side whose model is changed. edge by default.
    #[serde(default = "edge")]
    pub side: ServingSide,
}

/// What answers with the deployed version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OwnInferencer {
    /// A plugin with the role inferencer, `name:tag`.
    pub plugin: ArtifactRef,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// Where it answers; absent: on the node that trains.
    #[serde(default, skip_serializing_if = "NodeSelection::is_empty")]
    pub nodes: NodeSelection,
    /// Instances on each node.
    #[serde(default)]
    pub instances: Instances,
    /// Requests that may wait for an instance on a node; more are refused. 64 by default.
    #[serde(default = "default_queue")]
    #[schemars(range(min = 1, max = 65_536))]
    pub queue: u32,
    /// Absent: each request is computed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// What each instance may use.
    #[serde(default)]
    pub resources: Resources,
    /// Which samples are hard, and where they are kept; absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_example_mining: Option<HardExampleMining>,
    /// How a version is taken up.
    #[serde(default)]
    pub rollout: RolloutPolicy,
}

/// What is kept of earlier versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeptVersions {
    /// Versions whose weights are kept, the deployed one and what a rollback goes back to included. 10 by default.
    #[serde(default = "default_versions")]
    #[schemars(range(min = 2, max = 50))]
    pub versions: u32,
}

impl Default for KeptVersions {
    fn default() -> Self {
        Self { versions: default_versions() }
    }
}

/// A wish for another version to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version; absent: the one that served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_073_741_824))]
    pub version: Option<u32>,
    /// Who asks again writes a higher number; one that is no higher than the latest is not heard.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_i64))]
    pub request: u64,
}

const fn edge() -> ServingSide {
    ServingSide::Edge
}

const fn default_retries() -> u32 {
    3
}

const fn default_reservoir() -> u32 {
    10_000
}

const fn default_queue() -> u32 {
    64
}

const fn default_versions() -> u32 {
    10
}

#[cfg(test)]
mod tests;
