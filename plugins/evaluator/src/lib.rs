//! Measures a model with its evaluation graph: `(x, y, weights…) → (NAME_sum…, correct)`, all sums over the batch, so
//! that batches of different sizes add up. An output `NAME_sum` (f32, one element) becomes the metric `NAME`, its mean
//! over the samples; `correct` (i64, one element), where there is one, becomes `accuracy`. With the parameter `perClass`,
//! the column of classes (`y`), each class has its `accuracy.classN` too: the graph is computed on its samples alone once more.

use std::collections::BTreeMap;

use sedge_sdk::dataset::{self, Batching, Split};
use sedge_sdk::{Error, Evaluator, Graph, Metric, NamedTensor, Report, Tensor, Weights};
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
    /// The column whose classes are measured each by itself as well; absent: none is.
    per_class: Option<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            batch_size: 256,
            dataset: "test".to_owned(),
            split: Part::Test,
            graph: "evaluate".to_owned(),
            per_class: None,
        }
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
/// Classes that are measured each by itself: hosts keep no more metrics.
const MOST_CLASSES: usize = 200;
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
            let columns = batch.into_columns();
            if let Some(column) = &parameters.per_class {
                for (class, of_class) in by_class(&columns, column)? {
                    let samples = of_class.first().map_or(0, |(_, tensor)| tensor.samples().0 as u64);
                    let tensors = graph.compute(of_class)?.into_tensors();
                    let Some((_, correct)) = tensors.iter().find(|(name, _)| name == CORRECT) else {
                        let message = "needs a graph that counts right answers, as `correct`";
                        return Err(Error::parameter("perClass", message));
                    };
                    sums.add_class(class, samples, correct.item_i64()?)?;
                }
            }
            for (name, tensor) in graph.compute(columns)?.into_tensors() {
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

/// The samples of each class that there is in the column, with all their columns.
fn by_class(columns: &[NamedTensor], column: &str) -> Result<BTreeMap<i64, Vec<NamedTensor>>, Error> {
    let Some((_, classes)) = columns.iter().find(|(name, _)| name == column) else {
        return Err(Error::parameter("perClass", format!("the dataset has no column `{column}`")));
    };
    let mut rows: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
    for (row, class) in classes.to_i64()?.into_iter().enumerate() {
        rows.entry(class).or_default().push(row);
    }
    if rows.len() > MOST_CLASSES {
        let message = format!("`{column}` has {} classes, more than {MOST_CLASSES}", rows.len());
        return Err(Error::parameter("perClass", message));
    }
    let mut of_class: BTreeMap<i64, Vec<NamedTensor>> = BTreeMap::new();
    for (name, tensor) in columns {
        let (mut shape, data) = (tensor.dimensions(), tensor.data());
        for (class, rows) in &rows {
            if let Some(samples) = shape.first_mut() {
                *samples = rows.len() as u32;
            }
            let taken = Tensor::new(&shape, tensor.ty(), &take(&data, classes.samples().0, rows));
            of_class.entry(*class).or_default().push((name.clone(), taken));
        }
    }
    Ok(of_class)
}

/// Rows of data that has `all` of them.
fn take(data: &[u8], all: usize, rows: &[usize]) -> Vec<u8> {
    let width = data.len() / all.max(1);
    rows.iter().flat_map(|row| &data[row * width..][..width]).copied().collect()
}

/// Sums over the samples seen.
#[derive(Debug, Default)]
struct Sums {
    samples: u64,
    /// Samples and right answers of each class.
    classes: BTreeMap<i64, (u64, u64)>,
    /// By the name of their metric.
    sums: BTreeMap<String, f64>,
    correct: Option<u64>,
}

impl Sums {
    fn add(&mut self, metric: &str, sum: f32) {
        *self.sums.entry(metric.to_owned()).or_default() += f64::from(sum);
    }

    fn add_correct(&mut self, samples: u64, correct: i64) -> Result<(), Error> {
        *self.correct.get_or_insert_default() += count(samples, correct)?;
        Ok(())
    }

    fn add_class(&mut self, class: i64, samples: u64, correct: i64) -> Result<(), Error> {
        let correct = count(samples, correct)?;
        let of_class = self.classes.entry(class).or_default();
        *of_class = (of_class.0 + samples, of_class.1 + correct);
        Ok(())
    }

    /// The means, then accuracy and that of each class; none if no sample was seen.
    fn report(&self) -> Option<Report> {
        if self.samples == 0 {
            return None;
        }
        let samples = self.samples as f64;
        let means = self.sums.iter().map(|(name, sum)| Metric::new(name, sum / samples));
        let accuracy = self.correct.map(|correct| Metric::new("accuracy", correct as f64 / samples));
        let classes = self.classes.iter().map(|(class, (samples, correct))| {
            Metric::new(format!("accuracy.class{class}"), *correct as f64 / *samples as f64)
        });
        Some(Report { samples: self.samples, metrics: means.chain(accuracy).chain(classes).collect() })
    }
}

/// What a graph says to have got right of so many samples.
fn count(samples: u64, correct: i64) -> Result<u64, Error> {
    u64::try_from(correct).ok().filter(|&correct| correct <= samples).ok_or_else(|| {
        Error::Other(format!("the graph counts {correct} right answers among {samples} samples"))
    })
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
    fn each_class_has_its_accuracy() {
        let mut sums = Sums { samples: 6, ..Sums::default() };
        for (class, samples, correct) in [(3, 2, 2), (1, 1, 0), (3, 2, 1), (1, 1, 1)] {
            sums.add_class(class, samples, correct).unwrap();
        }
        assert!(sums.add_class(1, 1, 2).is_err());
        let metrics = sums.report().unwrap().metrics;
        let metrics: Vec<_> = metrics.iter().map(|metric| (metric.name.as_str(), metric.value)).collect();
        assert_eq!(metrics, [("accuracy.class1", 0.5), ("accuracy.class3", 0.75)]);
    }

    #[test]
    fn rows_are_taken_with_all_their_bytes() {
        assert_eq!(take(&[1, 2, 3, 4, 5, 6], 3, &[0, 2]), [1, 2, 5, 6]);
        assert!(take(&[], 0, &[]).is_empty());
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
