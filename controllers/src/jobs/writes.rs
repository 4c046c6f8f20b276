//! Reads and writes of a reconciler's shell: what failed and for what, what is no failure, and when to try
//! again.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt as _};
use parking_lot::Mutex;
use sedge_api::resources::Worker;
use thiserror::Error;
use tracing::{debug, warn};

/// Delay after the n-th failure in a row is this times 2ⁿ, up to [`LONGEST_DELAY`].
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// A write or read that the API server refused; the job is tried again.
#[derive(Debug, Error)]
#[error("cannot {what}: {source}")]
pub struct ReconcileError {
    what: String,
    #[source]
    source: Box<kube::Error>,
}

/// Failures in a row, by job.
pub(crate) struct Failures<K: Resource<DynamicType = ()>>(Mutex<HashMap<ObjectRef<K>, u32>>)
where
    ObjectRef<K>: Eq + Hash;

impl<K: Resource<DynamicType = ()>> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Resource<DynamicType = ()>> Failures<K> {
    /// The job was reconciled, or is gone.
    pub fn forget(&self, job: &K) {
        self.0.lock().remove(&ObjectRef::from_obj(job));
    }

    /// When to try again after `error`.
    pub fn again(&self, job: &K, error: &ReconcileError) -> Action {
        let mut failures = self.0.lock();
        let count = failures.entry(ObjectRef::from_obj(job)).or_default();
        let delay = FIRST_DELAY.saturating_mul(1 << (*count).min(16)).min(LONGEST_DELAY);
        *count = count.saturating_add(1);
        // A conflict is the ordinary end of deciding on what has changed meanwhile.
        if conflict(&error.source) {
            debug!(job = job.name_any(), %error, "the job changed meanwhile");
        } else {
            warn!(job = job.name_any(), %error, ?delay, "trying again");
        }
        Action::requeue(delay)
    }
}

/// All of a kind that `api` reaches.
pub(crate) async fn list<K>(api: &Api<K>, what: &'static str) -> Result<Vec<K>, ReconcileError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let listed = api.list(&ListParams::default()).await.map_err(failed(|| format!("list {what}")))?;
    Ok(listed.items)
}

/// The error of doing `what`.
pub(crate) fn failed(what: impl FnOnce() -> String) -> impl FnOnce(kube::Error) -> ReconcileError {
    move |source| ReconcileError { what: what(), source: Box::new(source) }
}

/// The outcome of a write, where an error that is `harmless` is none.
pub(crate) fn unless<T>(
    outcome: Result<T, kube::Error>,
    harmless: impl FnOnce(&kube::Error) -> bool,
    what: impl FnOnce() -> String,
) -> Result<(), ReconcileError> {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if harmless(&error) => Ok(()),
        Err(error) => Err(failed(what)(error)),
    }
}

/// Make a Worker, unless one of its name is there.
pub(crate) async fn declare_worker(workers: &Api<Worker>, worker: &Worker) -> Result<(), ReconcileError> {
    let made = workers.create(&PostParams::default(), worker).await;
    unless(made, already_exists, || format!("declare worker `{}`", worker.name_any()))
}

/// Delete the Worker of this name and uid; another of its name stays.
pub(crate) async fn delete_worker(
    workers: &Api<Worker>,
    name: &str,
    uid: String,
) -> Result<(), ReconcileError> {
    let only = Preconditions { uid: Some(uid), ..Preconditions::default() };
    let gone = workers.delete(name, &DeleteParams::default().preconditions(only)).await;
    unless(gone, |error| not_found(error) || conflict(error), || format!("delete worker `{name}`"))
}

pub(crate) fn already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

pub(crate) fn conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "Conflict")
}

pub(crate) fn not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
