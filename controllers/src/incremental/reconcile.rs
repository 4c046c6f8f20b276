//! The shell around `decide`: observes through the API, does the actions, and is woken by watches.
//!
//! Learners say what their figures are as rows arrive. A status that differs in those alone is written at most every
//! [`FIGURES`]; services say every few seconds what they have answered, which wakes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _, future};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::runtime::controller::{Action as Requeue, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use parking_lot::Mutex;
use sedge_api::resources::{
    Dataset, EdgeNode, IncrementalLearningJob, JointInferenceService, Model, Plugin, Worker,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::decide::waits;
use super::{Action, Decision, Observed, decide};
use crate::jobs::{
    Failures, ReconcileError, already_exists, conflict, declare_worker, delete_worker, failed, list,
    not_found, unless,
};

/// How often figures are written.
const FIGURES: Duration = Duration::from_secs(2);

type Job = IncrementalLearningJob;

struct Context {
    client: Client,
    failures: Failures<Job>,
    /// When each job's status was last written.
    written: Mutex<HashMap<ObjectRef<Job>, Instant>>,
}

/// Reconcile all IncrementalLearningJobs until `shutdown`.
pub async fn run(client: Client, shutdown: CancellationToken) {
    let jobs: Api<Job> = Api::all(client.clone());
    let every = watcher::Config::default;
    let controller = Controller::new(jobs, every());
    let store = controller.store();
    let context = Arc::new(Context {
        client: client.clone(),
        failures: Failures::default(),
        written: Mutex::default(),
    });
    let all = store.clone();
    controller
        .owns(Api::<Worker>::all(client.clone()), every())
        .watches(Api::<Plugin>::all(client.clone()), every(), waiting_in_namespace_of(store.clone()))
        .watches(Api::<Model>::all(client.clone()), every(), waiting_in_namespace_of(store.clone()))
        .watches(Api::<Dataset>::all(client.clone()), every(), waiting_in_namespace_of(store))
        .watches(Api::<EdgeNode>::all(client.clone()), every(), move |_| jobs_where(&all, |_| true))
        .reconcile_all_on(news_of_services(&client))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, |job, error, context: Arc<Context>| context.failures.again(&job, error), context)
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                warn!(%error, "a job was not reconciled");
            }
        })
        .await;
}

/// Jobs that a change to a named resource may set going: those of its namespace whose spec is to be taken up. A job that
/// the store does not hold yet will be reconciled for itself, and then sees the change too.
fn waiting_in_namespace_of<K: Resource<DynamicType = ()>>(
    store: Store<Job>,
) -> impl Fn(K) -> Vec<ObjectRef<Job>> {
    move |changed| jobs_where(&store, |job| job.namespace() == changed.namespace() && waits(job))
}

fn jobs_where(store: &Store<Job>, holds: impl Fn(&Job) -> bool) -> Vec<ObjectRef<Job>> {
    store.state().iter().filter(|job| holds(job)).map(|job| ObjectRef::from_obj(job.as_ref())).collect()
}

/// What is known of a service, but for counts.
#[derive(PartialEq)]
struct Known {
    generation: Option<i64>,
    observed: Option<i64>,
    rollout: Option<(u64, sedge_api::resources::RolloutState)>,
    phase: Option<sedge_api::resources::ServicePhase>,
    hard_share: Option<i64>,
}

impl Known {
    fn of(service: &JointInferenceService) -> Self {
        let status = service.status.as_ref();
        let rollout = status.and_then(|status| status.rollout.as_ref());
        Self {
            generation: service.metadata.generation,
            observed: status.and_then(|status| status.observed_generation),
            rollout: rollout.map(|rollout| (rollout.revision, rollout.state)),
            phase: status.map(|status| status.phase),
            hard_share: status
                .and_then(|status| status.hard_share)
                .map(|share| (share * 100.0).round() as i64),
        }
    }
}

/// A moment at which something about a service has changed that a job may want to know.
fn news_of_services(client: &Client) -> impl Stream<Item = ()> + Send + 'static + use<> {
    let services: Api<JointInferenceService> = Api::all(client.clone());
    let mut known: HashMap<String, Known> = HashMap::new();
    watcher(services, watcher::Config::default()).default_backoff().filter_map(move |event| {
        let news = match event {
            Ok(watcher::Event::Apply(service) | watcher::Event::InitApply(service)) => {
                let (uid, now) = (service.uid().unwrap_or_default(), Known::of(&service));
                known.get(&uid) != Some(&now) && {
                    known.insert(uid, now);
                    true
                }
            }
            Ok(watcher::Event::Delete(service)) => {
                known.remove(&service.uid().unwrap_or_default());
                true
            }
            Ok(watcher::Event::Init | watcher::Event::InitDone) => false,
            Err(error) => {
                debug!(%error, "the watch of services was interrupted and is resumed");
                false
            }
        };
        future::ready(news.then_some(()))
    })
}

async fn reconcile(job: Arc<Job>, context: Arc<Context>) -> Result<Requeue, ReconcileError> {
    let key = ObjectRef::from_obj(job.as_ref());
    let apis = Apis::new(&context.client, &job.namespace().unwrap_or_default());
    let Some(observed) = apis.observe(&job.name_any()).await? else {
        context.failures.forget(&job);
        context.written.lock().remove(&key);
        return Ok(Requeue::await_change());
    };
    let Decision { actions, again_after: mut again } = decide(&observed);
    for action in actions {
        if let Action::WriteStatus { at_once: false, .. } = &action {
            let last = context.written.lock().get(&key).copied();
            let wait = last.map_or(Duration::ZERO, |last| FIGURES.saturating_sub(last.elapsed()));
            if !wait.is_zero() {
                again = Some(again.map_or(wait, |after| after.min(wait)));
                continue;
            }
        }
        let writes_status = matches!(action, Action::WriteStatus { .. });
        apis.act(&observed.job, action).await?;
        if writes_status {
            context.written.lock().insert(key.clone(), Instant::now());
        }
    }
    context.failures.forget(&job);
    Ok(again.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// The APIs of one namespace.
struct Apis {
    jobs: Api<Job>,
    plugins: Api<Plugin>,
    models: Api<Model>,
    datasets: Api<Dataset>,
    nodes: Api<EdgeNode>,
    workers: Api<Worker>,
    services: Api<JointInferenceService>,
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
            services: Api::namespaced(client.clone(), namespace),
        }
    }

    /// What is so now, read afresh: a cache of another watch than the one that woke us may lag behind it, and nothing
    /// would wake us again. None: the job is gone.
    async fn observe(&self, name: &str) -> Result<Option<Observed>, ReconcileError> {
        let Some(job) = self.jobs.get_opt(name).await.map_err(failed(|| format!("read job `{name}`")))?
        else {
            return Ok(None);
        };
        let waits = waits(&job);
        Ok(Some(Observed {
            plugins: if waits { list(&self.plugins, "plugins").await? } else { Vec::new() },
            datasets: if waits { list(&self.datasets, "datasets").await? } else { Vec::new() },
            models: list(&self.models, "models").await?,
            nodes: list(&self.nodes, "nodes").await?,
            workers: list(&self.workers, "workers").await?,
            services: list(&self.services, "services").await?.into_iter().map(Arc::new).collect(),
            now: Timestamp::now(),
            job,
        }))
    }

    async fn act(&self, job: &Job, action: Action) -> Result<(), ReconcileError> {
        let params = PostParams::default();
        match action {
            Action::DeclareWorker(worker) => declare_worker(&self.workers, &worker).await,
            Action::RewriteWorker(worker) => {
                // It bears the resourceVersion that was decided on.
                let name = worker.name_any();
                let written = self.workers.replace(&name, &params, &worker).await;
                unless(written, not_found, || format!("rewrite worker `{name}`"))
            }
            Action::DeleteWorker { name, uid } => delete_worker(&self.workers, &name, uid).await,
            Action::DeclareModel(model) => {
                let made = self.models.create(&params, &model).await;
                unless(made, already_exists, || format!("declare model `{}`", model.name_any()))
            }
            Action::DeleteModel { name, uid } => {
                let only = Preconditions { uid: Some(uid), ..Preconditions::default() };
                let gone = self.models.delete(&name, &DeleteParams::default().preconditions(only)).await;
                unless(gone, |error| not_found(error) || conflict(error), || format!("delete model `{name}`"))
            }
            Action::DeclareService(service) => {
                let made = self.services.create(&params, &service).await;
                unless(made, already_exists, || format!("declare service `{}`", service.name_any()))
            }
            Action::RewriteService(service) => {
                let name = service.name_any();
                let written = self.services.replace(&name, &params, &service).await;
                unless(written, not_found, || format!("rewrite service `{name}`"))
            }
            Action::WriteStatus { status, .. } => {
                let mut replaced = job.clone();
                replaced.status = Some(*status);
                let name = job.name_any();
                let written = self.jobs.replace_status(&name, &params, &replaced).await;
                unless(written, not_found, || format!("write the status of job `{name}`"))
            }
        }
    }
}
