//! What a node can and cannot do in a session.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use sedge_api::Digest;
use sedge_api::node::{NodeRole, WorkerPhase};
use sedge_api::resources::{EdgeNode, Worker, is_true};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::node::{DEADLINE, Node};
use super::{Manager, ManagerConfig, of_workers, only_worker, resource, said, start, until};

/// A Worker that belongs to no job.
pub(super) async fn declare(client: &Client, name: &str, node: &str) {
    let worker = resource(
        "Worker",
        name,
        json!({
            "node": node, "role": "trainer",
            "job": {"kind": "FederatedLearningJob", "name": "none", "uid": "none"},
            "plugin": {"reference": "sgd:1", "digest": Digest::of(b"sgd")},
        }),
    );
    let workers: Api<Worker> = Api::default_namespaced(client.clone());
    workers.create(&PostParams::default(), &worker).await.unwrap();
}

async fn until_node(client: &Client, name: &str, ready: bool) -> EdgeNode {
    let api: Api<EdgeNode> = Api::all(client.clone());
    let holds = |node: Option<&EdgeNode>| {
        node.and_then(|node| node.status.as_ref()).is_some_and(|s| is_true(&s.conditions, "Ready") == ready)
    };
    timeout(DEADLINE, await_condition(api, name, holds)).await.unwrap().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_registers_becomes_an_edge_node() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let node = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    assert_eq!(node.welcome.registry, format!("http://{}", manager.node_address()));
    let resource = until_node(&manager.client(), "edge-1", true).await;
    assert_eq!(resource.status.unwrap().federation_endpoint.as_deref(), Some("http://edge-1.test:7003"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_join_token_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let refused = Node::dial_with(&manager, "guess", "edge-1", NodeRole::Edge).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_keeps_the_role_that_it_is_known_with() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    drop(Node::dial(&manager, "edge-1", NodeRole::Edge).await);
    let refused =
        Node::dial_with(&manager, manager.join_token(), "edge-1", NodeRole::Cloud).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    assert!(refused.message().contains("delete EdgeNode `edge-1`"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sessions_of_one_name_the_newer_stays() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let older = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    let mut newer = Node::dial(&manager, "edge-1", NodeRole::Edge).await;
    assert_eq!(older.end().await.code(), tonic::Code::Aborted);
    declare(&manager.client(), "trainer", "edge-1").await;
    assert_eq!(only_worker(&mut newer).await.name, "trainer");
    until_node(&manager.client(), "edge-1", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_speak_for_anothers_worker() {
    let data = tempfile::tempdir().unwrap();
    let (manager, _shutdown) = start(data.path()).await;
    let client = manager.client();
    let mut honest = Node::dial(&manager, "honest", NodeRole::Edge).await;
    let mut liar = Node::dial(&manager, "liar", NodeRole::Edge).await;
    declare(&client, "theirs", "honest").await;
    declare(&client, "own", "liar").await;
    let (theirs, own) = (only_worker(&mut honest).await, only_worker(&mut liar).await);
    liar.say(of_workers([said(&theirs, WorkerPhase::Failed), said(&own, WorkerPhase::Failed)])).await;
    let ended = |worker: &Worker| worker.status.as_ref().is_some_and(|status| status.phase.is_final());
    until::<Worker>(&client, "own", ended).await;
    let workers: Api<Worker> = Api::default_namespaced(client);
    assert_eq!(workers.get("theirs").await.unwrap().status, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_stream_ends_or_that_falls_silent_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let config = ManagerConfig { heartbeat: Duration::from_millis(100), ..ManagerConfig::new(data.path()) };
    let manager = Manager::start(config, CancellationToken::new()).await.unwrap();
    drop(Node::dial(&manager, "gone", NodeRole::Edge).await);
    let silent = Node::dial(&manager, "silent", NodeRole::Edge).await;
    assert_eq!(silent.end().await.code(), tonic::Code::DeadlineExceeded);
    for name in ["gone", "silent"] {
        let node = until_node(&manager.client(), name, false).await;
        assert_eq!(node.status.unwrap().conditions[0].reason, "SessionLost");
    }
}
