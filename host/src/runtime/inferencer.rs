//! The role inferencer: answer requests with the deployed model.

use wasmtime::Store;
use wasmtime::component::Resource;

use super::bindings::inferencer as world;
use super::bindings::inferencer::exports::sedge::worker::inferring as guest;
use super::engine::{Component, Runtime, invalid};
use super::failure::Failure;
use super::standing::{self, Instance, Role};
use super::state::State;
use super::{Grants, NamedTensors, tensors};
use crate::model::{Binding, Weights};
use crate::nn::{MAX_RANK, Port};

/// Ports of a signature that are kept, and characters of a name.
const MAX_PORTS: usize = 256;
const MAX_NAME: usize = 255;

/// What requests must have and what answers have; an empty list is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signature {
    /// Of a request.
    pub inputs: Vec<Port>,
    /// Of an answer.
    pub outputs: Vec<Port>,
}

/// An inferencer. Its instances stand: each is prepared once and answers one request after the other.
#[derive(Clone)]
pub struct Inferencer {
    runtime: Runtime,
    pre: world::InferencerPre<State>,
    grants: Grants,
}

impl Inferencer {
    /// Fit a component to the role. The weights of the granted model are those that it is prepared with; a model
    /// whose graphs have their weights inside gives it none.
    ///
    /// # Errors
    /// `InvalidPlugin`, naming the export that is missing or the import that this role does not have.
    pub fn new(runtime: &Runtime, component: &Component, grants: Grants) -> Result<Self, Failure> {
        let pre =
            world::InferencerPre::new(component.link(&runtime.linkers().with_model)?).map_err(invalid)?;
        Ok(Self { runtime: runtime.clone(), pre, grants })
    }

    /// Start an instance; with it, what it says that it takes and gives. None: what the model's graph does.
    ///
    /// # Errors
    /// When it cannot be instantiated, or its `prepare` fails, traps or takes too long.
    pub async fn start(&self) -> Result<(Instance<NamedTensors, NamedTensors>, Option<Signature>), Failure> {
        let weights = self.grants.model.as_ref().and_then(|model| model.weights.clone());
        let weights = match weights {
            Some(weights) => weights,
            None => Weights::new(Vec::new()).map_err(|error| Failure::host(error.to_string()))?,
        };
        let prepared = Prepared { pre: self.pre.clone(), weights };
        standing::start(self.runtime.clone(), prepared, self.grants.clone()).await
    }
}

/// A signature as the host keeps it: bounded.
fn from_guest(signature: guest::Signature) -> Signature {
    let port = |port: guest::Port| Port {
        name: port.name.chars().take(MAX_NAME).collect(),
        dtype: Some(tensors::from_guest(port.dtype)),
        shape: Some(
            port.shape.into_iter().take(MAX_RANK).map(|size| size.map(|size| size as usize)).collect(),
        ),
    };
    let ports = |ports: Vec<guest::Port>| ports.into_iter().take(MAX_PORTS).map(port).collect();
    Signature { inputs: ports(signature.inputs), outputs: ports(signature.outputs) }
}

struct Prepared {
    pre: world::InferencerPre<State>,
    weights: Weights,
}

impl Role for Prepared {
    type Worker = world::Inferencer;
    type Input = NamedTensors;
    type Output = NamedTensors;
    type Signature = Option<Signature>;

    async fn prepare(
        &mut self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(Self::Worker, Option<Signature>), String>> {
        // The same weights answer every call.
        store.data_mut().binding = Binding::Frozen;
        let worker = self.pre.instantiate_async(&mut *store).await?;
        let weights = store.data_mut().push_weights(self.weights.clone())?;
        let borrowed = Resource::new_borrow(weights.rep());
        let prepared = worker.sedge_worker_inferring().call_prepare(&mut *store, borrowed).await?;
        // The plugin's graphs hold what they are bound to.
        store.data_mut().take_weights(weights)?;
        Ok(prepared.map(|signature| (worker, signature.map(from_guest))))
    }

    async fn call(
        worker: &Self::Worker,
        store: &mut Store<State>,
        inputs: NamedTensors,
    ) -> wasmtime::Result<Result<NamedTensors, String>> {
        let inputs = store.data_mut().push_tensors(inputs)?;
        let answer = worker.sedge_worker_inferring().call_infer(&mut *store, &inputs).await?;
        match answer {
            Ok(outputs) => store.data_mut().pull_tensors(outputs),
            Err(message) => Ok(Err(message)),
        }
    }
}
