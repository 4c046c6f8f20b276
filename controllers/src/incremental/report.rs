//! A job's word, reason and conditions, from what its Workers and its service say. Called by `decide`.

use kube::ResourceExt as _;
use sedge_api::resources::{
    IncrementalLearningJobStatus, LearningOutcome, LearningPhase, LearningReport, LearningStageState,
    PinnedLearning, RollbackPhase, ToldVersion, Worker, WorkerPhase, is_true,
};

use super::service::Target;
use super::{Observed, workers};
use crate::jobs::{failure, in_touch, phase};

/// What is observed of a job that was taken up.
pub(super) struct Sight<'a> {
    pub observed: &'a Observed,
    pub pinned: &'a PinnedLearning,
    pub target: &'a Target<'a>,
    pub learner: Option<&'a Worker>,
    pub assessor: Option<&'a Worker>,
}

/// A condition's reason and message, and whether it holds.
pub(super) struct Word {
    pub holds: bool,
    pub reason: &'static str,
    pub message: String,
}

impl Word {
    fn new(holds: bool, reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds, reason, message: message.into() }
    }
}

impl Sight<'_> {
    /// Whether the node called `name` is in touch.
    fn reaches(&self, name: &str) -> bool {
        self.observed.nodes.iter().any(|node| node.name_any() == name && in_touch(node))
    }

    /// Whether its learner leads the rounds.
    pub fn learning(&self, report: Option<&LearningReport>) -> Word {
        let node = &self.pinned.train.node;
        let Some(learner) = self.learner else {
            return Word::new(false, "Starting", "the learner is being declared");
        };
        if let (WorkerPhase::Failed | WorkerPhase::Succeeded, Some(status)) =
            (phase(learner), &learner.status)
        {
            let (reason, message) = failure(status);
            let message =
                format!("the learner on node `{node}` has ended, and is begun again: {reason}: {message}");
            return Word::new(false, "LearnerFailed", message);
        }
        if !self.reaches(node) {
            let message = format!(
                "node `{node}`, which learns, is not in touch with the manager; it goes on by itself"
            );
            return Word::new(false, "NodeLost", message);
        }
        let Some(report) = report.filter(|_| learner.status.is_some()) else {
            return Word::new(false, "Starting", format!("node `{node}` has not begun yet"));
        };
        let waiting = match (&report.current, report.waiting.as_str()) {
            (None, "") => "it waits for the next round's trigger".to_owned(),
            (None, waiting) => format!("the next round waits: {waiting}"),
            (Some(round), _) => format!("round {} is in progress: {}", round.number, round.why),
        };
        Word::new(true, "Leading", waiting)
    }

    /// Whether the version that is to serve does.
    pub fn deployed(&self, report: Option<&LearningReport>, wanted: Option<&ToldVersion>) -> Word {
        let Target { name, .. } = self.target;
        if self.target.taken {
            let message =
                format!("there is a service `{name}` that is not this job's: rename one of the two");
            return Word::new(false, "ServiceNameTaken", message);
        }
        let Some(service) = self.target.present else {
            return Word::new(false, "ServiceNotFound", format!("service `{name}` is not there"));
        };
        let Some(report) = report else {
            return Word::new(false, "Starting", "the learner has not begun yet");
        };
        let number = report.deployed;
        if self.target.local_worker().is_some() && report.wants_deployment.is_none() {
            let ready = service.status.as_ref().is_some_and(|s| is_true(&s.conditions, "Ready"));
            let reason = if ready { "Serving" } else { "ServiceNotReady" };
            let what = if ready { "serves" } else { "is deployed to" };
            let message = match ready {
                true => format!("version {number} {what} as `{name}`"),
                false => format!("version {number} {what} service `{name}`, which is not ready"),
            };
            return Word::new(ready, reason, message);
        }
        let Some(wanted) = wanted else {
            return match report.serial {
                0 => Word::new(
                    true,
                    "NothingYet",
                    format!("service `{name}` serves what it did before the job"),
                ),
                _ => Word::new(false, "NotUploaded", format!("version {number} is not in the registry yet")),
            };
        };
        if self.target.outcome(wanted).is_some_and(|outcome| outcome.kept) {
            let message = format!("version {} serves as `{name}`", wanted.version);
            return Word::new(true, "Serving", message);
        }
        let message = format!("service `{name}` has not taken up version {} yet", wanted.version);
        Word::new(false, "RollingOut", message)
    }

    /// The word for the whole, and why, where all is not well.
    pub fn conclude(&self, status: &mut IncrementalLearningJobStatus, learning: &Word, deployed: &Word) {
        let report = status.learning.as_ref();
        status.phase = match (learning.reason, report) {
            ("LearnerFailed", _) => LearningPhase::Failed,
            ("Starting", _) | (_, None) => LearningPhase::Pending,
            (_, Some(report)) => word(report),
        };
        status.reason = if !learning.holds {
            Some(learning.reason.to_owned())
        } else if let Some(lost) = self.assessor_lost(report) {
            Some(lost.to_owned())
        } else if !deployed.holds {
            Some(deployed.reason.to_owned())
        } else {
            let latest = report.and_then(|report| report.rounds.last());
            let failed = latest.is_some_and(|round| round.outcome == Some(LearningOutcome::Failed));
            (failed && report.is_some_and(|report| report.current.is_none()))
                .then(|| "RoundFailed".to_owned())
        };
    }

    /// An assessment is wanted and its node is away.
    fn assessor_lost(&self, report: Option<&LearningReport>) -> Option<&'static str> {
        report?.wants_assessment.as_ref()?;
        let away = !workers::is_local(self.pinned) && !self.reaches(&self.pinned.evaluate.node);
        (away || self.assessor.is_some_and(|assessor| phase(assessor).is_final())).then_some(if away {
            "EvaluatorNodeLost"
        } else {
            "EvaluatorFailed"
        })
    }
}

fn word(report: &LearningReport) -> LearningPhase {
    if report.rollback.as_ref().is_some_and(|rollback| rollback.state == RollbackPhase::Asked) {
        return LearningPhase::Deploying;
    }
    let Some(round) = &report.current else { return LearningPhase::Waiting };
    let open = |state| matches!(state, LearningStageState::Waiting | LearningStageState::Running);
    let stages = [
        (round.train.state, LearningPhase::Training),
        (round.evaluate.state, LearningPhase::Evaluating),
        (round.deploy.state, LearningPhase::Deploying),
    ];
    stages.into_iter().find(|(state, _)| open(*state)).map_or(LearningPhase::Waiting, |(_, phase)| phase)
}

/// The status without what moves while all goes well: a change of the rest is worth a write at once.
pub(super) fn quiet(status: &IncrementalLearningJobStatus) -> IncrementalLearningJobStatus {
    let mut status = status.clone();
    if let Some(report) = &mut status.learning {
        report.figures = Default::default();
        report.waiting.clear();
    }
    for condition in status.conditions.iter_mut().filter(|condition| condition.type_ == "Learning") {
        condition.message.clear();
    }
    status
}
