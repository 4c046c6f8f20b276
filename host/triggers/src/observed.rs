//! The figures that a trigger looks at, by name. The job fills them in before each check.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a job knows when it asks a trigger. What it does not know is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observed {
    /// Samples since the last round's data.
    pub new_samples: Option<u64>,
    /// All samples.
    pub samples: Option<u64>,
    /// When the deployed model was made.
    pub model_made_at: Option<Timestamp>,
    /// The drift detector's score.
    pub drift: Option<f64>,
    /// Share of hard examples, 0 to 1.
    pub hard_share: Option<f64>,
    /// What the last evaluation measured of the candidate.
    pub metrics: BTreeMap<String, f64>,
    /// What it measured of the deployed model, on the same data.
    pub deployed: BTreeMap<String, f64>,
}

/// The name of a figure, as the crate's table has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FigureName {
    /// `newSamples`
    NewSamples,
    /// `samples`
    Samples,
    /// `modelAge`, in seconds
    ModelAge,
    /// `drift`
    Drift,
    /// `hardShare`
    HardShare,
    /// `metrics.NAME`
    Metric(String),
    /// `deployed.NAME`
    Deployed(String),
    /// `difference.NAME`
    Difference(String),
    /// `relativeDifference.NAME`
    RelativeDifference(String),
}

/// A name that no figure has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "there is no figure `{0}`: there are newSamples, samples, modelAge, drift and hardShare, and of a metric such as \
     accuracy metrics.accuracy, deployed.accuracy, difference.accuracy and relativeDifference.accuracy"
)]
pub struct UnknownName(String);

/// Why a figure cannot be compared now; a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Unknown(pub(crate) String);

/// Names of metrics that a message lists at most.
const LISTED: usize = 10;
const LONGEST_METRIC: usize = 253;

impl FromStr for FigureName {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let error = || UnknownName(text.chars().take(100).collect());
        Ok(match text {
            "newSamples" => Self::NewSamples,
            "samples" => Self::Samples,
            "modelAge" => Self::ModelAge,
            "drift" => Self::Drift,
            "hardShare" => Self::HardShare,
            _ => {
                let (of, metric) = text.split_once('.').ok_or_else(error)?;
                Self::of_metric(of, metric).ok_or_else(error)?
            }
        })
    }
}

impl FigureName {
    /// The figure `of` (`metrics`, `deployed`, …) a metric.
    pub(crate) fn of_metric(of: &str, metric: &str) -> Option<Self> {
        if metric.is_empty() || metric.len() > LONGEST_METRIC || metric.chars().any(char::is_control) {
            return None;
        }
        let metric = metric.to_owned();
        Some(match of {
            "metrics" => Self::Metric(metric),
            "deployed" => Self::Deployed(metric),
            "difference" => Self::Difference(metric),
            "relativeDifference" => Self::RelativeDifference(metric),
            _ => return None,
        })
    }
}

impl fmt::Display for FigureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewSamples => f.write_str("newSamples"),
            Self::Samples => f.write_str("samples"),
            Self::ModelAge => f.write_str("modelAge"),
            Self::Drift => f.write_str("drift"),
            Self::HardShare => f.write_str("hardShare"),
            Self::Metric(name) => write!(f, "metrics.{name}"),
            Self::Deployed(name) => write!(f, "deployed.{name}"),
            Self::Difference(name) => write!(f, "difference.{name}"),
            Self::RelativeDifference(name) => write!(f, "relativeDifference.{name}"),
        }
    }
}

impl Observed {
    /// The figure `name` at `now`; it is finite.
    ///
    /// # Errors
    /// It is not known, not finite, or has no meaning.
    pub fn figure(&self, name: &FigureName, now: Timestamp) -> Result<f64, Unknown> {
        let known = |figure: Option<f64>| figure.ok_or_else(|| Unknown(format!("{name} is not known yet")));
        let value = match name {
            FigureName::NewSamples => known(self.new_samples.map(|count| count as f64))?,
            FigureName::Samples => known(self.samples.map(|count| count as f64))?,
            FigureName::ModelAge => {
                // A clock that was set back makes no model from the future.
                known(self.model_made_at.map(|at| now.duration_since(at).as_secs_f64().max(0.0)))?
            }
            FigureName::Drift => known(self.drift)?,
            FigureName::HardShare => known(self.hard_share)?,
            FigureName::Metric(metric) => self.metric(name, metric)?,
            FigureName::Deployed(metric) => self.of_deployed(name, metric)?,
            FigureName::Difference(metric) => self.metric(name, metric)? - self.of_deployed(name, metric)?,
            FigureName::RelativeDifference(metric) => {
                let (candidate, deployed) = (self.metric(name, metric)?, self.of_deployed(name, metric)?);
                if deployed == 0.0 {
                    return Err(Unknown(format!(
                        "{name} has no meaning, for the deployed model's {metric} is 0"
                    )));
                }
                (candidate - deployed) / deployed.abs()
            }
        };
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Unknown(format!("{name} is {value}, no finite number")))
        }
    }

    fn metric(&self, name: &FigureName, metric: &str) -> Result<f64, Unknown> {
        find(&self.metrics, name, metric, "no evaluation has reported yet", "the last evaluation reported")
    }

    fn of_deployed(&self, name: &FigureName, metric: &str) -> Result<f64, Unknown> {
        let none = "the deployed model has not been evaluated yet";
        find(&self.deployed, name, metric, none, "of the deployed model was reported")
    }
}

fn find(
    metrics: &BTreeMap<String, f64>,
    name: &FigureName,
    metric: &str,
    none: &str,
    some: &str,
) -> Result<f64, Unknown> {
    if let Some(value) = metrics.get(metric) {
        return Ok(*value);
    }
    if metrics.is_empty() {
        return Err(Unknown(format!("{name} is not known: {none}")));
    }
    let mut names: Vec<_> = metrics.keys().take(LISTED).map(String::as_str).collect();
    if metrics.len() > LISTED {
        names.push("…");
    }
    Err(Unknown(format!("{name} is not known: {some} {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(observed: &Observed, name: &str) -> Result<f64, String> {
        let now = Timestamp::from_second(1_000).unwrap();
        observed.figure(&name.parse().unwrap(), now).map_err(|error| error.to_string())
    }

    #[test]
    fn each_figure_has_its_name() {
        let metrics = |accuracy, third| {
            BTreeMap::from([("accuracy".to_owned(), accuracy), ("accuracy.class3".to_owned(), third)])
        };
        let observed = Observed {
            new_samples: Some(5),
            samples: Some(105),
            model_made_at: Some(Timestamp::from_second(940).unwrap()),
            drift: Some(0.3),
            hard_share: Some(0.25),
            metrics: metrics(0.75, 0.5),
            deployed: metrics(0.5, 0.625),
        };
        for (name, value) in [
            ("newSamples", 5.0),
            ("samples", 105.0),
            ("modelAge", 60.0),
            ("drift", 0.3),
            ("hardShare", 0.25),
            ("metrics.accuracy", 0.75),
            ("metrics.accuracy.class3", 0.5),
            ("deployed.accuracy", 0.5),
            ("difference.accuracy", 0.25),
            ("difference.accuracy.class3", -0.125),
            ("relativeDifference.accuracy", 0.5),
            ("relativeDifference.accuracy.class3", -0.2),
        ] {
            assert_eq!(figure(&observed, name), Ok(value), "{name}");
            assert_eq!(name.parse::<FigureName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut observed = Observed::default();
        assert_eq!(figure(&observed, "drift").unwrap_err(), "drift is not known yet");
        let error = figure(&observed, "difference.accuracy").unwrap_err();
        assert_eq!(error, "difference.accuracy is not known: no evaluation has reported yet");
        observed.metrics = BTreeMap::from([("accuracy".to_owned(), 0.5), ("loss".to_owned(), f64::NAN)]);
        let error = figure(&observed, "metrics.f1").unwrap_err();
        assert_eq!(error, "metrics.f1 is not known: the last evaluation reported accuracy, loss");
        let error = figure(&observed, "difference.accuracy").unwrap_err();
        assert!(error.ends_with("the deployed model has not been evaluated yet"), "{error}");
        assert_eq!(figure(&observed, "metrics.loss").unwrap_err(), "metrics.loss is NaN, no finite number");
        observed.deployed = BTreeMap::from([("accuracy".to_owned(), 0.0)]);
        let error = figure(&observed, "relativeDifference.accuracy").unwrap_err();
        assert!(error.contains("has no meaning"), "{error}");
        assert_eq!(figure(&observed, "difference.accuracy"), Ok(0.5));
    }

    #[test]
    fn a_model_from_the_future_is_new() {
        let made = Timestamp::from_second(2_000).unwrap();
        assert_eq!(
            figure(&Observed { model_made_at: Some(made), ..Observed::default() }, "modelAge"),
            Ok(0.0)
        );
    }

    #[test]
    fn names_that_no_figure_has_are_refused() {
        let long = format!("metrics.{}", "a".repeat(254));
        for name in ["", "accuracy", "newsamples", "metrics.", "metrics.\n", ".accuracy", "metric.x", &long] {
            let error = name.parse::<FigureName>().unwrap_err().to_string();
            assert!(error.contains("metrics.accuracy"), "{error}");
        }
    }
}
