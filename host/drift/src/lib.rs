//! Drift detection: whether data, or a model's errors, are no longer what they were.
//!
//! Values flow in one at a time ([`Detector::update`]), as rows of a batch ([`Columns::update`], one detector per
//! column), or as what windows of rows were measured to ([`Errors::update`]); a [`Judgement`] flows out whenever it is asked for: one score, the higher the more drift, and one verdict.
//! Nodes call this on features and outputs as they come, and on the errors of a model once labels are there.
//!
//! | name | watches | score | drift where | parameters and defaults |
//! | --- | --- | --- | --- | --- |
//! | `psi` | a distribution, against a reference | population stability index | score > `threshold` | `threshold` 0.25, `bins` 10, `smoothing` 0.0001, `reference` 1000, `window` 500 |
//! | `ks` | a distribution, against a reference | Kolmogorov–Smirnov statistic, 0 to 1 | p-value < `alpha` | `alpha` 0.005, `reference` 1000, `window` 500 |
//! | `adwin` | a mean, best of an error from 0 to 1 | largest distance of two parts' means, as a multiple of the bound | score > 1 | `delta` 0.002, `clock` 32, `maxBuckets` 5, `minWindow` 5, `gracePeriod` 10 |
//! | `page-hinkley` | a mean, up or down | the larger of the two sums | score > `threshold` | `threshold` 50, `delta` 0.005, `alpha` 0.9999, `minInstances` 30, `direction` both |
//!
//! **Reference.** `psi` and `ks` compare the latest `window` values to a reference: the values given to
//! [`Detector::learn`] (of more than `reference`, a uniform sample of that size), or else the first `reference` values
//! that come. They judge as soon as the window is full. Which judgement comes by chance alone is said in [`psi`] and
//! [`ks`].
//!
//! **Streams.** `adwin` and `page-hinkley` need no reference. They may find drift at any value and then begin anew with
//! what comes after, so a judgement tells the highest score and whether there was drift *since the last
//! [`restart`](Detector::restart)*: who looks now and then misses nothing.
//!
//! **Not numbers.** A value that is not finite, or beyond ±10¹⁰⁰ (whose squares could not be summed), is counted by
//! [`Detector::skipped`] and otherwise left out, everywhere, references included.
//!
//! **Memory** is bounded by the parameters: `psi` and `ks` hold at most `reference` + `window` values, `adwin`
//! 64 × (`maxBuckets` + 1) buckets however long its window, `page-hinkley` a handful of numbers. All state is serde's,
//! so that a node goes on after a restart where it was; state that does not hold together is refused when it is read.
//!
//! Sources stand with each formula: [`psi`], [`ks`], [`adwin`], [`page_hinkley`].

#![forbid(unsafe_code)]

pub mod adwin;
mod columns;
mod detector;
mod errors;
pub mod ks;
pub mod page_hinkley;
mod parameters;
pub mod psi;
#[cfg(test)]
mod reference_tests;
mod sampling;

pub use columns::{Columns, MAX_COLUMNS, MAX_VALUES};
pub use detector::{Detector, InvalidState, Judgement, NoReference};
pub use errors::{Errors, NoMetric};
pub use parameters::ParseError;

/// Names of the detectors that there are.
pub const NAMES: [&str; 4] = ["psi", "ks", "adwin", "page-hinkley"];
