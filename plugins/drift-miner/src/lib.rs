//! Drift detection as a miner: samples of a window that has drifted are hard, so that they are asked of the cloud, or
//! kept and labelled. It looks at the model's outputs, or with `mine: inputs` at the features.
//!
//! `detector` is one of sedge-drift's names (psi, ks, adwin, page-hinkley); the other parameters are its own, as that
//! crate's docs have them, but for `output`, the tensor to watch, and `mark`. A node holds one instance of a miner as long
//! as a revision serves, so what this one has seen lasts: detectors that compare to a reference take the first values
//! after a swap for it, as the new model was made for those.
//!
//! psi and ks judge the latest window: samples are hard as long as it has drifted. adwin and page-hinkley find a moment
//! of drift and begin anew: the `mark` samples that follow it are hard. The score is reported as the metric `drift`.

use sedge_drift::{Columns, Judgement};
use sedge_sdk::job::{self, Metric};
use sedge_sdk::{Error, Miner, NamedTensor, tensor};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a service sets.
#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(default = "psi")]
    detector: String,
    #[serde(default)]
    output: Option<String>,
    #[serde(default = "mark")]
    mark: u64,
    #[serde(flatten)]
    others: Map<String, Value>,
}

fn psi() -> String {
    "psi".to_owned()
}

const fn mark() -> u64 {
    500
}

struct Drift {
    output: Option<String>,
    watch: Watch,
}

/// What has been seen, and how it is judged.
struct Watch {
    detector: String,
    parameters: String,
    /// Made with the first batch, which says how many columns there are.
    columns: Option<Columns>,
    mark: u64,
    /// Samples still to be marked.
    left: u64,
    seen: u64,
}

impl Watch {
    fn new(detector: String, parameters: String, mark: u64) -> Result<Self, String> {
        // What is wrong with them is said before the first request.
        Columns::parse(&detector, &parameters, 1).map_err(|error| error.to_string())?;
        Ok(Self { detector, parameters, columns: None, mark, left: 0, seen: 0 })
    }

    /// Whether the samples of these rows are hard, and what is judged with them.
    fn look(
        &mut self,
        rows: &[f32],
        samples: usize,
        width: usize,
    ) -> Result<(bool, Option<Judgement>), String> {
        if samples == 0 {
            return Ok((false, None));
        }
        let mut columns = match self.columns.take() {
            Some(columns) => columns,
            None => {
                Columns::parse(&self.detector, &self.parameters, width).map_err(|error| error.to_string())?
            }
        };
        if columns.width() != width {
            let message = format!("samples have {width} values, and had {} before", columns.width());
            self.columns = Some(columns);
            return Err(message);
        }
        columns.update(rows);
        self.seen = self.seen.saturating_add(samples as u64);
        let judgement = columns.judgement().map(|(_, judgement)| judgement);
        let drifted = judgement.is_some_and(|judgement| judgement.drift);
        let compares = columns.detectors().iter().any(sedge_drift::Detector::compares);
        if drifted && !compares {
            columns.restart();
            self.left = self.mark;
        }
        self.columns = Some(columns);
        let marked = self.left > 0;
        self.left = self.left.saturating_sub(samples as u64);
        Ok((drifted || marked, judgement))
    }
}

impl Miner for Drift {
    type Parameters = Parameters;

    fn begin(parameters: Parameters) -> Result<Self, Error> {
        let Parameters { detector, output, mark, others } = parameters;
        let watch = Watch::new(detector, Value::Object(others).to_string(), mark)?;
        Ok(Self { output, watch })
    }

    fn hard(&mut self, batch: Vec<NamedTensor>) -> Result<Vec<bool>, Error> {
        let (name, tensor) = tensor::find(&batch, self.output.as_deref())?;
        let (samples, width) = tensor.samples();
        let rows = tensor.to_floats().map_err(|error| error.during(format!("watching {name}")))?;
        let (hard, judgement) = self.watch.look(&rows, samples, width)?;
        if let Some(judgement) = judgement {
            job::report(self.watch.seen, 0, &[Metric::new("drift", judgement.score)])?;
        }
        Ok(vec![hard; samples])
    }
}

sedge_sdk::export_miner!(Drift);

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(detector: &str, parameters: &str) -> Watch {
        Watch::new(detector.to_owned(), parameters.to_owned(), 50).unwrap()
    }

    /// Batches of ten samples of two columns, the second moved by `shift`; how many of them are hard.
    fn hard(watch: &mut Watch, batches: usize, shift: f32) -> usize {
        let batch = |at: usize| -> Vec<f32> {
            let wave = |row: usize| ((at * 10 + row) as f32 * 0.7).sin();
            (0..10).flat_map(|row| [wave(row), wave(row) * 0.5 + shift]).collect()
        };
        (0..batches).filter(|at| watch.look(&batch(*at), 10, 2).unwrap().0).count()
    }

    #[test]
    fn samples_are_hard_as_long_as_their_window_has_drifted() {
        for (detector, bins) in [("psi", r#", "bins": 5"#), ("ks", "")] {
            let mut watch = watch(detector, &format!(r#"{{"reference": 400, "window": 200{bins}}}"#));
            assert_eq!(hard(&mut watch, 80, 0.0), 0, "{detector}");
            // All but those that come before the window has moved on.
            assert!(hard(&mut watch, 40, 3.0) > 30, "{detector}");
            hard(&mut watch, 20, 0.0);
            assert_eq!(hard(&mut watch, 20, 0.0), 0, "{detector}: it is as before again");
        }
    }

    #[test]
    fn samples_after_a_moment_of_drift_are_hard() {
        for (detector, parameters) in [("adwin", "{}"), ("page-hinkley", r#"{"threshold": 20}"#)] {
            let mut watch = watch(detector, parameters);
            assert_eq!(hard(&mut watch, 40, 0.0), 0, "{detector}");
            let marked = hard(&mut watch, 40, 3.0);
            assert!((5..=15).contains(&marked), "{detector}: {marked} batches, of 50 samples at least once");
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_the_first_request_or_before() {
        let begin = |json| Drift::begin(serde_json::from_str(json).unwrap());
        assert!(begin("{}").is_ok() && begin(r#"{"detector": "ks", "alpha": 0.01, "output": "p"}"#).is_ok());
        let refusal = |json| begin(json).err().unwrap().to_string();
        assert!(refusal(r#"{"detector": "hunch"}"#).contains("psi, ks, adwin, page-hinkley"));
        assert!(refusal(r#"{"detector": "psi", "alpha": 0.1}"#).contains("alpha"));
        let mut watch = watch("psi", "{}");
        watch.look(&[1.0, 2.0], 1, 2).unwrap();
        assert_eq!(watch.look(&[1.0], 1, 1).unwrap_err(), "samples have 1 values, and had 2 before");
        assert_eq!(watch.look(&[], 0, 2), Ok((false, None)));
    }
}
