//! What engines are called through: enough stack, and no panic of theirs beyond the call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::nn::{NnError, STACK};

/// Runs `work` on a thread with the stack that it may need.
pub fn with_stack<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R, NnError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        let thread =
            thread.map_err(|error| NnError::runtime(format!("no thread to load a graph: {error}")))?;
        thread.join().map_err(|_| NnError::runtime("the thread that loads a graph broke off"))
    })
}

/// Runs `work`, in which `engine` may panic over a graph that it did not expect; its state is either the
/// caller's own or only read.
pub fn guard<R>(engine: &str, what: &str, work: impl FnOnce() -> R) -> Result<R, NnError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        NnError::runtime(format!("the engine {engine} panicked when {what}: {message}"))
    })
}
