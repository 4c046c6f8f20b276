//! The learner of an incremental learning job: it does what the rounds say until it is no longer wanted, and takes up each new
//! definition while it does.
//!
//! ```text
//!  definition ─▶ task, plan ─┐                                  ┌─ train ──▶ plugin ──▶ a model, kept
//!  dataset ────▶ figures ────┼─▶ Rounds::next ─▶ record ─▶ step ├─ evaluate ▶ measure, or asked of another node
//!  what came of the step ────┘        ▲           (on disk)     ├─ deploy ─▶ deployments, or asked of other nodes
//!                                     └─────────────────────────┴─ forget
//! ```
//! Beside that, versions that others are to have are uploaded when the registry can be reached. Nothing here decides; see
//! `sedge_learning`.

mod work;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use sedge_api::node;
use sedge_learning::{Evaluate, Figures, Rounds, Rows, Step};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::work::Done;
use super::definition::{Definition, Part};
use super::run::{Success, datasets};
use super::{Context, Ended, Reporter, fetch};
use crate::artifacts::{Artifact, ArtifactError};
use crate::data::{Dataset, Split};
use crate::learning::{Deployed, Drift, Kept, Record, Task, Wants, metrics_of, status};
use crate::link::backoff::Backoff;
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
        if work.step != step {
            work = learner.begin_work(step, &cancel);
        }
        learner.align(&work.step).await?;
        learner.show(&work.step);
        if upload.is_none() && pause.is_over() {
            upload = learner.upload(&work.step);
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
            () = pause.over(), if upload.is_none() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What is under way. Dropped, it is ended.
struct Work<'a> {
    step: Step,
    future: BoxFuture<'a, Done>,
    _cancel: DropGuard,
}

impl Work<'_> {
    fn none(cancel: &CancellationToken) -> Self {
        let step = Step::Wait { until: None, why: String::new() };
        Self { step, future: std::future::pending().boxed(), _cancel: cancel.child_token().drop_guard() }
    }
}

/// The pause between tries to upload.
struct Pause {
    backoff: Backoff,
    until: Option<tokio::time::Instant>,
}

impl Pause {
    fn new() -> Self {
        Self { backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(15)), until: None }
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| tokio::time::Instant::now() >= until)
    }

    async fn over(&self) {
        match self.until.filter(|_| !self.is_over()) {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
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
    drift: Option<Drift>,
    figures: Figures,
    said: Option<node::LearningStatus>,
}

impl<'a> Learner<'a> {
    /// Fetch, wait for the dataset, and read what the job has come to.
    async fn begin(
        context: &'a Context,
        worker: node::Worker,
        reporter: &Reporter,
        cancel: &CancellationToken,
    ) -> Result<Self, Ended> {
        let (definition, task) = parse(&worker)?;
        let pending = |reason: &str, message: &str| reporter.pending(reason, message);
        let (component, model) = fetch::all(context, &definition, reporter, &pending).await?;
        let (Some(model), Some(first)) = (model, definition.model.clone()) else {
            return Err(Ended::failed("InvalidDefinition", "a learner needs a model to begin with"));
        };
        let mut changes = context.shelf.watch();
        let dataset = loop {
            changes.mark_unchanged();
            match datasets(context, &definition.datasets).map(|mut found| found.remove(TRAIN)) {
                Ok(Some(dataset)) => break dataset,
                Ok(None) => {
                    let message = format!("a learner is granted one dataset as `{TRAIN}`");
                    return Err(Ended::failed("InvalidDefinition", message));
                }
                Err((reason, message)) => reporter.pending(reason, &message),
            }
            if changes.changed().await.is_err() || cancel.is_cancelled() {
                return Err(Ended::Cancelled);
            }
        };
        let (folder, record) = read(context, &definition, &model).await?;
        let plugin = definition.plugin.digest;
        let mut learner = Self {
            context,
            reporter: reporter.clone(),
            folder,
            record,
            written: 0,
            worker,
            definition,
            task,
            component,
            plugin,
            first,
            model,
            dataset,
            drift: None,
            figures: Figures::default(),
            said: None,
        };
        learner.interrupted();
        Ok(learner)
    }

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

    /// The dataset as it is now, and the figures.
    async fn look(&mut self) {
        match datasets(self.context, &self.definition.datasets).map(|mut found| found.remove(TRAIN)) {
            Ok(Some(dataset)) => self.dataset = dataset,
            // What there was is gone on with until it is there again.
            Ok(None) => {}
            Err((reason, message)) => {
                tracing::debug!(reason, message, "the dataset is not there at the moment")
            }
        }
        self.figures = Figures {
            rows: Rows::of_one(self.dataset.size(Split::All) as u64),
            drift: self.drift().await,
            hard_share: match self.serves() {
                Some(worker) => self.context.deployments.hard_share(&worker),
                None => self.task.hard_share,
            },
        };
    }

    async fn drift(&mut self) -> Option<f64> {
        let task = self.task.drift.clone()?;
        let mut drift =
            self.drift.take().filter(|drift| *drift.task() == task).unwrap_or_else(|| Drift::new(task));
        let (dataset, trained) = (Arc::clone(&self.dataset), self.record.rounds.deployed().until.of(""));
        let scored = tokio::task::spawn_blocking(move || {
            let score = drift.score(&dataset, trained);
            (drift, score)
        });
        let (drift, score) = scored.await.ok()?;
        self.drift = Some(drift);
        score.unwrap_or_else(|why| {
            self.reporter.line(&format!("drift is not known: {why}"));
            None
        })
    }

    /// namespace/name of the serving Worker that it deploys to itself.
    fn serves(&self) -> Option<String> {
        let name = self.task.serves.as_ref()?;
        Some(format!("{}/{name}", self.worker.namespace))
    }

    /// What others say of the step that is next or under way. Whether that is another step now.
    async fn hear(&mut self, step: &Step) -> Result<bool, Ended> {
        let (now, before) = (Timestamp::now(), self.record.rounds.revision());
        match step {
            Step::Evaluate(evaluate) if self.task.evaluator.is_none() => {
                let Some(said) = self.task.assessment.clone() else { return Ok(false) };
                if (said.round, said.attempt) != (evaluate.round, self.attempt()) {
                    return Ok(false);
                }
                match said.failure.as_str() {
                    "" => {
                        let rows: BTreeMap<String, u64> = said.rows.clone().into_iter().collect();
                        let measured = sedge_learning::Evaluated {
                            candidate: metrics_of(&said.candidate),
                            deployed: metrics_of(&said.deployed),
                            candidate_earlier: metrics_of(&said.candidate_earlier),
                            deployed_earlier: metrics_of(&said.deployed_earlier),
                            samples: said.samples,
                            rows: Rows::try_from(rows).unwrap_or_default(),
                            evaluator: said.evaluator_digest.parse().ok(),
                        };
                        // Out of turn it was heard before.
                        let _ = self.record.rounds.evaluated(evaluate, measured, now);
                    }
                    why => drop(self.record.rounds.failed(step, why, &self.task.plan, now)),
                }
            }
            Step::Deploy(deploy) => {
                let outcome = match self.serves() {
                    Some(worker) => self.context.deployments.outcome(&worker, deploy.serial),
                    None => self.task.deployment.as_ref().filter(|said| said.serial == deploy.serial).map(
                        |said| {
                            if said.kept { Ok(()) } else { Err(said.reason.clone()) }
                        },
                    ),
                };
                match outcome {
                    Some(Ok(())) => {
                        let _ = self.record.rounds.deployed_now(deploy, now);
                        self.reporter.line(&format!("version {} serves", deploy.version.number));
                    }
                    Some(Err(why)) => {
                        let _ = self.record.rounds.refused(step, &why, now);
                        self.reporter
                            .line(&format!("version {} does not serve: {why}", deploy.version.number));
                    }
                    None => {}
                }
            }
            _ => {}
        }
        self.keep().await?;
        Ok(self.record.rounds.revision() != before)
    }

    /// Tries of the present evaluation that have failed.
    fn attempt(&self) -> u32 {
        self.record.rounds.current().map_or(0, |round| round.evaluate.failures)
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

    /// Let the serving Worker serve the deployed version, unless another is being deployed to it.
    async fn align(&mut self, step: &Step) -> Result<(), Ended> {
        let Some(worker) = self.serves().filter(|_| !matches!(step, Step::Deploy(_))) else { return Ok(()) };
        let (serial, number) = (self.record.rounds.serial(), self.record.rounds.deployed().number);
        let wanted = match serial {
            0 => None,
            _ => self.artifact(number).map(|model| Deployed::new(serial, &model)),
        };
        work::deploy(self.context, worker, wanted).await.map_err(|error| {
            Ended::failed(HOST_ERROR, format!("what is deployed cannot be written down: {error}"))
        })
    }

    fn show(&mut self, step: &Step) {
        let uploaded =
            |version: u32| version == 0 || self.record.models.get(&version).is_some_and(|kept| kept.uploaded);
        let mut wants = Wants::default();
        match step {
            Step::Evaluate(Evaluate { round, candidate, deployed, earlier })
                if self.task.evaluator.is_none()
                    && uploaded(candidate.number)
                    && uploaded(deployed.number) =>
            {
                wants.assessment = Some(node::WantedAssessment {
                    round: *round,
                    attempt: self.attempt(),
                    candidate: candidate.number,
                    deployed: deployed.number,
                    earlier: earlier.iter().map(|(source, rows)| (source.to_owned(), rows)).collect(),
                });
            }
            Step::Deploy(deploy) if self.task.serves.is_none() && uploaded(deploy.version.number) => {
                let (serial, version) = (deploy.serial, deploy.version.number);
                wants.deployment = Some(node::WantedDeployment { serial, version });
            }
            _ => {}
        }
        let said = status(&self.record, &self.first.digest.to_string(), &self.figures, wants);
        if self.said.as_ref() != Some(&said) {
            self.said = Some(said.clone());
            self.reporter.update(|worker| worker.learning = Some(said));
        }
    }

    /// The next version that others are to have and the registry does not.
    fn upload(&self, step: &Step) -> Option<(u32, BoxFuture<'a, Result<(), ArtifactError>>)> {
        let mut numbers = vec![self.record.rounds.deployed().number];
        match step {
            Step::Evaluate(evaluate) if self.task.evaluator.is_none() => {
                numbers.push(evaluate.candidate.number)
            }
            Step::Deploy(deploy) => numbers.push(deploy.version.number),
            _ => {}
        }
        let missing = |number: &u32| self.record.models.get(number).is_some_and(|kept| !kept.uploaded);
        let number = numbers.into_iter().find(missing)?;
        let (artifacts, model) = (Arc::clone(&self.context.artifacts), self.artifact(number)?);
        let (base, tag) = (self.first.clone(), self.task.tag(number));
        let upload = async move { artifacts.upload_model(&model, &base, &tag).await };
        Some((number, upload.boxed()))
    }

    async fn uploaded(
        &mut self,
        version: u32,
        uploaded: Result<(), ArtifactError>,
        pause: &mut Pause,
    ) -> Result<(), Ended> {
        match uploaded {
            Ok(()) => {
                *pause = Pause::new();
                if let Some(kept) = self.record.models.get_mut(&version) {
                    kept.uploaded = true;
                }
                self.write().await
            }
            Err(error) => {
                if !error.is_temporary() {
                    self.reporter.line(&format!("version {version} cannot be uploaded: {error}"));
                }
                pause.until = Some(tokio::time::Instant::now() + pause.backoff.next());
                Ok(())
            }
        }
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

/// What the job has come to; of a job that has not begun, its beginning.
async fn read(
    context: &Context,
    definition: &Definition,
    model: &Arc<Model>,
) -> Result<(Arc<Dir>, Record), Ended> {
    let (records, job, model) = (Arc::clone(&context.records), definition.job_uid.clone(), Arc::clone(model));
    let read = tokio::task::spawn_blocking(move || {
        if !super::definition::is_uid(&job) {
            return Err(Ended::failed("InvalidDefinition", "its job's uid is not one"));
        }
        let failed = |error: crate::learning::RecordError| Ended::failed("InvalidState", error.to_string());
        let folder = Record::folder(&records, &job).map_err(failed)?;
        let record = match Record::read(&folder, &job).map_err(failed)? {
            Some(record) => record,
            None => {
                let weights = model.weights.as_ref().ok_or_else(|| {
                    Ended::failed("ModelWithoutWeights", "the job's model has no weights to begin with")
                })?;
                let digest = work::digest_of(weights);
                // The same job draws the same earlier rows, on any node.
                let seed = job.bytes().fold(0_u64, |seed, byte| {
                    seed.rotate_left(8).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(byte)
                });
                Record { rounds: Rounds::begin(digest, seed, Timestamp::now()), models: BTreeMap::new() }
            }
        };
        Ok((Arc::new(folder), record))
    });
    read.await.unwrap_or_else(|error| Err(Ended::failed(HOST_ERROR, error.to_string())))
}

/// A version that was made: what is kept of it.
fn kept(model: &crate::artifacts::MadeModel) -> Kept {
    Kept { manifest: model.artifact.digest, uploaded: false }
}
