//! One detector of any kind: what callers hold. Values in, judgements out, state to and from disk.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::adwin::Adwin;
use crate::ks::Ks;
use crate::page_hinkley::PageHinkley;
use crate::parameters::{self, ParseError};
use crate::psi::Psi;
use crate::sampling::{Reservoir, usable};

/// A drift detector with its parameters and what it has seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Detector {
    kind: Kind,
    seen: u64,
    skipped: u64,
}

/// As it is written. What is read is checked before it is a detector.
#[derive(Serialize, Deserialize)]
struct Saved {
    detector: Kind,
    seen: u64,
    skipped: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Psi(Psi),
    Ks(Ks),
    Adwin(Adwin),
    PageHinkley(PageHinkley),
}

/// What a detector says when asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judgement {
    /// The higher the more drift; in the detector's own unit, as the crate's table has it.
    pub score: f64,
    /// Whether that is drift.
    pub drift: bool,
    /// The chance of such a score without drift, where the detector knows it: `ks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

/// A reference was given that has no usable value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the reference has no value that is a number: give at least one, up to ±1e100")]
pub struct NoReference;

/// Saved state of a detector that does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidState {
    /// Its settings are none that parse.
    #[error("saved state of a drift detector: {0}; begin a new one")]
    Settings(String),
    /// What it holds contradicts itself.
    #[error("saved state of the drift detector {detector} contradicts itself; begin a new one")]
    Contradiction {
        /// The detector.
        detector: &'static str,
    },
}

impl Detector {
    /// The detector called `name` (one of [`NAMES`](crate::NAMES)) with its parameters, a JSON object as the crate's
    /// table has them.
    ///
    /// # Errors
    /// An unknown name, with those that there are; parameters that the detector does not have, or out of range.
    pub fn parse(name: &str, parameters: &str) -> Result<Self, ParseError> {
        parameters::parse(name, parameters)
    }

    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, seen: 0, skipped: 0 }
    }

    /// Whether it compares to a reference, which [`learn`](Self::learn) gives it.
    pub fn compares(&self) -> bool {
        matches!(self.kind, Kind::Psi(_) | Kind::Ks(_))
    }

    /// What came before: of training data, say. Replaces the reference there was, and restarts. A detector that does
    /// not compare only restarts.
    ///
    /// # Errors
    /// There is no usable value; nothing was changed.
    pub fn learn(&mut self, reference: impl IntoIterator<Item = f64>) -> Result<(), NoReference> {
        let most = match &self.kind {
            Kind::Psi(psi) => psi.reference_size(),
            Kind::Ks(ks) => ks.reference_size(),
            Kind::Adwin(_) | Kind::PageHinkley(_) => {
                self.restart();
                return Ok(());
            }
        };
        let mut sample = Reservoir::new(most);
        reference.into_iter().filter(|value| usable(*value)).for_each(|value| sample.offer(value));
        match &mut self.kind {
            Kind::Psi(psi) => psi.learn(sample)?,
            Kind::Ks(ks) => ks.learn(sample)?,
            Kind::Adwin(_) | Kind::PageHinkley(_) => {}
        }
        (self.seen, self.skipped) = (0, 0);
        Ok(())
    }

    /// The next value of the stream. True where drift is found with this very value, which only detectors of streams
    /// know; those that compare answer in [`judgement`](Self::judgement).
    pub fn update(&mut self, value: f64) -> bool {
        if !usable(value) {
            self.skipped = self.skipped.saturating_add(1);
            return false;
        }
        self.seen = self.seen.saturating_add(1);
        match &mut self.kind {
            Kind::Psi(psi) => psi.update(value),
            Kind::Ks(ks) => ks.update(value),
            Kind::Adwin(adwin) => return adwin.update(value),
            Kind::PageHinkley(page_hinkley) => return page_hinkley.update(value),
        }
        false
    }

    /// Its score and verdict; None as long as it has seen too little.
    pub fn judgement(&self) -> Option<Judgement> {
        match &self.kind {
            Kind::Psi(psi) => psi.judgement(),
            Kind::Ks(ks) => ks.judgement(),
            Kind::Adwin(adwin) => adwin.judgement(),
            Kind::PageHinkley(page_hinkley) => page_hinkley.judgement(),
        }
    }

    /// Forget what came since the reference, and that there was drift: after a new model was trained, say.
    pub fn restart(&mut self) {
        (self.seen, self.skipped) = (0, 0);
        match &mut self.kind {
            Kind::Psi(psi) => psi.restart(),
            Kind::Ks(ks) => ks.restart(),
            Kind::Adwin(adwin) => adwin.restart(),
            Kind::PageHinkley(page_hinkley) => page_hinkley.restart(),
        }
    }

    /// Values that it took since the last restart.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Values since the last restart that were not finite or too large, and were left out.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// One of [`NAMES`](crate::NAMES).
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Psi(_) => "psi",
            Kind::Ks(_) => "ks",
            Kind::Adwin(_) => "adwin",
            Kind::PageHinkley(_) => "page-hinkley",
        }
    }

    /// Values that it may come to hold.
    pub(crate) fn most_values(&self) -> usize {
        match &self.kind {
            Kind::Psi(psi) => psi.most_values(),
            Kind::Ks(ks) => ks.most_values(),
            Kind::Adwin(adwin) => adwin.most_values(),
            Kind::PageHinkley(_) => 10,
        }
    }

    /// With a stricter bound where its verdict is by a chance, for it is one of so many that are asked (Bonferroni).
    pub(crate) fn one_of(mut self, columns: usize) -> Self {
        match &mut self.kind {
            Kind::Ks(ks) => ks.one_of(columns),
            Kind::Adwin(adwin) => adwin.one_of(columns),
            Kind::Psi(_) | Kind::PageHinkley(_) => {}
        }
        self
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Detector> for Saved {
    fn from(Detector { kind, seen, skipped }: Detector) -> Self {
        Self { detector: kind, seen, skipped }
    }
}

impl TryFrom<Saved> for Detector {
    type Error = InvalidState;

    fn try_from(Saved { detector, seen, skipped }: Saved) -> Result<Self, InvalidState> {
        match &detector {
            Kind::Psi(psi) => psi.check()?,
            Kind::Ks(ks) => ks.check()?,
            Kind::Adwin(adwin) => adwin.check()?,
            Kind::PageHinkley(page_hinkley) => page_hinkley.check()?,
        }
        Ok(Self { kind: detector, seen, skipped })
    }
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
