//! A standing instance: one that is prepared once and then answers call after call.
//!
//! ```text
//!  start: instantiate, prepare ─▶ Instance ─▶ call ─▶ call …
//! ```
//! An instance belongs to no thread: a call computes on the one that polls it, best one that tensor engines are quick
//! from ([`Graphs::attend`](crate::nn::Graphs::attend)). Who calls it, where, and how many instances there are, is the
//! affair of [`serving`](crate::serving).

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use super::Grants;
use super::call::{self, Calls};
use super::engine::Runtime;
use super::failure::Failure;
use super::state::State;

/// A role whose instances stand.
pub(super) trait Role: Send + 'static {
    /// The instance.
    type Worker: Send + Sync + 'static;
    /// What it is asked.
    type Input: Send + 'static;
    /// What it answers.
    type Output: Send + 'static;
    /// What it says of itself.
    type Signature: Send + 'static;

    /// Instantiate and prepare.
    async fn prepare(
        &mut self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(Self::Worker, Self::Signature), String>>;

    /// One call.
    fn call(
        worker: &Self::Worker,
        store: &mut Store<State>,
        input: Self::Input,
    ) -> impl Future<Output = wasmtime::Result<Result<Self::Output, String>>> + Send;
}

/// An instance that stands.
pub struct Instance<I, O>(Box<dyn Answer<I, O>>);

trait Answer<I, O>: Send {
    fn answer(&mut self, input: I) -> BoxFuture<'_, Result<O, Failure>>;
}

impl<I, O> Instance<I, O> {
    /// One call. An instance is used up by one that fails with anything but an error of the plugin's own
    /// ([`Failure::is_of_plugin`]), and by one that is dropped half-way: what is in its memory is not to be trusted.
    pub async fn call(&mut self, input: I) -> Result<O, Failure> {
        self.0.answer(input).await
    }
}

/// Start an instance and wait until it is prepared.
pub(super) async fn start<R: Role>(
    runtime: Runtime,
    mut role: R,
    grants: Grants,
) -> Result<(Instance<R::Input, R::Output>, R::Signature), Failure> {
    let calls = runtime.calls().clone();
    let (cancel, limit) = (grants.cancel.clone(), grants.call);
    let kept = (calls.clone(), cancel.clone());
    let prepare = move || async move {
        let mut store = runtime.store(grants);
        let result = role.prepare(&mut store).await;
        let (worker, signature) = call::outcome(&store, result)?;
        let (calls, cancel) = kept;
        Ok((Standing::<R> { calls, cancel, limit, worker, store }, signature))
    };
    let (standing, signature) = calls.run(&cancel, limit, prepare).await?;
    Ok((Instance(Box::new(standing)), signature))
}

struct Standing<R: Role> {
    calls: Calls,
    cancel: CancellationToken,
    /// Of one call.
    limit: Duration,
    worker: R::Worker,
    store: Store<State>,
}

impl<R: Role> Answer<R::Input, R::Output> for Standing<R> {
    fn answer(&mut self, input: R::Input) -> BoxFuture<'_, Result<R::Output, Failure>> {
        let Self { calls, cancel, limit, worker, store } = self;
        async move {
            store.data().ledger.forget_refusals();
            // However long it rested: a short call is not to be interrupted.
            store.set_epoch_deadline(1);
            let result = calls.within(*limit, R::call(worker, store, input), cancel).await?;
            call::outcome(store, result)
        }
        .boxed()
    }
}

#[cfg(test)]
impl<I: Send + 'static, O: Send + 'static> Instance<I, O> {
    /// Not of a component, but a closure: for tests of what instances are kept by.
    pub fn closure(answer: impl FnMut(I) -> Result<O, Failure> + Send + 'static) -> Self {
        struct Closure<F>(F);

        impl<I, O: Send + 'static, F: FnMut(I) -> Result<O, Failure> + Send> Answer<I, O> for Closure<F> {
            fn answer(&mut self, input: I) -> BoxFuture<'_, Result<O, Failure>> {
                std::future::ready((self.0)(input)).boxed()
            }
        }

        Self(Box::new(Closure(answer)))
    }
}
