//! A JointInferenceService from its spec to what nodes are told, and back from what they say.

use kube::api::{Api, Patch, PatchParams, PostParams};
use sedge_api::node::{
    Breaker, NodeRole, RolloutPhase, RolloutStatus, ServingStatus, WorkerPhase, worker::Task,
};
use sedge_api::resources::{JointInferenceService, Plugin, Role, RolloutState, ServicePhase, Worker};
use serde_json::json;

use super::node::Node;
use super::{exporting, no_progress, of_workers, proto, resource, said, start, until};
use crate::registry::client::RegistryClient;

fn task(worker: &proto::Worker) -> &proto::Serving {
    match &worker.task {
        Some(Task::Serving(task)) => task,
        other => panic!("{other:?}"),
    }
}

/// The node's Worker once it is told `revision`.
async fn told(node: &mut Node, revision: u64) -> proto::Worker {
    let of = |worker: &proto::Worker| task(worker).revision == revision;
    node.desired(|desired| desired.workers.iter().any(of)).await.workers.remove(0)
}

async fn say(node: &mut Node, worker: &proto::Worker, serves: u64, phase: RolloutPhase, requests: u64) {
    let mut status = said(worker, WorkerPhase::Running);
    status.serving = Some(ServingStatus {
        revision: serves,
        instances: 1,
        requests,
        breaker: Breaker::Closed.into(),
        rollout: Some(RolloutStatus {
            revision: task(worker).revision,
            phase: phase.into(),
            reason: "ProbeFailed".to_owned(),
            message: "it trapped".to_owned(),
            changed_unix_millis: 1,
        }),
        ..ServingStatus::default()
    });
    node.say(of_workers([status])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_served_changed_and_put_back() {
    let data = tempfile::tempdir().unwrap();
    let (manager, shutdown) = start(data.path()).await;
    let client = manager.client();
    let base = format!("http://{}", manager.address());
    let registry = RegistryClient::new(&base, Some(manager.api_token().to_owned())).unwrap();
    let reference = "onnx:1".parse().unwrap();
    registry.push_plugin(&reference, exporting(Role::Inferencer), no_progress()).await.unwrap();
    let plugins: Api<Plugin> = Api::default_namespaced(client.clone());
    let plugin = resource("Plugin", "onnx.1", json!({"reference": "onnx:1"}));
    plugins.create(&PostParams::default(), &plugin).await.unwrap();
    let services: Api<JointInferenceService> = Api::default_namespaced(client.clone());
    let spec = json!({
        "edge": {"plugin": "onnx:1", "nodes": {"names": ["edge-1"]}},
        "cloud": {"plugin": "onnx:1"},
        "hardExampleMining": {"miner": "always"},
    });
    services.create(&PostParams::default(), &resource("JointInferenceService", "svc", spec)).await.unwrap();

    // The edge serves before there is a cloud.
    let mut edge = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    let worker = told(&mut edge, 1).await;
    assert_eq!(task(&worker).offload.as_ref().unwrap().endpoint, "");
    say(&mut edge, &worker, 1, RolloutPhase::Kept, 1).await;
    let phase = |s: &JointInferenceService| s.status.as_ref().map(|status| status.phase);
    until::<JointInferenceService>(&client, "svc", |s| phase(s) == Some(ServicePhase::Degraded)).await;

    // A cloud node that comes is filled in.
    let mut cloud = Node::dial(&manager, "cloud-1", NodeRole::Cloud).await;
    let clouds = told(&mut cloud, 1).await;
    let endpoint =
        |w: &proto::Worker| task(w).offload.as_ref().unwrap().endpoint == "http://cloud-1.test:7500";
    edge.desired(|desired| desired.workers.iter().any(endpoint)).await;
    say(&mut cloud, &clouds, 1, RolloutPhase::Kept, 0).await;
    let ready = |s: &JointInferenceService| phase(s) == Some(ServicePhase::Ready);
    let service = until::<JointInferenceService>(&client, "svc", ready).await;
    let status = service.status.unwrap();
    assert_eq!(status.rollout.unwrap().state, RolloutState::Complete);
    assert_eq!(status.endpoints[1].url.as_deref(), Some("http://edge-1.test:7500"));

    // Counts come through, though they wake nothing.
    say(&mut edge, &worker, 1, RolloutPhase::Kept, 77).await;
    let counted = |s: &JointInferenceService| s.status.as_ref().is_some_and(|s| s.requests == Some(77));
    until::<JointInferenceService>(&client, "svc", counted).await;

    // A change that the edge undoes is taken back from the cloud too.
    let patch = Patch::Merge(json!({"spec": {"edge": {"queue": 7}}}));
    services.patch("svc", &PatchParams::default(), &patch).await.unwrap();
    let changed = told(&mut edge, 2).await;
    assert_eq!((changed.uid.as_str(), task(&changed).queue), (worker.uid.as_str(), 7));
    told(&mut cloud, 2).await;
    say(&mut edge, &changed, 1, RolloutPhase::Undone, 78).await;
    told(&mut edge, 1).await;
    told(&mut cloud, 1).await;
    let undone = |s: &JointInferenceService| {
        let rollout = s.status.as_ref().and_then(|status| status.rollout.as_ref());
        rollout.is_some_and(|rollout| rollout.state == RolloutState::Undone)
    };
    let service = until::<JointInferenceService>(&client, "svc", undone).await;
    assert_eq!((service.spec.edge.queue, service.status.unwrap().revision), (7, Some(1)));

    // It goes, and its Workers with it.
    services.delete("svc", &Default::default()).await.unwrap();
    edge.desired(|desired| desired.workers.is_empty()).await;
    cloud.desired(|desired| desired.workers.is_empty()).await;
    let workers: Api<Worker> = Api::default_namespaced(client);
    assert!(workers.list(&Default::default()).await.unwrap().items.is_empty());
    shutdown.cancel();
    manager.wait().await.unwrap();
}
