//! A model's errors as a stream of windows: rows are measured together, window by window, and a detector watches what each
//! window came to. In go the metrics of a window, out comes the judgement of the windows. Called by nodes for the figure
//! `drift` on errors, and wherever its parameters are checked.
//!
//! | parameter | what | default |
//! | --- | --- | --- |
//! | `window` | rows that are measured together, 1 to 100000 | 100 |
//! | `metric` | the metric whose value is watched, as it is | absent: 1 − `accuracy` |
//!
//! All others are the detector's own. A window is one value to it: what it counts in values (`minInstances`, `clock`,
//! `gracePeriod`) it counts in windows.
//!
//! `page-hinkley` sees a large change within a few windows, with a `threshold` that as many errors of a window come to together
//! (0.5 to 2, where they are from 0 to 1; its default is for longer streams). `adwin` bounds its false alarms, and takes some
//! dozens of windows on each side even of a large change: for it, windows are to be small.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::detector::{Detector, Judgement};
use crate::parameters::ParseError;

const WINDOW: u64 = 100;
const LARGEST_WINDOW: u64 = 100_000;
const LONGEST_METRIC: usize = 256;
const ACCURACY: &str = "accuracy";

/// Windows of a model's errors, and the detector that watches them.
#[derive(Debug, Clone, PartialEq)]
pub struct Errors {
    detector: Detector,
    window: usize,
    /// None: 1 − accuracy.
    metric: Option<String>,
}

/// A window was measured, and what is watched is not among the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("what measures reports no `{metric}`: it reports {found}")]
pub struct NoMetric {
    metric: String,
    found: String,
}

impl Errors {
    /// The detector called `name` over windows of errors, with the parameters of both, a JSON object.
    ///
    /// # Errors
    /// As [`Detector::parse`]; a detector that compares to a reference, which errors do not have.
    pub fn parse(name: &str, parameters: &str) -> Result<Self, ParseError> {
        let detector = Detector::parse(name, "{}")?;
        let refused = |why: String| ParseError::Parameters { name: detector.name(), why };
        if detector.compares() {
            let why =
                "it compares to a reference, which errors do not have: adwin and page-hinkley watch errors";
            return Err(refused(why.to_owned()));
        }
        let mut own: Map<String, Value> =
            serde_json::from_str(parameters).map_err(|error| refused(error.to_string()))?;
        let window = match own.remove("window") {
            None => WINDOW,
            Some(value) => {
                let window = value.as_u64().filter(|window| (1..=LARGEST_WINDOW).contains(window));
                window.ok_or_else(|| {
                    refused(format!(
                        "window of {value:.40} is not a number of rows from 1 to {LARGEST_WINDOW}"
                    ))
                })?
            }
        };
        let metric = match own.remove("metric") {
            None => None,
            Some(Value::String(name)) if (1..=LONGEST_METRIC).contains(&name.len()) => Some(name),
            Some(_) => return Err(refused("metric is not the name of one".to_owned())),
        };
        let detector = Detector::parse(name, &Value::Object(own).to_string())?;
        Ok(Self { detector, window: window as usize, metric })
    }

    /// Rows that are measured together.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The next window was measured so.
    ///
    /// # Errors
    /// What is watched is not among the metrics; nothing was changed.
    pub fn update<'m>(
        &mut self,
        metrics: impl Iterator<Item = (&'m str, f64)> + Clone,
    ) -> Result<(), NoMetric> {
        let name = self.metric.as_deref().unwrap_or(ACCURACY);
        let Some((_, value)) = metrics.clone().find(|(metric, _)| *metric == name) else {
            let found: Vec<&str> = metrics.map(|(metric, _)| metric).take(8).collect();
            let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
            return Err(NoMetric { metric: name.to_owned(), found });
        };
        self.detector.update(if self.metric.is_some() { value } else { 1.0 - value });
        Ok(())
    }

    /// The detector's, of the windows so far; None as long as they are too few.
    pub fn judgement(&self) -> Option<Judgement> {
        self.detector.judgement()
    }

    /// Forget all windows: another version serves.
    pub fn restart(&mut self) {
        self.detector.restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: &str = r#"{"window": 20, "threshold": 0.5, "minInstances": 3}"#;

    fn feed(errors: &mut Errors, metric: &str, values: &[f64]) {
        for value in values {
            errors.update([("loss", 0.3), (metric, *value)].into_iter()).unwrap();
        }
    }

    #[test]
    fn errors_that_rise_are_drift_and_another_version_begins_anew() {
        let mut errors = Errors::parse("page-hinkley", QUICK).unwrap();
        assert_eq!(errors.window(), 20);
        feed(&mut errors, "accuracy", &[0.9, 0.95]);
        assert_eq!(errors.judgement(), None, "two windows are too few");
        feed(&mut errors, "accuracy", &[0.9, 0.95, 0.9]);
        let before = errors.judgement().unwrap();
        feed(&mut errors, "accuracy", &[0.1, 0.1]);
        let after = errors.judgement().unwrap();
        assert!(!before.drift && before.score < 0.2, "{before:?}");
        assert!(after.drift && after.score > 0.5, "{after:?}");
        errors.restart();
        assert_eq!(errors.judgement(), None);
    }

    #[test]
    fn a_metric_that_is_named_is_watched_as_it_is() {
        let mut errors =
            Errors::parse("adwin", r#"{"metric": "mae", "clock": 1, "gracePeriod": 1}"#).unwrap();
        assert_eq!(errors.window(), 100);
        feed(&mut errors, "mae", &[0.1; 60]);
        assert!(!errors.judgement().unwrap().drift);
        feed(&mut errors, "mae", &[0.9; 60]);
        assert!(errors.judgement().unwrap().drift);
        let error = errors.update([("loss", 0.3)].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "what measures reports no `mae`: it reports loss");
    }

    #[test]
    fn what_is_wrong_with_parameters_is_told() {
        for (name, parameters, why) in [
            ("hunch", "{}", "there are psi, ks, adwin, page-hinkley"),
            ("psi", "{}", "adwin and page-hinkley watch errors"),
            ("ks", r#"{"window": 50}"#, "adwin and page-hinkley watch errors"),
            ("adwin", r#"{"window": 0}"#, "window of 0 is not a number of rows from 1 to 100000"),
            ("adwin", r#"{"window": "many"}"#, "window of"),
            ("adwin", r#"{"metric": ""}"#, "metric is not the name of one"),
            ("adwin", r#"{"bins": 5}"#, "bins"),
            ("page-hinkley", r#"{"threshold": 0}"#, "threshold of 0 is not above 0"),
            ("page-hinkley", "[]", "page-hinkley"),
        ] {
            let error = Errors::parse(name, parameters).unwrap_err().to_string();
            assert!(error.contains(why), "{name} {parameters}: {error}");
        }
    }
}
