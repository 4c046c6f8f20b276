//! The miners that every node has, as a plugin: where to begin with one of your own, and the same formulas behind
//! WIT. `kind` names the miner; the other parameters are its own, as the docs of sedge-mining have them.

use sedge_mining::Miner as Formula;
use sedge_sdk::half::{bf16, f16};
use sedge_sdk::{Error, Miner, NamedTensor, Tensor, TensorType};
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
            let samples = batch.first().map_or(0, |(_, tensor)| rows(&tensor.dimensions()).0);
            return Ok(formula.hard(&[], samples, 0));
        }
        let found = match formula.output() {
            Some(name) => batch.iter().find(|(present, _)| present == name),
            None => batch.iter().find(|(_, tensor)| is_float(tensor.ty())),
        };
        let Some((name, tensor)) = found else {
            let present: Vec<_> = batch.iter().map(|(name, _)| name.as_str()).collect();
            let name = formula.output().unwrap_or("tensor of floating point").to_owned();
            return Err(Error::Missing { name, present: present.join(", ") });
        };
        let scores = scores(tensor).map_err(|error| error.during(format!("scores {name}")))?;
        let (samples, width) = rows(&tensor.dimensions());
        Ok(formula.hard(&scores, samples, width))
    }
}

/// How many samples a tensor of that shape has, and how many elements each.
fn rows(shape: &[u32]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [samples, rest @ ..] => (*samples as usize, rest.iter().map(|&size| size as usize).product()),
    }
}

const fn is_float(ty: TensorType) -> bool {
    matches!(ty, TensorType::Fp16 | TensorType::Bf16 | TensorType::Fp32 | TensorType::Fp64)
}

fn scores(tensor: &Tensor) -> Result<Vec<f32>, Error> {
    Ok(match tensor.ty() {
        TensorType::Fp16 => tensor.elements::<f16>()?.into_iter().map(f16::to_f32).collect(),
        TensorType::Bf16 => tensor.elements::<bf16>()?.into_iter().map(bf16::to_f32).collect(),
        TensorType::Fp64 => tensor.elements::<f64>()?.into_iter().map(|score| score as f32).collect(),
        _ => tensor.to_f32()?,
    })
}

sedge_sdk::export_miner!(Mine);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dimension_counts_samples() {
        assert_eq!(rows(&[3, 2, 5]), (3, 10));
        assert_eq!(rows(&[4]), (4, 1));
        assert_eq!(rows(&[]), (1, 1));
    }

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
