//! What a detector may keep of a stream: usable values alone, and of a long one a uniform sample. Called by the
//! detectors that compare to a reference.

use serde::{Deserialize, Serialize};

/// Beyond this, the sum of squares of a long window could overflow.
const LARGEST: f64 = 1e100;

/// Whether a detector takes the value at all.
pub fn usable(value: f64) -> bool {
    value.abs() <= LARGEST
}

/// At most `capacity` values, each of those offered with the same chance: algorithm R of Vitter, *Random Sampling
/// with a Reservoir* (1985). The same values in the same order leave the same sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reservoir {
    capacity: usize,
    offered: u64,
    values: Vec<f64>,
}

impl Reservoir {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, offered: 0, values: Vec::new() }
    }

    pub fn offer(&mut self, value: f64) {
        let at = self.offered;
        self.offered = at.saturating_add(1);
        if self.values.len() < self.capacity {
            self.values.push(value);
            return;
        }
        let place = (uniform(at) * self.offered as f64) as usize;
        if let Some(kept) = self.values.get_mut(place) {
            *kept = value;
        }
    }

    pub fn is_full(&self) -> bool {
        self.values.len() >= self.capacity
    }

    /// Whether it is one that still fills, up to `capacity`: of one that was read from outside.
    pub fn is_filling(&self, capacity: usize) -> bool {
        self.capacity == capacity
            && self.values.len() < capacity
            && self.values.iter().all(|value| usable(*value))
    }

    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Its values, smallest first.
    pub fn into_sorted(self) -> Vec<f64> {
        let mut values = self.values;
        values.sort_unstable_by(f64::total_cmp);
        values
    }
}

/// The number `at` of a sequence from a uniform distribution over [0, 1): SplitMix64 (Steele, Lea, Flood: Fast
/// Splittable Pseudorandom Number Generators, 2014) at that place.
pub fn uniform(at: u64) -> f64 {
    let state = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    // As many bits as an f64 tells apart.
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_a_long_stream_is_spread_over_all_of_it() {
        let mut reservoir = Reservoir::new(1_000);
        (0..100_000).for_each(|value| reservoir.offer(f64::from(value)));
        let sorted = reservoir.into_sorted();
        assert_eq!(sorted.len(), 1_000);
        // The mean of uniform values has a standard deviation of 100,000 / √12,000 = 913.
        let mean = sorted.iter().sum::<f64>() / 1_000.0;
        assert!((mean - 50_000.0).abs() < 3_000.0, "{mean}");
        assert!(sorted[0] < 1_000.0 && sorted[999] > 99_000.0);
    }

    #[test]
    fn what_is_no_number_or_too_large_is_not_usable() {
        assert!(usable(0.0) && usable(-1e100));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e101] {
            assert!(!usable(value), "{value}");
        }
    }
}
