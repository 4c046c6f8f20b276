//! Calls that wait for an instance: bounded, first come first served, without those that nobody waits for any more.
//!
//! Requests push from the async executor, instances pop on their own threads.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};

use super::endpoint::{ServeError, ServeErrorKind};

/// A call that waits.
pub(super) struct Waiting<I, O> {
    pub input: I,
    /// After this it is not begun.
    pub deadline: Option<Instant>,
    pub reply: oneshot::Sender<Result<O, ServeError>>,
}

/// Why a call was not taken.
pub(super) enum Refused<I> {
    /// As many wait as may.
    Full,
    /// This queue takes no more; ask the one that took its place. The input comes back.
    Closed(I),
}

/// What an instance finds.
pub(super) enum Popped<T> {
    Call(T),
    /// Nothing came for as long as it was patient.
    Idle,
    /// Nothing will come.
    Closed,
}

/// The queue.
pub(super) struct Queue<I, O> {
    inner: Mutex<Inner<I, O>>,
    /// Wakes instances.
    news: Condvar,
    /// A call came and no instance was free.
    pub hungry: Notify,
    capacity: usize,
}

struct Inner<I, O> {
    waiting: VecDeque<Waiting<I, O>>,
    /// Instances that wait here.
    free: usize,
    closed: bool,
}

impl<I, O> Queue<I, O> {
    /// With room for `capacity` calls beside those under way.
    pub fn new(capacity: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), free: 0, closed: false };
        Self { inner: Mutex::new(inner), news: Condvar::new(), hungry: Notify::new(), capacity }
    }

    /// Put a call in; the receiver resolves with what came of it.
    pub fn push(
        &self,
        input: I,
        deadline: Option<Instant>,
    ) -> Result<oneshot::Receiver<Result<O, ServeError>>, Refused<I>> {
        let (reply, answer) = oneshot::channel();
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Refused::Closed(input));
        }
        if inner.waiting.len() >= self.capacity + inner.free {
            // Room that only those take who have left is room.
            inner.waiting.retain(|waiting| !waiting.reply.is_closed());
            if inner.waiting.len() >= self.capacity + inner.free {
                return Err(Refused::Full);
            }
        }
        inner.waiting.push_back(Waiting { input, deadline, reply });
        let starved = inner.waiting.len() > inner.free;
        drop(inner);
        self.news.notify_one();
        if starved {
            self.hungry.notify_one();
        }
        Ok(answer)
    }

    /// The next call that somebody waits for. Blocking, for as long as `patience`.
    pub fn pop(&self, patience: Duration) -> Popped<Waiting<I, O>> {
        let until = Instant::now() + patience;
        let mut inner = self.inner.lock();
        loop {
            if let Some(call) = inner.next(|_| true) {
                return Popped::Call(call);
            }
            if inner.closed {
                return Popped::Closed;
            }
            inner.free += 1;
            let timed_out = self.news.wait_until(&mut inner, until).timed_out();
            inner.free -= 1;
            if timed_out && inner.waiting.is_empty() {
                return if inner.closed { Popped::Closed } else { Popped::Idle };
            }
        }
    }

    /// The next call, if it `fits`, waiting for one until `until`. Blocking.
    pub fn pop_more(&self, until: Instant, fits: impl Fn(&I) -> bool) -> Option<Waiting<I, O>> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(call) = inner.next(&fits) {
                return Some(call);
            }
            if !inner.waiting.is_empty() {
                // The news was of a call for another instance.
                self.news.notify_one();
                return None;
            }
            if inner.closed || Instant::now() >= until {
                return None;
            }
            let _ = self.news.wait_until(&mut inner, until);
        }
    }

    /// Take no more. What waits is still popped.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.news.notify_all();
    }

    /// Whether it takes no more.
    pub fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Whether calls wait and no instance is free.
    pub fn is_hungry(&self) -> bool {
        let inner = self.inner.lock();
        inner.waiting.len() > inner.free
    }

    /// Answer all that wait with an error.
    pub fn fail(&self, error: &ServeError) {
        let waiting = std::mem::take(&mut self.inner.lock().waiting);
        for call in waiting {
            // Who has left hears nothing.
            let _ = call.reply.send(Err(error.clone()));
        }
    }
}

impl<I, O> Inner<I, O> {
    /// The first call that somebody waits for, if it fits.
    fn next(&mut self, fits: impl Fn(&I) -> bool) -> Option<Waiting<I, O>> {
        loop {
            let first = self.waiting.front()?;
            let late = first.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if !late && !first.reply.is_closed() {
                return if fits(&first.input) { self.waiting.pop_front() } else { None };
            }
            if let Some(call) = self.waiting.pop_front() {
                let _ = call.reply.send(Err(late_error()));
            }
        }
    }
}

/// Of a request whose deadline passed before it was begun.
pub(super) fn late_error() -> ServeError {
    ServeError::new(ServeErrorKind::DeadlineExceeded, "the request's deadline passed before it was answered")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn popped(queue: &Queue<u32, u32>) -> Option<u32> {
        match queue.pop(NOW) {
            Popped::Call(call) => Some(call.input),
            Popped::Idle | Popped::Closed => None,
        }
    }

    #[test]
    fn calls_come_out_in_their_order_and_only_so_many_wait() {
        let queue = Queue::<u32, u32>::new(2);
        let kept: Vec<_> = (0..2).map(|at| queue.push(at, None).ok().unwrap()).collect();
        assert!(matches!(queue.push(2, None), Err(Refused::Full)));
        assert!(queue.is_hungry());
        assert_eq!((popped(&queue), popped(&queue), popped(&queue)), (Some(0), Some(1), None));
        drop(kept);
    }

    #[test]
    fn who_has_left_takes_no_room_and_is_not_begun() {
        let queue = Queue::<u32, u32>::new(1);
        drop(queue.push(0, None));
        let answer = queue.push(1, None).ok().unwrap();
        assert_eq!(popped(&queue), Some(1));
        drop(answer);
    }

    #[test]
    fn what_is_late_is_answered_so() {
        let queue = Queue::<u32, u32>::new(4);
        let mut late = queue.push(0, Some(Instant::now())).ok().unwrap();
        assert_eq!(popped(&queue), None);
        assert_eq!(late.try_recv().unwrap().unwrap_err().kind, ServeErrorKind::DeadlineExceeded);
    }

    #[test]
    fn a_closed_queue_gives_what_waits_and_takes_no_more() {
        let queue = Queue::<u32, u32>::new(4);
        let answer = queue.push(7, None).ok().unwrap();
        queue.close();
        assert!(matches!(queue.push(8, None), Err(Refused::Closed(8))));
        assert_eq!(popped(&queue), Some(7));
        assert!(matches!(queue.pop(Duration::from_secs(3600)), Popped::Closed));
        drop(answer);
    }

    #[test]
    fn a_batch_takes_what_fits_and_leaves_the_rest_in_its_place() {
        let queue = Queue::<u32, u32>::new(4);
        let kept: Vec<_> = [2, 4, 5, 6].map(|at| queue.push(at, None).ok().unwrap()).into();
        let even = |call: &u32| call.is_multiple_of(2);
        let now = Instant::now();
        assert_eq!(queue.pop_more(now, even).map(|call| call.input), Some(2));
        assert_eq!(queue.pop_more(now, even).map(|call| call.input), Some(4));
        assert!(queue.pop_more(now, even).is_none());
        assert_eq!(popped(&queue), Some(5));
        drop(kept);
    }
}
