//! Calls that wait and instances that are idle, and how they meet.
//!
//! ```text
//!  push ─▶ calls: bounded, first come first served, ┐
//!          without those that nobody waits for      ├─▶ pop: an instance's thread takes one of each
//!  add, give_back ─▶ idle instances ────────────────┘
//!                          └─▶ borrow: a caller computes by itself, if nobody waits
//! ```
//! Requests push from the async executor; as many threads pop as there are instances, of which each takes any.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::endpoint::{ServeError, ServeErrorKind};
use crate::runtime::Instance;

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

/// The queue.
pub(super) struct Queue<I, O> {
    inner: Mutex<Inner<I, O>>,
    /// Wakes threads that wait for a call and an instance.
    news: Condvar,
    /// Wakes those that wait for more calls for the instance that they have.
    more: Condvar,
    /// An instance was lost, a call came and no instance was idle, or after `close` an instance or a thread has ended.
    pub upkeep: Notify,
    capacity: usize,
    /// Instances that are never too many.
    minimum: u32,
}

struct Inner<I, O> {
    waiting: VecDeque<Waiting<I, O>>,
    /// The last that was given back is the next: what it needs is still in the processor's caches.
    idle: Vec<Instance<I, O>>,
    /// Idle or at work.
    instances: u32,
    threads: u32,
    /// The fewest that were idle at any time after `since`.
    spare: usize,
    since: Instant,
    closed: bool,
}

impl<I, O> Queue<I, O> {
    /// With room for `capacity` calls beside those under way; `minimum` instances are kept though none is needed.
    pub fn new(capacity: usize, minimum: u32) -> Self {
        let inner = Inner {
            waiting: VecDeque::new(),
            idle: Vec::new(),
            instances: 0,
            threads: 0,
            spare: 0,
            since: Instant::now(),
            closed: false,
        };
        let (news, more) = (Condvar::new(), Condvar::new());
        Self { inner: Mutex::new(inner), news, more, upkeep: Notify::new(), capacity, minimum }
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
        if inner.waiting.len() >= self.capacity + inner.idle.len() {
            // Room that only those take who have left is room.
            inner.waiting.retain(|waiting| !waiting.reply.is_closed());
            if inner.waiting.len() >= self.capacity + inner.idle.len() {
                return Err(Refused::Full);
            }
        }
        inner.waiting.push_back(Waiting { input, deadline, reply });
        let (starved, idle) = (inner.is_hungry(), !inner.idle.is_empty());
        drop(inner);
        self.more.notify_all();
        if idle {
            self.news.notify_one();
        }
        if starved {
            self.upkeep.notify_one();
        }
        Ok(answer)
    }

    /// Another instance. Whether a thread is to be started that pops for it, which is counted already.
    pub fn add(&self, instance: Instance<I, O>) -> bool {
        let mut inner = self.inner.lock();
        inner.instances += 1;
        inner.idle.push(instance);
        let more = inner.threads < inner.instances;
        inner.threads += u32::from(more);
        drop(inner);
        self.news.notify_one();
        more
    }

    /// The thread that [`add`](Self::add) asked for did not start; its instance is not needed either.
    pub fn withdraw(&self) {
        let mut inner = self.inner.lock();
        inner.threads -= 1;
        let _dropped = inner.idle.pop().inspect(|_| inner.instances -= 1);
    }

    /// An idle instance for a caller that computes by itself, unless somebody was there before. To be given back, or
    /// counted out by [`lose`](Self::lose).
    pub fn borrow(&self) -> Option<Instance<I, O>> {
        let mut inner = self.inner.lock();
        if inner.closed || !inner.waiting.is_empty() {
            return None;
        }
        inner.take_idle()
    }

    /// An instance is idle again.
    pub fn give_back(&self, instance: Instance<I, O>) {
        let mut inner = self.inner.lock();
        if !inner.closed || !inner.waiting.is_empty() {
            inner.idle.push(instance);
            let wanted = !inner.waiting.is_empty();
            drop(inner);
            if wanted {
                self.news.notify_one();
            }
            return;
        }
        drop(inner);
        drop(instance);
        self.lose();
    }

    /// An instance that was taken is no more.
    pub fn lose(&self) {
        let mut inner = self.inner.lock();
        inner.instances -= 1;
        drop(inner);
        // One of them is one too many, and where it was the last and none is to follow, all are.
        self.news.notify_all();
        self.upkeep.notify_one();
    }

    /// The next call that somebody waits for and an instance for it, which is to be given back or counted out. Blocking.
    /// None: the thread has been counted out, and ends. Where more instances were idle for all of `patience` than are
    /// kept, one ends with it.
    pub fn pop(&self, patience: Duration) -> Option<(Waiting<I, O>, Instance<I, O>)> {
        let mut inner = self.inner.lock();
        loop {
            if !inner.idle.is_empty()
                && let Some(call) = inner.next(|_| true)
                && let Some(instance) = inner.take_idle()
            {
                return Some((call, instance));
            }
            let over = inner.closed && (inner.waiting.is_empty() || inner.instances == 0);
            if over || inner.threads > inner.instances {
                let ended = if over { std::mem::take(&mut inner.idle) } else { Vec::new() };
                return self.end(inner, ended);
            }
            let until = inner.since + patience;
            if self.news.wait_until(&mut inner, until).timed_out() && Instant::now() >= inner.since + patience
            {
                let too_many = inner.spare > 0 && inner.instances > self.minimum;
                inner.since = Instant::now();
                inner.spare = inner.idle.len();
                if too_many && inner.waiting.is_empty() {
                    let ended = Vec::from_iter(inner.idle.pop());
                    return self.end(inner, ended);
                }
            }
        }
    }

    /// Count out a thread, and instances that nobody needs any more.
    fn end<T>(&self, mut inner: MutexGuard<'_, Inner<I, O>>, ended: Vec<Instance<I, O>>) -> Option<T> {
        inner.threads -= 1;
        inner.instances -= u32::try_from(ended.len()).unwrap_or(inner.instances);
        inner.spare = inner.spare.min(inner.idle.len());
        drop(inner);
        drop(ended);
        self.upkeep.notify_one();
        None
    }

    /// The next call, if it `fits`, waiting for one until `until`. Blocking.
    pub fn pop_more(&self, until: Instant, fits: impl Fn(&I) -> bool) -> Option<Waiting<I, O>> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(call) = inner.next(&fits) {
                return Some(call);
            }
            // One that does not fit has its turn now.
            if !inner.waiting.is_empty() || inner.closed || Instant::now() >= until {
                return None;
            }
            let _ = self.more.wait_until(&mut inner, until);
        }
    }

    /// Take no more. What waits is still popped.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.news.notify_all();
        self.more.notify_all();
        self.upkeep.notify_one();
    }

    /// Whether it takes no more.
    pub fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Whether it takes no more, and no instance and no thread is left.
    pub fn has_ended(&self) -> bool {
        let inner = self.inner.lock();
        inner.closed && inner.instances == 0 && inner.threads == 0
    }

    /// Instances, idle or at work.
    pub fn instances(&self) -> u32 {
        self.inner.lock().instances
    }

    /// Whether more calls wait than instances are idle.
    pub fn is_hungry(&self) -> bool {
        self.inner.lock().is_hungry()
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
    fn is_hungry(&self) -> bool {
        self.waiting.len() > self.idle.len()
    }

    fn take_idle(&mut self) -> Option<Instance<I, O>> {
        let instance = self.idle.pop()?;
        self.spare = self.spare.min(self.idle.len());
        Some(instance)
    }

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

    fn doubling() -> Instance<u32, u32> {
        Instance::closure(|input| Ok(input * 2))
    }

    /// With one instance, and this thread to pop.
    fn queue(capacity: usize) -> Queue<u32, u32> {
        let queue = Queue::new(capacity, 1);
        assert!(queue.add(doubling()));
        queue
    }

    fn popped(queue: &Queue<u32, u32>) -> Option<u32> {
        let (call, instance) = queue.pop(NOW)?;
        queue.give_back(instance);
        Some(call.input)
    }

    #[test]
    fn calls_come_out_in_their_order_and_only_so_many_wait() {
        let queue = queue(2);
        let kept: Vec<_> = (0..3).map(|at| queue.push(at, None).ok().unwrap()).collect();
        // Two may wait beside the one that there is an instance for.
        assert!(matches!(queue.push(3, None), Err(Refused::Full)));
        assert!(queue.is_hungry());
        assert_eq!((popped(&queue), popped(&queue), popped(&queue)), (Some(0), Some(1), Some(2)));
        assert!(!queue.is_hungry());
        drop(kept);
    }

    #[test]
    fn who_has_left_takes_no_room_and_is_not_begun() {
        let queue = queue(0);
        drop(queue.push(0, None));
        let answer = queue.push(1, None).ok().unwrap();
        assert_eq!(popped(&queue), Some(1));
        drop(answer);
    }

    #[test]
    fn what_is_late_is_answered_so() {
        let queue = queue(4);
        let mut late = queue.push(0, Some(Instant::now())).ok().unwrap();
        let answer = queue.push(1, None).ok().unwrap();
        assert_eq!(popped(&queue), Some(1));
        assert_eq!(late.try_recv().unwrap().unwrap_err().kind, ServeErrorKind::DeadlineExceeded);
        drop(answer);
    }

    #[test]
    fn a_closed_queue_gives_what_waits_and_takes_no_more() {
        let queue = queue(4);
        let answer = queue.push(7, None).ok().unwrap();
        queue.close();
        assert!(matches!(queue.push(8, None), Err(Refused::Closed(8))));
        assert_eq!(popped(&queue), Some(7));
        assert!(!queue.has_ended());
        assert!(queue.pop(Duration::from_secs(3600)).is_none());
        assert!(queue.has_ended());
        drop(answer);
    }

    #[test]
    fn an_instance_is_lent_only_while_nobody_waits() {
        let queue = queue(4);
        let instance = queue.borrow().unwrap();
        assert!(queue.borrow().is_none());
        let answer = queue.push(1, None).ok().unwrap();
        queue.give_back(instance);
        assert!(queue.borrow().is_none());
        assert_eq!(popped(&queue), Some(1));
        assert!(queue.borrow().is_some());
        drop(answer);
    }

    #[test]
    fn one_that_is_lent_when_the_queue_closes_is_the_last_to_end() {
        let queue = queue(4);
        let instance = queue.borrow().unwrap();
        queue.close();
        assert!(queue.pop(NOW).is_none());
        assert!(!queue.has_ended());
        queue.give_back(instance);
        assert!(queue.has_ended());
    }

    #[test]
    fn a_thread_ends_with_an_instance_that_is_lost() {
        let queue = queue(4);
        drop(queue.borrow().unwrap());
        queue.lose();
        assert!(queue.pop(Duration::from_secs(3600)).is_none());
        // The next brings its own.
        assert!(queue.add(doubling()));
    }

    #[test]
    fn more_than_the_minimum_end_where_none_was_needed_for_a_while() {
        let queue = queue(4);
        assert!(queue.add(doubling()));
        // It has not rested for a while: both may have been at work.
        let (first, second) = (queue.borrow().unwrap(), queue.borrow().unwrap());
        queue.give_back(first);
        queue.give_back(second);
        assert!(queue.pop(Duration::from_millis(1)).is_none());
        assert_eq!(queue.instances(), 1);
    }

    #[test]
    fn a_batch_takes_what_fits_and_leaves_the_rest_in_its_place() {
        let queue = queue(4);
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
