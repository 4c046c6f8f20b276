//! What a learner looks at before it asks what is to be done: the dataset as it is now, drift, the share of hard examples.

use std::sync::Arc;

use sedge_learning::{Figures, MOST_SOURCES};

use super::{Learner, TRAIN, work};
use crate::data::Dataset;
use crate::learning::{Drift, DriftSubject, Errors, Sources};
use crate::worker::run::datasets;

impl Learner<'_> {
    /// The dataset as it is now, and the figures.
    pub(super) async fn look(&mut self) {
        match datasets(self.context, &self.definition.datasets).map(|mut found| found.remove(TRAIN)) {
            Ok(Some(dataset)) => self.take(dataset),
            // What there was is gone on with until it is there again.
            Ok(None) => {}
            Err((reason, message)) => {
                tracing::debug!(reason, message, "the dataset is not there at the moment")
            }
        }
        self.figures = Figures {
            rows: self.sources.rows(),
            drift: match self.errors() {
                Some(errors) => errors.score(),
                None => self.drift().await,
            },
            hard_share: match self.serves() {
                Some(worker) => self.context.deployments.hard_share(&worker),
                None => self.task.hard_share,
            },
        };
    }

    /// What there is of the dataset now. Rows that were replaced by others are new.
    fn take(&mut self, dataset: Arc<Dataset>) {
        if Arc::ptr_eq(&self.dataset, &dataset) {
            return;
        }
        let sources = Arc::new(Sources::of(&dataset, MOST_SOURCES));
        for source in sources.replaced(&self.sources) {
            self.record.rounds.replaced(source);
            self.reporter.line(&format!("{} was replaced: its rows are new", shown(source)));
        }
        (self.dataset, self.sources) = (dataset, sources);
    }

    /// After a start: whether the rows that were trained on last are those that there are.
    pub(super) async fn recognise(&mut self) {
        let trained =
            self.record.rounds.versions().iter().rev().find(|version| version.data_digest.is_some());
        let Some((data, digest)) =
            trained.and_then(|version| Some((version.data.clone(), version.data_digest.clone()?)))
        else {
            return;
        };
        let (dataset, rows) = (Arc::clone(&self.dataset), self.sources.within(&data));
        // Of files that went, or became shorter, there is nothing to compare.
        if rows.len() as u64 != data.len() {
            return;
        }
        let now = tokio::task::spawn_blocking(move || work::data_digest(&dataset, rows)).await;
        if now.ok().flatten().is_some_and(|now| now != digest) {
            for (source, _) in data.iter() {
                self.record.rounds.replaced(source);
                let name = shown(source);
                self.reporter.line(&format!("{name} is not what was trained on: its rows are new"));
            }
        }
    }

    /// Where drift is that of the deployed version's errors: the windows of them, as of the version that serves now.
    fn errors(&mut self) -> Option<&Errors> {
        let on_errors = self.task.drift.clone().filter(|task| task.on == DriftSubject::Errors);
        // Refused when the definition was parsed, where there is no evaluator or the parameters are none.
        let Some((task, evaluator)) = on_errors.zip(self.task.evaluator.clone()) else {
            self.errors = None;
            return None;
        };
        if !self.errors.as_ref().is_some_and(|errors| errors.is_of(&task, &evaluator)) {
            self.errors = Errors::new(task, evaluator).ok();
        }
        let deployed = self.record.rounds.deployed();
        let errors = self.errors.as_mut()?;
        errors.look(&self.sources, deployed.number, &deployed.until);
        Some(errors)
    }

    async fn drift(&mut self) -> Option<f64> {
        let task = self.task.drift.clone().filter(|task| task.on == DriftSubject::Features)?;
        let mut drift =
            self.drift.take().filter(|drift| *drift.task() == task).unwrap_or_else(|| Drift::new(task));
        let (dataset, sources) = (Arc::clone(&self.dataset), Arc::clone(&self.sources));
        let deployed = self.record.rounds.deployed();
        let (data, trained) = (deployed.data.clone(), deployed.until.clone());
        let reporter = self.reporter.clone();
        let scored = tokio::task::spawn_blocking(move || {
            let failure = |why: &str| reporter.line(&format!("drift is not known: {why}"));
            let score = drift.score(&dataset, &sources, (&data, &trained), failure);
            (drift, score)
        });
        let (drift, score) = scored.await.ok()?;
        self.drift = Some(drift);
        score
    }
}

fn shown(source: &str) -> &str {
    if source.is_empty() { "the dataset" } else { source }
}
