//! The manager as its users meet it: over HTTP, over gRPC, across a restart.

mod learning;
mod node;
mod serving;
mod sessions;
mod transfers;

use std::path::Path;

use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use sedge_api::Digest;
use sedge_api::node::{self as proto, NodeRole, Status, WorkerPhase, WorkerStatus};
use sedge_api::resources::{Dataset, FederatedLearningJob, JobPhase, Model, Plugin, Role, Worker, is_true};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Manager, ManagerConfig};
use crate::registry::client::RegistryClient;
use crate::registry::tests::components::exporting;
use crate::registry::tests::no_progress;
use node::{DEADLINE, Node};

async fn start(data: &Path) -> (Manager, CancellationToken) {
    let shutdown = CancellationToken::new();
    (Manager::start(ManagerConfig::new(data), shutdown.clone()).await.unwrap(), shutdown)
}

fn resource<K: serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    serde_json::from_value(json!({
        "apiVersion": "sedge.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

/// Wait until the resource `name` is as it should be.
async fn until<K>(client: &Client, name: &str, holds: impl Fn(&K) -> bool) -> K
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let api: Api<K> = Api::default_namespaced(client.clone());
    let found = await_condition(api, name, |found: Option<&K>| found.is_some_and(&holds));
    timeout(DEADLINE, found).await.expect("the condition comes to hold in time").unwrap().unwrap()
}

/// Push the plugins and the model of a job, and make their resources.
async fn stock(manager: &Manager, scratch: &Path) {
    let base = format!("http://{}", manager.address());
    let registry = RegistryClient::new(&base, Some(manager.api_token().to_owned())).unwrap();
    let plugins: Api<Plugin> = Api::default_namespaced(manager.client());
    for (name, role) in [("fedavg", Role::Aggregator), ("sgd", Role::Trainer)] {
        let reference = format!("{name}:1").parse().unwrap();
        registry.push_plugin(&reference, exporting(role), no_progress()).await.unwrap();
        let plugin = resource("Plugin", &format!("{name}.1"), json!({"reference": format!("{name}:1")}));
        plugins.create(&PostParams::default(), &plugin).await.unwrap();
    }
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} "#;
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend_from_slice(header);
    weights.extend_from_slice(&[0; 4]);
    let file = scratch.join("weights.safetensors");
    std::fs::write(&file, weights).unwrap();
    let reference = "mlp:1".parse().unwrap();
    registry.push_model(&reference, [].into(), Some(file), no_progress()).await.unwrap();
    let models: Api<Model> = Api::default_namespaced(manager.client());
    let model = resource("Model", "mlp.1", json!({"reference": "mlp:1"}));
    models.create(&PostParams::default(), &model).await.unwrap();
}

fn said(worker: &proto::Worker, phase: WorkerPhase) -> WorkerStatus {
    WorkerStatus {
        uid: worker.uid.clone(),
        namespace: worker.namespace.clone(),
        name: worker.name.clone(),
        phase: phase.into(),
        ..WorkerStatus::default()
    }
}

fn of_workers(workers: impl IntoIterator<Item = WorkerStatus>) -> Status {
    Status { workers: workers.into_iter().collect(), datasets: Vec::new() }
}

async fn only_worker(node: &mut Node) -> proto::Worker {
    node.desired(|desired| !desired.workers.is_empty()).await.workers.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_its_manager_and_ends_with_its_model() {
    let data = tempfile::tempdir().unwrap();
    let (manager, shutdown) = start(data.path()).await;
    let client = manager.client();
    let jobs: Api<FederatedLearningJob> = Api::default_namespaced(client.clone());
    let job = resource(
        "FederatedLearningJob",
        "digits",
        json!({
            "model": "mlp:1",
            "aggregation": {"plugin": "fedavg:1", "rounds": 2},
            "training": {"plugin": "sgd:1", "datasets": {"names": ["shard"]}},
        }),
    );
    jobs.create(&PostParams::default(), &job).await.unwrap();
    let reason = |job: &FederatedLearningJob| job.status.as_ref().and_then(|status| status.reason.clone());
    until::<FederatedLearningJob>(&client, "digits", |j| reason(j).as_deref() == Some("ModelNotFound")).await;

    // What it waits for appears, a thing at a time.
    stock(&manager, data.path()).await;
    let mut cloud = Node::dial(&manager, "cloud-1", NodeRole::Cloud).await;
    let mut edge = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    let datasets: Api<Dataset> = Api::default_namespaced(client.clone());
    let shard = json!({"node": "edge-1", "path": "shard.csv", "format": "csv"});
    datasets.create(&PostParams::default(), &resource("Dataset", "shard", shard)).await.unwrap();
    let held = edge.desired(|desired| !desired.datasets.is_empty()).await.datasets.remove(0);
    let ready = proto::DatasetStatus {
        namespace: held.namespace,
        name: held.name,
        generation: held.generation,
        ready: true,
        samples: 100,
        ..Default::default()
    };
    edge.say(Status { workers: Vec::new(), datasets: vec![ready] }).await;

    let aggregator = only_worker(&mut cloud).await;
    let trainer = only_worker(&mut edge).await;
    let Some(proto::worker::Task::Participation(task)) = &trainer.task else { panic!("{trainer:?}") };
    assert_eq!(task.endpoint, "http://cloud-1.test:7003");
    let round = |number| proto::Round { number, updates: 1, finished_unix_millis: 1, ..Default::default() };
    let mut progress = said(&aggregator, WorkerPhase::Running);
    progress.rounds = vec![round(1)];
    cloud.say(of_workers([progress])).await;
    until::<FederatedLearningJob>(&client, "digits", |j| {
        j.status.as_ref().is_some_and(|s| s.round == Some(1))
    })
    .await;

    // The manager goes and comes back; its nodes dial again and are wanted for the same.
    // A client in process holds the database open.
    drop((client, jobs, datasets));
    shutdown.cancel();
    manager.wait().await.unwrap();
    let (manager, shutdown) = start(data.path()).await;
    let client = manager.client();
    let mut cloud = Node::dial(&manager, "cloud-1", NodeRole::Cloud).await;
    let mut edge = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    assert_eq!(only_worker(&mut cloud).await, aggregator);
    assert_eq!(only_worker(&mut edge).await, trainer);

    let result = Digest::of(b"result");
    let mut end = said(&aggregator, WorkerPhase::Succeeded);
    end.rounds = vec![round(1), round(2)];
    end.result_digest = result.to_string();
    cloud.say(of_workers([end])).await;
    let job: FederatedLearningJob = until(&client, "digits", |job: &FederatedLearningJob| {
        job.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Complete"))
    })
    .await;
    let status = job.status.unwrap();
    assert_eq!((status.phase, status.round, status.history.len()), (JobPhase::Succeeded, Some(2), 2));
    let name = status.result.unwrap().reference.resource_name();
    let model = Api::<Model>::default_namespaced(client.clone()).get(&name).await.unwrap();
    assert_eq!(model.spec.digest, Some(result));

    // What has ended stays so, whatever its node says later.
    cloud.say(of_workers([said(&aggregator, WorkerPhase::Running)])).await;
    edge.say(of_workers([said(&trainer, WorkerPhase::Succeeded)])).await;
    let ended = |worker: &Worker| worker.status.as_ref().is_some_and(|status| status.phase.is_final());
    until::<Worker>(&client, "digits-trainer-shard", ended).await;
    let workers: Api<Worker> = Api::default_namespaced(client);
    assert!(ended(&workers.get("digits-aggregator").await.unwrap()));
    shutdown.cancel();
    manager.wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_manager_on_one_directory_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (_manager, _shutdown) = start(data.path()).await;
    let refused = Manager::start(ManagerConfig::new(data.path()), CancellationToken::new()).await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("another manager is running"), "{refused}");
}

#[test]
fn an_address_that_means_all_is_dialled_on_loopback() {
    for (listened, dialled) in
        [("0.0.0.0:7400", "127.0.0.1:7400"), ("[::]:7400", "[::1]:7400"), ("10.0.0.1:7400", "10.0.0.1:7400")]
    {
        assert_eq!(super::dialled(listened.parse().unwrap()), dialled.parse().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubeconfig_opens_the_api_and_the_logs() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let written = std::fs::read_to_string(data.path().join("kubeconfig")).unwrap();
    let config = kube::config::Kubeconfig::from_yaml(&written).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let outside = Client::try_from(config).unwrap();
    let mut node = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    sessions::declare(&outside, "trainer", "edge-1").await;
    let worker = only_worker(&mut node).await;

    let path = "/apis/sedge.dev/v1alpha1/namespaces/default/workers/trainer/log?tailLines=5";
    let ask = http::Request::get(path).body(Vec::new()).unwrap();
    let answering = async {
        let request = node.log_request().await;
        assert_eq!((request.worker_uid, request.tail), (worker.uid, 5));
        let chunk = |text: &str, end| proto::LogChunk {
            id: request.id,
            text: text.to_owned(),
            end,
            error: String::new(),
        };
        node.log(chunk("epoch 1\n", false)).await;
        node.log(chunk("epoch 2\n", true)).await;
    };
    let (log, ()) = tokio::join!(outside.request_text(ask), answering);
    assert_eq!(log.unwrap(), "epoch 1\nepoch 2\n");

    let missing = http::Request::get(path.replace("trainer", "nobody")).body(Vec::new()).unwrap();
    let kube::Error::Api(refused) = outside.request_text(missing).await.unwrap_err() else { panic!() };
    assert_eq!((refused.code, refused.reason.as_str()), (404, "NotFound"));
}
