//! Parameters of detectors, from JSON.

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::detector::{Detector, Kind};
use crate::{NAMES, adwin, ks, page_hinkley, psi};

/// Values that a reference or a window may hold.
const MOST_VALUES: usize = 100_000;

/// Why there is no such detector.
#[derive(Debug, Error)]
pub enum ParseError {
    /// An unknown name.
    #[error("there is no drift detector `{0:.100}`: there are {names}", names = NAMES.join(", "))]
    Name(String),
    /// Parameters that are not those of the detector.
    #[error("parameters of the drift detector {name}: {why}")]
    Parameters {
        /// The detector.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
}

pub fn parse(name: &str, parameters: &str) -> Result<Detector, ParseError> {
    let name =
        *NAMES.iter().find(|known| **known == name).ok_or_else(|| ParseError::Name(name.to_owned()))?;
    let refused = |why| ParseError::Parameters { name, why };
    let kind = match name {
        "psi" => Kind::Psi(psi::Psi::new(read(parameters, psi).map_err(refused)?)),
        "ks" => Kind::Ks(ks::Ks::new(read(parameters, ks).map_err(refused)?)),
        "adwin" => Kind::Adwin(adwin::Adwin::new(read(parameters, adwin).map_err(refused)?)),
        _ => {
            let settings = read(parameters, page_hinkley).map_err(refused)?;
            Kind::PageHinkley(page_hinkley::PageHinkley::new(settings))
        }
    };
    Ok(Detector::new(kind))
}

fn read<T: DeserializeOwned>(parameters: &str, check: fn(&T) -> Result<(), String>) -> Result<T, String> {
    // By way of an object, for a list of values would be taken too.
    let object = serde_json::from_str::<serde_json::Map<_, _>>(parameters);
    let read = object.and_then(|object| T::deserialize(serde_json::Value::Object(object)));
    let settings = read.map_err(|error| error.to_string())?;
    check(&settings).map(|()| settings)
}

pub fn psi(settings: &psi::Settings) -> Result<(), String> {
    let psi::Settings { threshold, bins, smoothing, reference, window } = settings;
    above_0("threshold", *threshold)?;
    from_to("bins", *bins, 2, 1_000)?;
    if !(*smoothing > 0.0 && *smoothing <= 0.1) {
        return Err(format!("smoothing of {smoothing} is not above 0 and at most 0.1"));
    }
    from_to("reference", *reference, *bins, MOST_VALUES)?;
    from_to("window", *window, *bins, MOST_VALUES)
}

pub fn ks(settings: &ks::Settings) -> Result<(), String> {
    let ks::Settings { alpha, reference, window } = settings;
    within_0_and_1("alpha", *alpha)?;
    from_to("reference", *reference, 2, MOST_VALUES)?;
    from_to("window", *window, 2, MOST_VALUES)
}

pub fn adwin(settings: &adwin::Settings) -> Result<(), String> {
    let adwin::Settings { delta, clock, max_buckets, min_window, grace_period } = settings;
    within_0_and_1("delta", *delta)?;
    from_to("clock", *clock, 1, 1_000_000)?;
    from_to("maxBuckets", *max_buckets, 2, 100)?;
    from_to("minWindow", *min_window, 1, 1_000_000)?;
    // A window of one value has no logarithm to divide by.
    from_to("gracePeriod", *grace_period, 1, 1_000_000)
}

pub fn page_hinkley(settings: &page_hinkley::Settings) -> Result<(), String> {
    let page_hinkley::Settings { threshold, delta, alpha, min_instances, direction: _ } = settings;
    above_0("threshold", *threshold)?;
    if !(*delta >= 0.0 && delta.is_finite()) {
        return Err(format!("delta of {delta} is not at least 0"));
    }
    if !(*alpha > 0.0 && *alpha <= 1.0) {
        return Err(format!("alpha of {alpha} is not above 0 and at most 1"));
    }
    from_to("minInstances", *min_instances, 1, 1_000_000)
}

fn above_0(parameter: &str, value: f64) -> Result<(), String> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(format!("{parameter} of {value} is not above 0"))
}

fn within_0_and_1(parameter: &str, value: f64) -> Result<(), String> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(format!("{parameter} of {value} is not between 0 and 1"))
}

fn from_to<T: PartialOrd + std::fmt::Display>(
    parameter: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), String> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(format!("{parameter} of {value} is not from {least} to {most}"))
}
