//! The latest status of every worker and dataset of this node. Workers write, the link reads what changed.
//!
//! There is one entry per object however often it changes, so a slow link costs nothing but freshness.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use sedge_api::node::{DatasetStatus, Status, WorkerStatus};
use tokio::sync::Notify;

/// Status of the node's objects.
#[derive(Default)]
pub struct Board {
    entries: Mutex<Entries>,
    changed: Notify,
}

#[derive(Default)]
struct Entries {
    workers: BTreeMap<String, WorkerStatus>,
    /// By namespace/name.
    datasets: BTreeMap<String, DatasetStatus>,
    changed_workers: BTreeSet<String>,
    changed_datasets: BTreeSet<String>,
}

impl Board {
    /// Put a worker's status, by its uid.
    pub fn put_worker(&self, status: WorkerStatus) {
        let mut entries = self.entries.lock();
        entries.changed_workers.insert(status.uid.clone());
        entries.workers.insert(status.uid.clone(), status);
        drop(entries);
        self.changed.notify_one();
    }

    /// Change a worker's status where there is one.
    pub fn update_worker(&self, uid: &str, change: impl FnOnce(&mut WorkerStatus)) {
        let mut entries = self.entries.lock();
        let Some(status) = entries.workers.get_mut(uid) else { return };
        change(status);
        entries.changed_workers.insert(uid.to_owned());
        drop(entries);
        self.changed.notify_one();
    }

    /// A worker's status.
    pub fn worker(&self, uid: &str) -> Option<WorkerStatus> {
        self.entries.lock().workers.get(uid).cloned()
    }

    /// Forget a worker.
    pub fn remove_worker(&self, uid: &str) {
        let mut entries = self.entries.lock();
        entries.workers.remove(uid);
        entries.changed_workers.remove(uid);
    }

    /// Put a dataset's status.
    pub fn put_dataset(&self, status: DatasetStatus) {
        let key = format!("{}/{}", status.namespace, status.name);
        let mut entries = self.entries.lock();
        entries.changed_datasets.insert(key.clone());
        entries.datasets.insert(key, status);
        drop(entries);
        self.changed.notify_one();
    }

    /// Forget a dataset, by namespace/name.
    pub fn remove_dataset(&self, key: &str) {
        let mut entries = self.entries.lock();
        entries.datasets.remove(key);
        entries.changed_datasets.remove(key);
    }

    /// All there is; what changed before is thereby said.
    pub fn everything(&self) -> Status {
        let mut entries = self.entries.lock();
        entries.changed_workers.clear();
        entries.changed_datasets.clear();
        Status {
            workers: entries.workers.values().cloned().collect(),
            datasets: entries.datasets.values().cloned().collect(),
        }
    }

    /// What changed since it was last asked; None: nothing.
    pub fn changes(&self) -> Option<Status> {
        let mut entries = self.entries.lock();
        let workers = std::mem::take(&mut entries.changed_workers);
        let datasets = std::mem::take(&mut entries.changed_datasets);
        let status = Status {
            workers: workers.iter().filter_map(|uid| entries.workers.get(uid).cloned()).collect(),
            datasets: datasets.iter().filter_map(|key| entries.datasets.get(key).cloned()).collect(),
        };
        (!status.workers.is_empty() || !status.datasets.is_empty()).then_some(status)
    }

    /// Returns when something has changed since this last returned. For one caller at a time.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(uid: &str, done: u64) -> WorkerStatus {
        WorkerStatus { uid: uid.to_owned(), done, ..WorkerStatus::default() }
    }

    #[test]
    fn many_changes_of_one_worker_are_one_message_with_the_last() {
        let board = Board::default();
        board.put_worker(worker("a", 0));
        board.put_worker(worker("b", 0));
        assert_eq!(board.everything().workers.len(), 2);
        assert_eq!(board.changes(), None);
        for done in 1..=100 {
            board.update_worker("a", |status| status.done = done);
        }
        assert_eq!(board.changes().unwrap().workers, [worker("a", 100)]);
        assert_eq!(board.changes(), None);
    }

    #[test]
    fn a_worker_that_is_forgotten_is_not_spoken_of() {
        let board = Board::default();
        board.put_worker(worker("a", 0));
        board.remove_worker("a");
        board.update_worker("a", |status| status.done = 1);
        assert_eq!(board.changes(), None);
    }
}
