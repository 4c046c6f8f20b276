//! The histogram that the index is of, and the index itself.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::sampling::usable;

/// Counts of values between the quantiles of a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// The reference's smallest value; below it lies the first bin.
    smallest: f64,
    /// Upper bounds of the bins after that, rising; beyond the last lies the last bin.
    uppers: Vec<f64>,
    counts: Vec<u64>,
}

/// Histograms of different bins cannot be added or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the two histograms have different bins: take both from one reference")]
pub struct DifferentBins;

impl Histogram {
    /// Of `values`, between `bins` of their quantiles; None of no usable value.
    pub fn of_quantiles(values: &[f64], bins: usize) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| usable(*value)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&smallest, &largest) = (sorted.first()?, sorted.last()?);
        let mut uppers: Vec<f64> = (1..bins).map(|k| quantile(&sorted, k as f64 / bins as f64)).collect();
        uppers.push(largest);
        uppers.dedup();
        let counts = vec![0; uppers.len() + 2];
        let mut histogram = Self { smallest, uppers, counts };
        sorted.iter().for_each(|value| histogram.add(*value));
        Some(histogram)
    }

    /// Of the same bins, without values.
    pub fn emptied(&self) -> Self {
        Self { counts: vec![0; self.counts.len()], ..self.clone() }
    }

    /// Count one value; one that is not usable is left out.
    pub fn add(&mut self, value: f64) {
        if !usable(value) {
            return;
        }
        let bin = self.bin(value);
        if let Some(count) = self.counts.get_mut(bin) {
            *count = count.saturating_add(1);
        }
    }

    /// Count what another of the same bins has counted, on another node say.
    ///
    /// # Errors
    /// Their bins are different.
    pub fn merge(&mut self, other: &Self) -> Result<(), DifferentBins> {
        if (self.smallest, &self.uppers) != (other.smallest, &other.uppers) {
            return Err(DifferentBins);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        Ok(())
    }

    /// How many values each bin has, lowest first.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The index of `other` against this as the reference; None where one of them has no value.
    ///
    /// # Errors
    /// Their bins are different.
    pub fn stability(&self, other: &Self, smoothing: f64) -> Result<Option<f64>, DifferentBins> {
        if (self.smallest, &self.uppers) != (other.smallest, &other.uppers) {
            return Err(DifferentBins);
        }
        Ok(stability(&self.counts, &other.counts, smoothing))
    }

    pub(super) fn bin(&self, value: f64) -> usize {
        if value < self.smallest { 0 } else { 1 + self.uppers.partition_point(|upper| *upper < value) }
    }

    pub(super) fn holds_together(&self) -> bool {
        self.counts.len() == self.uppers.len() + 2
            && usable(self.smallest)
            && self.uppers.iter().all(|upper| usable(*upper) && *upper >= self.smallest)
            && self.uppers.is_sorted()
    }
}

/// The index of `current` counts against `reference` counts of the same bins; None where one of them has no value.
pub fn stability(reference: &[u64], current: &[u64], smoothing: f64) -> Option<f64> {
    let sum = |counts: &[u64]| counts.iter().map(|count| *count as f64).sum::<f64>();
    let (before, now) = (sum(reference), sum(current));
    if before == 0.0 || now == 0.0 {
        return None;
    }
    let whole = 1.0 + smoothing * reference.len() as f64;
    let term = |(p, q): (&u64, &u64)| {
        let (p, q) = (*p as f64 / before + smoothing, *q as f64 / now + smoothing);
        // Without smoothing a bin that is empty on both sides adds nothing, and one that is on one side infinity.
        if p == q { 0.0 } else { (q - p) / whole * (q / p).ln() }
    };
    Some(reference.iter().zip(current).map(term).sum())
}

/// Linear between the order statistics around (n − 1) · share.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frequent_values_have_bins_of_their_own_and_what_never_was_lies_beyond() {
        let histogram = Histogram::of_quantiles(&[0.0, 0.0, 0.0, 1.0, 1.0, 1.0], 10).unwrap();
        assert_eq!(histogram.uppers.first(), Some(&0.0));
        let mut now = histogram.emptied();
        [-1.0, 0.0, 1.0, 2.0, f64::NAN].into_iter().for_each(|value| now.add(value));
        assert_eq!(now.counts().iter().sum::<u64>(), 4, "what is no number is left out");
        assert_eq!((now.counts()[0], *now.counts().last().unwrap()), (1, 1));
        assert_eq!(now.counts()[1], 1, "0 alone");
    }

    #[test]
    fn any_other_value_differs_from_a_constant() {
        let reference = Histogram::of_quantiles(&[5.0; 100], 10).unwrap();
        for (value, drifts) in [(5.0, false), (4.9, true), (5.1, true)] {
            let mut now = reference.emptied();
            (0..100).for_each(|_| now.add(value));
            let index = reference.stability(&now, 1e-4).unwrap().unwrap();
            assert_eq!(index > 0.25, drifts, "{value}: {index}");
        }
    }

    #[test]
    fn counts_of_two_nodes_add_up() {
        let reference = Histogram::of_quantiles(&[1.0, 2.0, 3.0, 4.0], 2).unwrap();
        let (mut one, mut other) = (reference.emptied(), reference.emptied());
        one.add(1.0);
        other.add(4.0);
        one.merge(&other).unwrap();
        assert_eq!(one.counts().iter().sum::<u64>(), 2);
        let different = Histogram::of_quantiles(&[1.0, 9.0], 2).unwrap();
        assert_eq!(one.merge(&different), Err(DifferentBins));
        assert_eq!(reference.stability(&different, 1e-4), Err(DifferentBins));
    }

    #[test]
    fn empty_bins_are_defined() {
        assert_eq!(stability(&[0, 0], &[1, 1], 1e-4), None);
        assert_eq!(stability(&[1, 0], &[1, 0], 0.0), Some(0.0));
        assert_eq!(stability(&[1, 1], &[2, 0], 0.0), Some(f64::INFINITY));
        assert!(stability(&[1, 1], &[2, 0], 1e-4).unwrap().is_finite());
    }

    proptest! {
        #[test]
        fn the_index_is_symmetric_and_never_negative(
            pairs in prop::collection::vec((0u64..1_000, 0u64..1_000), 1..20),
        ) {
            let (p, q): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            if let (Some(one), Some(other)) = (stability(&p, &q, 1e-4), stability(&q, &p, 1e-4)) {
                prop_assert!(one >= 0.0);
                prop_assert!((one - other).abs() <= 1e-12 * one.max(1.0));
            }
        }

        #[test]
        fn every_value_has_a_bin(values in prop::collection::vec(any::<f64>(), 1..64), bins in 1usize..20) {
            if let Some(histogram) = Histogram::of_quantiles(&values, bins) {
                let usable = values.iter().filter(|value| usable(**value)).count();
                prop_assert!(histogram.holds_together());
                prop_assert_eq!(histogram.counts().iter().sum::<u64>(), usable as u64);
                prop_assert_eq!(histogram.counts()[0], 0, "nothing is below the smallest");
            }
        }
    }
}
