//! What outlives a server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use sedge_api::resources::{FederatedLearningJob, definitions};

use super::{Server, job, soon};
use crate::apiserver::{ApiServer, StoreError};
use futures::StreamExt as _;

/// The files as they are on disk now, as a process killed at this moment would leave them.
fn snapshot(of: &Path, to: &Path) {
    for file in ["api.db", "api.db-wal"] {
        std::fs::copy(of.join(file), to.join(file)).unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let server = Server::start();
    let made = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let left = tempfile::tempdir().unwrap();
    snapshot(server.directory.path(), left.path());

    let reopened = ApiServer::open(&left.path().join("api.db"), definitions()).unwrap();
    let jobs: Api<FederatedLearningJob> = Api::default_namespaced(reopened.client("default"));
    assert_eq!(jobs.get("digits").await.unwrap(), made);
    let next = jobs.create(&PostParams::default(), &job("next")).await.unwrap();
    let number = |job: &FederatedLearningJob| job.resource_version().unwrap().parse::<u64>().unwrap();
    assert!(number(&next) > number(&made), "versions never go back");
}

#[tokio::test]
async fn a_watch_from_before_a_restart_is_expired() {
    let server = Server::start();
    let made = server.jobs().create(&PostParams::default(), &job("digits")).await.unwrap();
    let left = tempfile::tempdir().unwrap();
    snapshot(server.directory.path(), left.path());
    let reopened = ApiServer::open(&left.path().join("api.db"), definitions()).unwrap();
    let jobs: Api<FederatedLearningJob> = Api::default_namespaced(reopened.client("default"));
    let events = jobs.watch(&WatchParams::default(), &made.resource_version().unwrap()).await.unwrap();
    let events: Vec<_> = soon(events.collect()).await;
    assert!(matches!(&events[..], [Ok(WatchEvent::Error(status))] if status.code == 410), "{events:?}");
}

#[tokio::test]
async fn a_database_has_one_server_and_is_private() {
    let server = Server::start();
    let database = server.directory.path().join("api.db");
    assert_eq!(std::fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o600);
    let second = tokio::task::spawn_blocking({
        let database = database.clone();
        move || ApiServer::open(&database, definitions()).map(drop)
    });
    assert!(matches!(soon(second).await.unwrap(), Err(StoreError::InUse { path }) if path == database));
}

#[test]
fn a_database_that_cannot_be_opened_says_which() {
    let error = ApiServer::open(Path::new("/nowhere/api.db"), definitions()).map(drop).unwrap_err();
    assert!(error.to_string().contains("/nowhere/api.db"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("api.db");
    std::fs::write(&database, "this is no database, whatever its name says").unwrap();
    assert!(ApiServer::open(&database, definitions()).is_err());
}
