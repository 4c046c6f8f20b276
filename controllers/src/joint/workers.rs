//! The Workers of a revision. They follow from what is pinned and from the node alone, so that a Worker declared
//! again is the same as before. Called by `decide`.

use sedge_api::resources::{
    MiningTask, OffloadTask, PinnedRevision, Role, ServingSide, ServingTask, Worker, WorkerSpec,
};

use super::names::{client_name, side_worker};
use crate::jobs::Job;

/// The Worker of the edge `node`.
pub(super) fn edge(job: &Job, pinned: &PinnedRevision, node: &str) -> Worker {
    let spec = &pinned.spec;
    let side = &spec.edge;
    let mining = spec.hard_example_mining.as_ref();
    let task = ServingTask {
        service: client_name(job),
        side: ServingSide::Edge,
        revision: pinned.revision,
        instances: side.instances,
        queue: side.queue,
        batching: side.batching,
        mining: mining.map(|mining| MiningTask {
            miner: mining.miner,
            plugin: pinned.miner.clone(),
            parameters: mining.parameters.clone(),
            mine: mining.mine,
        }),
        offload: spec.cloud.as_ref().map(|_| OffloadTask {
            asks: cloud_name(job),
            deadline: spec.offload.deadline,
            requests_per_second: spec.offload.requests_per_second,
            share: spec.offload.share,
            send: spec.offload.send,
            cloud_absent: spec.offload.cloud_absent,
        }),
        rollout: spec.rollout.clone(),
        keep: mining.and_then(|mining| mining.keep.clone()),
    };
    job.worker(
        edge_name(job, node),
        WorkerSpec {
            node: node.to_owned(),
            role: Role::Inferencer,
            job: job.reference(),
            plugin: pinned.edge.plugin.clone(),
            model: pinned.edge.model.clone(),
            engines: pinned.edge.engines.clone(),
            parameters: side.parameters.clone(),
            datasets: Vec::new(),
            resources: side.resources,
            aggregation: None,
            serving: Some(task),
            joins: None,
        },
    )
}

/// The Worker of the cloud's side on `node`; none where the revision has no such side.
pub(super) fn cloud(job: &Job, pinned: &PinnedRevision, node: &str) -> Option<Worker> {
    let side = pinned.spec.cloud.as_ref()?;
    let runs = pinned.cloud.as_ref()?;
    let task = ServingTask {
        service: client_name(job),
        side: ServingSide::Cloud,
        revision: pinned.revision,
        instances: side.instances,
        queue: side.queue,
        batching: side.batching,
        mining: None,
        offload: None,
        rollout: cloud_rollout(pinned),
        keep: None,
    };
    let spec = WorkerSpec {
        node: node.to_owned(),
        role: Role::Inferencer,
        job: job.reference(),
        plugin: runs.plugin.clone(),
        model: runs.model.clone(),
        engines: runs.engines.clone(),
        parameters: side.parameters.clone(),
        datasets: Vec::new(),
        resources: side.resources,
        aggregation: None,
        serving: Some(task),
        joins: None,
    };
    Some(job.worker(cloud_name(job), spec))
}

/// Probes are requests of applications: a cloud that is sent the edge's outputs does not understand them.
fn cloud_rollout(pinned: &PinnedRevision) -> sedge_api::resources::RolloutPolicy {
    let mut rollout = pinned.spec.rollout.clone();
    if pinned.spec.offload.send == sedge_api::resources::SentToCloud::Outputs {
        rollout.probes.clear();
    }
    rollout
}

pub(super) fn edge_name(job: &Job, node: &str) -> String {
    side_worker(&job.name, ServingSide::Edge, Some(node))
}

pub(super) fn cloud_name(job: &Job) -> String {
    side_worker(&job.name, ServingSide::Cloud, None)
}

/// The revision that a Worker is told to serve.
pub(super) fn told(worker: &Worker) -> Option<u64> {
    worker.spec.serving.as_ref().map(|task| task.revision)
}
