//! The role aggregator: fold updates into new weights, one at a time.

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::bindings::{aggregator as world, job as guest, model};
use super::call::{self, Calls};
use super::engine::{Component, Runtime, invalid};
use super::failure::{Failure, Reason};
use super::state::State;
use super::{Grants, Update};
use crate::model::Weights;

/// An aggregator. Each round gets an instance of its own.
#[derive(Clone)]
pub struct Aggregator {
    runtime: Runtime,
    pre: world::AggregatorPre<State>,
    grants: Grants,
}

/// One round's fold.
pub struct Aggregate {
    calls: Calls,
    grants: Grants,
    /// Gone once a call has failed, or while one that was given up is still under way.
    fold: Option<Box<Fold>>,
}

struct Fold {
    store: Store<State>,
    worker: world::Aggregator,
    aggregate: ResourceAny,
}

impl Aggregator {
    /// Fit a component to the role.
    ///
    /// # Errors
    /// `InvalidPlugin`, naming the export that is missing or the import that this role does not have.
    pub fn new(runtime: &Runtime, component: &Component, grants: Grants) -> Result<Self, Failure> {
        let pre =
            world::AggregatorPre::new(component.link(&runtime.linkers().with_model)?).map_err(invalid)?;
        Ok(Self { runtime: runtime.clone(), pre, grants })
    }

    /// Begin round `round`, whose participants start from `current`.
    pub async fn begin(&self, round: u32, current: Weights) -> Result<Aggregate, Failure> {
        let Self { runtime, pre, grants } = self.clone();
        let (kept, calls) = (grants.clone(), runtime.calls().clone());
        let body = move || async move {
            let mut store = runtime.store(grants);
            let result = async {
                let current = store.data_mut().push_weights(current)?;
                let worker = pre.instantiate_async(&mut store).await?;
                let role = worker.sedge_worker_aggregation().aggregate();
                let aggregate = role.call_constructor(&mut store, round, current).await?;
                Ok((worker, aggregate))
            };
            match result.await {
                Ok((worker, aggregate)) => Ok(Box::new(Fold { store, worker, aggregate })),
                Err(error) => Err(call::failure(&store, &error)),
            }
        };
        let fold = calls.run(&kept.cancel, kept.call, body).await?;
        Ok(Aggregate { calls, grants: kept, fold: Some(fold) })
    }
}

impl Aggregate {
    /// Fold one update in. Its inner error is the plugin's refusal of this update, in its words.
    ///
    /// # Errors
    /// The fold is lost with whatever ended the call: a trap, a limit.
    pub async fn add(&mut self, update: Update) -> Result<Result<(), String>, Failure> {
        let mut fold = self.take()?;
        let body = move || async move {
            let result = async {
                let weights = fold.store.data_mut().push_weights(update.weights)?;
                let metrics = update.metrics.into_iter();
                let update = model::Update {
                    weights,
                    samples: update.samples,
                    metrics: metrics
                        .map(|metric| guest::Metric { name: metric.name, value: metric.value })
                        .collect(),
                };
                let role = fold.worker.sedge_worker_aggregation().aggregate();
                role.call_add(&mut fold.store, fold.aggregate, &update).await
            };
            match result.await {
                Ok(answer) => Ok((fold, answer.map_err(call::cut))),
                Err(error) => Err(call::failure(&fold.store, &error)),
            }
        };
        let (fold, answer) = self.calls.run(&self.grants.cancel, self.grants.call, body).await?;
        self.fold = Some(fold);
        Ok(answer)
    }

    /// The new weights.
    ///
    /// # Errors
    /// As `add`, and `PluginError` when the plugin has none to give.
    pub async fn finish(mut self) -> Result<Weights, Failure> {
        let mut fold = self.take()?;
        let body = move || async move {
            let result = async {
                let role = fold.worker.sedge_worker_aggregation().aggregate();
                let weights = match role.call_finish(&mut fold.store, fold.aggregate).await? {
                    Ok(weights) => Ok(fold.store.data_mut().take_weights(weights)?),
                    Err(message) => Err(message),
                };
                Ok(weights)
            };
            let result = result.await;
            call::outcome(&fold.store, result)
        };
        self.calls.run(&self.grants.cancel, self.grants.call, body).await
    }

    fn take(&mut self) -> Result<Box<Fold>, Failure> {
        self.fold.take().ok_or_else(|| {
            Failure::new(Reason::HostError, "this round's fold was lost with an earlier call that failed")
        })
    }
}
