//! What is to be done about a service: a function of what is observed, without I/O. Called by `reconcile`,
//! which does the actions in order; a stop between any two is made good by deciding again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use sedge_api::node::PROGRESS_DEADLINE_EXCEEDED;
use sedge_api::resources::{
    EdgeNode, JointInferenceService, JointInferenceServiceStatus, Model, PinnedRevision, Plugin,
    RolloutState, ServicePhase, ServingSide, Worker, condition, set_condition,
};

use super::place::{self, Edge, endpoint};
use super::report::{Place, quiet, report};
use super::rollout::{TakenUp, complete, has_kept, has_undone, is_progressing, take_up, undo};
use super::workers;
use crate::jobs::{Job, Unmet, Upkeep, in_touch, upkeep};

/// Everything that bears on one service. Resources of other namespaces than the service's are left out.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The service.
    pub service: JointInferenceService,
    /// Plugins; only while its spec is to be taken up.
    pub plugins: Vec<Plugin>,
    /// Models; only while its spec is to be taken up.
    pub models: Vec<Model>,
    /// All nodes.
    pub nodes: Vec<Arc<EdgeNode>>,
    /// Workers of its namespace.
    pub workers: Vec<Arc<Worker>>,
    /// The time.
    pub now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this Worker, unless one of its name exists.
    DeclareWorker(Box<Worker>),
    /// Replace this Worker, whose spec alone differs from what was observed.
    RewriteWorker(Box<Worker>),
    /// Delete the Worker of this name and uid.
    DeleteWorker {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Replace the service's status.
    WriteStatus {
        /// As it is to be.
        status: Box<JointInferenceServiceStatus>,
        /// Not only counts have changed, which may wait.
        at_once: bool,
    },
}

/// What is to be done, in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Writes.
    pub actions: Vec<Action>,
    /// Decide again after this, even if nothing is seen to change.
    pub again_after: Option<Duration>,
}

/// Decide.
pub fn decide(observed: &Observed) -> Decision {
    let Some(job) = Job::of(&observed.service) else { return Decision::default() };
    let mut status = observed.service.status.clone().unwrap_or_default();
    let taken_up = take_up(observed, &mut status);
    accept(observed, &mut status, &taken_up);
    let Some(current) = status.current.clone() else {
        status.phase = ServicePhase::Pending;
        if let TakenUp::Not(unmet) = &taken_up {
            status.reason = Some(unmet.reason.to_owned());
            observe(observed, &mut status, "Ready", false, unmet.reason, &unmet.message);
        }
        return Decision { actions: written(observed, status).into_iter().collect(), again_after: None };
    };
    Service { observed, job: &job, current: &current }.run(status, taken_up)
}

/// A service that has a revision.
struct Service<'a> {
    observed: &'a Observed,
    job: &'a Job,
    current: &'a PinnedRevision,
}

/// A Worker that is to be, and what there is of it.
struct Want<'a> {
    worker: Worker,
    present: Option<&'a Worker>,
    /// Its node has a session: what it says is of now.
    in_touch: bool,
}

impl Service<'_> {
    fn run(&self, mut status: JointInferenceServiceStatus, taken_up: TakenUp) -> Decision {
        let observed = self.observed;
        let edges = place::edges(observed, &self.current.spec);
        let cloud = place::cloud(observed, &self.current.spec, status.cloud_node.as_deref(), &edges);
        status.cloud_node = cloud.node;
        let present: BTreeMap<String, &Worker> =
            observed.workers.iter().map(|worker| (worker.name_any(), worker.as_ref())).collect();
        let cloud_want = status.cloud_node.as_deref().and_then(|node| self.cloud(node, &present));
        let edge_wants: Vec<Want<'_>> = edges.iter().filter_map(|edge| self.edge(edge, &present)).collect();

        let mut decision = Decision { actions: Vec::new(), again_after: cloud.again_after };
        let all = || cloud_want.iter().chain(&edge_wants);
        let first = self.first(&status, &edge_wants, cloud_want.as_ref());
        let undoing = all()
            .filter_map(|want| has_undone(want.present?, self.current.revision))
            .find(|why| first.is_some() || why.reason != PROGRESS_DEADLINE_EXCEEDED);
        if let Some(why) = undoing.filter(|_| is_progressing(&status) && taken_up == TakenUp::AsBefore) {
            undo(&mut status, why, observed.now);
        }
        // A revision is written down before any Worker hears of it.
        if status.current.as_ref().is_some_and(|current| current.revision == self.current.revision)
            && observed.service.status.as_ref().is_some_and(|before| before.revision == status.revision)
        {
            for want in cloud_want.iter().chain(&edge_wants) {
                let waits =
                    want.worker.spec.serving.as_ref().is_some_and(|task| task.side == ServingSide::Edge)
                        && first.as_ref().is_some_and(|first| !first.contains(&want.worker.name_any()));
                if !waits {
                    self.bring_about(want, &mut decision);
                }
            }
            let wanted: Vec<Worker> = all().map(|want| want.worker.clone()).collect();
            let surplus = self.job.surplus(observed.workers.iter().map(AsRef::as_ref), &wanted);
            decision.actions.extend(surplus.map(delete));
            let in_touch = || all().filter(|want| want.in_touch);
            let kept =
                |want: &Want<'_>| want.present.is_some_and(|worker| has_kept(worker, self.current.revision));
            if edge_wants.iter().any(|want| want.in_touch) && in_touch().all(kept) {
                complete(&mut status, edge_wants.iter().filter(|want| want.in_touch).count(), observed.now);
            }
        }
        let worker = |name: String| present.get(&name).copied().filter(|worker| self.job.owns(worker));
        let cloud_place = status.cloud_node.clone().map(|name| Place {
            side: ServingSide::Cloud,
            node: self.node(&name),
            worker: worker(workers::cloud_name(self.job)).filter(|worker| worker.spec.node == name),
            name,
        });
        let edge_places = edges.iter().map(|edge| Place {
            side: ServingSide::Edge,
            node: edge.node,
            worker: worker(workers::edge_name(self.job, &edge.name)),
            name: edge.name.clone(),
        });
        let places: Vec<Place<'_>> = cloud_place.into_iter().chain(edge_places).collect();
        let wants_cloud = self.current.spec.cloud.is_some();
        let (reason, message) = report(&mut status, &places, wants_cloud);
        self.conclude(&mut status, &taken_up, reason, &message);
        decision.actions.extend(written(observed, status));
        decision
    }

    fn node(&self, name: &str) -> Option<&EdgeNode> {
        self.observed.nodes.iter().map(AsRef::as_ref).find(|node| node.name_any() == name)
    }

    /// The Worker of the cloud's side. A Worker does not move: on another node it is another.
    fn cloud<'a>(&'a self, node: &str, present: &BTreeMap<String, &'a Worker>) -> Option<Want<'a>> {
        let worker = workers::cloud(self.job, self.current, node)?;
        let present = present.get(&worker.name_any()).copied();
        Some(Want { worker, present, in_touch: self.node(node).is_some_and(in_touch) })
    }

    /// The Worker of an edge; none on a node that does not serve, or that is closed to new ones.
    fn edge<'a>(&'a self, edge: &Edge<'a>, present: &BTreeMap<String, &'a Worker>) -> Option<Want<'a>> {
        let node = edge.node?;
        let worker = workers::edge(self.job, self.current, &edge.name);
        let present = present.get(&worker.name_any()).copied();
        let may = present.is_some() || !node.spec.unschedulable && endpoint(node).is_some();
        may.then(|| Want { worker, present, in_touch: in_touch(node) })
    }

    /// Names of the edges that alone are to hear of the current revision; none: all are.
    fn first(
        &self,
        status: &JointInferenceServiceStatus,
        edges: &[Want<'_>],
        cloud: Option<&Want<'_>>,
    ) -> Option<Vec<String>> {
        if !is_progressing(status) || status.previous.is_none() {
            return None;
        }
        let revision = self.current.revision;
        let kept = |want: &Want<'_>| want.present.is_some_and(|worker| has_kept(worker, revision));
        let knows = |want: &Want<'_>| want.present.and_then(workers::told) == Some(revision);
        let cloud_kept = cloud.is_none_or(|want| !want.in_touch || kept(want));
        if cloud_kept && edges.iter().any(kept) {
            return None;
        }
        let mut first: Vec<&Want<'_>> = edges.iter().filter(|want| knows(want)).collect();
        if !first.iter().any(|want| want.in_touch) {
            first.extend(edges.iter().find(|want| want.in_touch).or(edges.first()));
        }
        Some(first.iter().map(|want| want.worker.name_any()).collect())
    }

    /// Make `want` be: declared, or with the spec that it is to have, or anew where it has ended.
    fn bring_about(&self, want: &Want<'_>, decision: &mut Decision) {
        match upkeep(self.job, &want.worker, want.present, self.observed.now) {
            Upkeep::AsWanted => {}
            Upkeep::Declare(worker) => decision.actions.push(Action::DeclareWorker(worker)),
            Upkeep::Rewrite(worker) => decision.actions.push(Action::RewriteWorker(worker)),
            Upkeep::Delete { name, uid } => decision.actions.push(Action::DeleteWorker { name, uid }),
            Upkeep::Later(wait) => decision.soon(wait),
        }
    }

    /// The service's word, reason and conditions, from what its places and its rollout say.
    fn conclude(
        &self,
        status: &mut JointInferenceServiceStatus,
        taken_up: &TakenUp,
        reason: &str,
        message: &str,
    ) {
        let observed = self.observed;
        let ready = status.phase == ServicePhase::Ready;
        observe(observed, status, "Ready", ready, reason, message);
        let Some(rollout) = status.rollout.clone() else { return };
        let (word, mut said) =
            (rollout.reason.clone().unwrap_or_default(), rollout.message.clone().unwrap_or_default());
        if rollout.state == RolloutState::Progressing {
            let told =
                |endpoint: &&sedge_api::resources::ServingEndpoint| endpoint.revision == status.revision;
            let count = status.endpoints.iter().filter(told).count();
            said = format!(
                "{count} of {} nodes answer with revision {}",
                status.endpoints.len(),
                rollout.revision
            );
        }
        let complete = rollout.state == RolloutState::Complete && !matches!(taken_up, TakenUp::Not(_));
        let (word, said) = match taken_up {
            TakenUp::Not(unmet) => (unmet.reason.to_owned(), unmet.message.clone()),
            _ => (word, said),
        };
        observe(observed, status, "RolledOut", complete, &word, &said);
        status.reason = match (taken_up, rollout.state) {
            (TakenUp::Not(unmet), _) => Some(unmet.reason.to_owned()),
            _ if !ready => Some(reason.to_owned()),
            (_, RolloutState::Undone) => Some("RolloutUndone".to_owned()),
            _ => None,
        };
    }
}

impl Decision {
    /// Decide again after `wait` at the latest.
    fn soon(&mut self, wait: Duration) {
        self.again_after = Some(self.again_after.map_or(wait, |before| before.min(wait)));
    }
}

fn delete(worker: &Worker) -> Action {
    Action::DeleteWorker { name: worker.name_any(), uid: worker.uid().unwrap_or_default() }
}

/// Whether all that the spec names is there.
fn accept(observed: &Observed, status: &mut JointInferenceServiceStatus, taken_up: &TakenUp) {
    match taken_up {
        TakenUp::AsBefore => {}
        TakenUp::Anew => {
            observe(observed, status, "Accepted", true, "AllFound", "all that the service names is there");
        }
        TakenUp::Not(Unmet { reason, message }) => {
            observe(observed, status, "Accepted", false, reason, message);
        }
    }
}

fn observe(
    observed: &Observed,
    status: &mut JointInferenceServiceStatus,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
) {
    let generation = observed.service.metadata.generation;
    set_condition(&mut status.conditions, condition(kind, holds, reason, message, generation, observed.now));
}

/// The write of `status`, if it says anything new. Every condition is brought to the present generation,
/// which tools that wait for a condition ask for.
fn written(observed: &Observed, mut status: JointInferenceServiceStatus) -> Option<Action> {
    for condition in &mut status.conditions {
        condition.observed_generation = observed.service.metadata.generation;
    }
    let before = observed.service.status.as_ref();
    (before != Some(&status)).then(|| Action::WriteStatus {
        at_once: before.is_none_or(|before| quiet(before) != quiet(&status)),
        status: Box::new(status),
    })
}

#[cfg(test)]
mod tests;
