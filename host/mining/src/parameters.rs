//! Parameters of miners, from JSON.

use std::sync::atomic::AtomicU64;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Miner, NAMES, Rule};

/// Why there is no such miner.
#[derive(Debug, Error)]
pub enum ParseError {
    /// An unknown name.
    #[error("there is no miner `{0:.100}`: there are {names}", names = NAMES.join(", "))]
    Name(String),
    /// Parameters that are not those of the miner.
    #[error("parameters of the miner {name}: {why}")]
    Parameters {
        /// The miner.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scores {
    #[default]
    Probabilities,
    Logits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Threshold {
    #[serde(default = "half")]
    threshold: f64,
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    scores: Scores,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ibt {
    #[serde(default = "half")]
    threshold_img: f64,
    #[serde(default = "half")]
    threshold_box: f64,
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    scores: Scores,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Random {
    #[serde(default = "default_share")]
    share: f64,
    #[serde(default)]
    seed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn half() -> f64 {
    0.5
}

fn default_share() -> f64 {
    0.3
}

pub fn parse(name: &str, parameters: &str) -> Result<Miner, ParseError> {
    let name =
        *NAMES.iter().find(|known| **known == name).ok_or_else(|| ParseError::Name(name.to_owned()))?;
    let miner = |rule, output, scores| Miner { rule, output, logits: scores == Scores::Logits };
    let threshold = |rule: fn(f64) -> Rule| {
        let Threshold { threshold, output, scores } = read(name, parameters)?;
        Ok(miner(rule(within(name, "threshold", threshold)?), output, scores))
    };
    match name {
        "threshold" => threshold(|threshold| Rule::Threshold { threshold }),
        "cross-entropy" => threshold(|threshold| Rule::CrossEntropy { threshold }),
        "margin" => threshold(|threshold| Rule::Margin { threshold }),
        "entropy" => threshold(|threshold| Rule::Entropy { threshold }),
        "ibt" => {
            let Ibt { threshold_img, threshold_box, output, scores } = read(name, parameters)?;
            let threshold_img = within(name, "thresholdImg", threshold_img)?;
            let threshold_box = within(name, "thresholdBox", threshold_box)?;
            Ok(miner(Rule::Ibt { threshold_img, threshold_box }, output, scores))
        }
        "random" => {
            let Random { share, seed } = read(name, parameters)?;
            let share = within(name, "share", share)?;
            Ok(miner(Rule::Random { share, seed, seen: AtomicU64::new(0) }, None, Scores::default()))
        }
        _ => {
            let Nothing {} = read(name, parameters)?;
            let rule = if name == "always" { Rule::Always } else { Rule::Never };
            Ok(miner(rule, None, Scores::default()))
        }
    }
}

fn read<T: DeserializeOwned>(name: &'static str, parameters: &str) -> Result<T, ParseError> {
    // By way of an object, for a list of values would be taken too.
    let object = serde_json::from_str::<serde_json::Map<_, _>>(parameters);
    let read = object.and_then(|object| T::deserialize(serde_json::Value::Object(object)));
    read.map_err(|error| ParseError::Parameters { name, why: error.to_string() })
}

fn within(name: &'static str, parameter: &str, value: f64) -> Result<f64, ParseError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(ParseError::Parameters { name, why: format!("{parameter} of {value} is not from 0 to 1") })
}
