//! The shell around `decide`: observes through the API, does the actions, and is woken by watches.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::runtime::controller::{Action as Requeue, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt as _};
use sedge_api::resources::{Dataset, EdgeNode, FederatedLearningJob, JobPhase, Model, Plugin, Worker};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Action, Decision, Observed, decide};
use crate::jobs::{
    Failures, ReconcileError, already_exists, declare_worker, delete_worker, failed, list, not_found, unless,
};

struct Context {
    client: Client,
    failures: Failures<FederatedLearningJob>,
}

/// Reconcile all FederatedLearningJobs until `shutdown`.
pub async fn run(client: Client, shutdown: CancellationToken) {
    let jobs: Api<FederatedLearningJob> = Api::all(client.clone());
    let every = watcher::Config::default;
    let controller = Controller::new(jobs, every());
    let store = controller.store();
    let context = Arc::new(Context { client: client.clone(), failures: Failures::default() });
    controller
        .owns(Api::<Worker>::all(client.clone()), every())
        .watches(Api::<Plugin>::all(client.clone()), every(), waiting_in_namespace_of(store.clone()))
        .watches(Api::<Model>::all(client.clone()), every(), waiting_in_namespace_of(store.clone()))
        .watches(Api::<Dataset>::all(client.clone()), every(), waiting_in_namespace_of(store.clone()))
        .watches(Api::<EdgeNode>::all(client), every(), move |_| jobs_where(&store, |job| !is_over(job)))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, error_policy, context)
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                warn!(%error, "a job was not reconciled");
            }
        })
        .await;
}

/// Jobs that a change to a named resource may set going: those of its namespace that have not begun. A job
/// that the store does not hold yet will be reconciled for itself, and then sees the change too.
fn waiting_in_namespace_of<K: Resource<DynamicType = ()>>(
    store: Store<FederatedLearningJob>,
) -> impl Fn(K) -> Vec<ObjectRef<FederatedLearningJob>> {
    move |changed| {
        jobs_where(&store, |job| {
            job.namespace() == changed.namespace() && begun(job).is_none() && !is_over(job)
        })
    }
}

fn jobs_where(
    store: &Store<FederatedLearningJob>,
    holds: impl Fn(&FederatedLearningJob) -> bool,
) -> Vec<ObjectRef<FederatedLearningJob>> {
    store.state().iter().filter(|job| holds(job)).map(|job| ObjectRef::from_obj(job.as_ref())).collect()
}

fn begun(job: &FederatedLearningJob) -> Option<()> {
    job.status.as_ref()?.pinned.as_ref().map(|_| ())
}

fn is_over(job: &FederatedLearningJob) -> bool {
    job.status.as_ref().is_some_and(|status| matches!(status.phase, JobPhase::Succeeded | JobPhase::Failed))
}

async fn reconcile(job: Arc<FederatedLearningJob>, context: Arc<Context>) -> Result<Requeue, ReconcileError> {
    let namespace = job.namespace().unwrap_or_default();
    let apis = Apis::new(&context.client, &namespace);
    let Some(observed) = apis.observe(&job.name_any()).await? else {
        context.failures.forget(&job);
        return Ok(Requeue::await_change());
    };
    let Decision { actions, again_after } = decide(&observed);
    for action in actions {
        apis.act(&observed.job, action).await?;
    }
    context.failures.forget(&job);
    Ok(again_after.map_or_else(Requeue::await_change, Requeue::requeue))
}

fn error_policy(job: Arc<FederatedLearningJob>, error: &ReconcileError, context: Arc<Context>) -> Requeue {
    context.failures.again(&job, error)
}

/// The APIs of one namespace.
struct Apis {
    jobs: Api<FederatedLearningJob>,
    plugins: Api<Plugin>,
    models: Api<Model>,
    datasets: Api<Dataset>,
    nodes: Api<EdgeNode>,
    workers: Api<Worker>,
}

impl Apis {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            jobs: Api::namespaced(client.clone(), namespace),
            plugins: Api::namespaced(client.clone(), namespace),
            models: Api::namespaced(client.clone(), namespace),
            datasets: Api::namespaced(client.clone(), namespace),
            nodes: Api::all(client.clone()),
            workers: Api::namespaced(client.clone(), namespace),
        }
    }

    /// What is so now, read afresh: a cache of another watch than the one that woke us may lag behind it,
    /// and nothing would wake us again. None: the job is gone.
    async fn observe(&self, name: &str) -> Result<Option<Observed>, ReconcileError> {
        let Some(job) = self.jobs.get_opt(name).await.map_err(failed(|| format!("read job `{name}`")))?
        else {
            return Ok(None);
        };
        let waits = begun(&job).is_none() && !is_over(&job);
        Ok(Some(Observed {
            plugins: if waits { list(&self.plugins, "plugins").await? } else { Vec::new() },
            datasets: if waits { list(&self.datasets, "datasets").await? } else { Vec::new() },
            models: if is_over(&job) { Vec::new() } else { list(&self.models, "models").await? },
            nodes: if is_over(&job) { Vec::new() } else { list(&self.nodes, "nodes").await? },
            workers: if waits { Vec::new() } else { list(&self.workers, "workers").await? },
            now: Timestamp::now(),
            job,
        }))
    }

    async fn act(&self, job: &FederatedLearningJob, action: Action) -> Result<(), ReconcileError> {
        let create = PostParams::default();
        match action {
            Action::DeclareWorker(worker) => declare_worker(&self.workers, &worker).await,
            Action::DeleteWorker { name, uid } => delete_worker(&self.workers, &name, uid).await,
            Action::EndWorker { name, uid, status } => self.end_worker(&name, &uid, *status).await,
            Action::DeclareModel(model) => {
                let made = self.models.create(&create, &model).await;
                unless(made, already_exists, || format!("declare model `{}`", model.name_any()))
            }
            Action::WriteStatus(status) => {
                // A replacement bears the resourceVersion that was decided on, so it fails if the job has
                // changed since; and, unlike in a merge patch, a null among pinned parameters stays one.
                let mut replaced = job.clone();
                replaced.status = Some(*status);
                let written = self.jobs.replace_status(&job.name_any(), &create, &replaced).await;
                unless(written, not_found, || format!("write the status of job `{}`", job.name_any()))
            }
        }
    }

    async fn end_worker(
        &self,
        name: &str,
        uid: &str,
        status: sedge_api::resources::WorkerStatus,
    ) -> Result<(), ReconcileError> {
        let what = || format!("end worker `{name}`");
        let Some(mut worker) = self.workers.get_opt(name).await.map_err(failed(what))? else { return Ok(()) };
        let ended = worker.status.as_ref().is_some_and(|status| status.phase.is_final());
        if ended || worker.uid().as_deref() != Some(uid) {
            return Ok(());
        }
        worker.status = Some(status);
        unless(self.workers.replace_status(name, &PostParams::default(), &worker).await, not_found, what)
    }
}
