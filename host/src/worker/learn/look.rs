//! What a learner looks at before it asks what is to be done: the dataset as it is now, drift, the share of hard examples.

use std::sync::Arc;

use sedge_learning::{Figures, Rows};

use super::{Learner, TRAIN};
use crate::data::Split;
use crate::learning::Drift;
use crate::worker::run::datasets;

impl Learner<'_> {
    /// The dataset as it is now, and the figures.
    pub(super) async fn look(&mut self) {
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
}
