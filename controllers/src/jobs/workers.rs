//! A job's identity, and the Workers that bear it. Called by each kind's `decide` and `workers`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::ObjectMeta;
use kube::{Resource, ResourceExt as _};
use sedge_api::resources::{JobReference, Worker, WorkerPhase, WorkerSpec, WorkerStatus};

/// The label of a Worker with its job's name, where that fits a label.
pub const JOB_LABEL: &str = "sedge.dev/job";
/// The label of a Worker with its job's uid.
pub const JOB_UID_LABEL: &str = "sedge.dev/job-uid";
/// The label of a Worker with its role.
const ROLE_LABEL: &str = "sedge.dev/role";

/// Who Workers are for.
pub(crate) struct Job {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub owner: OwnerReference,
}

impl Job {
    /// The identity of `resource`. None where it did not come from an API server, or is being deleted, which
    /// takes its Workers with it.
    pub fn of<K: Resource<DynamicType = ()>>(resource: &K) -> Option<Self> {
        let meta = resource.meta();
        if meta.deletion_timestamp.is_some() {
            return None;
        }
        let owner = resource.controller_owner_ref(&())?;
        Some(Self {
            name: meta.name.clone()?,
            namespace: meta.namespace.clone()?,
            uid: meta.uid.clone()?,
            owner: OwnerReference { block_owner_deletion: Some(true), ..owner },
        })
    }

    /// As a Worker refers to it.
    pub fn reference(&self) -> JobReference {
        JobReference { kind: self.owner.kind.clone(), name: self.name.clone(), uid: self.uid.clone() }
    }

    /// Whether `worker` is of this job.
    pub fn owns(&self, worker: &Worker) -> bool {
        let owners = worker.owner_references().iter();
        owners.into_iter().any(|owner| owner.uid == self.uid && owner.controller == Some(true))
    }

    /// The labels of what the job makes.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([(JOB_UID_LABEL.to_owned(), self.uid.clone())]);
        if self.name.len() <= 63 {
            labels.insert(JOB_LABEL.to_owned(), self.name.clone());
        }
        labels
    }

    /// A Worker of this job.
    pub fn worker(&self, name: String, spec: WorkerSpec) -> Worker {
        let mut labels = self.labels();
        labels.insert(ROLE_LABEL.to_owned(), spec.role.word().to_owned());
        let metadata = ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(labels),
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        };
        Worker { metadata, spec, status: None }
    }

    /// Workers that bear the job's ownership but are none of those that it wants.
    pub fn surplus<'a>(
        &'a self,
        workers: impl IntoIterator<Item = &'a Worker> + 'a,
        wanted: &'a [Worker],
    ) -> impl Iterator<Item = &'a Worker> + 'a {
        workers.into_iter().filter(move |worker| {
            self.owns(worker)
                && worker.metadata.deletion_timestamp.is_none()
                && !wanted.iter().any(|wanted| wanted.metadata.name == worker.metadata.name)
        })
    }
}

/// The phase of a Worker; one that its node has said nothing of is pending.
pub(crate) fn phase(worker: &Worker) -> WorkerPhase {
    worker.status.as_ref().map(|status| status.phase).unwrap_or_default()
}

/// Why a Worker failed, for people: `Trapped: unreachable executed`.
pub(crate) fn failure(status: &WorkerStatus) -> (String, String) {
    let reason = status.reason.clone().filter(|reason| !reason.is_empty());
    (reason.unwrap_or_else(|| "Unknown".to_owned()), status.message.clone().unwrap_or_default())
}
