//! The Workers of a job that has begun. They follow from what is pinned alone, so that a Worker declared
//! again is the same as before. Called by `decide`.

use sedge_api::resources::{
    AggregationTask, DatasetGrant, PinnedDataset, PinnedInputs, Role, Worker, WorkerSpec,
};

use super::names::{result_reference, worker_name};
use crate::jobs::Job;

/// All Workers that the job wants, the aggregator first.
pub(super) fn declared(job: &Job, pinned: &PinnedInputs) -> Vec<Worker> {
    let spec = &pinned.spec;
    let leader = worker_name(&job.name, Role::Aggregator, None);
    let trainers = pinned.trainers.iter().map(|place| {
        let name = trainer_name(job, place);
        job.worker(
            name,
            WorkerSpec {
                node: place.node.clone(),
                role: Role::Trainer,
                job: job.reference(),
                plugin: pinned.training.clone(),
                model: Some(pinned.model.clone()),
                engines: pinned.engines.clone(),
                parameters: spec.training.parameters.clone(),
                datasets: vec![DatasetGrant { name: "train".to_owned(), dataset: place.dataset.clone() }],
                resources: spec.training.resources,
                aggregation: None,
                serving: None,
                learning: None,
                assessment: None,
                joins: Some(leader.clone()),
            },
        )
    });
    let evaluator = match (&spec.evaluation, &pinned.evaluation, &pinned.evaluator) {
        (Some(evaluation), Some(plugin), Some(place)) => Some(job.worker(
            worker_name(&job.name, Role::Evaluator, None),
            WorkerSpec {
                node: place.node.clone(),
                role: Role::Evaluator,
                job: job.reference(),
                plugin: plugin.clone(),
                model: Some(pinned.model.clone()),
                engines: pinned.engines.clone(),
                parameters: evaluation.parameters.clone(),
                datasets: vec![DatasetGrant { name: "test".to_owned(), dataset: place.dataset.clone() }],
                resources: evaluation.resources,
                aggregation: None,
                serving: None,
                learning: None,
                assessment: None,
                joins: Some(leader.clone()),
            },
        )),
        _ => None,
    };
    let members: Vec<Worker> = trainers.chain(evaluator).collect();
    let named = |role: Role| -> Vec<String> {
        members.iter().filter(|w| w.spec.role == role).filter_map(|w| w.metadata.name.clone()).collect()
    };
    let aggregator = job.worker(
        leader.clone(),
        WorkerSpec {
            node: pinned.aggregator.clone(),
            role: Role::Aggregator,
            job: job.reference(),
            plugin: pinned.aggregation.clone(),
            model: Some(pinned.model.clone()),
            engines: pinned.engines.clone(),
            parameters: spec.aggregation.parameters.clone(),
            datasets: Vec::new(),
            resources: spec.aggregation.resources,
            aggregation: Some(AggregationTask {
                rounds: spec.aggregation.rounds,
                minimum: spec.aggregation.participants.minimum,
                fraction: spec.aggregation.participants.fraction,
                deadline: spec.aggregation.round_deadline,
                trainers: named(Role::Trainer),
                evaluators: named(Role::Evaluator),
                stop: spec.stop.clone(),
                result: result_reference(&job.name, &job.uid),
            }),
            serving: None,
            learning: None,
            assessment: None,
            joins: None,
        },
    );
    std::iter::once(aggregator).chain(members).collect()
}

fn trainer_name(job: &Job, place: &PinnedDataset) -> String {
    worker_name(&job.name, Role::Trainer, Some(&place.dataset))
}
