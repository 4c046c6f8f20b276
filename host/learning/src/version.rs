//! Versions of the job's model, and what was measured of them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::metrics::Metrics;
use crate::rows::{DataRange, Rows};

/// One set of weights, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// 0 is the model that the job began with.
    pub number: u32,
    /// Of its weights.
    pub digest: Digest,
    /// The version that its training started from; none of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// What it was trained on.
    #[serde(default)]
    pub data: DataRange,
    /// How far into each source all its training went, its parents' included: where its children's data begins.
    #[serde(default)]
    pub until: Rows,
    /// Of the rows in `data`, as the caller works it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_digest: Option<Digest>,
    /// Samples that its training says to have used.
    #[serde(default)]
    pub samples: u64,
    /// Earlier rows among them.
    #[serde(default)]
    pub replayed: u64,
    /// The plugin that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trainer: Option<Digest>,
    /// What that plugin read as its parameters; none where they were more than 16 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    /// What its training measured.
    #[serde(default)]
    pub training: Metrics,
    /// What came of its evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was deployed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed_at: Option<Timestamp>,
    /// What became of it.
    pub state: VersionState,
    /// Why, a sentence; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Its weights are no longer kept.
    #[serde(default)]
    pub forgotten: bool,
}

/// A candidate measured beside the deployed version, on the same data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// The version that was deployed then.
    pub against: u32,
    /// Of the candidate.
    pub candidate: Metrics,
    /// Of the deployed version.
    pub deployed: Metrics,
    /// Of the candidate, on data that earlier evaluations saw.
    #[serde(default)]
    pub candidate_earlier: Metrics,
    /// Of the deployed version, on the same.
    #[serde(default)]
    pub deployed_earlier: Metrics,
    /// Samples that it was measured on.
    #[serde(default)]
    pub samples: u64,
    /// The plugin that measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluator: Option<Digest>,
    /// When.
    pub at: Timestamp,
}

/// What became of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
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

impl VersionState {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Candidate => "candidate",
            Self::Deployed => "deployed",
            Self::Superseded => "superseded",
            Self::KeptOut => "kept-out",
            Self::RolledBack => "rolled-back",
        }
    }
}
