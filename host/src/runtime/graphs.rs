//! `wasi:nn/graph` and `wasi:nn/inference`: graphs by name, and computing with them.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::bindings::nn::graph::{self, ExecutionTarget, GraphEncoding};
use super::bindings::nn::inference;
use super::memory::Charge;
use super::state::{MAX_TENSORS, State};
use super::tensors::{GuestError, GuestTensor, Held};
use crate::nn::{ErrorCode, Graph, NnError, Tensor};

/// A guest's handle to a graph.
#[derive(Clone)]
pub struct GuestGraph {
    graph: Arc<dyn Graph>,
    /// The memory of what it is bound to.
    _bound: Arc<[Arc<Charge>]>,
}

impl GuestGraph {
    pub fn new(graph: Arc<dyn Graph>, bound: Vec<Arc<Charge>>) -> Self {
        Self { graph, _bound: bound.into() }
    }
}

/// A guest's handle to a graph that it computes with.
pub struct GuestContext(GuestGraph);

type NnResult<T> = wasmtime::Result<Result<T, Resource<GuestError>>>;
/// Tensors out of their handles, and the memory that they stand for.
type Taken = (Vec<(String, Tensor)>, Vec<Held>);
type GuestTensors = Vec<(String, Resource<GuestTensor>)>;

impl graph::Host for State {
    fn load(
        &mut self,
        _: Vec<Vec<u8>>,
        _: GraphEncoding,
        _: ExecutionTarget,
    ) -> NnResult<Resource<GuestGraph>> {
        let message = "graphs are loaded by name: put the graph into the job's model and use load-by-name";
        self.nn_error(NnError { code: ErrorCode::Security, message: message.to_owned() })
    }

    fn load_by_name(&mut self, name: String) -> NnResult<Resource<GuestGraph>> {
        match self.graph(&name) {
            Ok(graph) => Ok(Ok(self.table.push(GuestGraph::new(graph, Vec::new()))?)),
            Err(message) => self.nn_error(NnError { code: ErrorCode::NotFound, message }),
        }
    }
}

impl State {
    /// A graph of the job's model or of the host's own; the error names those that there are.
    pub fn graph(&self, name: &str) -> Result<Arc<dyn Graph>, String> {
        if let Some(graph) = self.graphs.builtin(name) {
            return Ok(graph);
        }
        let Some(model) = &self.grants.model else {
            return Err(format!("no graph `{name:.100}`: this worker was granted no model"));
        };
        model.graphs.get(name).cloned().ok_or_else(|| {
            let names: Vec<&str> = model.graphs.keys().map(String::as_str).collect();
            let names = if names.is_empty() { "none of its own".to_owned() } else { names.join(", ") };
            format!("no graph `{name:.100}` in the job's model, which has {names}")
        })
    }
}

impl graph::HostGraph for State {
    fn init_execution_context(&mut self, this: Resource<GuestGraph>) -> NnResult<Resource<GuestContext>> {
        let graph = self.table.get(&this)?.clone();
        Ok(Ok(self.table.push(GuestContext(graph))?))
    }

    fn drop(&mut self, this: Resource<GuestGraph>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl inference::Host for State {}

impl inference::HostGraphExecutionContext for State {
    /// Runs on the worker's own thread, which is none of the async executor's.
    fn compute(&mut self, this: Resource<GuestContext>, inputs: GuestTensors) -> NnResult<GuestTensors> {
        let graph = Arc::clone(&self.table.get(&this)?.0.graph);
        // What goes in stays on the account until something else has come out.
        let (inputs, held) = match self.take_tensors(inputs)? {
            Ok(taken) => taken,
            Err(error) => return self.nn_error(error),
        };
        let reserved = match self.reserve(&*graph, &inputs) {
            Ok(reserved) => reserved,
            Err(error) => return self.nn_error(error),
        };
        let outcome = graph.compute(inputs);
        drop((reserved, held));
        match outcome {
            Ok(outputs) => Ok(Ok(self.push_tensors(outputs)?)),
            Err(error) => self.nn_error(error),
        }
    }

    fn drop(&mut self, this: Resource<GuestContext>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl State {
    /// Consume handles. All of them, also when one is found to be invalid.
    fn take_tensors(&mut self, handles: GuestTensors) -> wasmtime::Result<Result<Taken, NnError>> {
        if handles.len() > MAX_TENSORS {
            wasmtime::bail!("{} tensors in one call; at most {MAX_TENSORS} are taken", handles.len());
        }
        let mut tensors = Vec::with_capacity(handles.len());
        let mut charges = Vec::with_capacity(handles.len());
        let mut invalid = None;
        for (name, handle) in handles {
            let (tensor, charge) = self.tensors.take(&handle)?.into_parts();
            charges.push(charge);
            match tensor {
                Ok(tensor) => tensors.push((name, tensor)),
                Err(error) => {
                    let message = format!("input `{name:.100}`: {}", error.message);
                    invalid.get_or_insert(NnError { message, ..error });
                }
            }
        }
        Ok(invalid.map_or(Ok((tensors, charges)), Err))
    }

    /// The memory that the compute takes, on the account for as long as it lasts. An engine that allocates more
    /// than there is would end the node, so what does not fit is not begun.
    fn reserve(&self, graph: &dyn Graph, inputs: &[(String, Tensor)]) -> Result<Charge, NnError> {
        let memory = graph.memory(&mut inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
        self.ledger.reserve(memory.bytes).map_err(|over| {
            let most =
                memory.largest.map_or_else(String::new, |largest| format!("; the largest part: {largest}"));
            NnError::too_large(format!("computing takes up to {} bytes{most}: {over}", memory.bytes))
        })
    }
}
