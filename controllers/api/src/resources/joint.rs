//! JointInferenceService: a small model at the edge, a large one in the cloud, swapped while they serve.

mod rules;
mod status;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Resources, any_object};
use crate::{ArtifactRef, MemorySize, Period};

pub use rules::Problem;
pub(super) use rules::Problems;
pub use status::*;

/// Answer requests at the edge with a small model, and ask a large one in the cloud about the samples that the
/// small one could not be trusted with. A change of the spec is a new revision: it is taken up while the old one
/// serves, watched, and kept or undone.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sedge.dev",
    version = "v1alpha1",
    kind = "JointInferenceService",
    namespaced,
    status = "JointInferenceServiceStatus",
    derive = "PartialEq",
    shortname = "jis",
    category = "sedge",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Edges","type":"string","jsonPath":".status.edges.summary"}"#,
    printcolumn = r#"{"name":"Cloud","type":"string","jsonPath":".status.cloudNode"}"#,
    printcolumn = r#"{"name":"Hard share","type":"number","jsonPath":".status.hardShare"}"#,
    printcolumn = r#"{"name":"P50 ms","type":"number","jsonPath":".status.latency.p50Millis"}"#,
    printcolumn = r#"{"name":"Rollout","type":"string","jsonPath":".status.rollout.state"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Requests","type":"integer","jsonPath":".status.requests","priority":1}"#,
    printcolumn = r#"{"name":"Revision","type":"integer","jsonPath":".status.revision","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JointInferenceServiceSpec {
    /// The side that is asked first, on every node named or selected.
    #[schemars(extend("x-kubernetes-validations" = [
        {"rule": "has(self.nodes)", "message": "nodes must have names or a selector"},
    ]))]
    pub edge: Side,
    /// The side that is asked about hard samples, on one node; absent: the edge answers all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Side>,
    /// Which samples are hard; absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_example_mining: Option<HardExampleMining>,
    /// How the cloud is asked.
    #[serde(default)]
    pub offload: OffloadPolicy,
    /// How a new revision is taken up.
    #[serde(default)]
    pub rollout: RolloutPolicy,
}

/// What answers on one side, where, and with how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Side {
    /// A plugin with the role inferencer, `name:tag`.
    pub plugin: ArtifactRef,
    /// The model that the plugin computes, `name:tag`; absent where it needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ArtifactRef>,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// Where it serves: the edge on all of these, the cloud's side on one of them, or, where it names none, on any
    /// that has the role cloud. Nodes may come and go; a change here alone is no new revision.
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
}

/// Nodes by name, by label, or both; at least one of the two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["names"]}, {"required": ["selector"]}]))]
pub struct NodeSelection {
    /// These, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 10_000), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// All whose labels match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl NodeSelection {
    /// Whether it selects no node.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.selector.is_none()
    }
}

/// How many instances of a plugin serve on a node, by its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.minimum <= self.maximum", "message": "maximum must be at least the minimum"},
]))]
pub struct Instances {
    /// Always there. 1 by default.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub minimum: u32,
    /// At most so many under load, no fewer than the minimum. 1 by default.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 256))]
    pub maximum: u32,
}

impl Default for Instances {
    fn default() -> Self {
        Self { minimum: one(), maximum: one() }
    }
}

/// Requests that come close together are computed as one, joined along their first dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Batching {
    /// Samples in one batch.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_batch: u32,
    /// How long the first request of a batch waits for others, e.g. `1ms` or `500us`, at most 10s. 1ms by default.
    #[serde(default = "default_delay")]
    pub max_delay: Period,
}

/// Which samples the edge's model could not be trusted with: by a miner that every node has, or by a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.miner) != has(self.plugin)", "message": "name a miner or a plugin, one of the two"},
]))]
pub struct HardExampleMining {
    /// A miner that every node has; without it there is a `plugin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<BuiltinMiner>,
    /// A plugin with the role miner, `name:tag`; without it there is a `miner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<ArtifactRef>,
    /// What the miner reads as its parameters, e.g. `threshold: 0.5`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// What it looks at: the `outputs` of the edge's model, or the `inputs` before that runs. outputs by default.
    #[serde(default)]
    pub mine: MiningStage,
    /// Keep hard examples on their node; absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeptExamples>,
}

/// The miners that every node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum BuiltinMiner {
    /// The mean score is below `threshold`.
    Threshold,
    /// One less the scores' entropy, as a share of the largest there could be, is below `threshold`.
    CrossEntropy,
    /// The best score leads the second by less than `threshold`.
    Margin,
    /// The scores' entropy, as a share of the largest there could be, is above `threshold`.
    Entropy,
    /// Of detections: too large a share of the boxes has a low score.
    Ibt,
    /// A share of all, by chance.
    Random,
    /// All.
    Always,
    /// None.
    Never,
}

impl BuiltinMiner {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Threshold => "threshold",
            Self::CrossEntropy => "cross-entropy",
            Self::Margin => "margin",
            Self::Entropy => "entropy",
            Self::Ibt => "ibt",
            Self::Random => "random",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// What a miner looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum MiningStage {
    /// What the edge's model put out.
    #[default]
    Outputs,
    /// What came in; hard samples are not computed at the edge.
    Inputs,
}

/// Hard examples stay on the node that met them, bounded; the oldest go first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeptExamples {
    /// The Dataset whose folder on the node they are put into, of the service's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub dataset: String,
    /// At most so much on each node. 64Mi by default.
    #[serde(default = "default_size")]
    pub max_size: MemorySize,
    /// None older than this. 7d by default.
    #[serde(default = "default_age")]
    pub max_age: Period,
}

/// How the cloud is asked about hard samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OffloadPolicy {
    /// From the decision to ask to the answer. 500ms by default.
    #[serde(default = "default_deadline")]
    pub deadline: Period,
    /// Where the cloud has not answered after this, the request is sent once more, over a connection of its own, and
    /// the first answer counts: for a link that loses packets or a cloud that stalls. Less than the deadline, e.g.
    /// what 95 of 100 answers take. A second request counts against `requestsPerSecond` and `share` as the first
    /// did, and is not sent where those are spent. Absent: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Period>,
    /// At most so many on each node; absent: as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 1_000_000.0))]
    pub requests_per_second: Option<f64>,
    /// Largest share of a node's requests that are asked about, from above 0 to 1; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.000_001, max = 1.0))]
    pub share: Option<f64>,
    /// What is sent: the `inputs`, or the edge's `outputs`, which the cloud's model goes on from. inputs by default.
    #[serde(default)]
    pub send: SentToCloud,
    /// What a request gets that the cloud does not answer in time: the `edge`'s answer, or it is to `fail`. edge by
    /// default.
    #[serde(default)]
    pub cloud_absent: CloudAbsent,
}

impl Default for OffloadPolicy {
    fn default() -> Self {
        Self {
            deadline: default_deadline(),
            hedge_after: None,
            requests_per_second: None,
            share: None,
            send: SentToCloud::default(),
            cloud_absent: CloudAbsent::default(),
        }
    }
}

/// What is sent to the cloud.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum SentToCloud {
    /// What came in.
    #[default]
    Inputs,
    /// What the edge's model put out.
    Outputs,
}

/// What a request gets that the cloud does not answer in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum CloudAbsent {
    /// The edge's answer.
    #[default]
    Edge,
    /// An error.
    Fail,
}

/// How a new revision is taken up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutPolicy {
    /// Requests of the Open Inference Protocol, each with `inputs`, that a new revision must answer before it is
    /// swapped in; 256 KiB in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub probes: Vec<Probe>,
    /// How long a node may take to fetch, prepare and probe it. If the edge that goes first, or the cloud, takes
    /// longer, the revision is undone; if another edge does, it says so, answers with the old one and tries again. A
    /// first revision, in place of which there is nothing, takes as long as it does. 10m by default.
    #[serde(default = "default_rollout_deadline")]
    pub deadline: Period,
    /// How long it is watched after the swap; the old one stays at hand. 10s by default.
    #[serde(default = "default_probation")]
    pub probation: Period,
    /// Share of requests, from 0 to 1, that may fail in that time. 0.01 by default.
    #[serde(default = "default_budget")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub error_budget: f64,
    /// An answer that took longer counts as failed in that time; absent: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_budget: Option<Period>,
}

impl Default for RolloutPolicy {
    fn default() -> Self {
        Self {
            probes: Vec::new(),
            deadline: default_rollout_deadline(),
            probation: default_probation(),
            error_budget: default_budget(),
            latency_budget: None,
        }
    }
}

/// A request of the Open Inference Protocol as a JSON object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Probe(#[schemars(schema_with = "any_object")] pub Map<String, Value>);

const fn one() -> u32 {
    1
}

const fn default_queue() -> u32 {
    64
}

const fn default_delay() -> Period {
    Period::from_millis(1)
}

const fn default_size() -> MemorySize {
    MemorySize::from_mebibytes(64)
}

const fn default_age() -> Period {
    Period::from_secs(7 * 86_400)
}

const fn default_deadline() -> Period {
    Period::from_millis(500)
}

const fn default_rollout_deadline() -> Period {
    Period::from_secs(600)
}

const fn default_probation() -> Period {
    Period::from_secs(10)
}

const fn default_budget() -> f64 {
    0.01
}

#[cfg(test)]
mod tests;
