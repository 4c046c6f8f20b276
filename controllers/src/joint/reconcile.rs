//! The shell around `decide`: observes through watches and the API, does the actions, and is woken by what
//! matters.
//!
//! Serving Workers say every second or so what they have answered. That alone wakes nothing: counts are looked at
//! every [`COUNTS`], in the cache that the watch keeps, and written at most that often.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _, future, stream};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::runtime::controller::{Action as Requeue, Config, applier};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use parking_lot::Mutex;
use sedge_api::resources::{EdgeNode, JointInferenceService, Model, Plugin, Worker, WorkerPhase};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Action, Decision, Observed, decide};
use crate::jobs::{Failures, ReconcileError, declare_worker, delete_worker, failed, list, not_found, unless};

/// How often counts are written.
const COUNTS: Duration = Duration::from_secs(2);
/// Between looks at whether the caches have their first lists.
const UNLISTED: Duration = Duration::from_millis(50);

type Service = JointInferenceService;

struct Context {
    client: Client,
    workers: Store<Worker>,
    nodes: Store<EdgeNode>,
    workers_listed: Arc<AtomicBool>,
    nodes_listed: Arc<AtomicBool>,
    failures: Failures<Service>,
    /// When each service's status was last written.
    written: Mutex<HashMap<ObjectRef<Service>, Instant>>,
}

/// Reconcile all JointInferenceServices until `shutdown`.
pub async fn run(client: Client, shutdown: CancellationToken) {
    let (services, services_writer) = reflector::store();
    let (workers, workers_writer) = reflector::store();
    let (nodes, nodes_writer) = reflector::store();
    let (workers_listed, nodes_listed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let all = {
        let services: Store<Service> = services.clone();
        move || {
            services.state().iter().map(|service| ObjectRef::from_obj(service.as_ref())).collect::<Vec<_>>()
        }
    };

    let own = events::<Service>(&client).reflect(services_writer).touched_objects();
    let own =
        own.filter_map(|touched| future::ready(touched.ok().map(|service| ObjectRef::from_obj(&service))));
    let of_workers = {
        let (mut news, listed, all) = (News::default(), workers_listed.clone(), all.clone());
        events::<Worker>(&client).reflect(workers_writer).flat_map(move |event| {
            stream::iter(match event {
                Ok(watcher::Event::Apply(worker)) if news.has(&worker) => {
                    owner(&worker).into_iter().collect()
                }
                Ok(watcher::Event::Delete(worker)) => {
                    news.forget(&worker);
                    owner(&worker).into_iter().collect()
                }
                Ok(watcher::Event::InitDone) => {
                    listed.store(true, Ordering::Relaxed);
                    all()
                }
                _ => Vec::new(),
            })
        })
    };
    let of_nodes = {
        let (listed, all) = (nodes_listed.clone(), all.clone());
        events::<EdgeNode>(&client).reflect(nodes_writer).flat_map(move |event| {
            stream::iter(match event {
                Ok(watcher::Event::Apply(_) | watcher::Event::Delete(_)) => all(),
                Ok(watcher::Event::InitDone) => {
                    listed.store(true, Ordering::Relaxed);
                    all()
                }
                _ => Vec::new(),
            })
        })
    };
    let sources: Vec<BoxStream<'static, ObjectRef<Service>>> = vec![
        own.boxed(),
        of_workers.boxed(),
        of_nodes.boxed(),
        waiting_for::<Plugin>(&client, services.clone()).boxed(),
        waiting_for::<Model>(&client, services.clone()).boxed(),
    ];
    let context = Arc::new(Context {
        client,
        workers,
        nodes,
        workers_listed,
        nodes_listed,
        failures: Failures::default(),
        written: Mutex::default(),
    });
    let queue = stream::select_all(sources).take_until(shutdown.cancelled_owned());
    let queue = queue.map(Ok::<_, std::convert::Infallible>);
    applier(
        |service, context| Box::pin(reconcile(service, context)),
        |service, error, context: Arc<Context>| context.failures.again(&service, error),
        context,
        services,
        queue,
        Config::default(),
    )
    .for_each(|outcome| async move {
        if let Err(error) = outcome {
            debug!(%error, "a service was not reconciled");
        }
    })
    .await;
}

/// The events of a kind; a watch that breaks is resumed.
fn events<K>(client: &Client) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let api: Api<K> = Api::all(client.clone());
    watcher(api, watcher::Config::default()).default_backoff().inspect(|event| {
        if let Err(error) = event {
            debug!(kind = %K::kind(&()), %error, "the watch was interrupted and is resumed");
        }
    })
}

/// Services of a namespace that a change to a named resource may set going: those whose spec waits to be taken up.
fn waiting_for<K>(
    client: &Client,
    services: Store<Service>,
) -> impl Stream<Item = ObjectRef<Service>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    events::<K>(client).touched_objects().flat_map(move |touched| {
        let namespace = touched.ok().and_then(|changed| changed.namespace());
        let waits = |service: &&Arc<Service>| {
            namespace.is_some() && service.namespace() == namespace && waits(service)
        };
        let services = services.state();
        stream::iter(
            services.iter().filter(waits).map(|s| ObjectRef::from_obj(s.as_ref())).collect::<Vec<_>>(),
        )
    })
}

/// Whether the spec is still to be taken up.
fn waits(service: &Service) -> bool {
    let status = service.status.as_ref();
    status.is_none_or(|s| s.current.is_none() || s.observed_generation != service.metadata.generation)
}

/// The service that a Worker is of.
fn owner(worker: &Worker) -> Option<ObjectRef<Service>> {
    let kind = Service::kind(&());
    let owner = worker.owner_references().iter().find(|o| o.controller == Some(true) && o.kind == kind)?;
    Some(ObjectRef::new(&owner.name).within(&worker.namespace()?))
}

/// What was last known of each Worker, but for counts.
#[derive(Default)]
struct News(HashMap<String, Known>);

#[derive(Debug, PartialEq)]
struct Known {
    generation: Option<i64>,
    deleting: bool,
    phase: WorkerPhase,
    serves: Option<(u64, bool)>,
    rollout: Option<sedge_api::resources::RolloutReport>,
    breaker: Option<sedge_api::resources::Breaker>,
}

impl News {
    fn has(&mut self, worker: &Worker) -> bool {
        let status = worker.status.as_ref();
        let report = status.and_then(|status| status.serving.as_ref());
        let known = Known {
            generation: worker.metadata.generation,
            deleting: worker.metadata.deletion_timestamp.is_some(),
            phase: status.map(|status| status.phase).unwrap_or_default(),
            serves: report.map(|report| (report.revision, report.instances > 0)),
            rollout: report.and_then(|report| report.rollout.clone()),
            breaker: report.and_then(|report| report.breaker),
        };
        let uid = worker.uid().unwrap_or_default();
        if self.0.get(&uid) == Some(&known) {
            return false;
        }
        self.0.insert(uid, known);
        true
    }

    fn forget(&mut self, worker: &Worker) {
        self.0.remove(&worker.uid().unwrap_or_default());
    }
}

async fn reconcile(service: Arc<Service>, context: Arc<Context>) -> Result<Requeue, ReconcileError> {
    // What is not yet listed would be held for not there.
    if !context.workers_listed.load(Ordering::Relaxed) || !context.nodes_listed.load(Ordering::Relaxed) {
        return Ok(Requeue::requeue(UNLISTED));
    }
    let key = ObjectRef::from_obj(service.as_ref());
    let apis = Apis::new(&context.client, &service.namespace().unwrap_or_default());
    let Some(observed) = apis.observe(&service.name_any(), &context).await? else {
        context.failures.forget(&service);
        context.written.lock().remove(&key);
        return Ok(Requeue::await_change());
    };
    let Decision { actions, again_after } = decide(&observed);
    let mut again = again_after;
    if !observed.workers.is_empty() {
        again = Some(again.map_or(COUNTS, |after| after.min(COUNTS)));
    }
    for action in actions {
        if let Action::WriteStatus { at_once: false, .. } = &action {
            let last = context.written.lock().get(&key).copied();
            let wait = last.map_or(Duration::ZERO, |last| COUNTS.saturating_sub(last.elapsed()));
            if !wait.is_zero() {
                again = Some(again.map_or(wait, |after| after.min(wait)));
                continue;
            }
        }
        let writes_status = matches!(action, Action::WriteStatus { .. });
        apis.act(&observed.service, action).await?;
        if writes_status {
            context.written.lock().insert(key.clone(), Instant::now());
        }
    }
    context.failures.forget(&service);
    Ok(again.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// The APIs of one namespace.
struct Apis {
    namespace: String,
    services: Api<Service>,
    plugins: Api<Plugin>,
    models: Api<Model>,
    workers: Api<Worker>,
}

impl Apis {
    fn new(client: &Client, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            services: Api::namespaced(client.clone(), namespace),
            plugins: Api::namespaced(client.clone(), namespace),
            models: Api::namespaced(client.clone(), namespace),
            workers: Api::namespaced(client.clone(), namespace),
        }
    }

    /// What is so now. The service is read afresh, as what it was told to serve must not be an older word than what
    /// its Workers were told; what the caches lag behind wakes us when they have caught up, and a write that was
    /// decided on it is refused as a conflict.
    async fn observe(&self, name: &str, context: &Context) -> Result<Option<Observed>, ReconcileError> {
        let read = self.services.get_opt(name).await;
        let Some(service) = read.map_err(failed(|| format!("read service `{name}`")))? else {
            return Ok(None);
        };
        let waits = waits(&service);
        let here = |worker: &Arc<Worker>| worker.metadata.namespace.as_deref() == Some(&self.namespace);
        Ok(Some(Observed {
            plugins: if waits { list(&self.plugins, "plugins").await? } else { Vec::new() },
            models: if waits { list(&self.models, "models").await? } else { Vec::new() },
            nodes: context.nodes.state(),
            workers: context.workers.state().into_iter().filter(here).collect(),
            now: Timestamp::now(),
            service,
        }))
    }

    async fn act(&self, service: &Service, action: Action) -> Result<(), ReconcileError> {
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
            Action::WriteStatus { status, .. } => {
                let mut replaced = service.clone();
                replaced.status = Some(*status);
                let name = service.name_any();
                let written = self.services.replace_status(&name, &params, &replaced).await;
                unless(written, not_found, || format!("write the status of service `{name}`"))
            }
        }
    }
}
