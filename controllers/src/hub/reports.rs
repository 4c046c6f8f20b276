//! What nodes say of their Workers and Datasets, on its way into the resources. Fed by `session`; one task
//! writes.
//!
//! Of each object the latest word is kept, so a node that talks faster than the API server writes costs
//! the memory of its objects and no more; a final word is not replaced by an earlier one that comes late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use kube::api::{Api, PostParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt as _};
use parking_lot::Mutex;
use sedge_api::node;
use sedge_api::resources::{Dataset, Worker};
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::Inner;
use super::status::{dataset_status, is_final, worker_status};
use super::view::View;

/// Objects written at a time.
const AT_ONCE: usize = 8;
/// Pause after the API server did not take a write.
const PAUSE: Duration = Duration::from_millis(200);

/// Statuses that are still to be written.
#[derive(Default)]
pub(super) struct Reports {
    pending: Mutex<BTreeMap<Key, Report>>,
    news: Notify,
}

/// Kind, namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    kind: Kind,
    namespace: String,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Worker,
    Dataset,
}

/// What `node` said.
#[derive(Debug, Clone)]
struct Report {
    node: String,
    said: Said,
}

#[derive(Debug, Clone)]
enum Said {
    Worker(Box<node::WorkerStatus>),
    Dataset(Box<node::DatasetStatus>),
}

impl Reports {
    /// Take a node's word for the Workers and Datasets that are its own, and for no others.
    pub fn take(&self, view: &View, node: &str, status: node::Status) {
        let mut pending = self.pending.lock();
        for said in status.workers {
            let reference = ObjectRef::new(&said.name).within(&said.namespace);
            let Some(worker) = view.workers.get(&reference) else {
                debug!(node, worker = said.name, "a status of a Worker that is gone");
                continue;
            };
            if worker.spec.node != node {
                warn!(node, worker = said.name, of = worker.spec.node, "a node spoke of another's Worker");
            } else if worker.uid().as_deref() == Some(&said.uid) {
                let key =
                    Key { kind: Kind::Worker, namespace: said.namespace.clone(), name: said.name.clone() };
                let report = Report { node: node.to_owned(), said: Said::Worker(Box::new(said)) };
                pending.entry(key).and_modify(|old| old.replace(&report)).or_insert(report);
            }
        }
        for said in status.datasets {
            let reference = ObjectRef::new(&said.name).within(&said.namespace);
            match view.datasets.get(&reference) {
                Some(dataset) if dataset.spec.node == node => {
                    let key = Key {
                        kind: Kind::Dataset,
                        namespace: said.namespace.clone(),
                        name: said.name.clone(),
                    };
                    pending
                        .insert(key, Report { node: node.to_owned(), said: Said::Dataset(Box::new(said)) });
                }
                Some(dataset) => {
                    warn!(
                        node,
                        dataset = said.name,
                        of = dataset.spec.node,
                        "a node spoke of another's Dataset"
                    );
                }
                None => debug!(node, dataset = said.name, "a status of a Dataset that is gone"),
            }
        }
        drop(pending);
        self.news.notify_one();
    }

    /// Keep what was not written, unless there is a later word already.
    fn take_back(&self, failed: Vec<(Key, Report)>) {
        let mut pending = self.pending.lock();
        for (key, earlier) in failed {
            match pending.remove(&key) {
                Some(later) => {
                    let mut kept = earlier;
                    kept.replace(&later);
                    pending.insert(key, kept);
                }
                None => drop(pending.insert(key, earlier)),
            }
        }
        drop(pending);
        self.news.notify_one();
    }
}

impl Report {
    /// Take the place of this report, unless it is the final one of the same Worker and `later` is not.
    fn replace(&mut self, later: &Self) {
        let keep = match (&self.said, &later.said) {
            (Said::Worker(old), Said::Worker(new)) => old.uid == new.uid && is_final(old) && !is_final(new),
            _ => false,
        };
        if !keep {
            *self = later.clone();
        }
    }
}

/// Write what is reported until shutdown, and then once more what is left.
pub(super) async fn write(hub: Arc<Inner>) {
    loop {
        let last = tokio::select! {
            () = hub.reports.news.notified() => false,
            () = hub.shutdown.cancelled() => true,
        };
        let batch = std::mem::take(&mut *hub.reports.pending.lock());
        let failed = stream::iter(batch)
            .map(|(key, report)| write_one(&hub.client, key, report))
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect::<Vec<_>>()
            .await;
        if last {
            return;
        }
        if !failed.is_empty() {
            hub.reports.take_back(failed);
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = hub.shutdown.cancelled() => {}
            }
        }
    }
}

/// Write one report; given back if it is worth another try.
async fn write_one(client: &Client, key: Key, report: Report) -> Option<(Key, Report)> {
    let written = match &report.said {
        Said::Worker(said) => write_worker(client, &key, &report.node, said).await,
        Said::Dataset(said) => write_dataset(client, &key, &report.node, said).await,
    };
    match written {
        Ok(()) => None,
        Err(kube::Error::Api(status)) if status.code == 404 => None,
        Err(kube::Error::Api(status))
            if (400..500).contains(&status.code) && !matches!(status.code, 409 | 429) =>
        {
            warn!(?key, error = %status.message, "the API server refuses this status for good");
            None
        }
        Err(error) => {
            debug!(?key, %error, "a status was not written; trying again");
            Some((key, report))
        }
    }
}

/// Replacing the status that was read, by its resourceVersion, keeps what ended from being opened again,
/// whoever wrote in between.
async fn write_worker(
    client: &Client,
    key: &Key,
    node: &str,
    said: &node::WorkerStatus,
) -> Result<(), kube::Error> {
    let workers: Api<Worker> = Api::namespaced(client.clone(), &key.namespace);
    let Some(mut worker) = workers.get_opt(&key.name).await? else { return Ok(()) };
    let ended = worker.status.as_ref().is_some_and(|status| status.phase.is_final());
    if ended || worker.spec.node != node || worker.uid().as_deref() != Some(&said.uid) {
        return Ok(());
    }
    let Some(status) = worker_status(said) else { return Ok(()) };
    if same(worker.status.as_ref(), &status) {
        return Ok(());
    }
    worker.status = Some(status);
    workers.replace_status(&key.name, &PostParams::default(), &worker).await.map(|_| ())
}

async fn write_dataset(
    client: &Client,
    key: &Key,
    node: &str,
    said: &node::DatasetStatus,
) -> Result<(), kube::Error> {
    let datasets: Api<Dataset> = Api::namespaced(client.clone(), &key.namespace);
    let Some(mut dataset) = datasets.get_opt(&key.name).await? else { return Ok(()) };
    // A word on an earlier generation is followed by one on this.
    if dataset.spec.node != node || dataset.metadata.generation != Some(said.generation) {
        return Ok(());
    }
    let conditions = dataset.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    let status = dataset_status(said, conditions);
    if same(dataset.status.as_ref(), &status) {
        return Ok(());
    }
    dataset.status = Some(status);
    datasets.replace_status(&key.name, &PostParams::default(), &dataset).await.map(|_| ())
}

/// Whether both read the same once written, where times are whole seconds.
fn same<S: serde::Serialize>(present: Option<&S>, new: &S) -> bool {
    let (present, new) = (present.map(serde_json::to_value), serde_json::to_value(new));
    matches!((present, new), (Some(Ok(present)), Ok(new)) if present == new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(phase: node::WorkerPhase, done: u64) -> Report {
        let said =
            node::WorkerStatus { uid: "u".to_owned(), phase: phase.into(), done, ..Default::default() };
        Report { node: "edge-1".to_owned(), said: Said::Worker(Box::new(said)) }
    }

    fn done(report: &Report) -> u64 {
        let Said::Worker(said) = &report.said else { panic!("{report:?}") };
        said.done
    }

    #[test]
    fn the_latest_word_counts() {
        let mut report = said(node::WorkerPhase::Running, 1);
        report.replace(&said(node::WorkerPhase::Running, 2));
        assert_eq!(done(&report), 2);
    }

    #[test]
    fn a_final_word_is_not_taken_back() {
        let mut report = said(node::WorkerPhase::Succeeded, 3);
        report.replace(&said(node::WorkerPhase::Running, 2));
        assert_eq!(done(&report), 3);
    }
}
