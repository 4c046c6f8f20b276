//! The Workers of a job. They follow from what is pinned and from what is to be told, so that a Worker declared again is
//! the same as before. Called by `decide`.

use sedge_api::resources::{
    AssessmentReport, AssessmentTask, DatasetGrant, DeploymentOutcome, EvaluatorTask, LearningReport,
    LearningTask, PinnedLearning, Role, Worker, WorkerSpec,
};

use super::names;
use super::service::Target;
use crate::jobs::{Job, failure, model_name, phase};

/// What a learner is told beside its spec.
pub(super) struct Relayed {
    pub assessment: Option<AssessmentReport>,
    pub deployment: Option<DeploymentOutcome>,
}

/// The Worker that leads the rounds.
pub(super) fn learner(job: &Job, pinned: &PinnedLearning, target: &Target<'_>, relayed: Relayed) -> Worker {
    let spec = &pinned.spec;
    let serves = target.local_worker();
    let task = LearningTask {
        name: model_name(&job.name),
        tag_prefix: names::tag_prefix(job),
        train: spec.train.trigger.clone(),
        deploy: spec.evaluate.trigger.clone(),
        replay: spec.train.replay,
        drift: spec.train.drift.clone(),
        evaluator: is_local(pinned).then(|| EvaluatorTask {
            plugin: pinned.evaluator.clone(),
            parameters: spec.evaluate.parameters.clone(),
            datasets: grants("test", &pinned.evaluate.dataset),
            resources: spec.evaluate.resources,
        }),
        keep: spec.keep.versions,
        retries: spec.retries,
        // What it counts itself it is not told.
        hard_share: if serves.is_none() { target.hard_share() } else { None },
        serves,
        rollback: spec.rollback,
        assessment: relayed.assessment,
        deployment: relayed.deployment,
    };
    let worker = WorkerSpec {
        node: pinned.train.node.clone(),
        role: Role::Trainer,
        job: job.reference(),
        plugin: pinned.trainer.clone(),
        model: Some(pinned.model.clone()),
        engines: pinned.engines.clone(),
        parameters: spec.train.parameters.clone(),
        datasets: grants("train", &pinned.train.dataset),
        resources: spec.train.resources,
        aggregation: None,
        serving: None,
        learning: Some(task),
        assessment: None,
        joins: None,
    };
    job.worker(names::learner(job), worker)
}

/// The Worker that measures for the learner; none where that does so itself, wants nothing yet, or wants what the registry
/// does not have.
pub(super) fn assessor(
    job: &Job,
    pinned: &PinnedLearning,
    target: &Target<'_>,
    report: Option<&LearningReport>,
    present: Option<&Worker>,
) -> Option<Worker> {
    if is_local(pinned) {
        return None;
    }
    let wanted = report?.wants_assessment.as_ref().and_then(|wanted| {
        Some(AssessmentTask {
            round: wanted.round,
            attempt: wanted.attempt,
            candidate: target.model(report, wanted.candidate)?,
            deployed: target.model(report, wanted.deployed)?,
            earlier: wanted.earlier.clone(),
        })
    });
    // Between two it stays as it is, with all that it has compiled.
    let task = wanted.or_else(|| present?.spec.assessment.clone())?;
    let worker = WorkerSpec {
        node: pinned.evaluate.node.clone(),
        role: Role::Evaluator,
        job: job.reference(),
        plugin: pinned.evaluator.clone(),
        model: Some(pinned.model.clone()),
        engines: pinned.engines.clone(),
        parameters: pinned.spec.evaluate.parameters.clone(),
        datasets: grants("test", &pinned.evaluate.dataset),
        resources: pinned.spec.evaluate.resources,
        aggregation: None,
        serving: None,
        learning: None,
        assessment: Some(task),
        joins: None,
    };
    Some(job.worker(names::assessor(job), worker))
}

/// What came of the assessment that the assessor was told last.
pub(super) fn assessed(assessor: &Worker) -> Option<AssessmentReport> {
    let (task, status) = (assessor.spec.assessment.as_ref()?, assessor.status.as_ref()?);
    let of_task = |report: &&AssessmentReport| (report.round, report.attempt) == (task.round, task.attempt);
    if let Some(report) = status.assessment.as_ref().filter(of_task) {
        return Some(report.clone());
    }
    phase(assessor).is_final().then(|| {
        let (reason, message) = failure(status);
        AssessmentReport {
            round: task.round,
            attempt: task.attempt,
            failure: Some(format!("on node `{}`: {reason}: {message}", assessor.spec.node)),
            candidate: Vec::new(),
            deployed: Vec::new(),
            candidate_earlier: Vec::new(),
            deployed_earlier: Vec::new(),
            samples: 0,
            rows: Default::default(),
            evaluator: None,
        }
    })
}

/// Whether the learner measures itself.
pub(super) fn is_local(pinned: &PinnedLearning) -> bool {
    pinned.evaluate.node == pinned.train.node
}

fn grants(name: &str, dataset: &str) -> Vec<DatasetGrant> {
    vec![DatasetGrant { name: name.to_owned(), dataset: dataset.to_owned() }]
}
