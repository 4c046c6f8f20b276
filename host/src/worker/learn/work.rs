//! The steps of a learner as futures that stand alone, and what their outcome does to the record.

use std::io;
use std::sync::Arc;

use futures::FutureExt as _;
use jiff::Timestamp;
use sedge_learning::{Digest, Evaluated, Forget, Step, Train, Trained};
use sha2::Digest as _;
use tokio_util::sync::CancellationToken;

use super::{Learner, Work, kept};
use crate::artifacts::{Artifact, MadeModel};
use crate::data::{Dataset, Split};
use crate::learning::{Deployed, Record, Sources};
use crate::model::Weights;
use crate::runtime::{Grants, Reason, Trainer, Update};
use crate::worker::measure::{Measure, weights_of};
use crate::worker::{Context, Ended, fetch};

/// Samples that are hashed at a time.
const BATCH: usize = 1_024;

/// What a step came to. Err: a sentence.
pub(super) enum Done {
    Trained(Result<Made, String>),
    Measured(Result<Evaluated, String>),
    /// The serving Worker could not be told.
    NotTold(String),
    Forgotten(Vec<String>),
    /// It was ended.
    Ended,
}

/// A candidate.
pub(super) struct Made {
    model: MadeModel,
    update: Update,
    data_digest: Option<Digest>,
    /// What it was made with, which may be written otherwise by now.
    trainer: sedge_api::Digest,
    parameters: String,
}

impl<'a> Learner<'a> {
    /// Begin what `step` says.
    pub(super) fn begin_work(&self, step: Step, cancel: &CancellationToken) -> Work<'a> {
        let cancel = cancel.child_token();
        let future = match &step {
            Step::Wait { .. } => std::future::pending().boxed(),
            Step::Train(train) => {
                let why = self.record.rounds.current().map_or("", |round| &round.why);
                self.reporter.line(&format!("round {} begins: {why}", train.round));
                self.train(train, cancel.clone())
            }
            Step::Evaluate(_) if self.task.evaluator.is_none() => std::future::pending().boxed(),
            Step::Evaluate(evaluate) => {
                let measured = self.measure(cancel.clone()).zip(
                    self.artifact(evaluate.candidate.number).zip(self.artifact(evaluate.deployed.number)),
                );
                let earlier = evaluate.earlier.clone();
                async move {
                    let Some((measure, (candidate, deployed))) = measured else {
                        return Done::Measured(Err("a version's model is not on record".to_owned()));
                    };
                    match measure.both(&candidate, &deployed, &earlier).await {
                        Err(Ended::Cancelled) => Done::Ended,
                        Err(Ended::Failed { reason, message }) => {
                            Done::Measured(Err(format!("{reason}: {message}")))
                        }
                        Ok(measured) => Done::Measured(Ok(measured)),
                    }
                }
                .boxed()
            }
            Step::Deploy(deploy) => match (self.serves(), self.artifact(deploy.version.number)) {
                (None, _) => std::future::pending().boxed(),
                (Some(_), None) => {
                    async { Done::NotTold("the version's model is not on record".to_owned()) }.boxed()
                }
                (Some(worker), Some(model)) => {
                    let (context, wanted) = (self.context, self.deployment(deploy.serial, &model));
                    async move {
                        match self::deploy(context, worker, Some(wanted)).await {
                            Err(error) => Done::NotTold(error.to_string()),
                            // The step is done when the Worker says what came of it, which is heard.
                            Ok(()) => std::future::pending().await,
                        }
                    }
                    .boxed()
                }
            },
            Step::Forget(forget) => self.forget(forget),
        };
        Work { step, serves: self.serves(), future, _cancel: cancel.drop_guard() }
    }

    fn train(&self, train: &Train, cancel: CancellationToken) -> futures::future::BoxFuture<'a, Done> {
        let rows = Rows::of(&self.dataset, &self.sources, train, |may| self.record.rounds.replay(may));
        let (context, definition, reporter) = (self.context, self.definition.clone(), self.reporter.clone());
        let (dataset, model, first) =
            (Arc::clone(&self.dataset), Arc::clone(&self.model), self.first.clone());
        let (start, component, plugin) =
            (self.artifact(train.start.number), self.component.clone(), self.plugin);
        let (round, repository) = (train.round, self.task.repository.clone());
        let work = async move {
            let start = start.ok_or_else(|| failed("the version that it starts from is not on record"))?;
            if rows.train.is_empty() {
                return Err(failed("none of the round's rows is for training: the split holds them out"));
            }
            // A definition with another plugin is taken up by the next round.
            let component = match definition.plugin.digest == plugin {
                true => component,
                false => fetch::component(context, &definition.plugin, &|_, _| {}).await?,
            };
            let start = weights_of(context, &definition, &start).await?;
            let part = dataset.part(rows.train, dataset.rows(Split::Test).into_owned());
            let grants = Grants {
                parameters: definition.parameters.clone(),
                datasets: [(super::TRAIN.to_owned(), part)].into(),
                model: Some(model),
                memory_bytes: definition.memory_bytes,
                call: definition.call,
                observer: Arc::new(reporter.clone()),
                cancel: cancel.clone(),
            };
            let update =
                Trainer::new(&context.runtime, &component, grants)?.train(round, start.clone()).await?;
            start
                .check_layout(&update.weights)
                .map_err(|error| failed(&format!("what was trained is no version of the model: {error}")))?;
            let model = context.artifacts.keep_model(&first, update.weights.clone(), &repository).await;
            let model = model.map_err(|error| Ended::failed(error.reason(), error.to_string()))?;
            let data_digest = tokio::task::spawn_blocking(move || data_digest(&dataset, rows.own)).await;
            let (trainer, parameters) = (definition.plugin.digest, definition.parameters);
            Ok(Made { model, update, data_digest: data_digest.ok().flatten(), trainer, parameters })
        };
        async move {
            match work.await {
                Ok(made) => Done::Trained(Ok(made)),
                Err(Ended::Cancelled) => Done::Ended,
                Err(Ended::Failed { reason, message }) => Done::Trained(Err(format!("{reason}: {message}"))),
            }
        }
        .boxed()
    }

    pub(super) fn measure(&self, cancel: CancellationToken) -> Option<Measure<'a>> {
        Some(Measure {
            context: self.context,
            definition: self.definition.clone(),
            evaluator: self.task.evaluator.clone()?,
            model: Arc::clone(&self.model),
            reporter: self.reporter.clone(),
            cancel,
        })
    }

    fn forget(&self, forget: &Forget) -> futures::future::BoxFuture<'a, Done> {
        let gone = |version: &&u32| {
            let version = self.record.rounds.version(**version);
            version.is_some_and(|version| forget.weights.contains(&version.digest))
        };
        let models: Vec<Artifact> = forget
            .versions
            .iter()
            .filter(gone)
            .filter(|version| **version > 0)
            .filter_map(|version| self.artifact(*version))
            .collect();
        let artifacts = Arc::clone(&self.context.artifacts);
        let (records, job) = (Arc::clone(&self.context.records), self.definition.job_uid.clone());
        async move {
            let shared = tokio::task::spawn_blocking(move || Record::models_of_others(&records, &job)).await;
            let shared = match shared.map_err(io::Error::other).flatten() {
                Ok(shared) => shared,
                Err(error) => return Done::Forgotten(vec![error.to_string()]),
            };
            let mut problems = Vec::new();
            for model in models.into_iter().filter(|model| !shared.contains(&model.digest)) {
                if let Err(error) = artifacts.forget_model(&model).await {
                    problems.push(error.to_string());
                }
            }
            Done::Forgotten(problems)
        }
        .boxed()
    }

    /// What came of `step`.
    pub(super) async fn done(&mut self, step: &Step, done: Done) -> Result<(), Ended> {
        let now = Timestamp::now();
        let plan = self.task.plan.clone();
        let failed = match (step, done) {
            (Step::Train(train), Done::Trained(Ok(made))) => {
                self.trained(train, made, now);
                None
            }
            (Step::Evaluate(evaluate), Done::Measured(Ok(measured))) => {
                let (number, samples) = (evaluate.candidate.number, measured.samples);
                self.reporter.line(&format!("version {number} is measured on {samples} samples"));
                // Out of turn: a version was rolled back meanwhile.
                let _ = self.record.rounds.evaluated(evaluate, measured, now);
                None
            }
            (Step::Forget(forget), Done::Forgotten(problems)) => {
                for problem in problems {
                    self.reporter.line(&format!("weights are left behind: {problem}"));
                }
                self.record.models.retain(|version, _| !forget.versions.contains(version));
                self.record.rounds.forgotten(forget);
                None
            }
            (_, Done::Trained(Err(why)) | Done::Measured(Err(why)) | Done::NotTold(why)) => Some(why),
            _ => None,
        };
        if let Some(why) = failed {
            self.reporter.line(&why);
            let _ = self.record.rounds.failed(step, &why, &plan, now);
        }
        self.keep().await
    }

    fn trained(&mut self, train: &Train, made: Made, now: Timestamp) {
        let Made { model, update, data_digest, trainer, parameters } = made;
        let Ok(digest) = model.weights.to_string().parse() else { return };
        let trained = Trained {
            digest,
            data_digest,
            samples: update.samples,
            metrics: update.metrics.iter().map(|metric| (metric.name.clone(), metric.value)).collect(),
            trainer: trainer.to_string().parse().ok(),
            parameters: serde_json::from_str(&parameters).unwrap_or_default(),
        };
        if let Ok(number) = self.record.rounds.trained(train, trained, now) {
            self.record.models.insert(number, kept(&model));
            self.reporter.line(&format!("round {} made version {number}", train.round));
        }
    }
}

/// Rows of a round, by their index.
struct Rows {
    /// To train on: its own and earlier ones, without those held out.
    train: Vec<u32>,
    /// Its own, those held out included, source by source.
    own: Vec<u32>,
}

impl Rows {
    fn of(
        dataset: &Dataset,
        sources: &Sources,
        train: &Train,
        replay: impl FnOnce(&dyn Fn(&str, u64) -> bool) -> std::collections::BTreeMap<String, Vec<u64>>,
    ) -> Self {
        let own = sources.within(&train.data);
        let trainable = dataset.rows(Split::Train);
        let may = |row: u32| trainable.binary_search(&row).is_ok();
        let mut rows: Vec<u32> = own.iter().copied().filter(|row| may(*row)).collect();
        for (source, places) in replay(&|source, place| sources.find(source, place).is_some_and(may)) {
            rows.extend(places.into_iter().filter_map(|place| sources.find(&source, place)));
        }
        rows.sort_unstable();
        rows.dedup();
        Self { train: rows, own }
    }
}

/// Let the Worker serve `wanted`, or its definition's model.
pub(super) async fn deploy(context: &Context, worker: String, wanted: Option<Deployed>) -> io::Result<()> {
    if context.deployments.is(&worker, wanted.as_ref()) {
        return Ok(());
    }
    let deployments = Arc::clone(&context.deployments);
    let set = tokio::task::spawn_blocking(move || match wanted {
        Some(wanted) => deployments.set(&worker, wanted),
        None => deployments.remove(&worker),
    });
    set.await.map_err(io::Error::other).flatten()
}

/// As versions have it.
pub(super) fn digest_of(weights: &Weights) -> Digest {
    let mut hasher = sha2::Sha256::new();
    weights.to_safetensors().iter().for_each(|part| hasher.update(part));
    let digest = sedge_api::Digest::from_sha256(hasher.finalize().into());
    digest.to_string().parse().expect("a digest is written as one")
}

/// Of rows: their tensors' names and bytes, batch by batch.
pub(super) fn data_digest(dataset: &Arc<Dataset>, rows: Vec<u32>) -> Option<Digest> {
    let part = dataset.part(rows, Vec::new());
    let mut batches = part.batches(Split::Train, BATCH, None);
    let mut hasher = sha2::Sha256::new();
    while let Some(batch) = batches.try_next().ok()? {
        for (name, tensor) in batch {
            hasher.update(name.as_bytes());
            hasher.update([0]);
            hasher.update(tensor.bytes());
        }
    }
    sedge_api::Digest::from_sha256(hasher.finalize().into()).to_string().parse().ok()
}

fn failed(message: &str) -> Ended {
    Ended::failed(&Reason::HostError.to_string(), message)
}
