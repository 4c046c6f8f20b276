//! One call of a worker: on a thread of its own, within its time, with a reason when it ends badly.
//!
//! A guest computes, so it must not sit on the async executor's threads: each call runs on a blocking
//! thread, and what the guest calls on the host runs there too, without a hand-over. The call is still a
//! future on that thread: the epoch makes a guest that computes yield to it, a guest that sleeps waits in
//! it, and dropping it ends the guest in either case.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wasmtime::{PoolConcurrencyLimitError, Store};

use super::failure::{Failure, Reason};
use super::memory::OverLimit;
use super::state::State;
use crate::nn::Graphs;

/// Run `body` on a thread of its own until it ends, `limit` has passed, or `cancel` or the caller gives up; one that
/// computes with `graphs` on a thread that their engines are quick from.
pub async fn run<T, F>(
    graphs: Option<&Arc<Graphs>>,
    cancel: &CancellationToken,
    limit: Duration,
    body: impl FnOnce() -> F + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>>,
{
    let cancel = cancel.child_token();
    let _given_up = cancel.clone().drop_guard();
    let executor = Handle::current();
    let call = move || {
        executor.block_on(async {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(cancelled()),
                result = tokio::time::timeout(limit, body()) => result.unwrap_or_else(|_| Err(too_long(limit))),
            }
        })
    };
    let graphs = graphs.cloned();
    tokio::task::spawn_blocking(move || match graphs {
        Some(graphs) => graphs.attend(call),
        None => call(),
    })
    .await
    .unwrap_or_else(|error| Err(Failure::host(format!("the worker's thread broke off: {error}"))))
}

/// Of a worker that is no longer wanted.
pub fn cancelled() -> Failure {
    Failure::new(Reason::Cancelled, "the worker was told to end")
}

/// Of a call that took more time than it has.
pub fn too_long(limit: Duration) -> Failure {
    Failure::new(
        Reason::DeadlineExceeded,
        format!("one call took longer than {limit:?}, which is what `resources.timeout` grants"),
    )
}

/// What a call came to: outer error from WebAssembly, inner one from the plugin.
pub fn outcome<T>(store: &Store<State>, result: wasmtime::Result<Result<T, String>>) -> Result<T, Failure> {
    match result {
        Ok(Ok(value)) => Ok(value),
        // A plugin that is refused memory may say so itself.
        Ok(Err(message)) if store.data().ledger.refused() => {
            Err(Failure::new(Reason::OutOfMemory, cut(message)))
        }
        Ok(Err(message)) => Err(Failure::new(Reason::PluginError, cut(message))),
        Err(error) => Err(failure(store, &error)),
    }
}

/// Why WebAssembly, or what it called on the host, ended.
pub fn failure(store: &Store<State>, error: &wasmtime::Error) -> Failure {
    let ledger = &store.data().ledger;
    if let Some(over) = error.downcast_ref::<OverLimit>() {
        return Failure::new(Reason::OutOfMemory, over.to_string());
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Failure::host(format!("this node runs as many workers as it can: {full}"));
    }
    let message = match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        Some(exit) => format!("it called exit({})", exit.0),
        None => error.root_cause().to_string(),
    };
    // What was refused memory does not get to start, or gives up: by a trap, or in words of its own.
    if ledger.refused() {
        let limit = ledger.limit();
        let message = format!("it asked for more than its memory limit of {limit} bytes: {message}");
        return Failure::new(Reason::OutOfMemory, cut(message));
    }
    Failure::new(Reason::Trapped, cut(message))
}

/// Messages come from guests: bounded.
pub fn cut(mut message: String) -> String {
    const MOST: usize = 2000;
    if message.len() > MOST {
        let end = (0..=MOST).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}
