//! The learner of an incremental learning job: it does what the rounds say until it is no longer wanted, and takes up each new
//! definition while it does.
//!
//! ```text
//!  definition ─▶ task, plan ─┐                                  ┌─ train ──▶ plugin ──▶ a model, kept
//!  dataset ────▶ figures ────┼─▶ Rounds::next ─▶ record ─▶ step ├─ evaluate ▶ measure, or asked of another node
//!  what came of the step ────┘        ▲           (on disk)     ├─ deploy ─▶ deployments, or asked of other nodes
//!                                     └─────────────────────────┴─ forget
//! ```
//! Beside that, versions that others are to have are uploaded when the registry can be reached, and between rounds the errors of
//! the deployed version are measured where drift is theirs. Nothing here decides; see
//! `sedge_learning`.

mod begin;
mod errors;
mod look;
mod others;
mod upload;
mod work;

use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use sedge_api::node;
use sedge_learning::{Figures, Step};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::upload::Pause;
use self::work::Done;
use super::definition::{Definition, Part};
use super::run::Success;
use super::{Context, Ended, Reporter};
use crate::artifacts::{Artifact, ArtifactError};
use crate::data::Dataset;
use crate::learning::{Deployed, Drift, Errors, Kept, Record, Sources, Task};
use crate::model::Model;
use crate::runtime::Component;

/// The name by which its dataset is granted.
const TRAIN: &str = "train";
/// A wait is looked at again after this at the latest: clocks may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const HOST_ERROR: &str = "HostError";

/// Lead the rounds of the job of `wanted` until `cancel`.
pub(super) async fn learn(
    context: &Context,
    mut wanted: watch::Receiver<node::Worker>,
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Success, Ended> {
    let mut learner = loop {
        let worker = wanted.borrow_and_update().clone();
        tokio::select! {
            () = cancel.cancelled() => return Err(Ended::Cancelled),
            begun = Learner::begin(context, worker, &reporter, &cancel) => break begun?,
            // Whatever it waits for may be named otherwise now.
            changed = wanted.changed() => if changed.is_err() { return Err(Ended::Cancelled) },
        }
    };
    reporter.running();
    let mut changes = context.shelf.watch();
    let mut heard = context.deployments.heard();
    let mut work = Work::none(&cancel);
    let mut upload: Option<(u32, BoxFuture<'_, Result<(), ArtifactError>>)> = None;
    let mut pause = Pause::new();
    let mut measuring = None;
    loop {
        changes.mark_unchanged();
        heard.mark_unchanged();
        let worker = wanted.borrow_and_update().clone();
        learner.take_up(worker)?;
        learner.look().await;
        let mut step = learner.next().await?;
        while learner.hear(&step).await? {
            step = learner.next().await?;
        }
        // A deployment that is for others to do, or no longer is, is begun anew.
        if work.step != step || (matches!(step, Step::Deploy(_)) && work.serves != learner.serves()) {
            work = learner.begin_work(step, &cancel);
        }
        learner.align(&work.step).await?;
        learner.show(&work.step);
        if upload.is_none() && pause.is_over() {
            upload = learner.upload(&work.step);
        }
        if measuring.is_none() {
            measuring = learner.measure_errors(&work.step, &cancel);
        }
        let wait = learner.wait(&work.step);
        tokio::select! {
            () = cancel.cancelled() => return Err(Ended::Cancelled),
            changed = wanted.changed() => if changed.is_err() { return Err(Ended::Cancelled) },
            // The shelf and the deployments outlive their workers.
            _ = changes.changed() => {}
            _ = heard.changed() => {}
            done = &mut work.future => {
                let step = std::mem::replace(&mut work, Work::none(&cancel)).step;
                learner.done(&step, done).await?;
            }
            uploaded = async { match &mut upload { Some((_, future)) => future.await, None => std::future::pending().await } } => {
                let version = upload.take().map_or(0, |(version, _)| version);
                learner.uploaded(version, uploaded, &mut pause).await?;
            }
            measured = async { match &mut measuring { Some(future) => future.await, None => std::future::pending().await } } => {
                measuring = None;
                learner.errors_measured(measured);
            }
            () = pause.over(), if upload.is_none() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What is under way. Dropped, it is ended.
struct Work<'a> {
    step: Step,
    /// The serving Worker that the learner deployed to itself when it was begun.
    serves: Option<String>,
    future: BoxFuture<'a, Done>,
    _cancel: DropGuard,
}

impl Work<'_> {
    fn none(cancel: &CancellationToken) -> Self {
        let step = Step::Wait { until: None, why: String::new() };
        let (future, _cancel) = (std::future::pending().boxed(), cancel.child_token().drop_guard());
        Self { step, serves: None, future, _cancel }
    }
}

struct Learner<'a> {
    context: &'a Context,
    reporter: Reporter,
    folder: Arc<Dir>,
    record: Record,
    /// Revision of the rounds that is on disk.
    written: u64,
    worker: node::Worker,
    definition: Definition,
    task: Task,
    component: Component,
    /// Digest of the plugin that `component` is of.
    plugin: sedge_api::Digest,
    /// Version 0.
    first: Artifact,
    model: Arc<Model>,
    dataset: Arc<Dataset>,
    /// Of the dataset's samples.
    sources: Arc<Sources>,
    drift: Option<Drift>,
    /// Instead, where drift is that of the deployed version's errors.
    errors: Option<Errors>,
    figures: Figures,
    said: Option<node::LearningStatus>,
}

impl<'a> Learner<'a> {
    /// A stage that this node itself was at when it stopped is begun again.
    fn interrupted(&mut self) {
        let at = self.record.rounds.current().and_then(sedge_learning::Round::at);
        let here = match at {
            Some(sedge_learning::Stage::Train) => true,
            Some(sedge_learning::Stage::Evaluate) => self.task.evaluator.is_some(),
            Some(sedge_learning::Stage::Deploy) | None => false,
        };
        if here {
            self.record.rounds.interrupted(Timestamp::now());
        }
    }

    /// Another definition is taken up where it is.
    fn take_up(&mut self, worker: node::Worker) -> Result<(), Ended> {
        if self.worker != worker {
            (self.definition, self.task) = parse(&worker)?;
            self.worker = worker;
        }
        if let Some(node::Rollback { version, request }) = self.task.rollback {
            self.record.rounds.ask_rollback(request, version, Timestamp::now());
        }
        Ok(())
    }

    /// namespace/name of the serving Worker that it deploys to itself.
    fn serves(&self) -> Option<String> {
        let name = self.task.serves.as_ref()?;
        Some(format!("{}/{name}", self.worker.namespace))
    }

    async fn next(&mut self) -> Result<Step, Ended> {
        let step = self.record.rounds.next(&self.task.plan, &self.figures, Timestamp::now());
        self.keep().await?;
        Ok(step)
    }

    /// Write down what has changed.
    async fn keep(&mut self) -> Result<(), Ended> {
        if self.record.rounds.revision() == self.written {
            return Ok(());
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), Ended> {
        let (record, folder) = (self.record.clone(), Arc::clone(&self.folder));
        let revision = record.rounds.revision();
        let written = tokio::task::spawn_blocking(move || record.write(&folder)).await;
        let written = written.map_err(std::io::Error::other).flatten();
        // Without a place for what it comes to, whatever it did would be done again.
        written.map_err(|error| {
            Ended::failed(HOST_ERROR, format!("the record of the rounds cannot be written: {error}"))
        })?;
        self.written = revision;
        Ok(())
    }

    /// The model that a version is.
    fn artifact(&self, version: u32) -> Option<Artifact> {
        if version == 0 {
            return Some(self.first.clone());
        }
        let kept = self.record.models.get(&version)?;
        Some(Artifact { repository: self.task.repository.clone(), digest: kept.manifest })
    }

    /// A version as the deployment of that number.
    fn deployment(&self, serial: u64, model: &Artifact) -> Deployed {
        Deployed::new(&self.definition.job_uid, serial, model)
    }

    /// Let the serving Worker serve the deployed version, unless another is being deployed to it.
    async fn align(&mut self, step: &Step) -> Result<(), Ended> {
        let Some(worker) = self.serves().filter(|_| !matches!(step, Step::Deploy(_))) else { return Ok(()) };
        // Two jobs that put each their own version back would swap for ever.
        if self.context.deployments.is_of_another(&worker, &self.definition.job_uid) {
            return Ok(());
        }
        let (serial, number) = (self.record.rounds.serial(), self.record.rounds.deployed().number);
        let wanted = match serial {
            0 => None,
            _ => self.artifact(number).map(|model| self.deployment(serial, &model)),
        };
        work::deploy(self.context, worker, wanted).await.map_err(|error| {
            Ended::failed(HOST_ERROR, format!("what is deployed cannot be written down: {error}"))
        })
    }

    fn wait(&self, step: &Step) -> Duration {
        let Step::Wait { until: Some(until), .. } = step else { return LONGEST_WAIT };
        let wait = until.duration_since(Timestamp::now());
        Duration::try_from(wait).unwrap_or_default().min(LONGEST_WAIT)
    }
}

/// The definition and its task.
fn parse(worker: &node::Worker) -> Result<(Definition, Task), Ended> {
    let invalid = |why: String| Ended::failed("InvalidDefinition", why);
    let definition = Definition::parse(worker).map_err(invalid)?;
    match &definition.part {
        Part::Learn(task) => {
            let task = (**task).clone();
            Ok((definition, task))
        }
        _ => Err(invalid("it is not the definition of a learner".to_owned())),
    }
}

/// A version that was made: what is kept of it.
fn kept(model: &crate::artifacts::MadeModel) -> Kept {
    Kept { manifest: model.artifact.digest, uploaded: false }
}
