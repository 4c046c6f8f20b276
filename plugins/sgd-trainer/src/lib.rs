//! Trains by running a model's training graph over batches: `(x, y, lr, weights…) → (loss, NAME.next…)`.
//!
//! What gradient and what optimiser is the graph's affair. Weights go round as handles: each step's `NAME.next` is
//! the next step's `NAME`, and only the loss enters the guest.

mod parameters;

use parameters::Parameters;
use sedge_sdk::dataset::{self, Batching, Split};
use sedge_sdk::{Error, Graph, Metric, NamedTensor, Tensor, Trainer, Update, Weights, job, tensor};

struct Sgd;

impl Trainer for Sgd {
    type Parameters = Parameters;

    fn train(parameters: Parameters, round: u32, start: &Weights) -> Result<Update, Error> {
        parameters.check()?;
        let graph = Graph::load(&parameters.graph)?;
        let samples = dataset::size(&parameters.dataset, Split::Train)?;
        let mut weights = start.tensors();
        let mut loss = Mean::default();
        for epoch in 0..parameters.epochs {
            loss = Mean::default();
            let batching = Batching {
                size: parameters.batch_size,
                shuffle: Some(parameters.shuffle_seed(round, epoch)),
            };
            for batch in dataset::read(&parameters.dataset, Split::Train, batching)? {
                let batch = batch?;
                let size = batch.samples();
                let (next, batch_loss) =
                    step(&graph, batch.into_columns(), parameters.learning_rate, weights)?;
                weights = next;
                loss.add(batch_loss, size);
            }
            job::report(u64::from(epoch) + 1, parameters.epochs.into(), &loss.metric())?;
        }
        Ok(Update { weights: Weights::new(weights), samples, metrics: loss.metric() })
    }
}

/// One step: the weights after it, and the batch's mean loss.
fn step(
    graph: &Graph,
    batch: Vec<NamedTensor>,
    learning_rate: f32,
    mut weights: Vec<NamedTensor>,
) -> Result<(Vec<NamedTensor>, f32), Error> {
    let expected = weights.len();
    let mut inputs = batch;
    inputs.push(("lr".to_owned(), Tensor::scalar(learning_rate)));
    inputs.append(&mut weights);
    let mut outputs = graph.compute(inputs)?.into_tensors();
    let loss = tensor::take(&mut outputs, "loss")?.item_f32()?;
    weights.extend(outputs.into_iter().filter_map(|(name, tensor)| Some((before_next(name)?, tensor))));
    // The names are right because the next step's inputs, and in the end the aggregator, check them.
    if weights.len() != expected {
        return Err(format!(
            "the graph gives {} outputs NAME.next for {expected} weights; it must give one for each",
            weights.len()
        )
        .into());
    }
    Ok((weights, loss))
}

/// `w0` of `w0.next`.
fn before_next(mut name: String) -> Option<String> {
    let length = name.strip_suffix(".next")?.len();
    name.truncate(length);
    Some(name)
}

/// The mean loss of the samples seen in an epoch.
#[derive(Debug, Default)]
struct Mean {
    sum: f64,
    samples: u64,
}

impl Mean {
    fn add(&mut self, batch_mean: f32, samples: u64) {
        self.sum += f64::from(batch_mean) * samples as f64;
        self.samples += samples;
    }

    /// The metric `loss`; none if no sample was seen.
    fn metric(&self) -> Vec<Metric> {
        if self.samples == 0 {
            return Vec::new();
        }
        vec![Metric::new("loss", self.sum / self.samples as f64)]
    }
}

sedge_sdk::export_trainer!(Sgd);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_loss_weighs_batches_by_their_samples() {
        let mut loss = Mean::default();
        loss.add(1.0, 30);
        loss.add(4.0, 10);
        assert_eq!(loss.metric()[0].value, 1.75);
        assert!(Mean::default().metric().is_empty(), "an epoch without samples has no loss");
    }

    #[test]
    fn only_outputs_called_next_are_weights() {
        assert_eq!(before_next("w0.next".into()).as_deref(), Some("w0"));
        assert_eq!(before_next("loss".into()), None);
    }
}
