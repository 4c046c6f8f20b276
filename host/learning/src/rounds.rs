//! The state of a job, as others see it. What is to be done next is in `next`, what came of it in `events`.

use jiff::Timestamp;
use sedge_triggers::TriggerState;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::metrics::Metrics;
use crate::replay;
use crate::rollback::Rollback;
use crate::round::Round;
use crate::rows::{DataRange, Rows};
use crate::step::VersionRef;
use crate::version::{Version, VersionState};

/// Records of versions that are kept, their weights or not.
pub const MOST_VERSIONS: usize = 100;
/// Records of past rounds that are kept.
pub const MOST_ROUNDS: usize = 20;

/// The rounds of one job. It is written as JSON and read back with [`from_json`](Self::from_json).
#[derive(Debug, Clone, PartialEq)]
pub struct Rounds {
    pub(crate) state: State,
}

/// All that is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// Of what is written; see `saved`.
    pub format: u32,
    pub revision: u64,
    pub seed: u64,
    /// By number.
    pub versions: Vec<Version>,
    pub deployed: u32,
    /// Of the deployment by which it came to serve.
    #[serde(default)]
    pub serial: u64,
    /// Of the latest deployment, whatever came of it.
    #[serde(default)]
    pub last_serial: u64,
    pub next_version: u32,
    pub next_round: u32,
    #[serde(default)]
    pub current: Option<Round>,
    /// The oldest first.
    #[serde(default)]
    pub past: Vec<Round>,
    /// Rows that there were when the latest round began.
    #[serde(default)]
    pub seen: Rows,
    /// Rows that the latest evaluation saw.
    #[serde(default)]
    pub assessed: Rows,
    #[serde(default)]
    pub train_trigger: TriggerState,
    #[serde(default)]
    pub deploy_trigger: TriggerState,
    /// What it waits for, as it was found when figures were last looked at.
    #[serde(default)]
    pub waiting: String,
    #[serde(default)]
    pub rollback: Option<Rollback>,
}

impl Rounds {
    /// A new job that begins with `initial` at `now`. Samples of earlier rows are drawn by `seed`.
    pub fn begin(initial: Digest, seed: u64, now: Timestamp) -> Self {
        let version = Version {
            number: 0,
            digest: initial,
            parent: None,
            data: DataRange::default(),
            until: Rows::default(),
            data_digest: None,
            samples: 0,
            replayed: 0,
            trainer: None,
            parameters: None,
            training: Metrics::default(),
            evaluation: None,
            created: now,
            deployed_at: Some(now),
            state: VersionState::Deployed,
            reason: "the model that the job began with".to_owned(),
            forgotten: false,
        };
        Self {
            state: State {
                format: crate::saved::FORMAT,
                revision: 1,
                seed,
                versions: vec![version],
                deployed: 0,
                serial: 0,
                last_serial: 0,
                next_version: 1,
                next_round: 1,
                current: None,
                past: Vec::new(),
                seen: Rows::default(),
                assessed: Rows::default(),
                train_trigger: TriggerState::default(),
                deploy_trigger: TriggerState::default(),
                waiting: String::new(),
                rollback: None,
            },
        }
    }

    /// Counts what is worth writing: another number than at the last writing is to be written before anything is done.
    /// When triggers were looked at last is written with the rest, and does not count by itself.
    pub fn revision(&self) -> u64 {
        self.state.revision
    }

    /// Versions by number, from the oldest that is on record.
    pub fn versions(&self) -> &[Version] {
        &self.state.versions
    }

    /// The version of that number, if it is on record.
    pub fn version(&self, number: u32) -> Option<&Version> {
        self.state.versions.iter().find(|version| version.number == number)
    }

    /// The version that serves.
    pub fn deployed(&self) -> &Version {
        let deployed = self.version(self.state.deployed);
        deployed.expect("the deployed version stays on record, and state without it is not read")
    }

    /// The number of the deployment by which the deployed version came to serve; 0: it does since the beginning.
    pub fn serial(&self) -> u64 {
        self.state.serial
    }

    /// What a rollback goes back to that names no version: the version that served last before the deployed one and was
    /// not rolled back.
    pub fn previous(&self) -> Option<&Version> {
        let served = self.state.versions.iter().filter(|version| version.state == VersionState::Superseded);
        served
            .filter(|version| !version.forgotten)
            .max_by_key(|version| (version.deployed_at, version.number))
    }

    /// The round in progress.
    pub fn current(&self) -> Option<&Round> {
        self.state.current.as_ref()
    }

    /// Rounds that have ended, the oldest first, at most [`MOST_ROUNDS`].
    pub fn past(&self) -> &[Round] {
        &self.state.past
    }

    /// What the next round, or the candidate, waits for; as it was found when figures were last looked at.
    pub fn waiting(&self) -> &str {
        &self.state.waiting
    }

    /// The latest rollback that was asked for.
    pub fn rollback(&self) -> Option<&Rollback> {
        self.state.rollback.as_ref()
    }

    /// When the train trigger fired last.
    pub fn fired_at(&self) -> Option<Timestamp> {
        self.state.train_trigger.fired_at
    }

    /// Rows that came since the latest round's data.
    pub fn new_rows(&self, rows: &Rows) -> u64 {
        self.state.seen.since(rows).len()
    }

    /// The earlier rows that the round in progress mixes in, by source, sorted; of those alone that `may` be trained on.
    /// It looks at every row once: where there are many millions, call it where that is allowed.
    pub fn replay(&self, may: impl FnMut(&str, u64) -> bool) -> std::collections::BTreeMap<String, Vec<u64>> {
        match &self.state.current {
            Some(round) => {
                let seed = self.state.seed ^ replay::mixed(round.number.into());
                replay::sample(seed, round.replay, &earlier(round), may)
            }
            None => Default::default(),
        }
    }

    /// A number that no deployment had.
    pub(crate) fn new_serial(&mut self) -> u64 {
        self.state.last_serial += 1;
        self.state.last_serial
    }

    pub(crate) fn changed(&mut self) {
        self.state.revision += 1;
    }

    pub(crate) fn version_mut(&mut self, number: u32) -> Option<&mut Version> {
        self.state.versions.iter_mut().find(|version| version.number == number)
    }

    pub(crate) fn reference(&self, number: u32) -> Option<VersionRef> {
        self.version(number).map(|version| VersionRef { number, digest: version.digest.clone() })
    }

    pub(crate) fn deployed_ref(&self) -> VersionRef {
        let deployed = self.deployed();
        VersionRef { number: deployed.number, digest: deployed.digest.clone() }
    }
}

/// Rows before a round's own, of the sources that there are.
pub(crate) fn earlier(round: &Round) -> Rows {
    round.rows.map(|source, rows| round.data.of(source).map_or(rows, |range| range.first))
}
