//! A standing instance: one that is prepared once and then answers call after call, on a thread of its own.
//!
//! ```text
//!  start ─▶ thread: instantiate, prepare ─▶ next() ─▶ call ─▶ reply ─▶ next() … ─▶ end
//! ```
//! The thread is one that tensor engines are quick from ([`Graphs::attend`](crate::nn::Graphs::attend)). Where its
//! calls come from, and how many instances there are, is the affair of [`serving`](crate::serving). A call that
//! ends badly ends the instance: what it left in its memory is not to be trusted. One that the plugin answers with
//! an error of its own does not.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wasmtime::Store;

use super::Grants;
use super::call;
use super::engine::Runtime;
use super::failure::{Failure, Reason};
use super::state::State;

/// What an instance is asked, and who waits for the answer.
pub struct Call<I, O> {
    /// What goes in.
    pub input: I,
    /// Takes what comes out; called on the instance's thread, so it must not block.
    pub reply: Box<dyn FnOnce(Result<O, Failure>) + Send>,
}

/// A role whose instances stand.
pub(super) trait Role: Send + 'static {
    /// The instance.
    type Worker;
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
    async fn call(
        worker: &Self::Worker,
        store: &mut Store<State>,
        input: Self::Input,
    ) -> wasmtime::Result<Result<Self::Output, String>>;
}

/// An instance that stands. It goes on when this is dropped, until there are no more calls.
pub struct Instance(oneshot::Receiver<Result<(), Failure>>);

impl Instance {
    /// Its end: after its last call, or with the call that it ended with.
    pub async fn ended(self) -> Result<(), Failure> {
        self.0.await.unwrap_or_else(|_| Err(broken()))
    }
}

#[cfg(test)]
impl Instance {
    /// Not of a component, but a closure on a thread of its own: for tests of what instances are kept by.
    pub fn closure(live: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Self {
        let (ending, ended) = oneshot::channel();
        std::thread::spawn(move || ending.send(live()));
        Self(ended)
    }
}

/// Start an instance and wait until it is prepared. `next` blocks until there is a call; none: there will be none.
pub(super) async fn start<R: Role>(
    runtime: Runtime,
    role: R,
    grants: Grants,
    next: impl FnMut() -> Option<Call<R::Input, R::Output>> + Send + 'static,
) -> Result<(Instance, R::Signature), Failure> {
    let (prepared, ready) = oneshot::channel();
    let (ending, ended) = oneshot::channel();
    let executor = Handle::current();
    let graphs = Arc::clone(runtime.graphs());
    let stand = move || {
        let end = graphs.attend(|| executor.block_on(live(runtime, role, grants, prepared, next)));
        // Nobody may be waiting for it.
        let _ = ending.send(end);
    };
    std::thread::Builder::new()
        .name("instance".to_owned())
        .spawn(stand)
        .map_err(|error| Failure::host(format!("no thread for an instance: {error}")))?;
    match ready.await {
        Ok(signature) => Ok((Instance(ended), signature)),
        // It ended before it was ready, and says why.
        Err(_) => match ended.await {
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(())) | Err(_) => Err(broken()),
        },
    }
}

async fn live<R: Role>(
    runtime: Runtime,
    mut role: R,
    grants: Grants,
    prepared: oneshot::Sender<R::Signature>,
    mut next: impl FnMut() -> Option<Call<R::Input, R::Output>>,
) -> Result<(), Failure> {
    let (cancel, limit) = (grants.cancel.clone(), grants.call);
    let watch = runtime.watch().clone();
    let mut store = runtime.store(grants);
    let result = call::within(&watch, limit, role.prepare(&mut store), &cancel).await?;
    let (worker, signature) = call::outcome(&store, result)?;
    if prepared.send(signature).is_err() {
        // Who started it has gone.
        return Ok(());
    }
    while let Some(Call { input, reply }) = next() {
        store.data().ledger.forget_refusals();
        let outcome = match call::within(&watch, limit, R::call(&worker, &mut store, input), &cancel).await {
            Ok(result) => call::outcome(&store, result),
            Err(failure) => Err(failure),
        };
        // The plugin has said no, and goes on.
        let fatal = outcome.as_ref().err().filter(|failure| failure.reason != Reason::PluginError).cloned();
        reply(outcome);
        if let Some(failure) = fatal {
            return Err(failure);
        }
    }
    Ok(())
}

fn broken() -> Failure {
    Failure::host("the instance's thread broke off")
}
