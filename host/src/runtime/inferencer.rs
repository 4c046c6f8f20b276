//! The role inferencer: answer requests with the deployed model.

use wasmtime::Store;
use wasmtime::component::Resource;

use super::bindings::inferencer as world;
use super::engine::{Component, Runtime, invalid};
use super::failure::Failure;
use super::standing::{self, Call, Instance, Role};
use super::state::State;
use super::{Grants, NamedTensors};
use crate::model::{Binding, Weights};

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

    /// Start an instance, which takes its calls from `next`; see [`Call`].
    ///
    /// # Errors
    /// When it cannot be instantiated, or its `prepare` fails, traps or takes too long.
    pub async fn start(
        &self,
        next: impl FnMut() -> Option<Call<NamedTensors, NamedTensors>> + Send + 'static,
    ) -> Result<Instance, Failure> {
        let weights = self.grants.model.as_ref().and_then(|model| model.weights.clone());
        let weights = match weights {
            Some(weights) => weights,
            None => Weights::new(Vec::new()).map_err(|error| Failure::host(error.to_string()))?,
        };
        let prepared = Prepared { pre: self.pre.clone(), weights };
        standing::start(self.runtime.clone(), prepared, self.grants.clone(), next).await
    }
}

struct Prepared {
    pre: world::InferencerPre<State>,
    weights: Weights,
}

impl Role for Prepared {
    type Worker = world::Inferencer;
    type Input = NamedTensors;
    type Output = NamedTensors;

    async fn prepare(&mut self, store: &mut Store<State>) -> wasmtime::Result<Result<Self::Worker, String>> {
        // The same weights answer every call.
        store.data_mut().binding = Binding::Frozen;
        let worker = self.pre.instantiate_async(&mut *store).await?;
        let weights = store.data_mut().push_weights(self.weights.clone())?;
        let borrowed = Resource::new_borrow(weights.rep());
        let prepared = worker.sedge_worker_inferring().call_prepare(&mut *store, borrowed).await?;
        // The plugin's graphs hold what they are bound to.
        store.data_mut().take_weights(weights)?;
        Ok(prepared.map(|()| worker))
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
