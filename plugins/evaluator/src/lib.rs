//! Measures a model with its evaluation graph: `(x, y, weights…) → (NAME_sum…, correct)`, all sums over the batch, so
//! that batches of different sizes add up. An output `NAME_sum` (f32, one element) becomes the metric `NAME`, its mean
//! over the samples; `correct` (i64, one element), where there is one, becomes `accuracy`.

use std::collections::BTreeMap;

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

/// The output that counts right answers.
const CORRECT: &str = "correct";
/// What the names of other sums end in.
const SUM: &str = "_sum";

struct Means;

impl Evaluator for Means {
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
            sums.samples += samples;
            for (name, tensor) in graph.compute(batch.into_columns())?.into_tensors() {
                if name == CORRECT {
                    sums.add_correct(samples, tensor.item_i64()?)?;
                } else if let Some(metric) = name.strip_suffix(SUM) {
                    sums.add(metric, tensor.item_f32()?);
                }
            }
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
    /// By the name of their metric.
    sums: BTreeMap<String, f64>,
    correct: Option<u64>,
}

impl Sums {
    fn add(&mut self, metric: &str, sum: f32) {
        *self.sums.entry(metric.to_owned()).or_default() += f64::from(sum);
    }

    fn add_correct(&mut self, samples: u64, correct: i64) -> Result<(), Error> {
        let correct = u64::try_from(correct).ok().filter(|&correct| correct <= samples).ok_or_else(|| {
            Error::Other(format!("the graph counts {correct} right answers among {samples} samples"))
        })?;
        *self.correct.get_or_insert_default() += correct;
        Ok(())
    }

    /// The means, accuracy last; none if no sample was seen.
    fn report(&self) -> Option<Report> {
        if self.samples == 0 {
            return None;
        }
        let samples = self.samples as f64;
        let means = self.sums.iter().map(|(name, sum)| Metric::new(name, sum / samples));
        let accuracy = self.correct.map(|correct| Metric::new("accuracy", correct as f64 / samples));
        Some(Report { samples: self.samples, metrics: means.chain(accuracy).collect() })
    }
}

sedge_sdk::export_evaluator!(Means);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_different_sizes_add_up() {
        let mut sums = Sums::default();
        for (samples, loss, correct) in [(256, 128.0, 192), (64, 32.0, 48)] {
            sums.samples += samples;
            sums.add("loss", loss);
            sums.add_correct(samples, correct).unwrap();
        }
        let report = sums.report().unwrap();
        assert_eq!(report.samples, 320);
        let metrics: Vec<_> =
            report.metrics.iter().map(|metric| (metric.name.as_str(), metric.value)).collect();
        assert_eq!(metrics, [("loss", 0.5), ("accuracy", 0.75)]);
    }

    #[test]
    fn a_graph_that_counts_no_right_answers_has_no_accuracy() {
        let mut sums = Sums { samples: 4, ..Sums::default() };
        sums.add("absolute_error", 2.0);
        sums.add("loss", 1.0);
        let metrics: Vec<_> = sums.report().unwrap().metrics.into_iter().map(|metric| metric.name).collect();
        assert_eq!(metrics, ["absolute_error", "loss"]);
    }

    #[test]
    fn a_count_beyond_the_samples_is_an_error() {
        assert!(Sums::default().add_correct(10, 11).is_err());
        assert!(Sums::default().add_correct(10, -1).is_err());
    }

    #[test]
    fn nothing_seen_is_nothing_measured() {
        assert!(Sums::default().report().is_none());
    }
}
