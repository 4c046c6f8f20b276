//! The role miner: say which samples the edge's model could not be trusted with.

use wasmtime::Store;

use super::bindings::miner as world;
use super::engine::{Component, Runtime, invalid};
use super::failure::Failure;
use super::standing::{self, Instance, Role};
use super::state::State;
use super::{Grants, NamedTensors};

/// A miner. Its instances stand, as an inferencer's do.
#[derive(Clone)]
pub struct Miner {
    runtime: Runtime,
    pre: world::MinerPre<State>,
    grants: Grants,
}

impl Miner {
    /// Fit a component to the role.
    ///
    /// # Errors
    /// `InvalidPlugin`, naming the export that is missing or the import that this role does not have.
    pub fn new(runtime: &Runtime, component: &Component, grants: Grants) -> Result<Self, Failure> {
        let pre = world::MinerPre::new(component.link(&runtime.linkers().miner)?).map_err(invalid)?;
        Ok(Self { runtime: runtime.clone(), pre, grants })
    }

    /// Start an instance.
    ///
    /// # Errors
    /// When it cannot be instantiated.
    pub async fn start(&self) -> Result<Instance<NamedTensors, Vec<bool>>, Failure> {
        let role = Ready(self.pre.clone());
        let (instance, ()) = standing::start(self.runtime.clone(), role, self.grants.clone()).await?;
        Ok(instance)
    }
}

struct Ready(world::MinerPre<State>);

impl Role for Ready {
    type Worker = world::Miner;
    type Input = NamedTensors;
    type Output = Vec<bool>;
    type Signature = ();

    async fn prepare(
        &mut self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(Self::Worker, ()), String>> {
        Ok(Ok((self.0.instantiate_async(store).await?, ())))
    }

    async fn call(
        worker: &Self::Worker,
        store: &mut Store<State>,
        batch: NamedTensors,
    ) -> wasmtime::Result<Result<Vec<bool>, String>> {
        let batch = store.data_mut().push_tensors(batch)?;
        worker.sedge_worker_mining().call_hard(store, &batch).await
    }
}
