//! The miners that every node has, as a plugin: where to begin with one of your own, and the same formulas behind
//! WIT. `kind` names the miner; the other parameters are its own, as the docs of sedge-mining have them.

use sedge_mining::Miner as Formula;
use sedge_sdk::{Error, Miner, NamedTensor, tensor};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a service sets.
#[derive(Debug, Deserialize)]
struct Parameters {
    /// One of sedge-mining's names.
    kind: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

struct Mine(Formula);

impl Miner for Mine {
    type Parameters = Parameters;

    fn begin(parameters: Parameters) -> Result<Self, Error> {
        let Parameters { kind, others } = parameters;
        match Formula::parse(&kind, &Value::Object(others).to_string()) {
            Ok(formula) => Ok(Self(formula)),
            Err(error) => Err(error.to_string().into()),
        }
    }

    fn hard(&mut self, batch: Vec<NamedTensor>) -> Result<Vec<bool>, Error> {
        let Self(formula) = self;
        if !formula.looks() {
            let samples = batch.first().map_or(0, |(_, tensor)| tensor.samples().0);
            return Ok(formula.hard(&[], samples, 0));
        }
        let (name, tensor) = tensor::find(&batch, formula.output())?;
        let scores = tensor.to_floats().map_err(|error| error.during(format!("scores {name}")))?;
        let (samples, width) = tensor.samples();
        Ok(formula.hard(&scores, samples, width))
    }
}

sedge_sdk::export_miner!(Mine);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_told_its_own_parameters_alone() {
        let begin = |json| Mine::begin(serde_json::from_str(json).unwrap());
        let Mine(formula) = begin(r#"{"kind": "margin", "threshold": 0.2, "output": "p"}"#).ok().unwrap();
        assert_eq!((formula.name(), formula.output()), ("margin", Some("p")));
        let refusal = |json| begin(json).err().unwrap().to_string();
        assert!(refusal(r#"{"kind": "margin", "share": 1}"#).contains("share"));
        assert!(refusal(r#"{"kind": "chance"}"#).contains("chance"));
    }
}
