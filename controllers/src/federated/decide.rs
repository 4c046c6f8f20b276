//! What is to be done about a job: a function of what is observed, without I/O. Called by `reconcile`,
//! which does the actions in order; a stop between any two is made good by deciding again.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use sedge_api::resources::{
    Dataset, EdgeNode, FederatedLearningJob, FederatedLearningJobStatus, JobPhase, Model, ModelEngines,
    ModelSpec, PinnedArtifact, PinnedInputs, Plugin, Role, Worker, WorkerPhase, WorkerStatus, condition,
    set_condition,
};

use super::names::result_reference;
use super::progress::follow;
use super::resolve::resolve;
use super::workers::declared;
use crate::jobs::{Job, failure, in_touch, phase};

/// How long after a job's success its Workers may take to say that they ended.
const FAREWELL: Duration = Duration::from_secs(60);
/// The same after a job's failure, whose cause one of them may be about to tell.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Everything that bears on one job. Resources of other namespaces than the job's are left out.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The job.
    pub job: FederatedLearningJob,
    /// Plugins; only until the job has begun.
    pub plugins: Vec<Plugin>,
    /// Models.
    pub models: Vec<Model>,
    /// Datasets; only until the job has begun.
    pub datasets: Vec<Dataset>,
    /// All nodes.
    pub nodes: Vec<EdgeNode>,
    /// Workers, at least those of this job and those that bear names it wants.
    pub workers: Vec<Worker>,
    /// The time.
    pub now: Timestamp,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make this Worker, unless one of its name exists.
    DeclareWorker(Box<Worker>),
    /// Delete the Worker of this name and uid.
    DeleteWorker {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Give a Worker its final status; its node then ends it.
    EndWorker {
        /// Its name.
        name: String,
        /// Its uid.
        uid: String,
        /// The final status.
        status: Box<WorkerStatus>,
    },
    /// Make this Model, unless one of its name exists.
    DeclareModel(Box<Model>),
    /// Replace the job's status.
    WriteStatus(Box<FederatedLearningJobStatus>),
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
    let Some(job) = Job::of(&observed.job) else { return Decision::default() };
    let status = observed.job.status.clone().unwrap_or_default();
    match (status.phase, status.pinned.clone()) {
        (JobPhase::Succeeded | JobPhase::Failed, _) => over(observed, &job, status),
        (JobPhase::Pending | JobPhase::Running, Some(pinned)) => run(observed, &job, &pinned, status),
        (JobPhase::Pending | JobPhase::Running, None) => begin(observed, status),
    }
}

/// Pin what the job names, or say what it waits for.
fn begin(observed: &Observed, mut status: FederatedLearningJobStatus) -> Decision {
    status.phase = JobPhase::Pending;
    match resolve(observed) {
        Ok(pinned) => {
            status.pinned = Some(pinned);
            status.reason = Some("Starting".to_owned());
            observe(observed, &mut status, "Accepted", true, "AllFound", "all that the job names is there");
        }
        Err(unmet) => {
            status.reason = Some(unmet.reason.to_owned());
            observe(observed, &mut status, "Accepted", false, unmet.reason, &unmet.message);
        }
    }
    Decision { actions: Vec::from_iter(written(observed, status)), again_after: None }
}

/// Keep the pinned job's Workers declared and follow its aggregator.
fn run(
    observed: &Observed,
    job: &Job,
    pinned: &PinnedInputs,
    mut status: FederatedLearningJobStatus,
) -> Decision {
    let wanted = declared(job, pinned);
    let present: BTreeMap<String, &Worker> =
        observed.workers.iter().map(|worker| (worker.name_any(), worker)).collect();
    if let Some(taken) = wanted.iter().find_map(|w| present.get(&w.name_any()).filter(|w| !job.owns(w))) {
        // It may be of an earlier job of this name whose Workers are still being collected.
        let message = format!("worker `{}` belongs to another owner", taken.name_any());
        status.reason = Some("WorkerNameTaken".to_owned());
        observe(observed, &mut status, "Running", false, "WorkerNameTaken", &message);
        return Decision {
            actions: Vec::from_iter(written(observed, status)),
            again_after: Some(Duration::from_secs(5)),
        };
    }
    let of = |role: Role| {
        wanted.iter().filter(move |w| w.spec.role == role).filter_map(|w| present.get(&w.name_any()).copied())
    };
    let aggregator = of(Role::Aggregator).next().and_then(|worker| worker.status.clone()).unwrap_or_default();
    follow(&mut status, &aggregator);
    let failed = of(Role::Trainer).filter(|worker| phase(worker) == WorkerPhase::Failed).count();
    let left = pinned.trainers.len() - failed;
    let minimum = pinned.spec.aggregation.participants.minimum;

    let mut actions = Vec::new();
    match (aggregator.phase, aggregator.result_digest) {
        (WorkerPhase::Succeeded, Some(digest)) => {
            let result = PinnedArtifact { reference: result_reference(&job.name, &job.uid), digest };
            let model = result_model(job, &result, &pinned.engines);
            if !observed.models.iter().any(|present| present.name_any() == model.name_any()) {
                actions.push(Action::DeclareModel(Box::new(model)));
            }
            status.result = Some(result);
            finish(observed, &mut status, JobPhase::Succeeded, "Complete", "all rounds are closed");
        }
        (WorkerPhase::Succeeded, None) => {
            let message = "the aggregator ended well but named no resulting model";
            finish(observed, &mut status, JobPhase::Failed, "ResultMissing", message);
        }
        (WorkerPhase::Failed, _) => {
            let (reason, message) = failure(&aggregator);
            finish(
                observed,
                &mut status,
                JobPhase::Failed,
                &reason,
                &format!("the aggregator failed: {message}"),
            );
        }
        (WorkerPhase::Pending | WorkerPhase::Running, _) if left < minimum as usize => {
            let why = of(Role::Trainer).rfind(|worker| phase(worker) == WorkerPhase::Failed);
            let (reason, message) = why.and_then(|w| w.status.as_ref()).map(failure).unwrap_or_default();
            let message = format!(
                "{left} of {} trainers are left and at least {minimum} must take part; the last one named failed \
                 with {reason}: {message}",
                pinned.trainers.len()
            );
            finish(observed, &mut status, JobPhase::Failed, "TooFewParticipants", &message);
        }
        (WorkerPhase::Pending | WorkerPhase::Running, _) => {
            actions.extend(
                wanted
                    .iter()
                    .filter(|worker| !present.contains_key(&worker.name_any()))
                    .map(|worker| Action::DeclareWorker(Box::new(worker.clone()))),
            );
            actions.extend(job.surplus(&observed.workers, &wanted).map(|worker| Action::DeleteWorker {
                name: worker.name_any(),
                uid: worker.uid().unwrap_or_default(),
            }));
            status.phase = JobPhase::Running;
            status.started_at.get_or_insert(Time(observed.now));
            let (reason, message) = impediment(observed, pinned, of(Role::Evaluator).next(), failed);
            status.reason = reason.map(str::to_owned);
            observe(observed, &mut status, "Running", true, reason.unwrap_or("Running"), &message);
        }
    }
    actions.extend(written(observed, status));
    Decision { actions, again_after: None }
}

/// End what still runs of a job that is over.
fn over(observed: &Observed, job: &Job, status: FederatedLearningJobStatus) -> Decision {
    let failed = status.phase == JobPhase::Failed;
    let mut rest = observed.workers.iter().filter(|w| job.owns(w) && !phase(w).is_final()).peekable();
    let mut decision = Decision::default();
    // Workers are told by the aggregator and say themselves how they ended; only one whose node is out of touch,
    // or whom nobody could tell, is ended here.
    let since = status.finished_at.as_ref().map_or(Timestamp::MIN, |at| at.0);
    let given = if failed { LAST_WORDS } else { FAREWELL };
    let patience = given.saturating_sub(observed.now.duration_since(since).try_into().unwrap_or_default());
    if !patience.is_zero() {
        decision.again_after = rest.peek().map(|_| patience);
    } else {
        decision.actions.extend(rest.map(|worker| end(observed, worker, failed)));
    }
    decision.actions.extend(written(observed, status));
    decision
}

fn end(observed: &Observed, worker: &Worker, failed: bool) -> Action {
    let (phase, reason, message) = if failed {
        (WorkerPhase::Failed, "JobFailed", "its job failed")
    } else {
        (WorkerPhase::Succeeded, "JobComplete", "its job was complete before its node said how it ended")
    };
    let status = WorkerStatus {
        phase,
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        finished_at: Some(Time(observed.now)),
        ..worker.status.clone().unwrap_or_default()
    };
    let uid = worker.uid().unwrap_or_default();
    Action::EndWorker { name: worker.name_any(), uid, status: Box::new(status) }
}

/// What keeps a running job from going well, and what to say of it.
fn impediment(
    observed: &Observed,
    pinned: &PinnedInputs,
    evaluator: Option<&Worker>,
    failed: usize,
) -> (Option<&'static str>, String) {
    if !observed.nodes.iter().any(|node| node.name_any() == pinned.aggregator && in_touch(node)) {
        let message =
            format!("node `{}`, which aggregates, is not in touch with the manager", pinned.aggregator);
        return (Some("AggregatorNodeLost"), message);
    }
    if let Some(status) = evaluator.and_then(|worker| worker.status.as_ref())
        && status.phase == WorkerPhase::Failed
    {
        let (reason, message) = failure(status);
        return (Some("EvaluatorFailed"), format!("rounds go on unmeasured: {reason}: {message}"));
    }
    match failed {
        0 => (None, "the workers are declared".to_owned()),
        failed => (None, format!("{failed} of {} trainers have failed", pinned.trainers.len())),
    }
}

/// The Model that stands for a job's result. It outlives the job.
fn result_model(job: &Job, result: &PinnedArtifact, engines: &ModelEngines) -> Model {
    Model {
        metadata: ObjectMeta {
            name: Some(result.reference.resource_name()),
            namespace: Some(job.namespace.clone()),
            labels: Some(job.labels()),
            ..ObjectMeta::default()
        },
        spec: ModelSpec {
            reference: result.reference.clone(),
            digest: Some(result.digest),
            engine: engines.engine.clone(),
            graphs: engines.graphs.clone(),
        },
        status: None,
    }
}

fn finish(
    observed: &Observed,
    status: &mut FederatedLearningJobStatus,
    phase: JobPhase,
    reason: &str,
    message: &str,
) {
    let kind = if phase == JobPhase::Succeeded { "Complete" } else { "Failed" };
    status.phase = phase;
    status.reason = Some(reason.to_owned());
    status.participants = None;
    status.finished_at = Some(Time(observed.now));
    observe(observed, status, "Running", false, reason, message);
    observe(observed, status, kind, true, reason, message);
}

fn observe(
    observed: &Observed,
    status: &mut FederatedLearningJobStatus,
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
) {
    let generation = observed.job.metadata.generation;
    set_condition(&mut status.conditions, condition(kind, holds, reason, message, generation, observed.now));
}

/// The write of `status`, if it says anything new. Every condition is brought to the present generation,
/// which tools that wait for a condition ask for.
fn written(observed: &Observed, mut status: FederatedLearningJobStatus) -> Option<Action> {
    let changed = status.pinned.as_ref().is_some_and(|pinned| pinned.spec != observed.job.spec);
    if changed {
        let message = "the spec was changed after the job began, which goes on as it began; \
                       for the new spec, apply it under another name, or delete the job first";
        observe(observed, &mut status, "SpecChanged", true, "AlreadyBegun", message);
    } else if status.conditions.iter().any(|condition| condition.type_ == "SpecChanged") {
        observe(observed, &mut status, "SpecChanged", false, "AsBegun", "");
    }
    for condition in &mut status.conditions {
        condition.observed_generation = observed.job.metadata.generation;
    }
    (observed.job.status.as_ref() != Some(&status)).then(|| Action::WriteStatus(Box::new(status)))
}

#[cfg(test)]
mod tests;
