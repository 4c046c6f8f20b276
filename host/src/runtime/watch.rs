//! Calls under way, watched by the engine's clock: the thread of a call that computes in a tensor engine is polled by
//! nobody, so another ends that compute when the call's time is over or its worker is to end.
//!
//! To be watched costs a call a place in a list, and no task or timer of its own: a serving worker's calls take
//! microseconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::nn::Interrupt;

/// The calls under way of one runtime; clone copies the handle.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    next: u64,
    under_way: Vec<Call>,
}

struct Call {
    number: u64,
    /// None: it has all the time that there is.
    until: Option<Instant>,
    cancel: CancellationToken,
    interrupt: Interrupt,
}

/// A call that is watched until this is dropped.
#[must_use = "a call is watched for as long as it lives"]
pub(super) struct Watched {
    watch: Watch,
    number: u64,
}

impl Watch {
    /// End the computes of `interrupt` once `limit` has passed or with `cancel`, up to a tick of the clock later.
    pub fn call(&self, interrupt: Interrupt, limit: Duration, cancel: CancellationToken) -> Watched {
        let mut calls = self.0.lock();
        let number = calls.next;
        calls.next += 1;
        let until = Instant::now().checked_add(limit);
        calls.under_way.push(Call { number, until, cancel, interrupt });
        Watched { watch: self.clone(), number }
    }

    /// The clock's part: end what is over.
    pub fn tick(&self) {
        let now = Instant::now();
        // Ended outside the lock, under which every call begins.
        let over: Vec<Interrupt> = self
            .0
            .lock()
            .under_way
            .iter()
            .filter(|call| call.until.is_some_and(|until| now >= until) || call.cancel.is_cancelled())
            .map(|call| call.interrupt.clone())
            .collect();
        over.iter().for_each(Interrupt::end);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut calls = self.watch.0.lock();
        if let Some(at) = calls.under_way.iter().position(|call| call.number == self.number) {
            calls.under_way.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_ended_by_its_time_or_its_worker_and_not_after_its_end() {
        let watch = Watch::default();
        let call = |limit| {
            let (interrupt, cancel) = (Interrupt::default(), CancellationToken::new());
            let watched = watch.call(interrupt.clone(), limit, cancel.clone());
            (interrupt, cancel, watched)
        };
        let (late, _, _late) = call(Duration::ZERO);
        let (told, cancel, _told) = call(Duration::MAX);
        let (over, _, ended) = call(Duration::ZERO);
        drop(ended);
        watch.tick();
        assert!(late.is_ended() && !told.is_ended() && !over.is_ended());
        cancel.cancel();
        watch.tick();
        assert!(told.is_ended());
    }
}
