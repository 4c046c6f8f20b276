//! What a serving Worker is told and says: the parts of Worker's spec and status that inferencers alone have.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::any_object;
use super::{
    Batching, BuiltinMiner, CloudAbsent, Instances, KeptExamples, MiningStage, PinnedArtifact, RolloutPolicy,
    SentToCloud,
};
use crate::{Digest, Period};

/// What an inferencer answers, and how. A change of it, or of what the Worker runs, is taken up while it
/// serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServingTask {
    /// The name that clients ask for.
    pub service: String,
    /// Edge or cloud.
    pub side: ServingSide,
    /// Counts the specs of the service.
    pub revision: u64,
    /// How many instances.
    pub instances: Instances,
    /// Requests that may wait.
    pub queue: u32,
    /// Absent: each request is computed by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batching: Option<Batching>,
    /// Of an edge; absent: no example is hard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mining: Option<MiningTask>,
    /// Of an edge; absent: nothing is asked of a cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offload: Option<OffloadTask>,
    /// How this revision is taken up.
    pub rollout: RolloutPolicy,
    /// Of an edge; absent: hard examples are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<KeptExamples>,
}

/// On which side of a service a Worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServingSide {
    /// It is asked first.
    Edge,
    /// It is asked about what is hard.
    Cloud,
}

impl ServingSide {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
        }
    }
}

/// Which samples the edge's model could not be trusted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MiningTask {
    /// A miner that every node has; else there is a plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub miner: Option<BuiltinMiner>,
    /// A plugin with the role miner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PinnedArtifact>,
    /// What the miner reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// What it looks at.
    pub mine: MiningStage,
}

/// Asking the cloud about hard samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OffloadTask {
    /// The Worker that is asked, of the same namespace; wherever it runs.
    pub asks: String,
    /// From the decision to ask to the answer.
    pub deadline: Period,
    /// Where there is no answer after this, a second request is sent; absent: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Period>,
    /// At most so many; absent: as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// Largest share of all requests that are asked about, from above 0 to 1; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// What is sent.
    pub send: SentToCloud,
    /// What a request gets that the cloud does not answer in time.
    pub cloud_absent: CloudAbsent,
}

/// What a serving Worker has answered. Counts are since its node's present run began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServingReport {
    /// The revision that answers now; 0: none does.
    pub revision: u64,
    /// The plugin that answers now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Digest>,
    /// The model that answers now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Digest>,
    /// Instances ready.
    pub instances: u32,
    /// Requests taken.
    pub requests: u64,
    /// Requests that ended in an error, without those refused.
    pub failed: u64,
    /// Requests refused, as the queue was full or their deadline had passed.
    pub refused: u64,
    /// Samples in all requests.
    pub samples: u64,
    /// Samples that the miner called hard.
    pub hard: u64,
    /// Requests asked of the cloud.
    pub offloaded: u64,
    /// Those of them that it did not answer in time or at all.
    pub offload_failures: u64,
    /// Second requests sent to the cloud, as the first was not answered soon.
    #[serde(default)]
    pub hedges: u64,
    /// Median time to an answer in the latest minute, in microseconds; 0: there was none.
    pub p50_micros: u64,
    /// The same of 90 of 100 requests.
    pub p90_micros: u64,
    /// The same of 99 of 100 requests.
    pub p99_micros: u64,
    /// Requests per second in the latest minute.
    pub requests_per_second: f64,
    /// The latest change of revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutReport>,
    /// Whether the cloud is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
}

/// How a node took up a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutReport {
    /// The revision that was to be taken up.
    pub revision: u64,
    /// How far it is.
    pub phase: RolloutPhase,
    /// One CamelCase word for why it was undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Time>,
}

/// How far a node is with a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPhase {
    /// Fetched, compiled, prepared and probed beside the old.
    Preparing,
    /// Answers, and is watched.
    Probation,
    /// Stays.
    Kept,
    /// Gone; the old answers.
    Undone,
}

/// Whether an edge asks the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Breaker {
    /// It does.
    Closed,
    /// It does not, for the cloud did not answer.
    Open,
    /// One request tries whether it answers again.
    HalfOpen,
}

impl Breaker {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "Closed",
            Self::Open => "Open",
            Self::HalfOpen => "HalfOpen",
        }
    }
}
