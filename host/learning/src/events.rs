//! What came of steps. Each event names its step; one that is not of the present step changes nothing.

use jiff::Timestamp;
use serde_json::Value;
use thiserror::Error;

use crate::digest::Digest;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::rollback::RollbackState;
use crate::round::{Outcome, Round, Stage, StageState};
use crate::rounds::{MOST_VERSIONS, Rounds};
use crate::rows::Rows;
use crate::step::{Deploy, DeployCause, Evaluate, Forget, Step, Train};
use crate::version::{Evaluation, Version, VersionState};

/// The largest parameters that are recorded with a version, as JSON.
const LARGEST_PARAMETERS: usize = 16 << 10;
/// A stage that the node stopped in so often is likely why it did.
const MOST_INTERRUPTIONS: u32 = 8;

/// What training came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// Of the candidate's weights.
    pub digest: Digest,
    /// Of the rows that it was trained on, where the caller works it out.
    pub data_digest: Option<Digest>,
    /// Samples that the trainer says to have used.
    pub samples: u64,
    /// What it measured.
    pub metrics: Metrics,
    /// The trainer's plugin.
    pub trainer: Option<Digest>,
    /// What it read as its parameters.
    pub parameters: Value,
}

/// What an evaluation came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluated {
    /// Of the candidate.
    pub candidate: Metrics,
    /// Of the deployed version, on the same data.
    pub deployed: Metrics,
    /// Of the candidate, on the rows before [`Evaluate::earlier`]; empty where there are none.
    pub candidate_earlier: Metrics,
    /// Of the deployed version, on the same.
    pub deployed_earlier: Metrics,
    /// Samples measured on.
    pub samples: u64,
    /// Rows that there were of the data measured on: the next evaluation's [`Evaluate::earlier`].
    pub rows: Rows,
    /// The evaluator's plugin.
    pub evaluator: Option<Digest>,
}

/// What a failure comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The step is tried again at that time.
    Again(Timestamp),
    /// It was the last try: the round has failed, or the rollback is refused.
    Over,
}

/// An event that is not of the present step. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} is not what the job is at: {at}")]
pub struct OutOfTurn {
    what: String,
    at: String,
}

impl Rounds {
    /// A candidate was made, and its weights are kept where they last. Gives its number.
    ///
    /// # Errors
    /// The job is not at this step.
    pub fn trained(&mut self, step: &Train, trained: Trained, now: Timestamp) -> Result<u32, OutOfTurn> {
        let number = self.state.next_version;
        let until = self.deployed().until.clone();
        let round = self.in_turn(step.round, Stage::Train)?;
        round.train.set(StageState::Completed, "", now);
        round.candidate = Some(number);
        let small = trained.parameters.to_string().len() <= LARGEST_PARAMETERS;
        let version = Version {
            number,
            digest: trained.digest,
            parent: Some(round.start),
            data: round.data.clone(),
            until: until.overlaid(&round.rows),
            data_digest: trained.data_digest,
            samples: trained.samples,
            replayed: round.replay,
            trainer: trained.trainer,
            parameters: small.then_some(trained.parameters),
            training: trained.metrics,
            evaluation: None,
            created: now,
            deployed_at: None,
            state: VersionState::Candidate,
            reason: String::new(),
            forgotten: false,
        };
        self.state.next_version += 1;
        self.state.versions.push(version);
        self.drop_records();
        self.changed();
        Ok(number)
    }

    /// The candidate was measured.
    ///
    /// # Errors
    /// The job is not at this step.
    pub fn evaluated(
        &mut self,
        step: &Evaluate,
        evaluated: Evaluated,
        now: Timestamp,
    ) -> Result<(), OutOfTurn> {
        let against = self.state.deployed;
        let round = self.in_turn(step.round, Stage::Evaluate)?;
        round.evaluate.set(StageState::Completed, "", now);
        let candidate = round.candidate;
        self.state.assessed = self.state.assessed.overlaid(&evaluated.rows);
        if let Some(version) = candidate.and_then(|number| self.version_mut(number)) {
            version.evaluation = Some(Evaluation {
                against,
                candidate: evaluated.candidate,
                deployed: evaluated.deployed,
                candidate_earlier: evaluated.candidate_earlier,
                deployed_earlier: evaluated.deployed_earlier,
                samples: evaluated.samples,
                evaluator: evaluated.evaluator,
                at: now,
            });
        }
        self.changed();
        Ok(())
    }

    /// The version of `step` serves.
    ///
    /// # Errors
    /// The job is not at this step.
    pub fn deployed_now(&mut self, step: &Deploy, now: Timestamp) -> Result<(), OutOfTurn> {
        let (reason, left) = match step.cause {
            DeployCause::Round(number) => {
                let round = self.in_turn(number, Stage::Deploy)?;
                let reason = round.deploy_why.clone().unwrap_or_default();
                round.deploy.set(StageState::Completed, &reason, now);
                round.end(Outcome::Deployed, &reason, now);
                if let Some(round) = self.state.current.take() {
                    self.archive(round);
                }
                (reason, VersionState::Superseded)
            }
            DeployCause::Rollback(request) => {
                self.rolls_back(request)?;
                if let Some(rollback) = &mut self.state.rollback {
                    (rollback.state, rollback.since, rollback.failed_at) = (RollbackState::Done, now, None);
                    rollback.reason.clear();
                }
                ("somebody asked for it".to_owned(), VersionState::RolledBack)
            }
        };
        let (from, to) = (self.state.deployed, step.version.number);
        if let Some(old) = self.version_mut(from) {
            old.state = left;
            old.reason = format!("version {to} took its place");
        }
        if let Some(new) = self.version_mut(to) {
            (new.state, new.reason, new.deployed_at) = (VersionState::Deployed, reason, Some(now));
        }
        self.state.deployed = to;
        self.state.serial = step.serial;
        self.changed();
        Ok(())
    }

    /// The weights of `step` are gone, or could not be removed, which is the caller's to tell: they are not named again.
    pub fn forgotten(&mut self, step: &Forget) {
        let deployed = self.state.deployed;
        for number in step.versions.iter().filter(|number| **number != deployed) {
            if let Some(version) = self.version_mut(*number) {
                version.forgotten = true;
            }
        }
        self.drop_records();
        self.changed();
    }

    /// A try at `step` failed, for `reason`, a sentence. Of a step that cannot fail, nothing happens.
    ///
    /// # Errors
    /// The job is not at this step.
    pub fn failed(
        &mut self,
        step: &Step,
        reason: &str,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<Failed, OutOfTurn> {
        let Some((number, stage)) = step.stage() else {
            let Step::Deploy(Deploy { cause: DeployCause::Rollback(request), .. }) = step else {
                return Ok(Failed::Again(now));
            };
            self.rolls_back(*request)?;
            return Ok(self.rollback_failed(reason, plan, now).map_or(Failed::Over, Failed::Again));
        };
        let record = self.in_turn(number, stage)?.stage_mut(stage);
        record.failures = record.failures.saturating_add(1);
        let failures = record.failures;
        let Some(again) = plan.retries.again(failures, now) else {
            let tries = if failures == 1 { "the only try".to_owned() } else { format!("{failures} tries") };
            self.give_up(stage, &format!("{} failed, {tries}: {reason}", stage.word()), now);
            return Ok(Failed::Over);
        };
        let text = format!("try {failures} failed: {reason}");
        record.set(StageState::Waiting, &text, now);
        record.failed_at = Some(now);
        self.changed();
        Ok(Failed::Again(again))
    }

    /// `step` cannot be done and is not to be tried again, for `reason`, a sentence: a node that took up the candidate has
    /// undone it, say. The round has failed, or the rollback is refused.
    ///
    /// # Errors
    /// The job is not at this step.
    pub fn refused(&mut self, step: &Step, reason: &str, now: Timestamp) -> Result<(), OutOfTurn> {
        let (number, stage) = match step.stage() {
            Some(at) => at,
            None => {
                if let Step::Deploy(Deploy { cause: DeployCause::Rollback(request), .. }) = step {
                    self.rolls_back(*request)?;
                    self.rollback_refused(reason, now);
                }
                return Ok(());
            }
        };
        self.in_turn(number, stage)?;
        self.give_up(stage, &format!("{} failed: {reason}", stage.word()), now);
        Ok(())
    }

    /// The node stopped while it was itself at the stage that the state calls running, which is therefore begun again. One
    /// that it stopped in eight times has failed: it may well be why.
    pub fn interrupted(&mut self, now: Timestamp) {
        let Some((round, stage)) = self.state.current.as_mut().and_then(|round| {
            let stage = round.at()?;
            Some((round, stage))
        }) else {
            return;
        };
        let record = round.stage_mut(stage);
        if record.state != StageState::Running {
            return;
        }
        record.interruptions = record.interruptions.saturating_add(1);
        if record.interruptions >= MOST_INTERRUPTIONS {
            let reason =
                format!("{} failed: the node stopped {MOST_INTERRUPTIONS} times during it", stage.word());
            self.give_up(stage, &reason, now);
        }
        self.changed();
    }

    /// The rows of `source` were replaced by others: they are counted from 0, and all of them are new.
    pub fn replaced(&mut self, source: &str) {
        let mut known = self.state.seen.forget(source) | self.state.assessed.forget(source);
        // What a round in progress trains on was new then, and is not what there is now.
        if let Some(round) = &mut self.state.current {
            known |= round.rows.forget(source);
        }
        for version in &mut self.state.versions {
            known |= version.until.forget(source);
        }
        if known {
            self.changed();
        }
    }

    fn give_up(&mut self, stage: Stage, reason: &str, now: Timestamp) {
        if let Some(round) = &mut self.state.current {
            round.stage_mut(stage).set(StageState::Failed, reason, now);
        }
        self.keep_out(Outcome::Failed, reason, now);
    }

    /// The round in progress, if it is that one and at that stage.
    fn in_turn(&mut self, number: u32, stage: Stage) -> Result<&mut Round, OutOfTurn> {
        let at = match &self.state.current {
            None => "no round is in progress".to_owned(),
            Some(round) => match round.at() {
                Some(stage) => format!("round {} is at {}", round.number, stage.word()),
                None => format!("round {} has ended", round.number),
            },
        };
        let matches = |round: &&mut Round| {
            let decided = stage != Stage::Deploy || round.deploy_why.is_some();
            round.number == number && round.at() == Some(stage) && decided
        };
        let what = || format!("{} of round {number}", stage.word());
        self.state.current.as_mut().filter(matches).ok_or_else(|| OutOfTurn { what: what(), at })
    }

    fn rolls_back(&self, request: u64) -> Result<(), OutOfTurn> {
        let asked = self.state.rollback.as_ref();
        match asked.filter(|rollback| rollback.state == RollbackState::Asked && rollback.request == request) {
            Some(_) => Ok(()),
            None => Err(OutOfTurn {
                what: format!("rollback {request}"),
                at: "no such rollback is under way".to_owned(),
            }),
        }
    }

    /// Records of the oldest versions that are forgotten, as far as there are too many.
    fn drop_records(&mut self) {
        while self.state.versions.len() > MOST_VERSIONS {
            let Some(oldest) = self.state.versions.iter().position(|version| version.forgotten) else {
                return;
            };
            self.state.versions.remove(oldest);
        }
    }
}
