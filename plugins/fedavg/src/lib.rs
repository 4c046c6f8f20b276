//! Federated averaging (McMahan et al. 2017): the new weights are the mean of the participants', weighted by their
//! samples. Each update is folded into a running mean as it arrives, so memory does not grow with participants.
//! The arithmetic is the host's (`sedge:lerp`, `sedge:non-finite`): weights never enter the guest.

mod layout;
mod share;

use layout::Layout;
use sedge_sdk::{Aggregator, Error, Graph, NamedTensor, Tensor, Update, Weights};
use serde::Deserialize;
use share::Samples;

/// Nothing is to be set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {}

struct FedAvg {
    layout: Layout,
    lerp: Graph,
    non_finite: Graph,
    samples: Samples,
    mean: Mean,
}

enum Mean {
    /// No update yet: the weights that the round started from.
    Start(Weights),
    /// The mean of the updates so far, sorted by name.
    Running(Vec<NamedTensor>),
    /// A fold failed half way, so the mean is lost.
    Lost(String),
}

impl Aggregator for FedAvg {
    type Parameters = Parameters;

    fn begin(_: Parameters, _round: u32, current: Weights) -> Result<Self, Error> {
        Ok(Self {
            layout: Layout::of(&current.tensors()),
            lerp: Graph::load("sedge:lerp")?,
            non_finite: Graph::load("sedge:non-finite")?,
            samples: Samples::default(),
            mean: Mean::Start(current),
        })
    }

    fn add(&mut self, update: Update) -> Result<(), Error> {
        // All that can be wrong with an update is found before the mean is touched.
        let (samples, share) = self.samples.with(update.samples)?;
        let tensors = update.weights.tensors();
        // The handles above are then the only ones, and the host may work in place.
        drop(update.weights);
        if let Some(difference) = self.layout.difference(&Layout::of(&tensors)) {
            return Err(format!("the update does not fit the model: {difference}").into());
        }
        let mut tensors = finite(&self.non_finite, tensors)?;
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));

        match std::mem::replace(&mut self.mean, Mean::Running(Vec::new())) {
            Mean::Start(_) => self.mean = Mean::Running(tensors),
            Mean::Running(mean) => match fold(&self.lerp, mean, tensors, share) {
                Ok(mean) => self.mean = Mean::Running(mean),
                Err(error) => {
                    self.mean = Mean::Lost(error.to_string());
                    return Err(error);
                }
            },
            Mean::Lost(reason) => {
                let error = lost(&reason);
                self.mean = Mean::Lost(reason);
                return Err(error);
            }
        }
        self.samples = samples;
        Ok(())
    }

    fn finish(self) -> Result<Weights, Error> {
        match self.mean {
            Mean::Start(current) => Ok(current),
            Mean::Running(mean) => Ok(Weights::new(mean)),
            Mean::Lost(reason) => Err(lost(&reason)),
        }
    }
}

/// The tensors, if every value in them is finite.
fn finite(non_finite: &Graph, tensors: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Error> {
    let mut checked = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let mut outputs = non_finite.compute(vec![("x".to_owned(), tensor)])?;
        let count = outputs.take("count")?.item_i64()?;
        if count != 0 {
            return Err(format!("weight {name} has {count} values that are NaN or infinite").into());
        }
        checked.push((name, outputs.take("x")?));
    }
    Ok(checked)
}

/// (1 − share)·mean + share·update, tensor by tensor; both have the same layout and order.
fn fold(
    lerp: &Graph,
    mean: Vec<NamedTensor>,
    update: Vec<NamedTensor>,
    share: f32,
) -> Result<Vec<NamedTensor>, Error> {
    let mut folded = Vec::with_capacity(mean.len());
    for ((name, mean), (_, update)) in mean.into_iter().zip(update) {
        let inputs =
            vec![("x".to_owned(), update), ("y".to_owned(), mean), ("t".to_owned(), Tensor::scalar(share))];
        folded.push((name, lerp.compute(inputs)?.take("z")?));
    }
    Ok(folded)
}

fn lost(reason: &str) -> Error {
    Error::Other(format!("the round's mean was lost when an update could not be folded in: {reason}"))
}

sedge_sdk::export_aggregator!(FedAvg);
