//! Measures loss and accuracy with a model's evaluation graph: `(x, y, weights…) → (loss_sum, correct)`, both sums
//! over the batch, so that batches of different sizes add up.

use sedge_sdk::dataset::{self, Batching, Split};
use sedge_sdk::{Error, Evaluator, Graph, Metric, Report, Weights};
use serde::Deserialize;

/// What a job may set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Parameters {
    /// Samples per call of the graph.
    batch_size: u32,
    /// The dataset's name in the worker's grants.
    dataset: String,
    /// Which part of it: `train`, `test` or `all`.
    split: Part,
    /// The name of the evaluation graph.
    graph: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { batch_size: 256, dataset: "test".to_owned(), split: Part::Test, graph: "evaluate".to_owned() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    Train,
    Test,
    All,
}

impl From<Part> for Split {
    fn from(part: Part) -> Self {
        match part {
            Part::Train => Self::Train,
            Part::Test => Self::Test,
            Part::All => Self::All,
        }
    }
}

struct LossAndAccuracy;

impl Evaluator for LossAndAccuracy {
    type Parameters = Parameters;

    fn evaluate(parameters: Parameters, candidate: &Weights) -> Result<Report, Error> {
        if parameters.batch_size == 0 {
            return Err(Error::parameter("batchSize", "must be at least 1"));
        }
        // Weights are the same for every batch: they are fixed to the graph once.
        let graph = Graph::bind(candidate, &parameters.graph)?;
        let batching = Batching { size: parameters.batch_size, shuffle: None };
        let mut sums = Sums::default();
        for batch in dataset::read(&parameters.dataset, parameters.split.into(), batching)? {
            let batch = batch?;
            let samples = batch.samples();
            let mut outputs = graph.compute(batch.into_columns())?;
            let loss = outputs.take("loss_sum")?.item_f32()?;
            let correct = outputs.take("correct")?.item_i64()?;
            sums.add(samples, loss, correct)?;
        }
        sums.report().ok_or_else(|| {
            let part = parameters.split;
            Error::Dataset {
                name: parameters.dataset,
                message: format!("has no sample in its split {part:?}"),
            }
        })
    }
}

/// Sums over the samples seen.
#[derive(Debug, Default)]
struct Sums {
    samples: u64,
    loss: f64,
    correct: u64,
}

impl Sums {
    fn add(&mut self, samples: u64, loss: f32, correct: i64) -> Result<(), Error> {
        let correct = u64::try_from(correct).ok().filter(|&correct| correct <= samples).ok_or_else(|| {
            Error::Other(format!("the graph counts {correct} right answers among {samples} samples"))
        })?;
        self.samples += samples;
        self.loss += f64::from(loss);
        self.correct += correct;
        Ok(())
    }

    /// Mean loss and accuracy; none if no sample was seen.
    fn report(&self) -> Option<Report> {
        if self.samples == 0 {
            return None;
        }
        let samples = self.samples as f64;
        Some(Report {
            samples: self.samples,
            metrics: vec![
                Metric::new("loss", self.loss / samples),
                Metric::new("accuracy", self.correct as f64 / samples),
            ],
        })
    }
}

sedge_sdk::export_evaluator!(LossAndAccuracy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_different_sizes_add_up() {
        let mut sums = Sums::default();
        sums.add(256, 128.0, 192).unwrap();
        sums.add(64, 32.0, 48).unwrap();
        let report = sums.report().unwrap();
        assert_eq!(report.samples, 320);
        assert_eq!((report.metrics[0].value, report.metrics[1].value), (0.5, 0.75));
    }

    #[test]
    fn a_count_beyond_the_samples_is_an_error() {
        assert!(Sums::default().add(10, 1.0, 11).is_err());
        assert!(Sums::default().add(10, 1.0, -1).is_err());
    }

    #[test]
    fn nothing_seen_is_nothing_measured() {
        assert!(Sums::default().report().is_none());
    }
}
