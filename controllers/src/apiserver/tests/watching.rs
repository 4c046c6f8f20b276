//! Watches, and the kube-rs watcher and controller on top of them.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::controller::Action;
use kube::runtime::{Controller, WatchStreamExt as _, reflector, watcher};
use kube::{Api, Resource as _, ResourceExt as _};
use sedge_api::resources::{EdgeNode, FederatedLearningJob};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Server, job, node, soon};
use crate::apiserver::store::HistoryLimits;

/// Kind of event and name, until `count` have come.
async fn events(server: &Server, parameters: &WatchParams, version: &str, count: usize) -> Vec<String> {
    let nodes = server.nodes();
    let stream = nodes.watch(parameters, version).await.unwrap();
    soon(stream.take(count).map(|event| told(event.unwrap())).collect()).await
}

fn told(event: WatchEvent<EdgeNode>) -> String {
    match event {
        WatchEvent::Added(node) => format!("added {}", node.name_any()),
        WatchEvent::Modified(node) => format!("modified {}", node.name_any()),
        WatchEvent::Deleted(node) => format!("deleted {}", node.name_any()),
        WatchEvent::Bookmark(_) => "bookmark".to_owned(),
        WatchEvent::Error(status) => format!("error {} {}", status.code, status.reason),
    }
}

async fn label(server: &Server, name: &str, value: &str) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {"site": value}}}));
    server.nodes().patch(name, &PatchParams::default(), &patch).await.unwrap();
}

async fn version(server: &Server) -> String {
    server.nodes().list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap()
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_ended() {
    let server = Server::start();
    let start = version(&server).await;
    server.nodes().create(&PostParams::default(), &node("a")).await.unwrap();
    server.jobs().create(&PostParams::default(), &job("another-kind")).await.unwrap();
    label(&server, "a", "hill").await;
    label(&server, "a", "hill").await; // changes nothing, so nothing is told
    server.nodes().delete("a", &DeleteParams::default()).await.unwrap();
    server.nodes().create(&PostParams::default(), &node("b")).await.unwrap();
    let told = events(&server, &WatchParams::default(), &start, 4).await;
    assert_eq!(told, ["added a", "modified a", "deleted a", "added b"]);
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_all_there_is() {
    let server = Server::start();
    for name in ["a", "b"] {
        server.nodes().create(&PostParams::default(), &node(name)).await.unwrap();
    }
    assert_eq!(events(&server, &WatchParams::default(), "0", 2).await, ["added a", "added b"]);
    let named = WatchParams::default().fields("metadata.name=b");
    assert_eq!(events(&server, &named, "0", 1).await, ["added b"]);
}

#[tokio::test]
async fn an_object_that_begins_or_ends_to_match_is_added_or_deleted() {
    let server = Server::start();
    let start = version(&server).await;
    server.nodes().create(&PostParams::default(), &node("a")).await.unwrap();
    for site in ["hill", "hill-2", "hill", "sea"] {
        label(&server, "a", site).await;
    }
    server.nodes().delete("a", &DeleteParams::default()).await.unwrap();
    server.nodes().create(&PostParams::default(), &node("b")).await.unwrap();
    label(&server, "b", "hill").await;
    let told = events(&server, &WatchParams::default().labels("site=hill"), &start, 5).await;
    assert_eq!(told, ["added a", "deleted a", "added a", "deleted a", "added b"]);
}

#[tokio::test]
async fn an_expired_version_is_told_in_the_stream() {
    let server = Server::with_history(HistoryLimits { changes: 3, bytes: usize::MAX });
    let start = version(&server).await;
    for name in ["a", "b", "c", "d"] {
        server.nodes().create(&PostParams::default(), &node(name)).await.unwrap();
    }
    assert_eq!(events(&server, &WatchParams::default(), &start, 9).await, ["error 410 Expired"]);
    assert_eq!(events(&server, &WatchParams::default(), "9999999999", 9).await, ["error 410 Expired"]);
}

#[tokio::test]
async fn a_slow_watch_is_told_that_it_is_too_late() {
    let server = Server::with_history(HistoryLimits { changes: 3, bytes: usize::MAX });
    let nodes = server.nodes();
    nodes.create(&PostParams::default(), &node("a")).await.unwrap();
    let mut stream = pin!(nodes.watch(&WatchParams::default(), &version(&server).await).await.unwrap());
    label(&server, "a", "first").await;
    assert_eq!(told(soon(stream.next()).await.unwrap().unwrap()), "modified a");
    for site in 0..10 {
        label(&server, "a", &site.to_string()).await;
    }
    let rest: Vec<String> = soon(stream.map(|event| told(event.unwrap())).collect()).await;
    assert_eq!(rest.last().unwrap(), "error 410 Expired");
}

#[tokio::test]
async fn a_watch_ends_cleanly_with_a_bookmark_at_its_timeout() {
    let server = Server::start();
    let parameters = WatchParams::default().timeout(1);
    assert_eq!(events(&server, &parameters, &version(&server).await, 9).await, ["bookmark"]);
}

#[tokio::test]
async fn watches_end_when_the_server_says_so() {
    let server = Server::start();
    let nodes = server.nodes();
    let stream = nodes.watch(&WatchParams::default(), "0").await.unwrap();
    server.api.end_watches();
    let told: Vec<_> = soon(stream.collect()).await;
    assert!(told.is_empty());
}

#[tokio::test]
async fn a_streaming_list_tells_where_its_start_ends() {
    let server = Server::start();
    server.nodes().create(&PostParams::default(), &node("a")).await.unwrap();
    let config = watcher::Config::default().streaming_lists();
    let mut stream = pin!(watcher(server.nodes(), config));
    let mut seen = Vec::new();
    soon(async {
        while let Some(event) = stream.try_next().await.unwrap() {
            match event {
                watcher::Event::InitApply(node) => seen.push(node.name_any()),
                watcher::Event::InitDone => break,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(seen, ["a"]);
}

#[tokio::test]
async fn a_reflector_keeps_up_across_a_compaction() {
    let server = Server::with_history(HistoryLimits { changes: 4, bytes: usize::MAX });
    for index in 0..20 {
        server.nodes().create(&PostParams::default(), &node(&format!("n{index}"))).await.unwrap();
    }
    let (store, writer) = reflector::store::<EdgeNode>();
    // A page of five, and a write for each page: the history is compacted while the list is read, too.
    let config = watcher::Config::default().page_size(5).timeout(1);
    let reflected = watcher(server.nodes(), config).default_backoff().reflect(writer).for_each(|_| async {});
    let reflecting = tokio::spawn(reflected);
    soon(store.wait_until_ready()).await.unwrap();
    for round in 0..10 {
        for index in 0..20 {
            label(&server, &format!("n{index}"), &round.to_string()).await;
        }
    }
    server.nodes().delete("n0", &DeleteParams::default()).await.unwrap();
    soon(async {
        loop {
            let state = store.state();
            if state.len() == 19
                && state.iter().all(|node| node.labels().get("site").is_some_and(|s| s == "9"))
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    reflecting.abort();
}

#[tokio::test]
async fn a_controller_reconciles_an_owner_when_what_it_owns_changes() {
    let server = Server::start();
    let (sender, mut reconciled) = mpsc::unbounded_channel();
    let secrets: Api<Secret> = Api::default_namespaced(server.client.clone());
    let controller = Controller::new(server.jobs(), watcher::Config::default())
        .owns(secrets.clone(), watcher::Config::default())
        .run(
            |job: Arc<FederatedLearningJob>, sender| async move {
                let version = job.resource_version().unwrap_or_default();
                sender.send(format!("{} {version}", job.name_any())).ok();
                Ok::<_, std::convert::Infallible>(Action::await_change())
            },
            |_, _, _| Action::await_change(),
            Arc::new(sender),
        )
        .for_each(|_| async {});
    let running = tokio::spawn(controller);

    let job = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let expected = format!("digits {}", job.resource_version().unwrap());
    assert_eq!(soon(reconciled.recv()).await.unwrap(), expected);
    let mut secret = Secret::default();
    secret.metadata.name = Some("of-digits".to_owned());
    secret.metadata.owner_references = job.controller_owner_ref(&()).map(|owner| vec![owner]);
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(
        soon(reconciled.recv()).await.unwrap(),
        expected,
        "the owner has not changed, what it owns has"
    );
    secrets.delete("of-digits", &DeleteParams::default()).await.unwrap();
    assert_eq!(soon(reconciled.recv()).await.unwrap(), expected);
    running.abort();
}
