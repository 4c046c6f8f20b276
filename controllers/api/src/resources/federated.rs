//! FederatedLearningJob: train one model on the data of many nodes, without moving the data.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ModelEngines, PinnedArtifact, Resources, RoundRecord};
use crate::{ArtifactRef, Period};

/// Train one model on the data of many nodes: each round, every participant trains on its own samples,
/// an aggregator folds the updates into new weights, and an evaluator measures them.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "sedge.dev",
    version = "v1alpha1",
    kind = "FederatedLearningJob",
    namespaced,
    status = "FederatedLearningJobStatus",
    derive = "PartialEq",
    shortname = "flj",
    category = "sedge",
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Round","type":"integer","jsonPath":".status.round"}"#,
    printcolumn = r#"{"name":"Rounds","type":"integer","jsonPath":".spec.aggregation.rounds"}"#,
    printcolumn = r#"{"name":"Participants","type":"integer","jsonPath":".status.participants"}"#,
    printcolumn = r#"{"name":"Accuracy","type":"number","jsonPath":".status.history[-1:].metrics[?(@.name==\"accuracy\")].value"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.reason"}"#,
    printcolumn = r#"{"name":"Result","type":"string","jsonPath":".status.result.digest","priority":1}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FederatedLearningJobSpec {
    /// The model to begin with, `name:tag`.
    pub model: ArtifactRef,
    /// How updates become new weights.
    pub aggregation: Aggregation,
    /// How a participant trains, and on what.
    pub training: Training,
    /// How new weights are measured; absent, they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// End before the last round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopCondition>,
}

/// How updates become new weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aggregation {
    /// A plugin with the role aggregator, `name:tag`.
    pub plugin: ArtifactRef,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// Labels of the nodes that may aggregate; absent, any node with the role cloud may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Number of rounds.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub rounds: u32,
    /// Who must take part.
    #[serde(default)]
    pub participants: Participants,
    /// A round closes at the latest after this, e.g. `90s` or `10m`; one with fewer than the minimum of updates
    /// is done again. 10m by default.
    #[serde(default = "default_deadline")]
    pub round_deadline: Period,
    /// What the aggregator may use.
    #[serde(default)]
    pub resources: Resources,
}

/// Who must take part in a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Participants {
    /// No round starts or closes with fewer. 1 by default.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100_000))]
    pub minimum: u32,
    /// A round closes as soon as this share of those invited have answered, from above 0 to 1. 1 by default.
    #[serde(default = "whole")]
    #[schemars(range(min = 0.000_001, max = 1.0))]
    pub fraction: f64,
}

impl Default for Participants {
    fn default() -> Self {
        Self { minimum: one(), fraction: whole() }
    }
}

/// How a participant trains, and on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Training {
    /// A plugin with the role trainer, `name:tag`.
    pub plugin: ArtifactRef,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// What each trainer may use.
    #[serde(default)]
    pub resources: Resources,
    /// The datasets to train on: one trainer for each, on its node, which reads it as `train`.
    pub datasets: DatasetSelection,
}

/// Datasets by name, by label, or both; at least one of the two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["names"]}, {"required": ["selector"]}]))]
pub struct DatasetSelection {
    /// These, by name; the job waits until each is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 10_000), inner(length(min = 1, max = 253)))]
    pub names: Vec<String>,
    /// All whose labels match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// How new weights are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Evaluation {
    /// A plugin with the role evaluator, `name:tag`.
    pub plugin: ArtifactRef,
    /// What the plugin reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// What the evaluator may use.
    #[serde(default)]
    pub resources: Resources,
    /// The Dataset to measure on; the evaluator runs on its node and reads it as `test`.
    #[schemars(length(min = 1, max = 253))]
    pub dataset: String,
}

/// A bound on a metric of a closed round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StopCondition {
    /// Name of the metric, as a round's record has it: `accuracy` of the evaluation, `train.loss` of the training.
    #[schemars(length(min = 1, max = 253))]
    pub metric: String,
    /// How it compares.
    pub operator: Operator,
    /// To what.
    pub threshold: f64,
}

/// How a metric compares to a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// At least.
    #[serde(rename = ">=")]
    AtLeast,
    /// At most.
    #[serde(rename = "<=")]
    AtMost,
}

/// How far a job has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FederatedLearningJobStatus {
    /// Where the job is in its life.
    #[serde(default)]
    pub phase: JobPhase,
    /// Why it is there, one CamelCase word: what it waits for, or what ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `Accepted` (all it names is there), `Running`, `Complete`, `Failed`; `SpecChanged` where the spec was
    /// changed after the job began, which the job does not follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The latest round that has closed, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// Trainers connected now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participants: Option<u32>,
    /// Latest rounds, oldest first, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<RoundRecord>,
    /// What the job's names meant when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<PinnedInputs>,
    /// The resulting model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<PinnedArtifact>,
    /// When its workers were declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// What a job's names and selectors meant when it began. Written before the first Worker is declared, and
/// not changed after: workers follow from this alone, whatever happens to what it was taken from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedInputs {
    /// The model it began with.
    pub model: PinnedArtifact,
    /// How that model's graphs are computed.
    #[serde(default, skip_serializing_if = "ModelEngines::is_empty")]
    pub engines: ModelEngines,
    /// The aggregator's plugin.
    pub aggregation: PinnedArtifact,
    /// The trainers' plugin.
    pub training: PinnedArtifact,
    /// The evaluator's plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<PinnedArtifact>,
    /// The EdgeNode that aggregates.
    pub aggregator: String,
    /// Where it trains, sorted by dataset; one trainer each.
    pub trainers: Vec<PinnedDataset>,
    /// Where it evaluates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluator: Option<PinnedDataset>,
    /// The spec as it was.
    pub spec: FederatedLearningJobSpec,
}

/// A Dataset and the EdgeNode that held it when the job began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PinnedDataset {
    /// The Dataset.
    pub dataset: String,
    /// Its EdgeNode.
    pub node: String,
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JobPhase {
    /// Something that it names is not there yet.
    #[default]
    Pending,
    /// Its workers are declared.
    Running,
    /// All rounds are closed and the result is in the registry.
    Succeeded,
    /// It cannot go on.
    Failed,
}

const fn one() -> u32 {
    1
}

const fn whole() -> f64 {
    1.0
}

const fn default_deadline() -> Period {
    Period::from_secs(600)
}

/// A JSON object of any content: what `parameters` are.
pub(super) fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
