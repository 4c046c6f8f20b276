//! What a job may set.

use sedge_sdk::Error;
use serde::Deserialize;

/// What a job may set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Parameters {
    /// Passes over the node's samples per round.
    pub epochs: u32,
    /// Samples per step.
    pub batch_size: u32,
    /// The graph's input `lr`.
    pub learning_rate: f32,
    /// Makes the order of samples reproducible.
    pub seed: u64,
    /// The dataset's name in the worker's grants.
    pub dataset: String,
    /// The name of the training graph.
    pub graph: String,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 32,
            learning_rate: 0.1,
            seed: 0,
            dataset: "train".to_owned(),
            graph: "train".to_owned(),
        }
    }
}

impl Parameters {
    /// Refuses values that cannot train.
    pub fn check(&self) -> Result<(), Error> {
        if self.epochs == 0 {
            return Err(Error::parameter("epochs", "must be at least 1"));
        }
        if self.batch_size == 0 {
            return Err(Error::parameter("batchSize", "must be at least 1"));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            return Err(Error::parameter(
                "learningRate",
                format!("is {}, but must be 0 or a positive number", self.learning_rate),
            ));
        }
        Ok(())
    }

    /// The seed of one epoch's order: another for each round and epoch, the same when a round is done again.
    pub fn shuffle_seed(&self, round: u32, epoch: u32) -> u64 {
        scramble(scramble(self.seed) ^ (u64::from(round) << 32 | u64::from(epoch)))
    }
}

/// The output function of SplitMix64 (Steele, Lea, Flood 2014): near inputs give far outputs.
const fn scramble(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_round_and_epoch_has_its_own_order() {
        let parameters = Parameters::default();
        let seeds: HashSet<u64> = (0..50)
            .flat_map(|round| (0..50).map(move |epoch| (round, epoch)))
            .map(|(round, epoch)| parameters.shuffle_seed(round, epoch))
            .collect();
        assert_eq!(seeds.len(), 2500);
        let other = Parameters { seed: 1, ..Parameters::default() };
        assert_ne!(parameters.shuffle_seed(1, 0), other.shuffle_seed(1, 0));
    }

    #[test]
    fn values_that_cannot_train_are_refused_by_name() {
        let refusal = |parameters: Parameters| parameters.check().unwrap_err().to_string();
        let good = Parameters::default();
        assert!(good.check().is_ok());
        assert!(refusal(Parameters { epochs: 0, ..good.clone() }).contains("epochs"));
        assert!(refusal(Parameters { batch_size: 0, ..good.clone() }).contains("batchSize"));
        assert!(refusal(Parameters { learning_rate: f32::NAN, ..good }).contains("learningRate"));
    }
}
