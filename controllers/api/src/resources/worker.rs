//! Worker: one plugin running one role for one job on one node.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    AssessmentReport, AssessmentTask, GraphEngine, LearningReport, LearningTask, ModelEngines, Role,
    ServingReport, ServingTask, StopCondition,
};
use crate::{ArtifactRef, Digest, MemorySize, Period};

/// One plugin running one role for one job on one node, owned by its job. Controllers make it; people look.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sedge.dev",
    version = "v1alpha1",
    kind = "Worker",
    namespaced,
    status = "WorkerStatus",
    derive = "PartialEq",
    shortname = "wk",
    category = "sedge",
    printcolumn = r#"{"name":"Job","type":"string","jsonPath":".spec.job.name"}"#,
    printcolumn = r#"{"name":"Role","type":"string","jsonPath":".spec.role"}"#,
    printcolumn = r#"{"name":"Node","type":"string","jsonPath":".spec.node"}"#,
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Done","type":"integer","jsonPath":".status.done"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Engine","type":"string","jsonPath":".status.engine","priority":1}"#,
    printcolumn = r#"{"name":"Message","type":"string","jsonPath":".status.message","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkerSpec {
    /// The EdgeNode that runs it.
    pub node: String,
    /// The role it plays.
    pub role: Role,
    /// The job it serves.
    pub job: JobReference,
    /// What it runs.
    pub plugin: PinnedArtifact,
    /// The model it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PinnedArtifact>,
    /// How that model's graphs are computed.
    #[serde(default, skip_serializing_if = "ModelEngines::is_empty")]
    pub engines: ModelEngines,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "super::any_object")]
    pub parameters: Map<String, Value>,
    /// Datasets granted to it, all on its node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetGrant>,
    /// What it may use.
    #[serde(default)]
    pub resources: Resources,
    /// Of an aggregator: how to lead the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<AggregationTask>,
    /// Of an inferencer: what it answers, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingTask>,
    /// Of the trainer of an incremental learning job: how it leads the rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<LearningTask>,
    /// Of the evaluator of one: what it measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assessment: Option<AssessmentTask>,
    /// Of a trainer or evaluator: the aggregator's Worker whose rounds it joins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joins: Option<String>,
}

/// A job, by name and identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobReference {
    /// Kind of the job.
    pub kind: String,
    /// Name of the job.
    pub name: String,
    /// uid of the job.
    pub uid: String,
}

/// Something in the registry, pinned by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PinnedArtifact {
    /// What people call it.
    pub reference: ArtifactRef,
    /// Digest of its manifest.
    pub digest: Digest,
}

/// A dataset that a worker may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetGrant {
    /// The name by which the plugin asks for it.
    pub name: String,
    /// The Dataset, in the worker's namespace.
    pub dataset: String,
}

/// What a worker may use; more ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// Linear memory of the plugin and tensors held for it, together, in bytes: `64Mi`, `1Gi`. 512Mi by default.
    #[serde(default = "Resources::default_memory")]
    pub memory: MemorySize,
    /// Wall-clock time of one call: a round of training, an evaluation, folding one update, one batch of
    /// requests. 10m by default.
    #[serde(default = "Resources::default_timeout")]
    pub timeout: Period,
}

impl Resources {
    const fn default_memory() -> MemorySize {
        MemorySize::from_mebibytes(512)
    }

    const fn default_timeout() -> Period {
        Period::from_secs(600)
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self { memory: Self::default_memory(), timeout: Self::default_timeout() }
    }
}

/// How an aggregator leads the rounds of its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AggregationTask {
    /// Rounds in all.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rounds: u32,
    /// No round starts or closes with fewer participants.
    #[schemars(range(min = 1, max = 100_000))]
    pub minimum: u32,
    /// A round closes when this share of those invited have answered, from above 0 to 1.
    #[schemars(range(min = 0.000_001, max = 1.0))]
    pub fraction: f64,
    /// A round closes at the latest after this, if the minimum has answered.
    pub deadline: Period,
    /// Workers expected to train.
    pub trainers: Vec<String>,
    /// Workers expected to evaluate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluators: Vec<String>,
    /// End early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopCondition>,
    /// What the resulting model is called.
    pub result: ArtifactRef,
}

/// What the node says of a worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Where it is in its life.
    #[serde(default)]
    pub phase: WorkerPhase,
    /// One CamelCase word for why, e.g. `Trapped`, `OutOfMemory`, `DeadlineExceeded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the node took it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// Units done (rounds, of an aggregator).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<u64>,
    /// Units in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Latest metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Of an aggregator: its latest rounds, oldest first, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<RoundRecord>,
    /// Of an aggregator: trainers connected now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub participants: Vec<String>,
    /// Of an aggregator that has ended well: manifest digest of the resulting model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_digest: Option<Digest>,
    /// Names of the engines that compute its model, each once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Which engine computes which graph of its model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<GraphEngine>,
    /// Of an inferencer: what it has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingReport>,
    /// Of the trainer of an incremental learning job: how that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<LearningReport>,
    /// Of the evaluator of one: what it measured last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assessment: Option<AssessmentReport>,
}

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WorkerPhase {
    /// Declared; its node has not begun.
    #[default]
    Pending,
    /// At work, or waiting for its part in a round.
    Running,
    /// Ended well.
    Succeeded,
    /// Ended with `reason`.
    Failed,
}

impl WorkerPhase {
    /// Whether nothing more will come.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// e.g. `accuracy`.
    pub name: String,
    /// Its value; a value that is not finite is left out.
    pub value: f64,
}

/// What one round came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoundRecord {
    /// From 1.
    pub round: u32,
    /// Updates folded.
    pub updates: u32,
    /// Updates refused by the aggregation.
    #[serde(default)]
    pub refused: u32,
    /// Participants that did not answer in time.
    #[serde(default)]
    pub missing: u32,
    /// Samples that the updates rest on.
    pub samples: u64,
    /// Of the evaluation, and of the training as `train.NAME` (mean weighted by samples).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Milliseconds from invitation to the evaluation's report.
    pub duration_millis: u64,
    /// When it closed.
    pub finished_at: Time,
}
