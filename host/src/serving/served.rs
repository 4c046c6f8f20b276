//! What a serving worker does with a service: prepare a revision, begin, swap, watch, undo or keep, end.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cap_std::fs::Dir;
use futures::FutureExt as _;
use sedge_api::{Digest, node};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::batching;
use super::endpoint::{Endpoint, Metadata, Services, Versions};
use super::examples::Examples;
use super::mining::{Miner, Mining, Stage};
use super::offload::Policy;
use super::pool::{Pool, Sizes};
use super::protocol;
use super::revision::{self, Revision};
use super::service::Service;
use super::task::{self, Rollout, Task, Terms};
use crate::model::Model;
use crate::nn;
use crate::runtime::{Component, Failure, Grants, Inferencer, NamedTensors, Reason, Runtime, Signature};

/// The graph that an inferencer computes with, unless it says otherwise.
const GRAPH: &str = "infer";
/// Requests below which one failure more or less says little of a share.
const FEW: u64 = 20;

/// What a revision is made of.
pub(crate) struct Parts {
    /// Manifest of the plugin.
    pub plugin: Digest,
    /// Manifest of the model.
    pub model: Option<Digest>,
    pub component: Component,
    /// Of the miner, where it is a plugin.
    pub miner: Option<Component>,
    /// The inferencer's; `cancel` ends this revision alone.
    pub grants: Grants,
    /// Where hard examples are kept.
    pub examples: Option<Arc<Dir>>,
}

/// A revision that is ready to answer.
pub(crate) struct Prepared(Arc<Revision>);

impl Prepared {
    /// Start the instances and have them answer the probes.
    ///
    /// # Errors
    /// When the plugin does not fit its role, does not start, or does not answer a probe.
    pub async fn new(runtime: &Runtime, task: &Task, parts: Parts) -> Result<Self, Failure> {
        let Parts { plugin, model, component, miner, grants, examples } = parts;
        // Ends what has been started if a later step fails.
        let guard = grants.cancel.clone().drop_guard();
        let mining = match &task.recipe.mining {
            None => None,
            Some(mining) => Some(self::mining(runtime, mining, miner, &grants).await?),
        };
        let granted = grants.model.clone();
        let (pool, signature) = inferencers(runtime, &component, grants, task).await?;
        let signature = signature.or_else(|| granted.as_deref().map(of_graph)).unwrap_or_default();
        let told = |ports: &[nn::Port]| ports.iter().map(revision::told).collect::<Option<Vec<_>>>();
        let revision = Revision {
            number: task.terms.revision.into(),
            metadata: Arc::new(Metadata {
                versions: Versions { plugin, model },
                inputs: told(&signature.inputs).unwrap_or_default(),
                outputs: told(&signature.outputs).unwrap_or_default(),
            }),
            inputs: signature.inputs,
            pool,
            mining,
            examples: examples
                .zip(task.recipe.keep.as_ref())
                .map(|(folder, keep)| Examples::keep(folder, keep.bounds.clone())),
            trial: revision::Trial::default(),
        };
        for (at, probe) in task.terms.rollout.probes.iter().enumerate() {
            self::probe(&revision, probe).await.map_err(|why| {
                Failure::new(Reason::PluginError, format!("probe {at} of the rollout: {why}"))
            })?;
        }
        guard.disarm();
        Ok(Self(Arc::new(revision)))
    }
}

/// The pool of a plugin's instances, and what the first of them says it takes and gives.
async fn inferencers(
    runtime: &Runtime,
    component: &Component,
    grants: Grants,
    task: &Task,
) -> Result<(Pool<NamedTensors, NamedTensors>, Option<Signature>), Failure> {
    let (observer, cancel) = (Arc::clone(&grants.observer), grants.cancel.clone());
    let inferencer = Inferencer::new(runtime, component, grants)?;
    let signature = Arc::new(OnceLock::new());
    let said = Arc::clone(&signature);
    let start = Box::new(move || {
        let (inferencer, said) = (inferencer.clone(), Arc::clone(&said));
        async move {
            let (instance, signature) = inferencer.start().await?;
            // All instances of one plugin say the same.
            let _ = said.set(signature);
            Ok(instance)
        }
        .boxed()
    });
    let (calls, graphs) = (batching::calls(task.recipe.batching), Arc::clone(runtime.graphs()));
    let pool = Pool::open(task.recipe.sizes, start, calls, graphs, observer, cancel).await?;
    let signature = signature.get().cloned().flatten();
    Ok((pool, signature))
}

async fn mining(
    runtime: &Runtime,
    mining: &task::Mining,
    component: Option<Component>,
    grants: &Grants,
) -> Result<Mining, Failure> {
    let miner = match (&mining.miner, component) {
        (task::Miner::Plugin { memory_bytes, call, .. }, Some(component)) => {
            let grants = Grants {
                parameters: mining.parameters.clone(),
                model: None,
                memory_bytes: *memory_bytes,
                call: *call,
                ..grants.clone()
            };
            let (observer, cancel) = (Arc::clone(&grants.observer), grants.cancel.clone());
            let miner = crate::runtime::Miner::new(runtime, &component, grants)?;
            let start = Box::new(move || {
                let miner = miner.clone();
                async move { miner.start().await }.boxed()
            });
            let sizes = Sizes { minimum: 1, maximum: 1, queue: 1 << 12 };
            let (calls, graphs) = (batching::alone(), Arc::clone(runtime.graphs()));
            Miner::Plugin(Pool::open(sizes, start, calls, graphs, observer, cancel).await?)
        }
        (task::Miner::Builtin(name), _) => Miner::builtin(name, &mining.parameters)
            .map_err(|why| Failure::new(Reason::InvalidPlugin, why))?,
        (task::Miner::Plugin { .. }, None) => {
            return Err(Failure::new(Reason::HostError, "the miner's plugin was not fetched"));
        }
    };
    Ok(Mining { stage: mining.stage, miner })
}

/// What the model's graph takes beside its weights, and gives.
fn of_graph(model: &Model) -> Signature {
    let Some(graph) = model.graphs.get(GRAPH) else { return Signature::default() };
    let is_weight =
        |port: &&nn::Port| model.weights.as_ref().is_some_and(|weights| weights.get(&port.name).is_some());
    Signature {
        inputs: graph.inputs().iter().filter(|port| !is_weight(port)).cloned().collect(),
        outputs: graph.outputs().to_vec(),
    }
}

async fn probe(revision: &Revision, probe: &str) -> Result<(), String> {
    let inputs = protocol::parse_inputs(probe.as_bytes()).map_err(|error| error.message)?;
    revision.check(&inputs).map_err(|error| error.message)?;
    let stage = revision.mining.as_ref().map(|mining| mining.stage);
    if stage == Some(Stage::Inputs) {
        revision.mine(&inputs, None).await.map_err(|error| error.message)?;
    }
    let outputs = match revision.infer(inputs, None).await {
        Ok(outputs) => outputs.map_err(|error| error.message)?,
        Err(_) => return Err("its instances have ended".to_owned()),
    };
    if stage == Some(Stage::Outputs) {
        revision.mine(&outputs, None).await.map_err(|error| error.message)?;
    }
    Ok(())
}

/// A service that answers.
pub(crate) struct Served {
    name: String,
    services: Services,
    service: Arc<Service>,
    /// Ends what watches the cloud.
    cancel: CancellationToken,
    watcher: JoinHandle<()>,
}

impl Served {
    /// Put the service where clients find it. Err: its cloud's address is none.
    pub fn begin(services: &Services, task: &Task, first: Prepared) -> Result<Arc<Self>, String> {
        let service = Arc::new(Service::new(&task.service, task.is_cloud, first.0));
        service.cloud.set(task.terms.offload.clone())?;
        services.put(&task.service, Arc::clone(&service) as Arc<dyn Endpoint>);
        let cancel = CancellationToken::new();
        let watched = (Arc::clone(&service), cancel.clone());
        let watcher = tokio::spawn(async move { watched.0.cloud.watch(watched.1).await });
        let (name, services) = (task.service.clone(), services.clone());
        Ok(Arc::new(Self { name, services, service, cancel, watcher }))
    }

    /// Go on by other terms. Err: its cloud's address is none.
    pub fn set_terms(&self, terms: &Terms) -> Result<(), String> {
        self.service.set_revision(terms.revision);
        self.service.cloud.set(terms.offload.clone())
    }

    /// Have another revision answer, and watch it. Err: its cloud's address is none, and nothing is swapped.
    pub fn swap(&self, prepared: Prepared, terms: &Terms) -> Result<Trial, String> {
        let policy = self.service.cloud.policy();
        self.service.cloud.set(terms.offload.clone())?;
        prepared.0.trial.begin(terms.rollout.latency_budget);
        let old = self.service.swap(Arc::clone(&prepared.0));
        Ok(Trial { service: Arc::clone(&self.service), old, policy, new: prepared.0 })
    }

    /// What there is to say of it.
    pub fn status(&self) -> node::ServingStatus {
        self.service.status()
    }

    /// Take it from where clients find it, and end when what was begun has been answered, or at the latest after
    /// `limit`.
    pub async fn close(&self, limit: Duration) {
        let endpoint = Arc::clone(&self.service) as Arc<dyn Endpoint>;
        self.services.remove(&self.name, &endpoint);
        self.cancel.cancel();
        drain(&self.service.current(), limit).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// A revision that answers on probation.
pub(crate) struct Trial {
    service: Arc<Service>,
    old: Arc<Revision>,
    /// How the old one asked the cloud.
    policy: Option<Policy>,
    new: Arc<Revision>,
}

impl Trial {
    /// Why it is not to be kept, if it has spent its budget.
    pub fn has_failed(&self, rollout: &Rollout) -> Option<String> {
        let (answers, failures, first) = self.new.trial.result();
        let allowed = rollout.error_budget * answers.max(FEW) as f64;
        (failures as f64 > allowed).then(|| {
            let first = first.unwrap_or_default();
            format!(
                "{failures} of its {answers} answers failed, and {:.1} % may; the first: {first}",
                rollout.error_budget * 100.0
            )
        })
    }

    /// The old revision answers again.
    pub async fn undo(self, limit: Duration) {
        self.service.swap(self.old);
        // It was an address before.
        let _ = self.service.cloud.set(self.policy);
        drain(&self.new, limit).await;
    }

    /// The old revision ends once it has answered what it has.
    pub async fn keep(self, limit: Duration) {
        drain(&self.old, limit).await;
    }
}

async fn drain(revision: &Revision, limit: Duration) {
    // What takes longer is ended with the last who holds the revision.
    let _ = tokio::time::timeout(limit, revision.drain()).await;
}
