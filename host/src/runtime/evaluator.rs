//! The role evaluator: measure weights on this node's data.

use wasmtime::component::Resource;

use super::bindings::evaluator::EvaluatorPre;
use super::engine::{Component, Runtime, invalid};
use super::failure::Failure;
use super::state::State;
use super::{Grants, Report, call, job};
use crate::model::Weights;

/// An evaluator. Each call gets an instance of its own.
#[derive(Clone)]
pub struct Evaluator {
    runtime: Runtime,
    pre: EvaluatorPre<State>,
    grants: Grants,
}

impl Evaluator {
    /// Fit a component to the role.
    ///
    /// # Errors
    /// `InvalidPlugin`, naming the export that is missing or the import that this role does not have.
    pub fn new(runtime: &Runtime, component: &Component, grants: Grants) -> Result<Self, Failure> {
        let pre = EvaluatorPre::new(component.link(&runtime.linkers().with_datasets)?).map_err(invalid)?;
        Ok(Self { runtime: runtime.clone(), pre, grants })
    }

    /// Measure `candidate`.
    pub async fn evaluate(&self, candidate: Weights) -> Result<Report, Failure> {
        let Self { runtime, pre, grants } = self.clone();
        let (cancel, limit) = (grants.cancel.clone(), grants.call);
        let calls = runtime.calls().clone();
        let body = move || async move {
            let mut store = runtime.store(grants);
            let result = async {
                let candidate = store.data_mut().push_weights(candidate)?;
                let worker = pre.instantiate_async(&mut store).await?;
                let candidate = Resource::new_borrow(candidate.rep());
                let report = worker.sedge_worker_evaluation().call_evaluate(&mut store, candidate).await?;
                Ok(report.map(|report| Report {
                    samples: report.samples,
                    metrics: job::from_guest(report.metrics),
                }))
            };
            let result = result.await;
            call::outcome(&store, result)
        };
        calls.run(&cancel, limit, body).await
    }
}
