//! Two-sample Kolmogorov–Smirnov test: whether two samples come from one continuous distribution.
//!
//! D = max |F₁(x) − F₂(x)| over the two empirical distributions (Smirnov, *On the estimation of the discrepancy
//! between empirical curves of distribution for two independent samples*, 1939).
//!
//! **p-value**, two-sided, the chance of a D at least as large where the distributions are one:
//! - n · m up to 1,000,000: exact. All paths from (0, 0) to (n, m) are alike likely; counted are those that touch
//!   |i/n − j/m| ≥ D, by the recursion of Hodges, *The significance probability of the Smirnov two-sample test*
//!   (1957), scaled so that nothing overflows. Time n · m, memory m.
//! - above: Kolmogorov's limit, P(√(nm/(n + m)) · D > λ) = 2 Σ (−1)^(k−1) exp(−2k²λ²) (*Sulla determinazione empirica di
//!   una legge di distribuzione*, 1933), and for small λ the same by Jacobi's theta transformation,
//!   1 − √(2π)/λ · Σ exp(−(2k − 1)²π²/(8λ²)).
//!
//! Both suppose that no two values are equal. Where many are, in discrete features, the true p-value is smaller: the
//! test is conservative, and `psi` finds more.
//!
//! **By chance alone** each full window that shares no value with the one before drifts with a chance of `alpha`; who
//! looks every second at a sliding window looks at overlapping ones, and sees a false alarm last for a while.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::detector::{InvalidState, Judgement, NoReference};
use crate::sampling::{Reservoir, usable};

/// Products of sizes up to which the p-value is exact.
pub const EXACT: usize = 1_000_000;

/// What the test finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Test {
    /// D, from 0 (alike) to 1 (no overlap).
    pub statistic: f64,
    /// Two-sided.
    pub p_value: f64,
}

/// The test of two samples, in any order; None where one has no usable value. Values that are not usable are left out.
pub fn test(one: &[f64], other: &[f64]) -> Option<Test> {
    let sorted = |values: &[f64]| {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| usable(*value)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted
    };
    test_sorted(&sorted(one), &sorted(other))
}

fn test_sorted(one: &[f64], other: &[f64]) -> Option<Test> {
    if one.is_empty() || other.is_empty() {
        return None;
    }
    let statistic = statistic(one, other);
    Some(Test { statistic, p_value: p_value(statistic, one.len(), other.len()) })
}

/// Of two sorted samples, neither empty.
fn statistic(one: &[f64], other: &[f64]) -> f64 {
    let (n, m) = (one.len(), other.len());
    let (mut i, mut j) = (0, 0);
    // In whole numbers of 1/(n·m), so that equal distances compare equal.
    let mut largest = 0_u128;
    while i < n && j < m {
        let value = one[i].min(other[j]);
        while i < n && one[i] <= value {
            i += 1;
        }
        while j < m && other[j] <= value {
            j += 1;
        }
        largest = largest.max((i as u128 * m as u128).abs_diff(j as u128 * n as u128));
    }
    largest as f64 / (n as f64 * m as f64)
}

/// The chance of a statistic at least as large, of samples of `n` and `m` values from one continuous distribution.
pub fn p_value(statistic: f64, n: usize, m: usize) -> f64 {
    let p = match n.checked_mul(m) {
        Some(product) if product <= EXACT => exact(statistic, n.min(m), n.max(m)),
        _ => {
            let (n, m) = (n as f64, m as f64);
            limit((n * m / (n + m)).sqrt() * statistic)
        }
    };
    p.clamp(0.0, 1.0)
}

/// By counting paths, n ≤ m.
fn exact(statistic: f64, n: usize, m: usize) -> f64 {
    let product = n as f64 * m as f64;
    // In whole numbers of 1/(n·m); what rounding took from the statistic is less than half of one.
    let least = (statistic * product - 0.5).ceil().max(0.0) as u64;
    let inside = |i: usize, j: usize| ((i * m).abs_diff(j * n) as u64) < least;
    // shares[j]: of all paths to (i, j), those that were inside all the way; shrunk by i/(i + m) per row, so that
    // the last is the share of all paths to (n, m) itself.
    let mut shares = vec![0.0_f64; m + 1];
    for (j, share) in shares.iter_mut().enumerate() {
        *share = if inside(0, j) { 1.0 } else { 0.0 };
    }
    for i in 1..=n {
        let shrink = i as f64 / (i + m) as f64;
        let mut left = 0.0;
        for (j, share) in shares.iter_mut().enumerate() {
            *share = if inside(i, j) { *share * shrink + left } else { 0.0 };
            left = *share;
        }
    }
    1.0 - shares[m]
}

/// The survival function of Kolmogorov's distribution.
fn limit(lambda: f64) -> f64 {
    use std::f64::consts::PI;
    /// More than either series needs where it is used.
    const TERMS: i32 = 8;
    if lambda <= 0.0 {
        return 1.0;
    }
    if lambda < 1.18 {
        let term = |k: i32| (-(f64::from(2 * k - 1) * PI / lambda).powi(2) / 8.0).exp();
        return 1.0 - (2.0 * PI).sqrt() / lambda * (1..=TERMS).map(term).sum::<f64>();
    }
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * (-2.0 * (f64::from(k) * lambda).powi(2)).exp()
    };
    2.0 * (1..=TERMS).map(term).sum::<f64>()
}

/// What the detector is set to; the crate's table has the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Drift where the p-value is below this.
    pub alpha: f64,
    /// Values of the reference, at most.
    pub reference: usize,
    /// Latest values that are compared to it.
    pub window: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { alpha: 0.005, reference: 1_000, window: 500 }
    }
}

/// The detector: the latest values against a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ks {
    settings: Settings,
    reference: Reference,
    /// The latest values, oldest first.
    recent: VecDeque<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Reference {
    Coming(Reservoir),
    /// Sorted.
    There(Vec<f64>),
}

impl Ks {
    pub(crate) fn new(settings: Settings) -> Self {
        let reference = Reference::Coming(Reservoir::new(settings.reference));
        Self { settings, reference, recent: VecDeque::new() }
    }

    pub(crate) fn reference_size(&self) -> usize {
        self.settings.reference
    }

    pub(crate) fn most_values(&self) -> usize {
        self.settings.reference + self.settings.window
    }

    pub(crate) fn one_of(&mut self, columns: usize) {
        self.settings.alpha /= columns.max(1) as f64;
    }

    pub(crate) fn learn(&mut self, reference: Reservoir) -> Result<(), NoReference> {
        let sorted = reference.into_sorted();
        if sorted.is_empty() {
            return Err(NoReference);
        }
        self.reference = Reference::There(sorted);
        self.restart();
        Ok(())
    }

    /// One usable value.
    pub(crate) fn update(&mut self, value: f64) {
        match &mut self.reference {
            Reference::Coming(values) => {
                values.offer(value);
                if values.is_full() {
                    let values = std::mem::replace(values, Reservoir::new(0));
                    self.reference = Reference::There(values.into_sorted());
                }
            }
            Reference::There(_) => {
                self.recent.push_back(value);
                if self.recent.len() > self.settings.window {
                    self.recent.pop_front();
                }
            }
        }
    }

    /// None until there are a reference and a full window. Sorts the window, and counts paths where the p-value is
    /// exact: a millisecond or so for the defaults.
    pub fn judgement(&self) -> Option<Judgement> {
        let Reference::There(reference) = &self.reference else { return None };
        if self.recent.len() < self.settings.window {
            return None;
        }
        let mut recent: Vec<f64> = self.recent.iter().copied().collect();
        recent.sort_unstable_by(f64::total_cmp);
        let Test { statistic, p_value } = test_sorted(reference, &recent)?;
        Some(Judgement { score: statistic, drift: p_value < self.settings.alpha, p_value: Some(p_value) })
    }

    pub(crate) fn restart(&mut self) {
        self.recent.clear();
    }

    pub(crate) fn check(&self) -> Result<(), InvalidState> {
        crate::parameters::ks(&self.settings).map_err(InvalidState::Settings)?;
        let Settings { reference: most, window, .. } = self.settings;
        let sound = match &self.reference {
            Reference::Coming(values) => values.is_filling(most) && self.recent.is_empty(),
            Reference::There(values) => {
                (1..=most).contains(&values.len())
                    && values.is_sorted()
                    && self.recent.len() <= window
                    && values.iter().chain(&self.recent).all(|value| usable(*value))
            }
        };
        if sound { Ok(()) } else { Err(InvalidState::Contradiction { detector: "ks" }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_samples_by_hand() {
        // Of the 6 orders of two values and two, 2 have no overlap: D = 1 with a chance of 1/3.
        let apart = test(&[1.0, 2.0], &[3.0, 4.0]).unwrap();
        assert_eq!(apart.statistic, 1.0);
        assert!((apart.p_value - 1.0 / 3.0).abs() < 1e-15);
        let alike = test(&[1.0, 2.0], &[1.0, 2.0]).unwrap();
        assert_eq!((alike.statistic, alike.p_value), (0.0, 1.0));
    }

    #[test]
    fn no_value_no_test() {
        assert_eq!(test(&[], &[1.0]), None);
        assert_eq!(test(&[f64::NAN], &[1.0]), None);
        assert_eq!(test(&[f64::NAN, 2.0], &[1.0]).unwrap().statistic, 1.0);
    }

    #[test]
    fn both_series_of_the_limit_meet() {
        assert!((limit(1.18 - 1e-12) - limit(1.18)).abs() < 1e-11);
        assert_eq!((limit(0.0), limit(40.0)), (1.0, 0.0));
    }

    proptest! {
        #[test]
        fn a_p_value_is_a_probability_and_falls_with_distance(
            n in 1usize..200, m in 1usize..200, statistic in 0.0f64..=1.0, more in 0.0f64..=1.0,
        ) {
            let further = statistic + more * (1.0 - statistic);
            for size in [1, 100] {
                let (near, far) = (p_value(statistic, n * size, m * size), p_value(further, n * size, m * size));
                prop_assert!((0.0..=1.0).contains(&near) && far <= near + 1e-12, "{near} {far}");
            }
        }

        #[test]
        fn any_samples_have_a_test(one in prop::collection::vec(any::<f64>(), 0..50), other in prop::collection::vec(any::<f64>(), 0..50)) {
            if let Some(test) = test(&one, &other) {
                prop_assert!((0.0..=1.0).contains(&test.statistic) && (0.0..=1.0).contains(&test.p_value));
            }
        }
    }
}
