//! A component of each role that no plugin here plays, as an author would write it.

use sedge_sdk::bindings::inferencer::exports::sedge::worker::inferring::Guest as _;
use sedge_sdk::{Error, Exported, Graph, Inferencer, Miner, NamedTensor, Weights, tensor};

#[derive(serde::Deserialize)]
struct NoParameters {}

/// Answers with the graph `infer`.
struct Answers(Graph);

impl Inferencer for Answers {
    type Parameters = NoParameters;

    fn prepare(_: NoParameters, deployed: &Weights) -> Result<Self, Error> {
        Ok(Self(Graph::bind(deployed, "infer")?))
    }

    fn infer(&self, inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Error> {
        Ok(self.0.compute(inputs)?.into_tensors())
    }
}

sedge_sdk::export_inferencer!(Answers);

#[derive(serde::Deserialize)]
struct Threshold {
    threshold: f32,
}

/// Marks the samples whose largest probability is below a threshold.
struct Unsure {
    threshold: f32,
}

impl Miner for Unsure {
    type Parameters = Threshold;

    fn begin(Threshold { threshold }: Threshold) -> Result<Self, Error> {
        Ok(Self { threshold })
    }

    fn hard(&mut self, mut batch: Vec<NamedTensor>) -> Result<Vec<bool>, Error> {
        let probabilities = tensor::take(&mut batch, "probabilities")?;
        let classes = probabilities.dimensions().last().copied().unwrap_or(1).max(1) as usize;
        let sure = |sample: &[f32]| sample.iter().any(|&p| p >= self.threshold);
        Ok(probabilities.to_f32()?.chunks(classes).map(|sample| !sure(sample)).collect())
    }
}

sedge_sdk::export_miner!(Unsure);

#[test]
fn a_request_before_any_model_is_an_error() {
    let error = Exported::<Answers>::infer(Vec::new()).unwrap_err();
    assert_eq!(error, "infer was called before prepare");
}

#[test]
fn a_tensor_that_is_not_there_is_named_beside_those_that_are() {
    let error = tensor::take(&mut Vec::new(), "probabilities").unwrap_err();
    assert_eq!(error.to_string(), "no probabilities among: nothing");
}
