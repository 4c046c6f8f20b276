//! One round: its data, its stages, and how it ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cut;
use crate::plan::Retries;
use crate::rows::{DataRange, Rows};

/// A part of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Making a candidate.
    Train,
    /// Measuring it beside the deployed version.
    Evaluate,
    /// Putting it in that version's place.
    Deploy,
}

impl Stage {
    /// In their order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Evaluate, Self::Deploy];

    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Evaluate => "evaluate",
            Self::Deploy => "deploy",
        }
    }
}

/// Where a stage is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageState {
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

impl StageState {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// A stage, and since when it is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageRecord {
    /// Where it is.
    pub state: StageState,
    /// Why, a sentence; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Tries that failed.
    #[serde(default)]
    pub failures: u32,
    /// How often the node stopped during it.
    #[serde(default)]
    pub interruptions: u32,
    /// When the latest try failed, while another is to come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
}

impl StageRecord {
    fn new(since: Timestamp) -> Self {
        Self {
            state: StageState::Waiting,
            reason: String::new(),
            since,
            failures: 0,
            interruptions: 0,
            failed_at: None,
        }
    }

    pub(crate) fn set(&mut self, state: StageState, reason: &str, now: Timestamp) {
        if self.state != state {
            self.since = now;
        }
        (self.state, self.reason, self.failed_at) = (state, cut(reason), None);
    }

    /// When it may be tried again, if that lies ahead.
    pub(crate) fn held_until(&self, retries: &Retries, now: Timestamp) -> Option<Timestamp> {
        // What lies ahead was written by a clock that has been set back.
        let again = retries.again(self.failures, self.failed_at?.min(now))?;
        (now < again).then_some(again)
    }

    fn is_open(&self) -> bool {
        matches!(self.state, StageState::Waiting | StageState::Running)
    }
}

/// One round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// From 1.
    pub number: u32,
    /// Why it began: the train trigger's words, with the figures.
    pub why: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; none of the one in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The version that it starts from.
    pub start: u32,
    /// The version that it made, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<u32>,
    /// What it trains on.
    pub data: DataRange,
    /// All rows that there were when it began.
    pub rows: Rows,
    /// Earlier rows mixed in.
    #[serde(default)]
    pub replay: u64,
    /// Making a candidate.
    pub train: StageRecord,
    /// Measuring it.
    pub evaluate: StageRecord,
    /// Deploying it.
    pub deploy: StageRecord,
    /// The deploy trigger has fired: its words, with the figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_why: Option<String>,
    /// The deployment's number, once it has.
    #[serde(default)]
    pub deploy_serial: u64,
    /// How it ended; none of the one in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its candidate serves.
    Deployed,
    /// Its candidate's figures did not hold.
    KeptOut,
    /// A stage failed.
    Failed,
    /// A version was rolled back meanwhile.
    Abandoned,
}

impl Outcome {
    /// As it is written.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::KeptOut => "kept-out",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

impl Round {
    pub(crate) fn new(
        number: u32,
        why: &str,
        start: u32,
        data: DataRange,
        rows: Rows,
        now: Timestamp,
    ) -> Self {
        let stage = || StageRecord::new(now);
        Self {
            number,
            why: cut(why),
            started_at: now,
            ended_at: None,
            start,
            candidate: None,
            data,
            rows,
            replay: 0,
            train: stage(),
            evaluate: stage(),
            deploy: stage(),
            deploy_why: None,
            deploy_serial: 0,
            outcome: None,
        }
    }

    /// A stage of it.
    pub fn stage(&self, stage: Stage) -> &StageRecord {
        match stage {
            Stage::Train => &self.train,
            Stage::Evaluate => &self.evaluate,
            Stage::Deploy => &self.deploy,
        }
    }

    pub(crate) fn stage_mut(&mut self, stage: Stage) -> &mut StageRecord {
        match stage {
            Stage::Train => &mut self.train,
            Stage::Evaluate => &mut self.evaluate,
            Stage::Deploy => &mut self.deploy,
        }
    }

    /// The first stage that is not done; none of a round that has ended.
    pub fn at(&self) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| self.stage(*stage).is_open()).filter(|_| self.outcome.is_none())
    }

    /// It has ended: what was still to be done is skipped.
    pub(crate) fn end(&mut self, outcome: Outcome, reason: &str, now: Timestamp) {
        for stage in Stage::ALL {
            let record = self.stage_mut(stage);
            if record.is_open() {
                record.set(StageState::Skipped, reason, now);
            }
        }
        (self.outcome, self.ended_at) = (Some(outcome), Some(now));
    }
}
