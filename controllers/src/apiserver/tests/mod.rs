//! The server as its users see it: through `kube::Client`, or over HTTP where the client hides too much.

mod deletion;
mod durability;
mod http;
mod learning;
mod objects;
mod services;
mod watching;

use std::future::Future;
use std::time::Duration;

use kube::{Api, Client};
use sedge_api::resources::{EdgeNode, FederatedLearningJob, definitions};
use serde_json::json;
use tempfile::TempDir;

use super::ApiServer;
use super::store::HistoryLimits;

/// A server over a database of its own.
struct Server {
    api: ApiServer,
    client: Client,
    directory: TempDir,
}

impl Server {
    fn start() -> Self {
        Self::with_history(HistoryLimits::default())
    }

    fn with_history(history: HistoryLimits) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let api = ApiServer::open_with(&directory.path().join("api.db"), definitions(), history).unwrap();
        Self { client: api.client("default"), api, directory }
    }

    fn jobs(&self) -> Api<FederatedLearningJob> {
        Api::default_namespaced(self.client.clone())
    }

    fn nodes(&self) -> Api<EdgeNode> {
        Api::all(self.client.clone())
    }
}

fn job(name: &str) -> FederatedLearningJob {
    serde_json::from_value(json!({
        "apiVersion": "sedge.dev/v1alpha1", "kind": "FederatedLearningJob",
        "metadata": {"name": name, "labels": {"task": "digits"}},
        "spec": {
            "model": "digits-mlp:1",
            "aggregation": {"plugin": "fedavg:0.1.0", "rounds": 20},
            "training": {"plugin": "sgd-trainer:0.1.0", "datasets": {"names": ["a"]}},
        },
    }))
    .unwrap()
}

fn node(name: &str) -> EdgeNode {
    serde_json::from_value(json!({
        "apiVersion": "sedge.dev/v1alpha1", "kind": "EdgeNode",
        "metadata": {"name": name}, "spec": {"role": "edge"},
    }))
    .unwrap()
}

/// `work`, or a failed test where it takes too long.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("this takes milliseconds")
}

/// The `Status` that a call failed with.
fn refusal<T: std::fmt::Debug>(outcome: kube::Result<T>) -> kube::core::Status {
    match outcome {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("a Status was expected, not {other:?}"),
    }
}
