//! What is known of an IncrementalLearningJob.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{DeploymentOutcome, LearningReport, ModelEngines, PinnedArtifact, PinnedDataset};
use super::IncrementalLearningJobSpec;

/// How a job does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IncrementalLearningJobStatus {
    /// How it does, in a word.
    #[serde(default)]
    pub phase: LearningPhase,
    /// Why, one CamelCase word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `Accepted` (all that the spec names is there), `Learning` (its learner leads the rounds), `Deployed` (the version that
    /// is to serve does, on every node that was reached).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that was last taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the spec's names meant when it was taken up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<PinnedLearning>,
    /// Rounds, versions and figures, as the learner says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<LearningReport>,
    /// The service that versions are deployed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The version that the service's spec was told to serve last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<ToldVersion>,
    /// What came of the latest deployment that the learner asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentOutcome>,
}

/// A version that a service was told to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToldVersion {
    /// The deployment's number; 0: the job began with it.
    pub serial: u64,
    /// The version.
    pub version: u32,
    /// The model that it is.
    pub model: PinnedArtifact,
}

/// How a job does, in a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LearningPhase {
    /// Something that it names is not there yet, or its learner has not begun.
    #[default]
    Pending,
    /// For the next round's trigger.
    Waiting,
    /// A candidate is made.
    Training,
    /// It is measured.
    Evaluating,
    /// It is deployed, or a version is rolled back.
    Deploying,
    /// Its learner has ended; another is begun.
    Failed,
}

impl LearningPhase {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Waiting => "Waiting",
            Self::Training => "Training",
            Self::Evaluating => "Evaluating",
            Self::Deploying => "Deploying",
            Self::Failed => "Failed",
        }
    }
}

/// One spec and what its names meant when it was taken up; Workers follow from this.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedLearning {
    /// Version 0.
    pub model: PinnedArtifact,
    /// How its graphs are computed.
    #[serde(default, skip_serializing_if = "ModelEngines::is_empty")]
    pub engines: ModelEngines,
    /// The trainer's plugin.
    pub trainer: PinnedArtifact,
    /// The evaluator's plugin.
    pub evaluator: PinnedArtifact,
    /// What is watched and trained on, and the node that leads.
    pub train: PinnedDataset,
    /// What is measured on, and where.
    pub evaluate: PinnedDataset,
    /// The spec as it was.
    pub spec: IncrementalLearningJobSpec,
}
