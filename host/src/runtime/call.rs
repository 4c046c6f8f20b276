//! One call of a worker: on a thread of its own, within its time, with a reason when it ends badly.
//!
//! A guest computes, so it must not sit on the async executor's threads: each call runs on a
//! [thread](super::threads) of its own, and what the guest calls on the host runs there too, without a hand-over. (Calls
//! that are known to be quick are the exception: see `serving/pool.rs`.) The call is still a future on that thread: the
//! epoch makes a guest that computes yield to it, a guest that sleeps waits in it, and dropping it ends the guest in
//! either case. While a tensor engine computes nothing on the thread is polled, so the clock ends that compute, where the
//! engine can be told to stop ([`Interrupt`]).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use wasmtime::{PoolConcurrencyLimitError, Store};

use super::failure::{Failure, Reason};
use super::memory::OverLimit;
use super::state::State;
use super::threads::Threads;
use super::watch::Watch;
use crate::nn::{Graphs, Interrupt};

/// What the calls of one runtime share; clone copies the handles.
#[derive(Clone)]
pub struct Calls {
    watch: Watch,
    threads: Threads,
}

impl Calls {
    /// Calls that compute with `graphs` and that the clock of `watch` ends.
    pub fn new(watch: Watch, graphs: Arc<Graphs>) -> Self {
        Self { watch, threads: Threads::new(graphs) }
    }

    /// Run `body` on a thread of its own until it ends, `limit` has passed, or `cancel` or the caller gives up.
    pub async fn run<T, F>(
        &self,
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
        let (executor, this) = (Handle::current(), self.clone());
        let call = move || executor.block_on(async { this.within(limit, body(), &cancel).await? });
        self.threads.run(call).await?
    }

    /// `work`, unless it takes longer than `limit` or the worker is told to end. A tensor engine that computes in it is
    /// told to stop as well.
    pub async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = T>,
        cancel: &CancellationToken,
    ) -> Result<T, Failure> {
        let interrupt = Interrupt::default();
        let _watched = self.watch.call(interrupt.clone(), limit, cancel.clone());
        let mut work = pin!(work);
        // Whichever thread it is polled on.
        let work = poll_fn(|cx| {
            let _entered = interrupt.enter();
            work.as_mut().poll(cx)
        });
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(cancelled()),
            result = tokio::time::timeout(limit, work) => result.map_err(|_| too_long(limit)),
        };
        match interrupt.is_ended() {
            // Whatever became of a call whose computes were ended: this is why.
            true if cancel.is_cancelled() => Err(cancelled()),
            true => Err(too_long(limit)),
            false => outcome,
        }
    }
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

#[cfg(test)]
mod tests {
    use sedge_onnx::proto::tensor_proto::DataType;
    use sedge_onnx::proto::{GraphProto, ValueInfoProto};

    use tokio::sync::Notify;

    use super::*;
    use crate::nn::{EngineSettings, Graph, GraphOptions, Tensor};
    use crate::{found, onnx_files};

    fn graphs() -> Arc<Graphs> {
        let (onnxruntime, folders) = (found::onnxruntime(), found::folders());
        Arc::new(Graphs::with(&EngineSettings { onnxruntime, folders, ..EngineSettings::builtin(1) }))
    }

    /// Goes round for as long as `on`, which is given, is true.
    fn long(graphs: &Graphs) -> Option<Arc<dyn Graph>> {
        let (truth, float) = (DataType::Bool, DataType::Float);
        let scalar = |mut port: ValueInfoProto| {
            use sedge_onnx::proto::{TensorShapeProto, type_proto::Value};
            if let Some(Value::TensorType(tensor)) = port.r#type.as_mut().and_then(|of| of.value.as_mut()) {
                tensor.shape = Some(TensorShapeProto::default());
            }
            port
        };
        let body = GraphProto {
            name: Some("body".to_owned()),
            node: vec![
                onnx_files::node("Identity", &["on"], &["on.next"]),
                onnx_files::node("Neg", &["s"], &["s.next"]),
            ],
            input: vec![
                scalar(onnx_files::port("at", DataType::Int64)),
                scalar(onnx_files::port("going", truth)),
                scalar(onnx_files::port("s", float)),
            ],
            output: vec![
                scalar(onnx_files::port("on.next", truth)),
                scalar(onnx_files::port("s.next", float)),
            ],
            ..Default::default()
        };
        let mut repeat = onnx_files::node("Loop", &["", "on", "x"], &["y"]);
        repeat.attribute = vec![onnx_files::inner("body", body)];
        let file = onnx_files::file(GraphProto {
            node: vec![repeat],
            input: vec![scalar(onnx_files::port("on", truth)), scalar(onnx_files::port("x", float))],
            output: vec![scalar(onnx_files::port("y", float))],
            ..Default::default()
        });
        let options = GraphOptions { engine: Some("onnxruntime".to_owned()), ..GraphOptions::default() };
        match graphs.load(&sedge_api::Digest::of(&file), &options, || Ok(file)) {
            Ok(loaded) => Some(loaded.graph),
            Err(error) => {
                found::skipped("onnxruntime", &error.message);
                None
            }
        }
    }

    fn compute(graph: &dyn Graph, on: bool) -> Result<f32, crate::nn::NnError> {
        let on = Tensor::from_vec(&[], vec![u8::from(on)])?;
        let x = Tensor::from_vec(&[], vec![2f32])?;
        let outputs = graph.compute(vec![("on".to_owned(), on), ("x".to_owned(), x)])?;
        Ok(outputs[0].1.as_slice::<f32>()?[0])
    }

    /// `begun` is told when the endless compute is about to begin.
    async fn outcome_of(cancel: CancellationToken, limit: Duration, begun: Arc<Notify>) -> Option<Failure> {
        let graphs = graphs();
        let graph = long(&graphs)?;
        assert_eq!(compute(&*graph, false).unwrap(), 2.0);
        let endless = graph.clone();
        let body = move || async move {
            begun.notify_one();
            compute(&*endless, true).map_err(|error| Failure::new(Reason::PluginError, error.message))
        };
        let watch = Watch::default();
        let calls = Calls::new(watch.clone(), Arc::clone(&graphs));
        let clock = async {
            loop {
                watch.tick();
                tokio::task::yield_now().await;
            }
        };
        let failure = tokio::select! {
            outcome = calls.run(&cancel, limit, body) => outcome.unwrap_err(),
            () = clock => unreachable!("it goes on for ever"),
        };
        // The thread is free again, and so is the graph.
        assert_eq!(compute(&*graph, false).unwrap(), 2.0);
        Some(failure)
    }

    #[tokio::test]
    async fn a_compute_ends_with_the_time_of_its_call() {
        let failure = outcome_of(CancellationToken::new(), Duration::from_millis(100), Arc::default()).await;
        assert!(failure.is_none_or(|failure| failure.reason == Reason::DeadlineExceeded));
    }

    #[tokio::test]
    async fn a_compute_ends_when_its_worker_is_told_to() {
        let cancel = CancellationToken::new();
        let begun = Arc::new(Notify::new());
        let outcome = outcome_of(cancel.clone(), Duration::from_secs(600), Arc::clone(&begun));
        let cancelled = async {
            begun.notified().await;
            cancel.cancel();
            // Nothing begins without the engine, and nobody waits for that.
            std::future::pending::<()>().await;
        };
        let failure = tokio::select! {
            failure = outcome => failure,
            () = cancelled => unreachable!("it waits for ever"),
        };
        assert!(failure.is_none_or(|failure| failure.reason == Reason::Cancelled));
    }
}
