//! The hub's view of the resources: a cache of each kind kept by a watch, and from them what is wanted of
//! each node that has a session. Read by `session` and `reports`.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource, ResourceExt as _};
use parking_lot::Mutex;
use sedge_api::resources::{Dataset, EdgeNode, Worker};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::debug;

use super::Inner;
use super::desired::desired;

/// Caches of the kinds that sessions are about.
pub(super) struct View {
    pub workers: Store<Worker>,
    pub datasets: Store<Dataset>,
    pub nodes: Store<EdgeNode>,
    /// Keys of stores that Datasets lie in.
    secrets: Store<Secret>,
    /// Moves after a cache has taken up a change.
    changed: watch::Sender<()>,
    /// Whether each cache has its first complete list.
    listed: watch::Sender<bool>,
    writers: Mutex<Option<Writers>>,
}

struct Writers {
    workers: Writer<Worker>,
    datasets: Writer<Dataset>,
    nodes: Writer<EdgeNode>,
    secrets: Writer<Secret>,
}

impl View {
    pub fn new() -> Self {
        let (workers, workers_writer) = reflector::store();
        let (datasets, datasets_writer) = reflector::store();
        let (nodes, nodes_writer) = reflector::store();
        let (secrets, secrets_writer) = reflector::store();
        let writers = Writers {
            workers: workers_writer,
            datasets: datasets_writer,
            nodes: nodes_writer,
            secrets: secrets_writer,
        };
        Self {
            workers,
            datasets,
            nodes,
            secrets,
            changed: watch::Sender::new(()),
            listed: watch::Sender::new(false),
            writers: Mutex::new(Some(writers)),
        }
    }

    /// Wait for the first complete lists. Until then nothing may be said to a node, as what is not yet
    /// listed would be held for not wanted. Ends by shutdown alone, which the caller is to wait for too.
    pub async fn ready(&self) {
        // Cannot fail: the sender is of this same view.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// Wait for the stores themselves. For one caller alone: a store wakes only the last who waits.
    async fn first_lists(&self) -> bool {
        let listed = self.workers.wait_until_ready().await.is_ok()
            && self.datasets.wait_until_ready().await.is_ok()
            && self.nodes.wait_until_ready().await.is_ok()
            && self.secrets.wait_until_ready().await.is_ok();
        self.listed.send_replace(listed);
        listed
    }

    /// Have every session's wants worked out again.
    pub fn touch(&self) {
        self.changed.send_replace(());
    }
}

/// Keep the caches until shutdown.
pub(super) fn watch(hub: &Arc<Inner>) {
    if let Some(writers) = hub.view.writers.lock().take() {
        hub.tasks.spawn(keep(hub.clone(), writers.workers, workers_news()));
        hub.tasks.spawn(keep(hub.clone(), writers.datasets, |_: &watcher::Event<Dataset>| true));
        hub.tasks.spawn(keep(hub.clone(), writers.nodes, |_: &watcher::Event<EdgeNode>| true));
        hub.tasks.spawn(keep(hub.clone(), writers.secrets, |_: &watcher::Event<Secret>| true));
    }
}

/// Whether an event of Workers bears on what is wanted of nodes. Serving Workers say every second or so what
/// they have answered, which does not.
fn workers_news() -> impl FnMut(&watcher::Event<Worker>) -> bool {
    let mut known: HashMap<String, (Option<i64>, bool, bool)> = HashMap::new();
    move |event| match event {
        watcher::Event::Apply(worker) => {
            let ended = worker.status.as_ref().is_some_and(|status| status.phase.is_final());
            let deleting = worker.metadata.deletion_timestamp.is_some();
            let now = (worker.metadata.generation, deleting, ended);
            known.insert(worker.uid().unwrap_or_default(), now) != Some(now)
        }
        watcher::Event::Delete(worker) => {
            known.remove(&worker.uid().unwrap_or_default());
            true
        }
        watcher::Event::Init => {
            known.clear();
            true
        }
        watcher::Event::InitApply(_) | watcher::Event::InitDone => true,
    }
}

async fn keep<K>(hub: Arc<Inner>, writer: Writer<K>, mut is_news: impl FnMut(&watcher::Event<K>) -> bool)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    let kind = K::kind(&());
    let api: Api<K> = Api::all(Client::clone(&hub.client));
    let events = watcher(api, watcher::Config::default()).default_backoff();
    let mut events = reflector::reflector(writer, events).take_until(hub.shutdown.cancelled()).boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if is_news(&event) {
                    hub.view.touch();
                }
            }
            Err(error) => debug!(%kind, %error, "the watch was interrupted and is resumed"),
        }
    }
}

/// Work out what is wanted of each node with a session, whenever something has changed, until shutdown.
/// Changes that come faster than this is done are taken together.
pub(super) async fn plan(hub: Arc<Inner>) {
    let mut changed = hub.view.changed.subscribe();
    let ready = tokio::select! {
        ready = hub.view.first_lists() => ready,
        () = hub.shutdown.cancelled() => false,
    };
    if !ready {
        return;
    }
    loop {
        changed.borrow_and_update();
        let (workers, datasets, nodes) =
            (hub.view.workers.state(), hub.view.datasets.state(), hub.view.nodes.state());
        let secrets = hub.view.secrets.state();
        let mut wanted = desired(
            workers.iter().map(Arc::as_ref),
            datasets.iter().map(Arc::as_ref),
            nodes.iter().map(Arc::as_ref),
            &secrets,
            &hub.config.secret,
        );
        for (node, session) in hub.sessions.lock().iter() {
            let wanted = wanted.remove(node).unwrap_or_default();
            session.desired.send_if_modified(|known| {
                let news = known.as_ref() != Some(&wanted);
                if news {
                    *known = Some(wanted);
                }
                news
            });
        }
        tokio::select! {
            moved = changed.changed() => if moved.is_err() { return },
            () = hub.shutdown.cancelled() => return,
        }
    }
}
