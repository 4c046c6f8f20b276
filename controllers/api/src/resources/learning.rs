//! What Workers of an incremental learning job are told and say: the parts of Worker's spec and status that its learner
//! and its assessor alone have. The learner leads the rounds, on the node that holds the dataset; the assessor measures,
//! where that is on another.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use sedge_triggers::TriggerSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    DatasetGrant, DriftDetection, Metric, PinnedArtifact, ReplayPolicy, Resources, RollbackRequest,
    any_object,
};
use crate::Digest;

/// How a learner leads the rounds of its job. It is taken up while it leads; what it asks other nodes for is told here
/// when it is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearningTask {
    /// The name of the models that versions are.
    pub name: String,
    /// Their tags are this, and the version's number.
    pub tag_prefix: String,
    /// When a round begins.
    pub train: TriggerSpec,
    /// When its candidate is deployed.
    pub deploy: TriggerSpec,
    /// Earlier rows that each round mixes in; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayPolicy>,
    /// What drift is; absent: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftDetection>,
    /// Who measures on its node; absent: an assessor is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluator: Option<EvaluatorTask>,
    /// Versions whose weights are kept.
    pub keep: u32,
    /// Tries of a stage after the first.
    pub retries: u32,
    /// The serving Worker of its node that versions are deployed to; absent: a deployment is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<String>,
    /// The latest wish for another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackRequest>,
    /// What came of the assessment that it asked for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assessment: Option<AssessmentReport>,
    /// What came of the deployment that it asked for last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentOutcome>,
    /// Share of hard examples where the deployed version serves elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_share: Option<f64>,
}

/// Who measures on the learner's own node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvaluatorTask {
    /// What measures.
    pub plugin: PinnedArtifact,
    /// What it reads as its parameters.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Map<String, Value>,
    /// What it measures on.
    pub datasets: Vec<DatasetGrant>,
    /// What it may use.
    #[serde(default)]
    pub resources: Resources,
}

/// What came of a deployment elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentOutcome {
    /// The deployment's number.
    pub serial: u64,
    /// Whether it stays.
    pub kept: bool,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What an assessor measures: both models on the dataset that it is granted as `test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssessmentTask {
    /// For which round.
    pub round: u32,
    /// For which try of it, from 0.
    pub attempt: u32,
    /// The round's candidate.
    pub candidate: PinnedArtifact,
    /// What serves.
    pub deployed: PinnedArtifact,
    /// Rows of each source that the assessment before saw.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<String, u64>,
}

/// What came of an assessment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssessmentReport {
    /// Of which round.
    pub round: u32,
    /// Of which try of it.
    pub attempt: u32,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Of the candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate: Vec<Metric>,
    /// Of the deployed version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployed: Vec<Metric>,
    /// Of the candidate, on earlier data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_earlier: Vec<Metric>,
    /// Of the deployed version, on the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployed_earlier: Vec<Metric>,
    /// Samples measured on.
    #[serde(default)]
    pub samples: u64,
    /// Rows of each source that there were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rows: BTreeMap<String, u64>,
    /// The plugin that measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluator: Option<Digest>,
}

/// How a job does, as its learner says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearningReport {
    /// The latest round that has begun; 0: none has.
    pub round: u32,
    /// The round in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<LearningRound>,
    /// Rounds that have ended, the oldest first, at most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<LearningRound>,
    /// Versions of the model by number, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<ModelVersion>,
    /// The version that serves.
    pub deployed: u32,
    /// The number of the deployment by which it came to serve; 0: it does since the beginning.
    pub serial: u64,
    /// What the latest evaluation measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// What the next round, or the candidate, waits for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub waiting: String,
    /// An evaluation that another node is to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants_assessment: Option<WantedAssessment>,
    /// A deployment that other nodes are to make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants_deployment: Option<WantedDeployment>,
    /// The latest rollback that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackReport>,
    /// What triggers look at.
    #[serde(default)]
    pub figures: LearningFigures,
}

impl LearningReport {
    /// The version of that number.
    pub fn version(&self, number: u32) -> Option<&ModelVersion> {
        self.versions.iter().find(|version| version.number == number)
    }
}

/// What triggers look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearningFigures {
    /// Samples of the dataset.
    #[serde(default)]
    pub samples: u64,
    /// Those that came since the latest round's data.
    #[serde(default)]
    pub new_samples: u64,
    /// The drift detector's score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<f64>,
    /// Share of hard examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_share: Option<f64>,
}

/// Where a stage of a round is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LearningStageState {
    /// For the stage before it, a trigger, or its next try.
    #[default]
    Waiting,
    /// Under way.
    Running,
    /// Done.
    Completed,
    /// Every try failed.
    Failed,
    /// There was no need, or the round ended before.
    Skipped,
}

impl LearningStageState {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Skipped => "Skipped",
        }
    }
}

/// A stage of a round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearningStage {
    /// Where it is.
    pub state: LearningStageState,
    /// Why, a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Tries that failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LearningOutcome {
    /// Its candidate serves.
    Deployed,
    /// Its candidate's figures did not hold.
    KeptOut,
    /// A stage failed.
    Failed,
    /// A version was rolled back meanwhile.
    Abandoned,
}

impl LearningOutcome {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deployed => "Deployed",
            Self::KeptOut => "KeptOut",
            Self::Failed => "Failed",
            Self::Abandoned => "Abandoned",
        }
    }
}

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LearningRound {
    /// From 1.
    pub number: u32,
    /// Why it began: the trigger's words.
    pub why: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// The version that it starts from.
    pub start: u32,
    /// The version that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<u32>,
    /// What it trains on: of many sources the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<SourceRange>,
    /// Earlier rows mixed in.
    #[serde(default)]
    pub replayed: u64,
    /// Making a candidate.
    pub train: LearningStage,
    /// Measuring it.
    pub evaluate: LearningStage,
    /// Deploying it.
    pub deploy: LearningStage,
    /// How it ended; none of the one in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<LearningOutcome>,
}

/// Rows of one source of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceRange {
    /// Absent where the dataset has but one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The first.
    pub first: u64,
    /// Past the last.
    pub end: u64,
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ModelVersionState {
    /// Trained, and still in its round.
    Candidate,
    /// It serves.
    Deployed,
    /// It served, until a later one took its place.
    Superseded,
    /// It never served.
    KeptOut,
    /// It served, until somebody asked for another.
    RolledBack,
}

impl ModelVersionState {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Candidate => "Candidate",
            Self::Deployed => "Deployed",
            Self::Superseded => "Superseded",
            Self::KeptOut => "KeptOut",
            Self::RolledBack => "RolledBack",
        }
    }
}

/// One version of the job's model, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelVersion {
    /// 0 is the model that the job began with.
    pub number: u32,
    /// Of its weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Digest>,
    /// Of the model's manifest in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Digest>,
    /// The registry has it.
    #[serde(default)]
    pub uploaded: bool,
    /// The version that its training started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// What it was trained on: of many sources the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<SourceRange>,
    /// Of those rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_digest: Option<Digest>,
    /// Samples that its training used.
    #[serde(default)]
    pub samples: u64,
    /// Earlier rows among them.
    #[serde(default)]
    pub replayed: u64,
    /// The plugin that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainer: Option<Digest>,
    /// What that read as its parameters; absent where they are too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Option<Map<String, Value>>,
    /// What its training measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training: Vec<Metric>,
    /// What its evaluation measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// When it was deployed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<Time>,
    /// What became of it.
    pub state: ModelVersionState,
    /// Why, a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Its weights are no longer kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
}

/// A candidate beside what was deployed then, on the same data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// The version that was deployed then.
    pub against: u32,
    /// Of the candidate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate: Vec<Metric>,
    /// Of the deployed version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployed: Vec<Metric>,
    /// Of the candidate, on earlier data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidate_earlier: Vec<Metric>,
    /// Of the deployed version, on the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployed_earlier: Vec<Metric>,
    /// Samples measured on.
    #[serde(default)]
    pub samples: u64,
    /// The plugin that measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluator: Option<Digest>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
}

/// An evaluation that another node is to make; of versions that the registry has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WantedAssessment {
    /// For which round.
    pub round: u32,
    /// For which try of it, from 0.
    pub attempt: u32,
    /// The round's candidate.
    pub candidate: u32,
    /// What serves.
    pub deployed: u32,
    /// Rows of each source that the assessment before saw.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub earlier: BTreeMap<String, u64>,
}

/// A deployment that other nodes are to make; of a version that the registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WantedDeployment {
    /// Its number.
    pub serial: u64,
    /// What is to serve.
    pub version: u32,
}

/// What became of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RollbackPhase {
    /// It is under way.
    Asked,
    /// The version serves.
    Done,
    /// It cannot be, or every try failed.
    Refused,
}

impl RollbackPhase {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asked => "Asked",
            Self::Done => "Done",
            Self::Refused => "Refused",
        }
    }
}

/// A rollback that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackReport {
    /// Its number.
    pub request: u64,
    /// The version that is to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// What became of it.
    pub state: RollbackPhase,
    /// Why, a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}
