//! The state as it is written, and checked when it is read: what does not hold together would let a job deploy the wrong
//! model, or panic.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::metrics::MOST_METRICS;
use crate::rounds::{MOST_ROUNDS, MOST_VERSIONS, Rounds, State};
use crate::version::VersionState;

/// Of what is written.
pub(crate) const FORMAT: u32 = 1;
/// The largest state that is read, in bytes.
pub const LARGEST_STATE: usize = 32 << 20;
/// Numbers that no job comes to.
const HIGHEST: u32 = 1 << 30;
/// Records that may come before some are dropped.
const SLACK: usize = 8;

/// State that cannot be gone on with.
#[derive(Debug, Error)]
#[error(
    "the state of the rounds {why}: put a copy back, or remove it to begin anew from the job's first model, without the \
     versions that were made since"
)]
pub struct DamagedState {
    why: String,
}

impl DamagedState {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }
}

impl Rounds {
    /// As [`from_json`](Self::from_json) reads it.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state).expect("names are text and numbers are finite")
    }

    /// State that was written with [`to_json`](Self::to_json), by this or an earlier build.
    ///
    /// # Errors
    /// It is not whole, contradicts itself, or is of a later build.
    pub fn from_json(json: &[u8]) -> Result<Self, DamagedState> {
        if json.len() > LARGEST_STATE {
            let why = format!("has {} bytes, more than {LARGEST_STATE}", json.len());
            return Err(DamagedState::new(why));
        }
        let state: State = serde_json::from_slice(json)
            .map_err(|error| DamagedState::new(format!("does not read as it was written ({error})")))?;
        match contradiction(&state) {
            None => Ok(Self { state }),
            Some(why) => Err(DamagedState::new(format!("contradicts itself ({why})"))),
        }
    }
}

fn contradiction(state: &State) -> Option<String> {
    if state.format != FORMAT {
        return Some(format!("format {} is none that this build reads", state.format));
    }
    let versions = &state.versions;
    if versions.len() > MOST_VERSIONS + SLACK || state.past.len() > MOST_ROUNDS {
        return Some("more versions or rounds than are kept".to_owned());
    }
    if state.next_version > HIGHEST
        || state.next_round > HIGHEST
        || state.revision.max(state.last_serial) > 1 << 50
    {
        return Some("numbers beyond all that a job comes to".to_owned());
    }
    if !versions.windows(2).all(|pair| pair[0].number < pair[1].number) {
        return Some("versions out of order".to_owned());
    }
    let numbers: BTreeSet<u32> = versions.iter().map(|version| version.number).collect();
    if numbers.last().is_none_or(|last| *last >= state.next_version) {
        return Some(format!("version {} is still to come", state.next_version));
    }
    for version in versions {
        if version.parent.is_some_and(|parent| parent >= version.number) {
            return Some(format!("version {} is older than what it started from", version.number));
        }
        if (version.state == VersionState::Deployed) != (version.number == state.deployed) {
            return Some(format!("version {} both serves and does not", version.number));
        }
        let of = [&version.training];
        let evaluated = version.evaluation.iter().flat_map(|e| [&e.candidate, &e.deployed]);
        if of.into_iter().chain(evaluated).any(|metrics| metrics.iter().count() > MOST_METRICS) {
            return Some(format!("version {} has too many metrics", version.number));
        }
    }
    let deployed = versions.iter().find(|version| version.number == state.deployed);
    if deployed.is_none_or(|version| version.forgotten) {
        return Some(format!("version {} serves and is not kept", state.deployed));
    }
    let rounds = || state.past.iter().chain(&state.current);
    if !rounds().zip(rounds().skip(1)).all(|(one, next)| one.number < next.number)
        || rounds().last().is_some_and(|last| last.number >= state.next_round)
    {
        return Some("rounds out of order".to_owned());
    }
    if state.past.iter().any(|round| round.outcome.is_none()) {
        return Some("a past round has not ended".to_owned());
    }
    if let Some(round) = &state.current {
        let known = |number: u32| numbers.contains(&number);
        if round.at().is_none() {
            return Some(format!("round {} is in progress and has ended", round.number));
        }
        if round.start != state.deployed || !round.candidate.is_none_or(known) {
            return Some(format!("round {} is of versions that there are not", round.number));
        }
        if round.candidate.is_none() != (round.at() == Some(crate::Stage::Train)) {
            return Some(format!(
                "round {} has a candidate before it was trained, or none after",
                round.number
            ));
        }
    }
    if state.rollback.as_ref().is_some_and(|rollback| {
        rollback.state == crate::RollbackState::Asked
            && !rollback.version.is_some_and(|n| numbers.contains(&n))
    }) {
        return Some("a rollback to a version that is not on record".to_owned());
    }
    None
}
