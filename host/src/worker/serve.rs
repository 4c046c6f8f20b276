//! A serving worker: it answers requests until it is no longer wanted, and takes up each new definition while it does.
//!
//! ```text
//!  definition ─▶ same recipe? ─ yes ─▶ new terms, kept
//!                    │ no
//!                    ▼
//!                 prepare beside the old ─▶ probe ─▶ swap ─▶ probation ─▶ kept: the old is drained
//!                    └──────── fails ───────┴─ undone ◀───────── fails ┘   the old answers (again)
//! ```
//! Where a learner of this node deploys to it, the deployed version takes the place of the definition's model.
//!
//! The definition that was kept last is on disk, and so is the last one that was undone: a node that is restarted
//! serves at once what it served before, without its manager, and tries nothing again that has failed.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use parking_lot::Mutex;
use prost::Message as _;
use sedge_api::node::{self, RolloutPhase, RolloutStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::definition::{Definition, Part};
use super::run::Success;
use super::{Context, Ended, Reporter, fetch, now_millis};
use crate::artifacts::durable;
use crate::learning::Deployments;
use crate::runtime::Grants;
use crate::serving::{Parts, Prepared, Served, Task, Trial};

/// The definition that was kept last.
const KEPT: &str = "serving.pb";
/// The revision that was undone last, and why.
const UNDONE: &str = "undone.pb";
const MAX_BYTES: u64 = 8 << 20;
/// How often what the service counts is told.
const TELL: Duration = Duration::from_secs(1);
/// How often a revision on probation is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long requests that an old revision has begun may take before it is ended.
const DRAIN: Duration = Duration::from_secs(60);
/// How long until a first revision is tried again that this node could not run.
const RETRY: Duration = Duration::from_secs(10);
/// Reasons, as statuses have them.
const INVALID: &str = "InvalidDefinition";
const HOST_ERROR: &str = "HostError";
const TOO_LATE: &str = node::PROGRESS_DEADLINE_EXCEEDED;

/// Serve what `wanted` says until `cancel`.
pub(super) async fn serve(
    context: &Context,
    wanted: watch::Receiver<node::Worker>,
    folder: Arc<Dir>,
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Success, Ended> {
    let served = Arc::new(Mutex::new(None));
    let key = {
        let worker = wanted.borrow();
        format!("{}/{}", worker.namespace, worker.name)
    };
    let server = Server {
        context,
        wanted,
        folder,
        reporter: reporter.clone(),
        cancel,
        live: None,
        served: Arc::clone(&served),
    };
    tokio::select! {
        () = server.run() => {}
        () = tell(&served, &reporter, &context.deployments, &key) => {}
    }
    Err(Ended::Cancelled)
}

/// Tell what the service counts, for as long as it is polled.
async fn tell(
    served: &Mutex<Option<Arc<Served>>>,
    reporter: &Reporter,
    deployments: &Deployments,
    key: &str,
) {
    let mut last = None;
    loop {
        tokio::time::sleep(TELL).await;
        let Some(status) = served.lock().as_ref().map(|served| served.status()) else { continue };
        if last.as_ref() != Some(&status) {
            last = Some(status.clone());
            deployments.count(key, status.samples, status.hard);
            reporter.update(|worker| {
                let rollout = worker.serving.take().and_then(|serving| serving.rollout);
                worker.serving = Some(node::ServingStatus { rollout, ..status });
            });
        }
    }
}

/// Why a revision was not kept, as its status says it.
struct Undone {
    reason: String,
    message: String,
}

impl Undone {
    fn new(reason: &str, message: impl Into<String>) -> Self {
        Self { reason: reason.to_owned(), message: message.into() }
    }
}

impl From<Ended> for Undone {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Failed { reason, message } => Self { reason, message },
            // Its worker is not: an instance of it was.
            Ended::Cancelled => Self::new(HOST_ERROR, "the call was cancelled"),
        }
    }
}

/// What taking up a definition came to.
enum Taken {
    Kept,
    Undone(Undone),
    /// It was undone before, as is said here, and is not tried again.
    UndoneBefore(RolloutStatus),
    /// Another definition came, or the worker is to end.
    Interrupted,
}

struct Live {
    definition: Definition,
    served: Arc<Served>,
}

struct Server<'a> {
    context: &'a Context,
    wanted: watch::Receiver<node::Worker>,
    folder: Arc<Dir>,
    reporter: Reporter,
    cancel: CancellationToken,
    live: Option<Live>,
    /// The live one, for who tells of it.
    served: Arc<Mutex<Option<Arc<Served>>>>,
}

impl Server<'_> {
    async fn run(mut self) {
        self.resume().await;
        let mut deployed = self.context.deployments.watch();
        loop {
            deployed.mark_unchanged();
            let worker = self.wanted.borrow_and_update().clone();
            let (worker, deployment) = self.context.deployments.overlay(worker);
            let taken = self.take_up(&worker).await;
            let outcome = match &taken {
                Taken::Kept => Some(Ok(())),
                Taken::Undone(Undone { reason, message })
                | Taken::UndoneBefore(RolloutStatus { reason, message, .. }) => {
                    Some(Err(format!("{reason}: {message}")))
                }
                Taken::Interrupted => None,
            };
            if let Some((deployment, outcome)) = deployment.zip(outcome) {
                self.context.deployments.tell(&worker, deployment, outcome);
            }
            let retries = match &taken {
                Taken::Undone(undone) => {
                    undone.reason == TOO_LATE || undone.reason == HOST_ERROR && self.live.is_none()
                }
                _ => false,
            };
            self.tell(revision(&worker), &worker, taken).await;
            // What this node could not do it may be able to do later; what has failed by itself is not tried again.
            let again = async {
                match retries {
                    true => tokio::time::sleep(RETRY).await,
                    false => std::future::pending().await,
                }
            };
            let mut wanted = self.wanted.clone();
            tokio::select! {
                () = self.cancel.cancelled() => break,
                changed = wanted.changed() => if changed.is_err() { break },
                // They outlive their workers.
                _ = deployed.changed() => {}
                () = again => {}
            }
        }
        if let Some(live) = self.live.take() {
            live.served.close(DRAIN).await;
        }
    }

    /// Serve what was kept before a restart.
    async fn resume(&mut self) {
        let Some(kept) = self.read::<node::Worker>(KEPT).await else { return };
        let taken = self.take_up(&kept).await;
        self.tell(revision(&kept), &kept, taken).await;
    }

    async fn take_up(&mut self, worker: &node::Worker) -> Taken {
        let definition = match Definition::parse(worker) {
            Ok(definition) => definition,
            Err(why) => return Taken::Undone(Undone::new(INVALID, why)),
        };
        let Part::Serve(task) = &definition.part else {
            return Taken::Undone(Undone::new(INVALID, "it is not the definition of a serving worker"));
        };
        let task = task.clone();
        if let Some(live) = &mut self.live
            && live.definition.is_made_as(&definition)
        {
            return match live.served.set_terms(&task.terms) {
                Err(why) => Taken::Undone(Undone::new(INVALID, why)),
                Ok(()) => {
                    live.definition = definition;
                    Taken::Kept
                }
            };
        }
        // What a learner deploys has the number of the definition that it takes a part of, and is not tried again by it.
        if self.live.is_some()
            && !self.is_overlaid(worker)
            && let Some(last) = self.read::<RolloutStatus>(UNDONE).await
            && last.revision == task.terms.revision
        {
            return Taken::UndoneBefore(last);
        }
        self.phase(task.terms.revision, RolloutPhase::Preparing, None);
        let prepared = tokio::select! {
            () = self.cancel.cancelled() => return Taken::Interrupted,
            () = self.superseded(&definition) => return Taken::Interrupted,
            prepared = self.prepare_in_time(&definition, &task) => prepared,
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(undone) => return Taken::Undone(undone),
        };
        let taken = match &self.live {
            None => Served::begin(&self.context.services, &task, prepared).map(|served| {
                *self.served.lock() = Some(Arc::clone(&served));
                self.live = Some(Live { definition: definition.clone(), served });
                Taken::Kept
            }),
            Some(live) => match live.served.swap(prepared, &task.terms) {
                Ok(trial) => Ok(self.watch(&definition, &task, trial).await),
                Err(why) => Err(why),
            },
        };
        match taken {
            Err(why) => Taken::Undone(Undone::new(INVALID, why)),
            Ok(Taken::Kept) => {
                if let Some(live) = &mut self.live {
                    live.definition = definition;
                }
                Taken::Kept
            }
            Ok(other) => other,
        }
    }

    /// Waits until something else comes to be wanted than `definition`, by its definition or a learner. Other terms alone are
    /// not: they are taken up afterwards.
    async fn superseded(&self, definition: &Definition) {
        let (mut wanted, mut deployed) = (self.wanted.clone(), self.context.deployments.watch());
        loop {
            let changed = tokio::select! {
                changed = wanted.changed() => changed,
                changed = deployed.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            let told = self.context.deployments.overlay(wanted.borrow_and_update().clone()).0;
            if Definition::parse(&told).is_ok_and(|wanted| !wanted.is_made_as(definition)) {
                return;
            }
        }
    }

    /// Prepare; where another revision answers meanwhile, within the rollout's deadline.
    async fn prepare_in_time(&self, definition: &Definition, task: &Task) -> Result<Prepared, Undone> {
        let waits = Mutex::new(String::new());
        let prepared = self.prepare(definition, task, &waits);
        let Some(deadline) = task.terms.rollout.deadline.filter(|_| self.live.is_some()) else {
            return prepared.await;
        };
        tokio::time::timeout(deadline, prepared).await.unwrap_or_else(|_| {
            let message = format!("it was not ready within {deadline:?}, {}", waits.lock());
            Err(Undone::new(TOO_LATE, message))
        })
    }

    /// Fetch, compile, prepare and probe; `waits` is told for what it waits.
    async fn prepare(
        &self,
        definition: &Definition,
        task: &Task,
        waits: &Mutex<String>,
    ) -> Result<Prepared, Undone> {
        let answers = self.live.is_some();
        let pending = |reason: &str, message: &str| {
            *waits.lock() = format!("waiting for its parts: {reason}: {message}");
            // A service that answers goes on while its next revision waits for something.
            if answers {
                self.reporter.line(&format!("the next revision waits: {reason}: {message}"));
            } else {
                self.reporter.pending(reason, message);
            }
        };
        let (component, model) =
            fetch::all(self.context, definition, &self.reporter, &pending).await.map_err(Undone::from)?;
        let miner = match task.miner_plugin() {
            None => None,
            Some(plugin) => {
                Some(fetch::component(self.context, plugin, &pending).await.map_err(Undone::from)?)
            }
        };
        let grants = Grants {
            parameters: definition.parameters.clone(),
            datasets: BTreeMap::new(),
            model,
            memory_bytes: definition.memory_bytes,
            call: definition.call,
            observer: Arc::new(self.reporter.clone()),
            cancel: self.cancel.child_token(),
        };
        let examples = match &task.recipe.keep {
            None => None,
            Some(keep) => {
                let (shelf, dataset) = (Arc::clone(&self.context.shelf), keep.dataset.clone());
                let opened = tokio::task::spawn_blocking(move || shelf.folder(&dataset)).await;
                let opened = opened.map_err(|error| Undone::new(HOST_ERROR, error.to_string()))?;
                Some(Arc::new(opened.map_err(|(reason, message)| Undone::new(reason, message))?))
            }
        };
        *waits.lock() = "in the plugin's `prepare` or the probes".to_owned();
        let parts = Parts {
            plugin: definition.plugin.digest,
            model: definition.model.as_ref().map(|model| model.digest),
            component,
            miner,
            grants,
            examples,
        };
        Prepared::new(&self.context.runtime, task, parts)
            .await
            .map_err(|failure| Undone::from(Ended::from(failure)))
    }

    /// Watch a revision that has been swapped in until its probation is over.
    async fn watch(&self, definition: &Definition, task: &Task, trial: Trial) -> Taken {
        self.phase(task.terms.revision, RolloutPhase::Probation, None);
        let over = tokio::time::sleep(task.terms.rollout.probation);
        let superseded = self.superseded(definition);
        tokio::pin!(over, superseded);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => {
                    trial.undo(DRAIN).await;
                    return Taken::Interrupted;
                }
                // What is not proven is nothing to fall back on.
                () = &mut superseded => {
                    trial.undo(DRAIN).await;
                    return Taken::Interrupted;
                }
                _ = look.tick() => {
                    if let Some(why) = trial.has_failed(&task.terms.rollout) {
                        trial.undo(DRAIN).await;
                        return Taken::Undone(Undone::new("ErrorBudgetSpent", why));
                    }
                }
                () = &mut over => {
                    trial.keep(DRAIN).await;
                    return Taken::Kept;
                }
            }
        }
    }

    /// Say what taking up a definition came to, and keep it.
    async fn tell(&self, revision: u64, worker: &node::Worker, taken: Taken) {
        match taken {
            Taken::Interrupted => {}
            Taken::Kept => {
                self.write(KEPT, worker.encode_to_vec()).await;
                self.reporter.running();
                self.phase(revision, RolloutPhase::Kept, None);
            }
            Taken::Undone(undone) => {
                self.reporter
                    .line(&format!("revision {revision} is undone: {}: {}", undone.reason, undone.message));
                let status = self.phase(revision, RolloutPhase::Undone, Some(&undone));
                match self.live {
                    // It is tried again, and once it is there it answers.
                    Some(_) if undone.reason == TOO_LATE => {}
                    Some(_) if self.is_overlaid(worker) => {}
                    Some(_) => self.write(UNDONE, status.encode_to_vec()).await,
                    None => self.reporter.pending(&undone.reason, &undone.message),
                }
            }
            Taken::UndoneBefore(status) => self.say(status),
        }
    }

    /// Whether its model is a version that a learner deployed, and not its definition's own.
    fn is_overlaid(&self, worker: &node::Worker) -> bool {
        self.wanted.borrow().model != worker.model
    }

    fn phase(&self, revision: u64, phase: RolloutPhase, undone: Option<&Undone>) -> RolloutStatus {
        let (reason, message) =
            undone.map(|undone| (undone.reason.clone(), undone.message.clone())).unwrap_or_default();
        let changed_unix_millis = now_millis();
        let status = RolloutStatus { revision, phase: phase.into(), reason, message, changed_unix_millis };
        self.say(status.clone());
        status
    }

    fn say(&self, status: RolloutStatus) {
        let told = self.live.as_ref().map(|live| live.served.status());
        self.reporter.update(|worker| {
            let serving = told.or(worker.serving.take()).unwrap_or_default();
            worker.serving = Some(node::ServingStatus { rollout: Some(status), ..serving });
        });
    }

    async fn read<M: prost::Message + Default>(&self, name: &'static str) -> Option<M> {
        let folder = Arc::clone(&self.folder);
        let read = tokio::task::spawn_blocking(move || durable::read(&folder, name, MAX_BYTES)).await;
        match read.map_err(io::Error::other).flatten() {
            Ok(bytes) => M::decode(bytes?.as_slice()).ok(),
            Err(error) => {
                self.reporter.line(&format!("{name} cannot be read: {error}"));
                None
            }
        }
    }

    async fn write(&self, name: &'static str, bytes: Vec<u8>) {
        let folder = Arc::clone(&self.folder);
        let kept = tokio::task::spawn_blocking(move || {
            // A restarted node takes up again what it has just read, and a disk of flash wears.
            let present = durable::read(&folder, name, MAX_BYTES).ok().flatten();
            if present.as_ref() == Some(&bytes) { Ok(()) } else { durable::replace(&folder, name, &[bytes]) }
        })
        .await;
        if let Err(error) = kept.map_err(io::Error::other).flatten() {
            self.reporter.line(&format!("{name} cannot be kept for a restart: {error}"));
        }
    }
}

/// The revision of a definition that may not be one.
fn revision(worker: &node::Worker) -> u64 {
    match &worker.task {
        Some(node::worker::Task::Serving(serving)) => serving.revision,
        _ => 0,
    }
}
