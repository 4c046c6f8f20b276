//! Answers requests with a graph of the deployed model: the request's tensors go in, what it computes goes out.
//!
//! Weights that come beside the graph are bound to it once, in `prepare`; a model whose graph has its weights inside
//! needs none. Tensors stay on the host, but for an output that `softmax` names.
//!
//! Without parameters, requests and answers are those of the graph `infer`, and the host checks and tells them. With
//! another graph or other names, the graph alone says what it takes: a wrong request is refused when it computes.

mod parameters;
mod softmax;

use parameters::Parameters;
use sedge_sdk::{Error, Graph, Inferencer, NamedTensor, Signature, Tensor, Weights};

struct Onnx {
    graph: Graph,
    parameters: Parameters,
}

impl Inferencer for Onnx {
    type Parameters = Parameters;

    fn prepare(parameters: Parameters, deployed: &Weights) -> Result<Self, Error> {
        parameters.check()?;
        let graph = if deployed.tensors().is_empty() {
            Graph::load(&parameters.graph)?
        } else {
            Graph::bind(deployed, &parameters.graph)?
        };
        Ok(Self { graph, parameters })
    }

    fn signature(&self) -> Option<Signature> {
        if self.parameters.keep_the_signature() {
            return None;
        }
        Some(Signature { inputs: Vec::new(), outputs: Vec::new() })
    }

    fn infer(&self, mut inputs: Vec<NamedTensor>) -> Result<Vec<NamedTensor>, Error> {
        parameters::rename(&mut inputs, &self.parameters.inputs);
        let mut outputs = self.graph.compute(inputs)?.into_tensors();
        if let Some(name) = &self.parameters.softmax {
            let logits = sedge_sdk::tensor::take(&mut outputs, name)?;
            outputs.push((name.clone(), probabilities(&logits)?));
        }
        parameters::rename(&mut outputs, &self.parameters.outputs);
        Ok(outputs)
    }
}

/// The softmax of each row of f32s, along the last dimension.
fn probabilities(logits: &Tensor) -> Result<Tensor, Error> {
    let shape = logits.dimensions();
    let mut scores = logits.to_f32()?;
    let width = shape.last().map_or(1, |&width| width as usize);
    softmax::rows(&mut scores, width);
    Tensor::from_f32(&shape, &scores)
}

sedge_sdk::export_inferencer!(Onnx);
