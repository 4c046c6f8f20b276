//! An IncrementalLearningJob from its spec to what its node is told, and back from what that says.

use kube::api::{Api, Patch, PatchParams, PostParams};
use sedge_api::Digest;
use sedge_api::node::{
    LearningFigures, LearningStatus, ModelVersion, NodeRole, RollbackState, RollbackStatus, VersionState,
    WorkerPhase, worker::Task,
};
use sedge_api::resources::{
    Dataset, IncrementalLearningJob, JointInferenceService, LearningPhase, Plugin, Role, Worker,
};
use serde_json::json;

use super::node::Node;
use super::{exporting, no_progress, of_workers, proto, resource, said, start, stock, until};
use crate::registry::client::RegistryClient;

fn task(worker: &proto::Worker) -> Option<&proto::Learning> {
    match &worker.task {
        Some(Task::Learning(task)) => Some(task),
        _ => None,
    }
}

/// The node's learner once it is told what `holds`.
async fn told(node: &mut Node, holds: impl Fn(&proto::Learning) -> bool) -> proto::Worker {
    let wanted = |worker: &proto::Worker| task(worker).is_some_and(&holds);
    let desired = node.desired(|desired| desired.workers.iter().any(wanted)).await;
    desired.workers.into_iter().find(wanted).unwrap()
}

fn version(number: u32, state: VersionState) -> ModelVersion {
    let digest = Digest::of(number.to_string().as_bytes()).to_string();
    ModelVersion { number, model_digest: digest, state: state.into(), ..ModelVersion::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_learns_on_its_node_and_goes_with_its_service() {
    let data = tempfile::tempdir().unwrap();
    let (manager, shutdown) = start(data.path()).await;
    let client = manager.client();
    stock(&manager, data.path()).await;
    let base = format!("http://{}", manager.address());
    let registry = RegistryClient::new(&base, Some(manager.api_token().to_owned())).unwrap();
    let plugins: Api<Plugin> = Api::default_namespaced(client.clone());
    for (name, role) in [("measure", Role::Evaluator), ("onnx", Role::Inferencer)] {
        let reference = format!("{name}:1").parse().unwrap();
        registry.push_plugin(&reference, exporting(role), no_progress()).await.unwrap();
        let plugin = resource("Plugin", &format!("{name}.1"), json!({"reference": format!("{name}:1")}));
        plugins.create(&PostParams::default(), &plugin).await.unwrap();
    }
    let jobs: Api<IncrementalLearningJob> = Api::default_namespaced(client.clone());
    let job = resource(
        "IncrementalLearningJob",
        "digits",
        json!({
            "dataset": "stream", "model": "mlp:1",
            "train": {"plugin": "sgd:1", "trigger": {"expression": "newSamples >= 100"}},
            "evaluate": {"plugin": "measure:1", "trigger": {"expression": "difference.accuracy > 0.1"}},
            "deploy": {"inferencer": {"plugin": "onnx:1"}},
        }),
    );
    jobs.create(&PostParams::default(), &job).await.unwrap();
    let reason = |job: &IncrementalLearningJob| job.status.as_ref().and_then(|status| status.reason.clone());
    until::<IncrementalLearningJob>(&client, "digits", |j| reason(j).as_deref() == Some("DatasetNotFound"))
        .await;

    // What it waits for appears.
    let mut edge = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    let datasets: Api<Dataset> = Api::default_namespaced(client.clone());
    let stream = json!({"node": "edge-1", "path": "stream.csv", "format": "csv"});
    datasets.create(&PostParams::default(), &resource("Dataset", "stream", stream)).await.unwrap();
    let held = edge.desired(|desired| !desired.datasets.is_empty()).await.datasets.remove(0);
    let ready = proto::DatasetStatus {
        namespace: held.namespace,
        name: held.name,
        generation: held.generation,
        ready: true,
        samples: 3,
        ..Default::default()
    };
    edge.say(proto::Status { workers: Vec::new(), datasets: vec![ready] }).await;
    let learner = told(&mut edge, |task| task.serves == "digits-edge-edge-1").await;
    let wanted = task(&learner).unwrap();
    assert!(wanted.evaluator.is_some() && wanted.train_trigger.contains("newSamples >= 100"), "{wanted:?}");
    assert_eq!((wanted.keep, wanted.retries, wanted.repository.as_str()), (10, 3, "models/digits"));
    let serves = |worker: &proto::Worker| matches!(&worker.task, Some(Task::Serving(task)) if task.service == "digits");
    edge.desired(|desired| desired.workers.iter().any(serves)).await;

    // What it says is the job's status.
    let mut status = said(&learner, WorkerPhase::Running);
    let mut learning = LearningStatus {
        versions: vec![version(0, VersionState::Superseded), version(1, VersionState::Deployed)],
        deployed: 1,
        serial: 1,
        round: 1,
        waiting: "newSamples is 3, not at least 100".to_owned(),
        figures: Some(LearningFigures { samples: 103, new_samples: 3, ..LearningFigures::default() }),
        ..LearningStatus::default()
    };
    status.learning = Some(learning.clone());
    edge.say(of_workers([status.clone()])).await;
    let learns = |job: &IncrementalLearningJob| {
        job.status.as_ref().is_some_and(|status| status.phase == LearningPhase::Waiting)
    };
    let job = until::<IncrementalLearningJob>(&client, "digits", learns).await;
    let report = job.status.unwrap().learning.unwrap();
    assert_eq!((report.deployed, report.figures.new_samples, report.versions.len()), (1, 3, 2));

    // A wish to roll back is passed on, and what came of it comes back.
    let patch = Patch::Merge(json!({"spec": {"rollback": {"version": 0, "request": 1}}}));
    jobs.patch("digits", &PatchParams::default(), &patch).await.unwrap();
    let wish = Some(proto::Rollback { version: Some(0), request: 1 });
    let same = told(&mut edge, |task| task.rollback == wish).await;
    assert_eq!(same.uid, learner.uid, "it goes on");
    learning.rollback = Some(RollbackStatus {
        request: 1,
        version: Some(0),
        state: RollbackState::Done.into(),
        ..RollbackStatus::default()
    });
    (learning.deployed, learning.serial) = (0, 2);
    status.learning = Some(learning);
    edge.say(of_workers([status])).await;
    let back = |job: &IncrementalLearningJob| {
        let report = job.status.as_ref().and_then(|status| status.learning.as_ref());
        report.is_some_and(|report| report.deployed == 0 && report.rollback.is_some())
    };
    until::<IncrementalLearningJob>(&client, "digits", back).await;

    // It goes, and with it its service and all Workers.
    jobs.delete("digits", &Default::default()).await.unwrap();
    edge.desired(|desired| desired.workers.is_empty()).await;
    let services: Api<JointInferenceService> = Api::default_namespaced(client.clone());
    assert!(services.list(&Default::default()).await.unwrap().items.is_empty());
    let workers: Api<Worker> = Api::default_namespaced(client);
    assert!(workers.list(&Default::default()).await.unwrap().items.is_empty());
    shutdown.cancel();
    manager.wait().await.unwrap();
}
