//! Ending a compute that is under way, from another thread.
//!
//! A call of a worker enters an [`Interrupt`] on the thread that it computes on, and whoever watches its time ends it
//! (see `runtime/call.rs`). A compute that has not begun then does not; one under way ends where its engine has a way
//! to: ONNX Runtime stops after the node that it computes, in loops as well. rten has no such way, so there a call
//! over its time is noticed when the compute returns.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::{ErrorCode, NnError};

/// What an engine gives to be stopped by.
pub(super) trait Stop: Send + Sync {
    /// Ends the compute under way, from any thread.
    fn stop(&self);
}

/// Ends the computes of one call.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    ended: bool,
    /// Of the compute under way. Called under the lock, so never after that compute.
    stop: Option<Arc<dyn Stop>>,
}

thread_local! {
    static ENTERED: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
}

impl Interrupt {
    /// For computes on this thread, until the guard is dropped.
    pub fn enter(&self) -> Entered {
        Entered { before: ENTERED.replace(Some(self.clone())), _here: std::marker::PhantomData }
    }

    /// Ends the compute under way, and all later ones before they begin.
    pub fn end(&self) {
        let mut state = self.0.lock();
        state.ended = true;
        if let Some(stop) = &state.stop {
            stop.stop();
        }
    }

    /// Whether it was ended.
    pub fn is_ended(&self) -> bool {
        self.0.lock().ended
    }
}

/// While an [`Interrupt`] is this thread's.
#[must_use = "computes can be ended for as long as it lives"]
pub struct Entered {
    before: Option<Interrupt>,
    /// Belongs to the thread.
    _here: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        ENTERED.set(self.before.take());
    }
}

/// Refuses to begin, or to go on waiting, where this thread's call was ended.
pub(crate) fn check() -> Result<(), NnError> {
    match ENTERED.with_borrow(|entered| entered.as_ref().is_some_and(Interrupt::is_ended)) {
        true => Err(ended()),
        false => Ok(()),
    }
}

/// Computes by `run`, which what `make` gives can stop; it is asked for where this thread's compute can be ended at all.
/// When this returns, nobody stops it any more.
pub(super) fn under_way<S: Stop + 'static, R>(
    make: impl FnOnce() -> Result<Arc<S>, NnError>,
    run: impl FnOnce(Option<&S>) -> Result<R, NnError>,
) -> Result<R, NnError> {
    let Some(interrupt) = ENTERED.with_borrow(Clone::clone) else { return run(None) };
    let handle = make()?;
    {
        let mut state = interrupt.0.lock();
        if state.ended {
            return Err(ended());
        }
        state.stop = Some(Arc::clone(&handle) as Arc<dyn Stop>);
    }
    // Also when the engine panics.
    let under_way = UnderWay(&interrupt);
    let result = run(Some(&handle));
    drop(under_way);
    // What the engine says of a compute that was ended is of no use to anyone.
    result.map_err(|error| if interrupt.is_ended() { ended() } else { error })
}

struct UnderWay<'a>(&'a Interrupt);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.lock().stop = None;
    }
}

fn ended() -> NnError {
    NnError::new(ErrorCode::Timeout, "the compute was ended: the call that it is part of is over".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    impl Stop for AtomicUsize {
        fn stop(&self) {
            self.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn compute(stopped: &Arc<AtomicUsize>, during: impl FnOnce()) -> Result<(), NnError> {
        under_way(
            || Ok(Arc::clone(stopped)),
            |_| {
                during();
                Ok(())
            },
        )
    }

    #[test]
    fn a_compute_under_way_is_stopped_and_later_ones_do_not_begin() {
        let (stopped, interrupt) = (Arc::new(AtomicUsize::new(0)), Interrupt::default());
        let entered = interrupt.enter();
        compute(&stopped, || ()).unwrap();
        assert_eq!(stopped.load(Ordering::SeqCst), 0);
        compute(&stopped, || interrupt.end()).unwrap();
        assert_eq!(stopped.load(Ordering::SeqCst), 1);
        assert_eq!(check().unwrap_err().code, ErrorCode::Timeout);
        let error = compute(&stopped, || unreachable!("it does not begin")).unwrap_err();
        assert_eq!((error.code, stopped.load(Ordering::SeqCst)), (ErrorCode::Timeout, 1));
        // Not this call's.
        drop(entered);
        check().unwrap();
        compute(&stopped, || interrupt.end()).unwrap();
        assert_eq!(stopped.load(Ordering::SeqCst), 1);
    }
}
