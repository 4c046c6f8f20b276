//! What is known of a JointInferenceService: which revision serves where, and how well.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Breaker, ModelEngines, PinnedArtifact, ServingSide};
use super::JointInferenceServiceSpec;
use crate::Digest;

/// How a service does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JointInferenceServiceStatus {
    /// How it does, in a word.
    #[serde(default)]
    pub phase: ServicePhase,
    /// Why, one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `Accepted` (all that the spec names is there), `Ready` (every edge wanted answers, and the cloud where one is
    /// wanted), `RolledOut` (all of them have taken up the spec).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that was last taken up, whatever became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The revision that is wanted of all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// What that revision is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<PinnedRevision>,
    /// The revision before it, which is gone back to if it is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PinnedRevision>,
    /// The latest change of revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<ServiceRollout>,
    /// The node that serves the cloud's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_node: Option<String>,
    /// How many edges serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<EdgeCount>,
    /// Where it is served: the cloud first, then edges by name, at most 100 in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<ServingEndpoint>,
    /// Requests that all edges have taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Requests per second on all edges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// Requests that ended in an error on an edge, without those refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<u64>,
    /// Requests that edges refused as too many or too late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// Share of all edges' samples that were hard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_share: Option<f64>,
    /// Time to an answer at the edges in the latest minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// What was asked of the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<OffloadCount>,
}

/// How a service does, in a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServicePhase {
    /// Something that it names is not there yet, or no edge answers yet.
    #[default]
    Pending,
    /// Every edge wanted answers, and the cloud where one is wanted.
    Ready,
    /// Some answer.
    Degraded,
    /// None answers, and one that tried has failed.
    Failed,
}

impl ServicePhase {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Ready => "Ready",
            Self::Degraded => "Degraded",
            Self::Failed => "Failed",
        }
    }
}

/// One spec and what its names meant when it was taken up; Workers follow from this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedRevision {
    /// Counted from 1; no two of a service have one number.
    pub revision: u64,
    /// The edge's side.
    pub edge: PinnedSide,
    /// The cloud's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<PinnedSide>,
    /// The miner's plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<PinnedArtifact>,
    /// The spec as it was.
    pub spec: JointInferenceServiceSpec,
}

/// What one side runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedSide {
    /// Its plugin.
    pub plugin: PinnedArtifact,
    /// Its model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PinnedArtifact>,
    /// How that model's graphs are computed.
    #[serde(default, skip_serializing_if = "ModelEngines::is_empty")]
    pub engines: ModelEngines,
}

/// A change of revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRollout {
    /// The revision that was to be taken up.
    pub revision: u64,
    /// How far it is.
    pub state: RolloutState,
    /// One CamelCase word for why it was kept or undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The node that undid it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// When it came to that.
    pub at: Time,
}

/// How far a change of revision is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// One edge and the cloud take it up first, then all others.
    Progressing,
    /// All have kept it.
    Complete,
    /// One has undone it, and all go back.
    Undone,
}

impl RolloutState {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Progressing => "Progressing",
            Self::Complete => "Complete",
            Self::Undone => "Undone",
        }
    }
}

/// How many edges serve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EdgeCount {
    /// Edges that answer.
    pub ready: u32,
    /// Nodes that are named or match.
    pub wanted: u32,
    /// Instances ready on all of them.
    pub instances: u32,
    /// `READY/WANTED`.
    pub summary: String,
}

/// One node that serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServingEndpoint {
    /// The node.
    pub node: String,
    /// Where its Open Inference Protocol is, as `http://host:port`; absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Which side it is.
    pub role: ServingSide,
    /// Whether it answers.
    pub ready: bool,
    /// Why not, one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Instances ready.
    #[serde(default)]
    pub instances: u32,
    /// The revision that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The plugin that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Digest>,
    /// The model that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Digest>,
    /// Requests it has taken.
    #[serde(default)]
    pub requests: u64,
    /// Requests per second in the latest minute.
    #[serde(default)]
    pub requests_per_second: f64,
    /// Requests that ended in an error.
    #[serde(default)]
    pub failed: u64,
    /// Requests it refused.
    #[serde(default)]
    pub refused: u64,
    /// Share of its samples that were hard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_share: Option<f64>,
    /// Time to an answer in the latest minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// What it asked of the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<OffloadCount>,
    /// Whether it asks the cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
}

/// Time to an answer, in milliseconds. Of several nodes: the median is the mean of theirs, weighted by their
/// rates; the others are those of the slowest node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half of all requests are answered in this.
    pub p50_millis: f64,
    /// 90 of 100 are.
    pub p90_millis: f64,
    /// 99 of 100 are.
    pub p99_millis: f64,
}

/// Requests asked of the cloud.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OffloadCount {
    /// In all.
    pub requests: u64,
    /// Those that it did not answer in time or at all.
    pub failures: u64,
    /// Those that were sent twice, as the first was not answered soon.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hedges: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
