//! How much an update counts: its samples, as a share of all samples so far.

use sedge_sdk::Error;

/// Samples folded in so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Samples(u64);

impl Samples {
    /// The samples with `more` folded in, and the share that `more` is of them, above 0 and at most 1.
    pub fn with(self, more: u64) -> Result<(Self, f32), Error> {
        if more == 0 {
            return Err("the update rests on no samples, so it has no weight in the mean".into());
        }
        let sum = self.0.checked_add(more).ok_or_else(|| {
            Error::Other(format!(
                "{more} samples are too many: with the {} before them they overflow",
                self.0
            ))
        })?;
        Ok((Self(sum), (more as f64 / sum as f64) as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folds scalars as the aggregator folds tensors: (1 − t)·y + t·x.
    fn mean(updates: &[(f64, u64)]) -> f64 {
        let mut samples = Samples::default();
        updates.iter().fold(0.0, |mean, &(value, count)| {
            let (sum, share) = samples.with(count).unwrap();
            samples = sum;
            (1.0 - f64::from(share)) * mean + f64::from(share) * value
        })
    }

    #[test]
    fn folding_gives_the_weighted_mean() {
        let updates = [(1.0, 10), (4.0, 30), (-2.0, 60)];
        let expected = (1.0 * 10.0 + 4.0 * 30.0 - 2.0 * 60.0) / 100.0;
        assert!((mean(&updates) - expected).abs() < 1e-6);
    }

    #[test]
    fn the_first_update_is_the_whole_mean() {
        assert_eq!(Samples::default().with(7).unwrap(), (Samples(7), 1.0));
    }

    #[test]
    fn no_samples_and_too_many_are_refused() {
        assert!(Samples::default().with(0).unwrap_err().to_string().contains("no samples"));
        assert!(Samples(u64::MAX).with(1).unwrap_err().to_string().contains("overflow"));
    }
}
