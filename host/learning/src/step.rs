//! What is to be done next.

use jiff::Timestamp;

use crate::digest::Digest;
use crate::round::Stage;
use crate::rows::{DataRange, Rows};

/// What is to be done next. Two equal steps are the same work: it is begun once and told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until a figure changes or, at the latest, a time.
    Wait {
        /// When to ask again at the latest; none: there is nothing to do before a figure changes.
        until: Option<Timestamp>,
        /// What for, a sentence.
        why: String,
    },
    /// Make a candidate; then [`trained`](crate::Rounds::trained).
    Train(Train),
    /// Measure it; then [`evaluated`](crate::Rounds::evaluated).
    Evaluate(Evaluate),
    /// Let a version serve; then [`deployed_now`](crate::Rounds::deployed_now).
    Deploy(Deploy),
    /// Let weights go; then [`forgotten`](crate::Rounds::forgotten).
    Forget(Forget),
}

impl Step {
    /// The round and the stage of it that this is.
    pub fn stage(&self) -> Option<(u32, Stage)> {
        match self {
            Self::Train(train) => Some((train.round, Stage::Train)),
            Self::Evaluate(evaluate) => Some((evaluate.round, Stage::Evaluate)),
            Self::Deploy(Deploy { cause: DeployCause::Round(number), .. }) => Some((*number, Stage::Deploy)),
            Self::Deploy(_) | Self::Wait { .. } | Self::Forget(_) => None,
        }
    }
}

/// A version by its number and its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRef {
    /// The number.
    pub number: u32,
    /// Of the weights.
    pub digest: Digest,
}

/// Train: from `start`, on the rows of `data` that the split does not hold out, and `replay` earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Train {
    /// Its round, from 1.
    pub round: u32,
    /// What it starts from.
    pub start: VersionRef,
    /// The round's own rows.
    pub data: DataRange,
    /// So many earlier rows beside them, which [`Rounds::replay`](crate::Rounds::replay) names.
    pub replay: u64,
}

/// Measure both versions on the same data: the rows that the split holds out, or another dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluate {
    /// Its round.
    pub round: u32,
    /// The candidate.
    pub candidate: VersionRef,
    /// What serves.
    pub deployed: VersionRef,
    /// Rows of each source of the data measured on that the evaluation before this one saw: those below are measured by
    /// themselves too, for what was forgotten. Empty: this is the first evaluation.
    pub earlier: Rows,
}

/// Let `version` serve in place of `instead_of`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// For what.
    pub cause: DeployCause,
    /// Its number: the same for all tries of one deployment, higher than those of all before it.
    pub serial: u64,
    /// What is to serve.
    pub version: VersionRef,
    /// What serves.
    pub instead_of: VersionRef,
}

/// Why a version is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeployCause {
    /// It is the candidate of this round.
    Round(u32),
    /// Somebody asked for it: the request's number.
    Rollback(u64),
}

/// Weights that are no longer to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forget {
    /// Numbers of the versions.
    pub versions: Vec<u32>,
    /// Weights of theirs that no version has that is kept.
    pub weights: Vec<Digest>,
}
