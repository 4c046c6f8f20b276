//! Graphs of the job's model, and the host's own (`sedge:…`), loaded by name.

use crate::bindings::capabilities::wasi::nn::{graph, inference};
use crate::{Error, NamedTensor, Tensor, Weights, tensor};

/// A graph that is ready to compute.
#[derive(Debug)]
pub struct Graph {
    // Dropped before the graph that it belongs to.
    context: inference::GraphExecutionContext,
    _graph: graph::Graph,
    name: String,
}

impl Graph {
    /// Loads the graph called `name`.
    pub fn load(name: &str) -> Result<Self, Error> {
        graph::load_by_name(name).map_err(Error::from).and_then(Self::ready(name)).map_err(during(name))
    }

    /// Loads the graph called `name` with every input that bears a weight's name fixed to that weight.
    pub fn bind(weights: &Weights, name: &str) -> Result<Self, Error> {
        weights.bind(name).map_err(Error::from).and_then(Self::ready(name)).map_err(during(name))
    }

    fn ready(name: &str) -> impl FnOnce(graph::Graph) -> Result<Self, Error> {
        move |graph| {
            let context = graph.init_execution_context()?;
            Ok(Self { context, _graph: graph, name: name.to_owned() })
        }
    }

    /// Computes the outputs from `inputs`, which are consumed. An output can be an input of the next call.
    pub fn compute(&self, inputs: Vec<NamedTensor>) -> Result<Outputs, Error> {
        match self.context.compute(inputs) {
            Ok(tensors) => Ok(Outputs { tensors }),
            Err(error) => Err(Error::from(error).during(format!("graph {}", self.name))),
        }
    }
}

fn during(name: &str) -> impl FnOnce(Error) -> Error {
    move |error| error.during(format!("graph {name}"))
}

/// What a graph computed, by name.
#[derive(Debug)]
pub struct Outputs {
    tensors: Vec<NamedTensor>,
}

impl Outputs {
    /// Takes the output called `name`.
    pub fn take(&mut self, name: &str) -> Result<Tensor, Error> {
        tensor::take(&mut self.tensors, name)
    }

    /// The outputs that have not been taken, in no order.
    pub fn into_tensors(self) -> Vec<NamedTensor> {
        self.tensors
    }
}
