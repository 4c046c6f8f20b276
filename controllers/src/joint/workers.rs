//! The Workers of a revision. They follow from what is pinned and from the node alone, so that a Worker declared
//! again is the same as before. Called by `decide`.

use sedge_api::resources::{
    MiningTask, OffloadTask, PinnedRevision, PinnedSide, Role, SentToCloud, ServingSide, ServingTask, Side,
    Worker, WorkerSpec,
};

use super::names::{client_name, side_worker};
use crate::jobs::Job;

/// The Worker of the edge `node`.
pub(super) fn edge(job: &Job, pinned: &PinnedRevision, node: &str) -> Worker {
    let spec = &pinned.spec;
    let mining = spec.hard_example_mining.as_ref();
    let task = ServingTask {
        mining: mining.map(|mining| MiningTask {
            miner: mining.miner,
            plugin: pinned.miner.clone(),
            parameters: mining.parameters.clone(),
            mine: mining.mine,
        }),
        offload: spec.cloud.as_ref().map(|_| OffloadTask {
            asks: cloud_name(job),
            deadline: spec.offload.deadline,
            hedge_after: spec.offload.hedge_after,
            requests_per_second: spec.offload.requests_per_second,
            share: spec.offload.share,
            send: spec.offload.send,
            cloud_absent: spec.offload.cloud_absent,
        }),
        keep: mining.and_then(|mining| mining.keep.clone()),
        ..task(job, pinned, ServingSide::Edge, &spec.edge)
    };
    worker(job, edge_name(job, node), node, (&spec.edge, &pinned.edge), task)
}

/// The Worker of the cloud's side on `node`; none where the revision has no such side.
pub(super) fn cloud(job: &Job, pinned: &PinnedRevision, node: &str) -> Option<Worker> {
    let (side, runs) = (pinned.spec.cloud.as_ref()?, pinned.cloud.as_ref()?);
    let mut task = task(job, pinned, ServingSide::Cloud, side);
    // Probes are requests of applications: a cloud that is sent the edge's outputs does not understand them.
    if pinned.spec.offload.send == SentToCloud::Outputs {
        task.rollout.probes.clear();
    }
    Some(worker(job, cloud_name(job), node, (side, runs), task))
}

/// What both sides are told.
fn task(job: &Job, pinned: &PinnedRevision, word: ServingSide, side: &Side) -> ServingTask {
    ServingTask {
        service: client_name(job),
        side: word,
        revision: pinned.revision,
        instances: side.instances,
        queue: side.queue,
        batching: side.batching,
        mining: None,
        offload: None,
        rollout: pinned.spec.rollout.clone(),
        keep: None,
    }
}

fn worker(
    job: &Job,
    name: String,
    node: &str,
    (side, runs): (&Side, &PinnedSide),
    task: ServingTask,
) -> Worker {
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
        learning: None,
        assessment: None,
        joins: None,
    };
    job.worker(name, spec)
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
