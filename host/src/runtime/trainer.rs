//! The role trainer: one round of training on this node's data.

use wasmtime::component::Resource;

use super::bindings::trainer::TrainerPre;
use super::engine::{Component, Runtime, invalid};
use super::failure::Failure;
use super::state::State;
use super::{Grants, Update, call, job};
use crate::model::Weights;

/// A trainer. Each round gets an instance of its own, so that nothing of a round, or of a trap, stays behind.
#[derive(Clone)]
pub struct Trainer {
    runtime: Runtime,
    pre: TrainerPre<State>,
    grants: Grants,
}

impl Trainer {
    /// Fit a component to the role.
    ///
    /// # Errors
    /// `InvalidPlugin`, naming the export that is missing or the import that this role does not have.
    pub fn new(runtime: &Runtime, component: &Component, grants: Grants) -> Result<Self, Failure> {
        let pre = TrainerPre::new(component.link(&runtime.linkers().with_datasets)?).map_err(invalid)?;
        Ok(Self { runtime: runtime.clone(), pre, grants })
    }

    /// Train round `round` from the weights `start`.
    pub async fn train(&self, round: u32, start: Weights) -> Result<Update, Failure> {
        let Self { runtime, pre, grants } = self.clone();
        let (cancel, limit) = (grants.cancel.clone(), grants.call);
        let calls = runtime.calls().clone();
        let body = move || async move {
            let mut store = runtime.store(grants);
            let result = async {
                let start = store.data_mut().push_weights(start)?;
                let worker = pre.instantiate_async(&mut store).await?;
                let start = Resource::new_borrow(start.rep());
                let update = worker.sedge_worker_training().call_train(&mut store, round, start).await?;
                update
                    .map(|update| {
                        Ok(Update {
                            weights: store.data_mut().take_weights(update.weights)?,
                            samples: update.samples,
                            metrics: job::from_guest(update.metrics),
                        })
                    })
                    .map_or_else(|message| Ok(Err(message)), |update| update.map(Ok))
            };
            let result = result.await;
            call::outcome(&store, result)
        };
        calls.run(&cancel, limit, body).await
    }
}
