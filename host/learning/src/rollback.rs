//! Going back to another version because somebody asked for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::round::Outcome;
use crate::rounds::Rounds;
use crate::step::{Deploy, DeployCause, Step};

/// A rollback that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Who asks again uses a higher number.
    pub request: u64,
    /// The version that is to serve; none where there was none to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The deployment's number; 0 where it was refused at once.
    #[serde(default)]
    pub serial: u64,
    /// What became of it.
    pub state: RollbackState,
    /// Why, a sentence; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Tries that failed.
    #[serde(default)]
    pub failures: u32,
    /// When the latest of them did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
}

/// What became of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RollbackState {
    /// It is under way.
    Asked,
    /// The version serves.
    Done,
    /// It cannot be, or every try failed.
    Refused,
}

impl RollbackState {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Done => "done",
            Self::Refused => "refused",
        }
    }
}

impl Rounds {
    /// Let `version` serve again, or without one what [`previous`](Self::previous) says. It ends the round in progress,
    /// whose candidate would descend from what is rolled back. A request whose number is no higher than the latest one's
    /// was heard before and changes nothing, so it may be repeated.
    pub fn ask_rollback(&mut self, request: u64, version: Option<u32>, now: Timestamp) {
        if self.state.rollback.as_ref().is_some_and(|latest| latest.request >= request) {
            return;
        }
        let version = version.or_else(|| self.previous().map(|version| version.number));
        let refused = match version {
            None => Some("there is no version to go back to".to_owned()),
            Some(number) => match self.version(number) {
                None => Some(format!("version {number} is not on record")),
                Some(version) if version.forgotten => {
                    Some(format!("the weights of version {number} are no longer kept"))
                }
                Some(_) if number == self.state.deployed => Some(format!("version {number} serves already")),
                Some(_)
                    if self.state.current.as_ref().is_some_and(|round| round.candidate == Some(number)) =>
                {
                    Some(format!("version {number} is the candidate of the round in progress"))
                }
                Some(_) => None,
            },
        };
        let state = if refused.is_some() { RollbackState::Refused } else { RollbackState::Asked };
        if let (None, Some(number)) = (&refused, version) {
            let reason = format!("version {number} was asked for instead of {}", self.state.deployed);
            self.keep_out(Outcome::Abandoned, &reason, now);
        }
        let serial = if refused.is_none() { self.new_serial() } else { 0 };
        self.state.rollback = Some(Rollback {
            request,
            version,
            serial,
            state,
            reason: refused.unwrap_or_default(),
            since: now,
            failures: 0,
            failed_at: None,
        });
        self.changed();
    }

    /// The step of a rollback that is under way.
    pub(crate) fn roll_back(&mut self, plan: &Plan, now: Timestamp) -> Option<Step> {
        let asked = self.state.rollback.as_ref().filter(|rollback| rollback.state == RollbackState::Asked)?;
        let held = asked.failed_at.and_then(|at| plan.retries.again(asked.failures, at.min(now)));
        if let Some(again) = held.filter(|again| now < *again) {
            let why = format!("the rollback is tried again at {again:.0}: {}", asked.reason);
            return Some(Step::Wait { until: Some(again), why });
        }
        let cause = DeployCause::Rollback(asked.request);
        let version = self.reference(asked.version?)?;
        Some(Step::Deploy(Deploy { cause, serial: asked.serial, version, instead_of: self.deployed_ref() }))
    }

    /// A try to roll back failed.
    pub(crate) fn rollback_failed(&mut self, reason: &str, plan: &Plan, now: Timestamp) -> Option<Timestamp> {
        let rollback = self.state.rollback.as_mut()?;
        rollback.failures = rollback.failures.saturating_add(1);
        rollback.reason = crate::cut(reason);
        let again = plan.retries.again(rollback.failures, now);
        rollback.failed_at = again.map(|_| now);
        self.changed();
        if again.is_none() {
            self.rollback_refused(reason, now);
        }
        again
    }

    /// It will not be.
    pub(crate) fn rollback_refused(&mut self, reason: &str, now: Timestamp) {
        if let Some(rollback) = &mut self.state.rollback {
            (rollback.state, rollback.since) = (RollbackState::Refused, now);
            rollback.reason = crate::cut(reason);
            rollback.failed_at = None;
        }
        self.changed();
    }
}
