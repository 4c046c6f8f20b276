//! What is to be done next: in go the plan, the figures and the time, out comes one step. Called by whoever holds the
//! rounds of a job.

use jiff::Timestamp;
use sedge_triggers::{Cause, Decision, Observed};

use crate::digest::Digest;
use crate::plan::{Figures, Plan};
use crate::round::{Outcome, Round, Stage, StageState};
use crate::rounds::{MOST_ROUNDS, MOST_VERSIONS, Rounds, earlier};
use crate::step::{Deploy, DeployCause, Evaluate, Forget, Step, Train};
use crate::version::{Version, VersionState};

/// Fewer would leave nothing to go back to.
const FEWEST_KEPT: usize = 2;
/// Records of others are to have room too.
const MOST_KEPT: usize = MOST_VERSIONS / 2;

impl Rounds {
    /// What is to be done at `now`. It may begin a round, end one whose candidate is kept out, and note that a stage has
    /// begun.
    pub fn next(&mut self, plan: &Plan, figures: &Figures, now: Timestamp) -> Step {
        if let Some(step) = self.roll_back(plan, now) {
            return step;
        }
        if let Some(step) = self.go_on(plan, figures, now) {
            return step;
        }
        if let Some(forget) = self.surplus(plan) {
            return Step::Forget(forget);
        }
        self.wait_or_begin(plan, figures, now)
    }

    /// The step of the round in progress; none where there is none, or it has just ended.
    fn go_on(&mut self, plan: &Plan, figures: &Figures, now: Timestamp) -> Option<Step> {
        let round = self.state.current.as_ref()?;
        let stage = round.at()?;
        if let Some(again) = round.stage(stage).held_until(&plan.retries, now) {
            let why = format!("{} is tried again at {again:.0}: {}", stage.word(), round.stage(stage).reason);
            return Some(Step::Wait { until: Some(again), why });
        }
        if stage == Stage::Deploy
            && round.deploy_why.is_none()
            && let Some(step) = self.judge(plan, figures, now)?
        {
            return Some(step);
        }
        let step = self.step_of(stage)?;
        let record = self.state.current.as_mut()?.stage_mut(stage);
        if record.state != StageState::Running {
            record.set(StageState::Running, "", now);
            self.changed();
        }
        Some(step)
    }

    fn step_of(&self, stage: Stage) -> Option<Step> {
        let round = self.state.current.as_ref()?;
        Some(match stage {
            Stage::Train => Step::Train(Train {
                round: round.number,
                start: self.reference(round.start)?,
                data: round.data.clone(),
                replay: round.replay,
            }),
            Stage::Evaluate => Step::Evaluate(Evaluate {
                round: round.number,
                candidate: self.reference(round.candidate?)?,
                deployed: self.deployed_ref(),
                earlier: self.state.assessed.clone(),
            }),
            Stage::Deploy => Step::Deploy(Deploy {
                cause: DeployCause::Round(round.number),
                serial: round.deploy_serial,
                version: self.reference(round.candidate?)?,
                instead_of: self.deployed_ref(),
            }),
        })
    }

    /// Whether the candidate is to be deployed: `Some(None)` it is; `Some(Some(wait))` not yet; `None` it is kept out, and
    /// its round has ended.
    fn judge(&mut self, plan: &Plan, figures: &Figures, now: Timestamp) -> Option<Option<Step>> {
        let observed = self.observed(figures);
        match plan.deploy.check(&mut self.state.deploy_trigger, &observed, now) {
            Decision::Fire { reason } => {
                let serial = self.new_serial();
                let round = self.state.current.as_mut()?;
                (round.deploy_why, round.deploy_serial) = (Some(crate::cut(&reason)), serial);
                round.deploy.set(StageState::Waiting, &reason, now);
                self.changed();
                Some(None)
            }
            Decision::Wait { cause: Cause::Unmet | Cause::Unknown, reason, .. } => {
                self.keep_out(Outcome::KeptOut, &reason, now);
                None
            }
            Decision::Wait { reason, again, .. } => {
                let round = self.state.current.as_mut()?;
                round.deploy.set(StageState::Waiting, &reason, now);
                self.state.waiting.clone_from(&round.deploy.reason);
                Some(Some(Step::Wait { until: Some(again), why: reason }))
            }
        }
    }

    /// End the round, and keep its candidate out if it has one.
    pub(crate) fn keep_out(&mut self, outcome: Outcome, reason: &str, now: Timestamp) {
        let Some(mut round) = self.state.current.take() else { return };
        round.end(outcome, reason, now);
        if let Some(candidate) = round.candidate.and_then(|number| self.version_mut(number)) {
            (candidate.state, candidate.reason) = (VersionState::KeptOut, crate::cut(reason));
        }
        self.archive(round);
    }

    /// Put a round that has ended among the past ones.
    pub(crate) fn archive(&mut self, round: Round) {
        self.state.past.push(round);
        let surplus = self.state.past.len().saturating_sub(MOST_ROUNDS);
        self.state.past.drain(..surplus);
        self.state.waiting.clear();
        self.changed();
    }

    /// Begin a round if the train trigger says so.
    fn wait_or_begin(&mut self, plan: &Plan, figures: &Figures, now: Timestamp) -> Step {
        if self.new_rows(&figures.rows) == 0 {
            let since = match self.state.past.last() {
                Some(round) => format!("there are no rows that came since round {}", round.number),
                None => "there are no rows to train on yet".to_owned(),
            };
            self.state.waiting.clone_from(&since);
            return Step::Wait { until: None, why: since };
        }
        let observed = self.observed(figures);
        match plan.train.check(&mut self.state.train_trigger, &observed, now) {
            Decision::Fire { reason } => {
                self.start_round(plan, figures, &reason, now);
                // The round's first step cannot be held up.
                let step = self.go_on(plan, figures, now);
                step.unwrap_or(Step::Wait { until: Some(now), why: reason })
            }
            Decision::Wait { cause: Cause::CheckPeriod, again, .. } if !self.state.waiting.is_empty() => {
                Step::Wait { until: Some(again), why: self.state.waiting.clone() }
            }
            Decision::Wait { reason, again, .. } => {
                self.state.waiting = crate::cut(&reason);
                Step::Wait { until: Some(again), why: reason }
            }
        }
    }

    fn start_round(&mut self, plan: &Plan, figures: &Figures, why: &str, now: Timestamp) {
        let start = self.deployed();
        let (number, data) = (start.number, start.until.since(&figures.rows));
        let mut round = Round::new(self.state.next_round, why, number, data, figures.rows.clone(), now);
        round.replay = plan.replay.rows(round.data.len(), earlier(&round).total());
        self.state.seen = self.state.seen.overlaid(&figures.rows);
        self.state.next_round += 1;
        self.state.current = Some(round);
        self.state.waiting.clear();
        self.changed();
    }

    /// What triggers look at.
    fn observed(&self, figures: &Figures) -> Observed {
        let latest = self.state.versions.iter().rev().find_map(|version| version.evaluation.as_ref());
        Observed {
            new_samples: Some(self.new_rows(&figures.rows)),
            samples: Some(figures.rows.total()),
            model_made_at: Some(self.deployed().created),
            drift: figures.drift,
            hard_share: figures.hard_share,
            metrics: latest.map(|evaluation| evaluation.candidate.to_map()).unwrap_or_default(),
            deployed: latest.map(|evaluation| evaluation.deployed.to_map()).unwrap_or_default(),
        }
    }

    /// Weights beyond those that are kept, the oldest versions' first.
    fn surplus(&self, plan: &Plan) -> Option<Forget> {
        let keep = plan.keep.clamp(FEWEST_KEPT, MOST_KEPT);
        let deployed = self.deployed();
        let stays = |version: &Version| {
            version.number == deployed.number
                || Some(version.number) == deployed.parent
                || self.previous().is_some_and(|previous| previous.number == version.number)
        };
        let held = self.state.versions.iter().filter(|version| !version.forgotten);
        let count = held.clone().count();
        let gone: Vec<&Version> =
            held.filter(|version| !stays(version)).take(count.saturating_sub(keep)).collect();
        if gone.is_empty() {
            return None;
        }
        let versions: Vec<u32> = gone.iter().map(|version| version.number).collect();
        let kept = |digest: &Digest| {
            let others = self.state.versions.iter().filter(|other| !other.forgotten);
            others.filter(|other| !versions.contains(&other.number)).any(|other| other.digest == *digest)
        };
        let mut weights: Vec<Digest> =
            gone.iter().map(|version| version.digest.clone()).filter(|digest| !kept(digest)).collect();
        weights.sort();
        weights.dedup();
        Some(Forget { versions, weights })
    }
}
