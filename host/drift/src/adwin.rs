//! ADWIN: a window of a stream that is as long as its mean has not changed.
//!
//! The window is cut in every way that its buckets allow into an older part of n₀ values and a newer of n₁. Where their
//! means lie further apart than
//!
//! ε = √(2/m · σ² · ln(2/δ′)) + 2/(3m) · ln(2/δ′), with 1/m = 1/(n₀ − w + 1) + 1/(n₁ − w + 1), δ′ = δ / ln(n₀ + n₁)
//!
//! and σ² the variance of the window, there is drift: the oldest bucket is dropped, and the cuts are tried again.
//!
//! Bifet and Gavaldà, *Learning from Time-Changing Data with Adaptive Windowing* (2007): the bound of section 3.2, the buckets
//! (an exponential histogram) of ADWIN2 in section 4; the variance of merged buckets by Babcock, Datar, Motwani and
//! O'Callaghan, *Maintaining variance and k-medians over data stream windows* (2003). The paper has w = 1; that the least
//! length w of a part (`minWindow`) also shortens m, for caution with short parts, is MOA's way, which river follows.
//!
//! The bound is for values from 0 to 1, such as errors: its second term is in that unit. Values of a larger range find
//! drift by mistake more often than δ says; divide them by their range.
//!
//! Bucket i of a level holds 2^level values, a level has at most `maxBuckets`, so memory is O(`maxBuckets` · log W)
//! for a window of W values. Cuts are tried at each `clock`th value, from the `gracePeriod` on, in the same time.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::detector::{InvalidState, Judgement};

/// More levels than any window has: 2⁵⁰ values.
const MOST_LEVELS: usize = 50;

/// What the detector is set to; the crate's table has the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// δ, the chance of drift by mistake.
    pub delta: f64,
    /// Cuts are tried at each so many values.
    pub clock: u64,
    /// Of each size.
    pub max_buckets: usize,
    /// w, the least values of a part.
    pub min_window: u64,
    /// No cut is tried in a window of so many values or less.
    pub grace_period: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, max_buckets: 5, min_window: 5, grace_period: 10 }
    }
}

/// The detector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Adwin {
    settings: Settings,
    /// Level i has buckets of 2^i values, oldest first; the highest level has the oldest.
    levels: Vec<VecDeque<Bucket>>,
    ticks: u64,
    /// The highest score since the last restart, once there was one.
    highest: Option<f64>,
    /// How often it found drift since then.
    detections: u64,
}

/// Some values as their sum and the sum of squares of their distances to their mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Bucket {
    total: f64,
    squares: f64,
}

/// As many values as the window has, with their sum and squares.
#[derive(Clone, Copy, Default)]
struct Part {
    count: f64,
    bucket: Bucket,
}

impl Part {
    fn mean(self) -> f64 {
        self.bucket.total / self.count
    }

    fn with(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        let count = self.count + other.count;
        let apart = self.mean() - other.mean();
        let squares =
            self.bucket.squares + other.bucket.squares + self.count * other.count / count * apart * apart;
        Self { count, bucket: Bucket { total: self.bucket.total + other.bucket.total, squares } }
    }
}

impl Adwin {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, levels: vec![VecDeque::new()], ticks: 0, highest: None, detections: 0 }
    }

    pub(crate) fn most_values(&self) -> usize {
        // Windows of 2³² values; a bucket is two numbers.
        2 * 32 * (self.settings.max_buckets + 1)
    }

    pub(crate) fn one_of(&mut self, columns: usize) {
        self.settings.delta /= columns.max(1) as f64;
    }

    /// One usable value. True where drift is found with it.
    pub(crate) fn update(&mut self, value: f64) -> bool {
        self.insert(Bucket { total: value, squares: 0.0 });
        self.ticks += 1;
        if !self.ticks.is_multiple_of(self.settings.clock) || self.width() <= self.settings.grace_period {
            return false;
        }
        let mut drift = false;
        while let Some(score) = self.largest_cut() {
            self.highest = Some(self.highest.unwrap_or(0.0).max(score));
            if score <= 1.0 {
                break;
            }
            drift = true;
            self.drop_oldest();
        }
        self.detections += u64::from(drift);
        drift
    }

    /// Values of the window.
    pub fn width(&self) -> u64 {
        self.levels.iter().enumerate().map(|(level, buckets)| (buckets.len() as u64) << level).sum()
    }

    /// None before the first cut was tried.
    pub fn judgement(&self) -> Option<Judgement> {
        let score = self.highest?;
        Some(Judgement { score, drift: self.detections > 0, p_value: None })
    }

    pub(crate) fn restart(&mut self) {
        *self = Self::new(self.settings.clone());
    }

    fn insert(&mut self, bucket: Bucket) {
        let mut carried = bucket;
        for level in 0..MOST_LEVELS {
            if level == self.levels.len() {
                self.levels.push(VecDeque::new());
            }
            let buckets = &mut self.levels[level];
            buckets.push_back(carried);
            if buckets.len() <= self.settings.max_buckets {
                return;
            }
            let (Some(one), Some(other)) = (buckets.pop_front(), buckets.pop_front()) else { return };
            let count = (1_u64 << level) as f64;
            carried = Part { count, bucket: one }.with(Part { count, bucket: other }).bucket;
        }
    }

    /// Oldest first.
    fn parts(&self) -> impl Iterator<Item = Part> {
        self.levels.iter().enumerate().rev().flat_map(|(level, buckets)| {
            buckets.iter().map(move |bucket| Part { count: (1_u64 << level) as f64, bucket: *bucket })
        })
    }

    /// Summed anew each time, so that rounding does not add up over a long life.
    fn window(&self) -> Part {
        self.parts().fold(Part::default(), Part::with)
    }

    /// The largest distance of two parts' means as a multiple of ε, or the first above 1; None where no cut is allowed.
    fn largest_cut(&self) -> Option<f64> {
        let window = self.window();
        let least = self.settings.min_window as f64;
        let variance = window.bucket.squares / window.count;
        let surprise = (2.0 * window.count.ln() / self.settings.delta).ln();
        let (mut count, mut total) = (0.0, 0.0);
        let mut largest: Option<f64> = None;
        for part in self.parts() {
            count += part.count;
            total += part.bucket.total;
            let rest = window.count - count;
            if count < least || rest < least.max(1.0) {
                continue;
            }
            let apart = (total / count - (window.bucket.total - total) / rest).abs();
            let recip = 1.0 / (count - least + 1.0) + 1.0 / (rest - least + 1.0);
            let bound = (2.0 * recip * variance * surprise).sqrt() + 2.0 / 3.0 * surprise * recip;
            let score = apart / bound;
            largest = Some(largest.map_or(score, |largest| largest.max(score)));
            if score > 1.0 {
                break;
            }
        }
        largest
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.levels.last_mut() {
            oldest.pop_front();
        }
        while self.levels.len() > 1 && self.levels.last().is_some_and(VecDeque::is_empty) {
            self.levels.pop();
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidState> {
        crate::parameters::adwin(&self.settings).map_err(InvalidState::Settings)?;
        let sound = (1..=MOST_LEVELS).contains(&self.levels.len())
            && self.levels.iter().all(|buckets| buckets.len() <= self.settings.max_buckets)
            && self.parts().all(|part| {
                let Bucket { total, squares } = part.bucket;
                crate::sampling::usable(total / part.count) && (0.0..=1e250).contains(&squares)
            })
            && self.highest.unwrap_or(0.0).is_finite()
            // As many values as no stream has: what is added to them does not overflow.
            && [self.ticks, self.detections].into_iter().all(|count| count < u64::MAX / 2);
        if sound { Ok(()) } else { Err(InvalidState::Contradiction { detector: "adwin" }) }
    }
}

#[cfg(test)]
impl Adwin {
    /// The mean of the window.
    pub fn mean(&self) -> f64 {
        self.window().mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::uniform;

    #[test]
    fn memory_grows_with_the_logarithm_of_the_window() {
        let mut adwin = Adwin::new(Settings::default());
        for at in 0..200_000 {
            adwin.update(uniform(at));
        }
        assert!(adwin.width() > 100_000, "{}", adwin.width());
        let buckets: usize = adwin.levels.iter().map(VecDeque::len).sum();
        assert!(buckets <= 5 * 18, "{} buckets", buckets);
        assert!((adwin.mean() - 0.5).abs() < 0.01);
    }

    #[test]
    fn what_was_before_the_change_is_forgotten() {
        let mut adwin = Adwin::new(Settings::default());
        let stream = (0..1_000).map(|_| 0.1).chain((0..1_000).map(|_| 0.9));
        let found: Vec<_> = stream.enumerate().filter(|(_, value)| adwin.update(*value)).collect();
        assert!((1_000..1_100).contains(&found[0].0), "{found:?}");
        assert!((adwin.mean() - 0.9).abs() < 0.01);
        assert!(adwin.judgement().unwrap().drift);
        assert_eq!(adwin.detections, found.len() as u64);
    }

    #[test]
    fn a_bucket_s_squares_are_those_of_its_values() {
        let mut adwin = Adwin::new(Settings::default());
        let values: Vec<f64> = (0..100).map(|at| uniform(at) * 7.0).collect();
        values.iter().for_each(|value| {
            adwin.update(*value);
        });
        let tail = &values[values.len() - adwin.width() as usize..];
        let mean = tail.iter().sum::<f64>() / tail.len() as f64;
        let squares: f64 = tail.iter().map(|value| (value - mean).powi(2)).sum();
        assert!((adwin.window().bucket.squares - squares).abs() < 1e-9);
    }
}
