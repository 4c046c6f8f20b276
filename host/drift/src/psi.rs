//! Population stability index: how far the shares of a histogram have moved.
//!
//! PSI = Σ (q − p) · ln(q / p) over the bins, where p are the reference's shares and q those of the window; the
//! symmetrised Kullback–Leibler divergence (Kullback and Leibler, *On Information and Sufficiency*, 1951). As an index
//! of stability, and its customary thresholds: Siddiqi, *Credit Risk Scorecards* (2006): below 0.1 nothing of note,
//! 0.1 to 0.25 some change, above 0.25 a shift.
//!
//! **Bins** lie between quantiles of the reference, k/B for k = 1 … B (linear between order statistics: type 7 of
//! Hyndman and Fan, *Sample Quantiles in Statistical Packages*, 1996), each without its lower and with its upper bound,
//! so that a value which is frequent has a bin of its own; equal quantiles are one. Beyond the reference's smallest
//! and largest value there is one more bin each: of a reference that is constant, any other value differs.
//!
//! **Smoothing.** Each share becomes (share + s) / (1 + s · number of bins), with s = 0.0001 by default: an empty bin
//! is defined, and one that is empty on both sides adds nothing.
//!
//! **By chance alone** the index of two samples of one distribution is (B − 1)(1/n + 1/m) in the mean, about a
//! χ² (Yurdakul and Naranjo, *Statistical properties of the population stability index*, 2020): 0.03 for the defaults.
//! A window of some hundred values is the least that makes sense.

mod histogram;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::detector::{InvalidState, Judgement, NoReference};
use crate::sampling::Reservoir;

pub use histogram::{DifferentBins, Histogram, stability};

/// What the detector is set to; the crate's table has the defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Drift above this.
    pub threshold: f64,
    /// Quantiles of the reference.
    pub bins: usize,
    /// Added to each share.
    pub smoothing: f64,
    /// Values of the reference, at most.
    pub reference: usize,
    /// Latest values that are compared to it.
    pub window: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { threshold: 0.25, bins: 10, smoothing: 1e-4, reference: 1_000, window: 500 }
    }
}

/// The detector: the latest values against a reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Psi {
    settings: Settings,
    reference: Reference,
    /// The bins of the latest values, oldest first.
    recent: VecDeque<u16>,
    /// How often each bin is among them.
    counts: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Reference {
    Coming(Reservoir),
    There(Histogram),
}

impl Psi {
    pub(crate) fn new(settings: Settings) -> Self {
        let reference = Reference::Coming(Reservoir::new(settings.reference));
        Self { settings, reference, recent: VecDeque::new(), counts: Vec::new() }
    }

    pub(crate) fn reference_size(&self) -> usize {
        self.settings.reference
    }

    pub(crate) fn most_values(&self) -> usize {
        // Bins of the latest values take a quarter of what the values would.
        self.settings.reference + self.settings.window / 4 + 3 * self.settings.bins
    }

    pub(crate) fn learn(&mut self, reference: Reservoir) -> Result<(), NoReference> {
        let histogram = Histogram::of_quantiles(reference.values(), self.settings.bins).ok_or(NoReference)?;
        self.reference = Reference::There(histogram);
        self.restart();
        Ok(())
    }

    /// One usable value.
    pub(crate) fn update(&mut self, value: f64) {
        match &mut self.reference {
            Reference::Coming(values) => {
                values.offer(value);
                if values.is_full()
                    && let Some(histogram) = Histogram::of_quantiles(values.values(), self.settings.bins)
                {
                    self.counts = vec![0; histogram.counts().len()];
                    self.reference = Reference::There(histogram);
                }
            }
            Reference::There(histogram) => {
                let bin = histogram.bin(value);
                self.counts[bin] += 1;
                // Parameters allow 1,000 bins and two beyond.
                self.recent.push_back(bin as u16);
                if self.recent.len() > self.settings.window
                    && let Some(oldest) = self.recent.pop_front()
                {
                    self.counts[usize::from(oldest)] -= 1;
                }
            }
        }
    }

    /// None until there are a reference and a full window.
    pub fn judgement(&self) -> Option<Judgement> {
        let Reference::There(histogram) = &self.reference else { return None };
        if self.recent.len() < self.settings.window {
            return None;
        }
        let score = stability(histogram.counts(), &self.counts, self.settings.smoothing)?;
        Some(Judgement { score, drift: score > self.settings.threshold, p_value: None })
    }

    pub(crate) fn restart(&mut self) {
        self.recent.clear();
        if let Reference::There(histogram) = &self.reference {
            self.counts = vec![0; histogram.counts().len()];
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidState> {
        crate::parameters::psi(&self.settings).map_err(InvalidState::Settings)?;
        let sound = match &self.reference {
            Reference::Coming(values) => values.is_filling(self.settings.reference) && self.recent.is_empty(),
            Reference::There(histogram) => {
                let mut counts = vec![0; histogram.counts().len()];
                let counted = self.recent.iter().all(|bin| {
                    counts.get_mut(usize::from(*bin)).map(|count: &mut u64| *count += 1).is_some()
                });
                histogram.holds_together()
                    && histogram.counts().len() <= self.settings.bins + 2
                    && self.recent.len() <= self.settings.window
                    && counted
                    && counts == self.counts
            }
        };
        if sound { Ok(()) } else { Err(InvalidState::Contradiction { detector: "psi" }) }
    }
}
