//! Which revision is wanted: a spec that is taken up, a revision that is kept or undone. In go what is observed and
//! the status as it was, out comes the status as it is to be. Called by `decide`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use sedge_api::resources::{
    JointInferenceServiceStatus, RolloutPhase, RolloutState, ServiceRollout, Worker, WorkerPhase,
};

use super::Observed;
use super::resolve::{resolve, validate};
use super::workers::told;
use crate::jobs::{Unmet, failure, phase};

/// What became of the spec.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TakenUp {
    /// It is what the status says already.
    AsBefore,
    /// The status says a new revision, or other nodes.
    Anew,
    /// It names something that is not there.
    Not(Unmet),
}

/// Take up the spec, unless it was taken up before: what became of it then stands until it changes again.
pub(super) fn take_up(observed: &Observed, status: &mut JointInferenceServiceStatus) -> TakenUp {
    let generation = observed.service.metadata.generation;
    let spec = &observed.service.spec;
    if status.current.is_some() && status.observed_generation == generation {
        return TakenUp::AsBefore;
    }
    let proven = is_proven(status);
    if let Some(current) = status.current.as_mut().filter(|current| current.spec.same_but_nodes(spec)) {
        if let Err(unmet) = validate(observed) {
            return TakenUp::Not(unmet);
        }
        current.spec = spec.clone();
        status.observed_generation = generation;
        if status.rollout.as_ref().is_none_or(|rollout| rollout.revision != current.revision) {
            // The spec was put back to what is served since the last revision was undone.
            let message = "the spec is again what is served";
            status.rollout = Some(rollout(
                current.revision,
                RolloutState::Complete,
                "SpecPutBack",
                message.into(),
                observed.now,
            ));
        }
        return TakenUp::Anew;
    }
    let latest = status.rollout.as_ref().map_or(0, |rollout| rollout.revision);
    let number = latest.max(status.revision.unwrap_or(0)) + 1;
    match resolve(observed, number) {
        Err(unmet) => TakenUp::Not(unmet),
        Ok(pinned) => {
            // What is gone back to is the last revision that was kept, not one that never was.
            let before = status.current.replace(pinned);
            if proven {
                status.previous = before;
            }
            status.revision = Some(number);
            status.observed_generation = generation;
            let message = match &status.previous {
                Some(_) => "one edge and the cloud are to take it up first",
                None => "every node is to take it up",
            };
            status.rollout =
                Some(rollout(number, RolloutState::Progressing, "Progressing", message.into(), observed.now));
            TakenUp::Anew
        }
    }
}

/// Whether the current revision was kept, now or before a later one was undone.
fn is_proven(status: &JointInferenceServiceStatus) -> bool {
    let (Some(current), Some(rollout)) = (&status.current, &status.rollout) else { return false };
    rollout.revision != current.revision || rollout.state == RolloutState::Complete
}

fn rollout(
    revision: u64,
    state: RolloutState,
    reason: &str,
    message: String,
    now: Timestamp,
) -> ServiceRollout {
    let (reason, message) = (Some(reason.to_owned()), Some(message));
    ServiceRollout { revision, state, reason, message, node: None, at: Time(now) }
}

/// Whether the current revision is on its way to the nodes.
pub(super) fn is_progressing(status: &JointInferenceServiceStatus) -> bool {
    status.rollout.as_ref().is_some_and(|rollout| rollout.state == RolloutState::Progressing)
}

/// All that the current revision was told to have kept it.
pub(super) fn complete(status: &mut JointInferenceServiceStatus, edges: usize, now: Timestamp) {
    let Some(revision) = status.revision else { return };
    let kept =
        status.rollout.as_ref().is_some_and(|r| r.revision != revision || r.state == RolloutState::Complete);
    if kept {
        return;
    }
    let nodes = if edges == 1 { "1 edge".to_owned() } else { format!("{edges} edges") };
    let cloud = if status.cloud_node.is_some() { " and the cloud" } else { "" };
    let message = format!("{nodes}{cloud} answer with it and kept it");
    status.rollout = Some(rollout(revision, RolloutState::Complete, "Kept", message, now));
}

/// Why a revision is undone, and by which node.
pub(super) struct Undoing {
    pub reason: String,
    pub message: String,
    pub node: String,
}

/// Go back to the previous revision, if there is one, and say why.
pub(super) fn undo(status: &mut JointInferenceServiceStatus, why: Undoing, now: Timestamp) {
    let Some(revision) = status.revision else { return };
    let mut message = format!("node `{}`: {}", why.node, why.message);
    if let Some(previous) = status.previous.take() {
        message = format!("{message}; revision {} serves again", previous.revision);
        status.revision = Some(previous.revision);
        status.current = Some(previous);
    }
    let mut rollout = rollout(revision, RolloutState::Undone, &why.reason, message, now);
    rollout.node = Some(why.node);
    status.rollout = Some(rollout);
}

/// Whether a Worker answers with `revision` and its node has kept it.
pub(super) fn has_kept(worker: &Worker, revision: u64) -> bool {
    let Some(report) = worker.status.as_ref().and_then(|status| status.serving.as_ref()) else {
        return false;
    };
    let watched = report.rollout.as_ref().is_some_and(|rollout| {
        rollout.revision == revision
            && matches!(rollout.phase, RolloutPhase::Preparing | RolloutPhase::Probation)
    });
    told(worker) == Some(revision)
        && phase(worker) == WorkerPhase::Running
        && report.revision == revision
        && !watched
}

/// Why a Worker that was told `revision` will not serve it.
pub(super) fn has_undone(worker: &Worker, revision: u64) -> Option<Undoing> {
    let status = worker.status.as_ref().filter(|_| told(worker) == Some(revision))?;
    let node = worker.spec.node.clone();
    if status.phase.is_final() {
        let (reason, message) = failure(status);
        return Some(Undoing { reason, message, node });
    }
    let rollout = status.serving.as_ref()?.rollout.as_ref()?;
    (rollout.revision == revision && rollout.phase == RolloutPhase::Undone).then(|| Undoing {
        reason: rollout.reason.clone().unwrap_or_else(|| "Undone".to_owned()),
        message: rollout.message.clone().unwrap_or_else(|| "it did not say why".to_owned()),
        node,
    })
}
