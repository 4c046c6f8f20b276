//! The instances of one plugin that answer calls: between a minimum and a maximum of them, as load asks.
//!
//! ```text
//!  call() ─▶ Queue ◀─ next ─ instances (standing, each on its thread)
//!              │ hungry          │ ended
//!              └────▶ keeper ◀───┘   starts another; replaces one that failed
//! ```
//! An instance that has been idle for a while ends where there are more than the minimum. One that fails has
//! answered its call with an error, and another takes its place; while none can be started calls are refused with
//! the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::endpoint::{ServeError, ServeErrorKind};
use super::queue::{Popped, Queue, Refused, Waiting, late_error};
use crate::link::backoff::Backoff;
use crate::runtime::{Call, Failure, Instance, Observer, Reason};

/// How long an instance above the minimum waits for a call before it ends.
const PATIENCE: Duration = Duration::from_secs(30);
/// Waits between tries to replace an instance that failed.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Where an instance's calls come from; see [`Call`].
pub(super) type Next<I, O> = Box<dyn FnMut() -> Option<Call<I, O>> + Send>;
/// Starts an instance.
pub(super) type Start<I, O> =
    Box<dyn Fn(Next<I, O>) -> BoxFuture<'static, Result<Instance, Failure>> + Send + Sync>;
/// Makes one call for the plugin of those that wait: the first, and others that it is joined with. None: they have
/// been answered already.
pub(super) type Gather<I, O> = Box<dyn Fn(&Queue<I, O>, Waiting<I, O>) -> Option<Call<I, O>> + Send + Sync>;

/// How many instances, and how many calls may wait for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// At least one.
    pub minimum: u32,
    /// At least the minimum.
    pub maximum: u32,
    pub queue: usize,
}

/// The instances.
pub(super) struct Pool<I, O> {
    shared: Arc<Shared<I, O>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
    /// Ends the instances at once.
    cancel: CancellationToken,
}

struct Shared<I, O> {
    queue: Queue<I, O>,
    sizes: Sizes,
    instances: AtomicU32,
    /// Why there are none.
    down: Mutex<Option<ServeError>>,
    start: Start<I, O>,
    gather: Gather<I, O>,
    observer: Arc<dyn Observer>,
}

impl<I: Send + 'static, O: Send + 'static> Pool<I, O> {
    /// Start the minimum of instances and wait until they are prepared. `cancel` ends them all.
    pub async fn open(
        sizes: Sizes,
        start: Start<I, O>,
        gather: Gather<I, O>,
        observer: Arc<dyn Observer>,
        cancel: CancellationToken,
    ) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            queue: Queue::new(sizes.queue),
            sizes,
            instances: AtomicU32::new(0),
            down: Mutex::default(),
            start,
            gather,
            observer,
        });
        let running = FuturesUnordered::new();
        for _ in 0..sizes.minimum {
            match shared.start().await {
                Ok(instance) => running.push(ended(instance)),
                Err(failure) => {
                    shared.queue.close();
                    return Err(failure);
                }
            }
        }
        let keeper = tokio::spawn(Arc::clone(&shared).keep(running, cancel.clone()));
        Ok(Self { shared, keeper: Mutex::new(Some(keeper)), cancel })
    }

    /// Have a call answered. The input comes back where the pool has been closed.
    pub async fn call(
        &self,
        input: I,
        deadline: Option<Instant>,
    ) -> Result<Result<O, ServeError>, Closed<I>> {
        if self.instances() == 0
            && let Some(error) = self.shared.down.lock().clone()
        {
            return Ok(Err(error));
        }
        let answer = match self.shared.queue.push(input, deadline) {
            Ok(answer) => answer,
            Err(Refused::Closed(input)) => return Err(Closed(input)),
            Err(Refused::Full) => {
                let text = format!(
                    "{} requests wait already: ask later, or give the service more instances or a longer queue",
                    self.shared.sizes.queue
                );
                return Ok(Err(ServeError::new(ServeErrorKind::Overloaded, text)));
            }
        };
        let answered = match deadline {
            None => answer.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(answered) => answered,
                Err(_) => return Ok(Err(late_error())),
            },
        };
        Ok(answered.unwrap_or_else(|_| Err(lost())))
    }

    /// Instances that are prepared.
    pub fn instances(&self) -> u32 {
        self.shared.instances.load(Ordering::Relaxed)
    }

    /// Take no more calls, answer those that wait, end.
    pub async fn drain(&self) {
        self.shared.queue.close();
        let keeper = self.keeper.lock().take();
        if let Some(keeper) = keeper {
            // A panic of the keeper has been reported where it happened.
            let _ = keeper.await;
        }
    }
}

impl<I, O> Drop for Pool<I, O> {
    fn drop(&mut self) {
        self.shared.queue.close();
        // A pool that is drained has no instances left to end.
        self.cancel.cancel();
    }
}

/// The pool was closed; the call's input.
pub(super) struct Closed<I>(pub I);

impl<I: Send + 'static, O: Send + 'static> Shared<I, O> {
    async fn start(self: &Arc<Self>) -> Result<Instance, Failure> {
        let this = Arc::clone(self);
        let next = Box::new(move || {
            loop {
                match this.queue.pop(PATIENCE) {
                    Popped::Call(first) => {
                        if let Some(call) = (this.gather)(&this.queue, first) {
                            return Some(call);
                        }
                    }
                    Popped::Closed => return None,
                    Popped::Idle => {
                        let fewer = |count: u32| (count > this.sizes.minimum).then(|| count - 1);
                        if this.instances.try_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
                            return None;
                        }
                    }
                }
            }
        });
        let instance = (self.start)(next).await?;
        self.instances.fetch_add(1, Ordering::Relaxed);
        *self.down.lock() = None;
        Ok(instance)
    }

    /// Keep as many instances as load asks for, until the queue is closed and all have ended.
    async fn keep(
        self: Arc<Self>,
        mut running: FuturesUnordered<BoxFuture<'static, Result<(), Failure>>>,
        cancel: CancellationToken,
    ) {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut retry: Option<BoxFuture<'static, ()>> = None;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                Some(ended) = running.next(), if !running.is_empty() => match ended {
                    Ok(()) if self.queue.is_closed() => {
                        if running.is_empty() {
                            break;
                        }
                    }
                    // It was idle, and has counted itself out.
                    Ok(()) => {}
                    Err(failure) => {
                        self.instances.fetch_sub(1, Ordering::Relaxed);
                        if failure.reason == Reason::Cancelled {
                            break;
                        }
                        self.observer.log(&format!("an instance ended: {}: {failure}", failure.reason));
                        retry.get_or_insert_with(|| Box::pin(std::future::ready(())));
                    }
                },
                () = async { if let Some(wait) = &mut retry { wait.await } }, if retry.is_some() => {
                    retry = None;
                    if self.instances.load(Ordering::Relaxed) < self.sizes.minimum {
                        match self.start().await {
                            Ok(instance) => {
                                backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
                                running.push(ended(instance));
                                retry = Some(Box::pin(std::future::ready(())));
                            }
                            Err(failure) => {
                                self.observer.log(&format!("no instance can be started: {}: {failure}", failure.reason));
                                self.refuse(&failure);
                                retry = Some(Box::pin(tokio::time::sleep(backoff.next())));
                            }
                        }
                    }
                },
                () = self.queue.hungry.notified() => {
                    let more = self.instances.load(Ordering::Relaxed) < self.sizes.maximum;
                    if more && retry.is_none() && self.queue.is_hungry() {
                        match self.start().await {
                            Ok(instance) => running.push(ended(instance)),
                            Err(failure) => {
                                self.observer.log(&format!("no further instance: {}: {failure}", failure.reason));
                            }
                        }
                    }
                },
            }
        }
        self.queue.close();
        self.instances.store(0, Ordering::Relaxed);
        self.queue.fail(&lost());
    }

    /// While no instance can be had, nobody waits for one.
    fn refuse(&self, failure: &Failure) {
        if self.instances.load(Ordering::Relaxed) == 0 {
            let text = format!("the plugin does not start: {}: {failure}", failure.reason);
            let error = ServeError::new(ServeErrorKind::Unavailable, text);
            *self.down.lock() = Some(error.clone());
            self.queue.fail(&error);
        }
    }
}

fn ended(instance: Instance) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(instance.ended())
}

fn lost() -> ServeError {
    ServeError::new(ServeErrorKind::Unavailable, "the service ended before the request was answered")
}

/// A failed call as its client hears of it.
pub(super) fn failed(failure: Failure) -> ServeError {
    let kind = match failure.reason {
        Reason::DeadlineExceeded => ServeErrorKind::DeadlineExceeded,
        Reason::Cancelled => ServeErrorKind::Unavailable,
        _ => ServeErrorKind::Internal,
    };
    ServeError::new(kind, format!("{}: {}", failure.reason, failure.message))
}

/// One call for each that waits.
pub(super) fn single<I, O: Send + 'static>(_: &Queue<I, O>, waiting: Waiting<I, O>) -> Option<Call<I, O>> {
    let Waiting { input, reply, .. } = waiting;
    // A client that has left hears nothing.
    Some(Call { input, reply: Box::new(move |outcome| drop(reply.send(outcome.map_err(failed)))) })
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::runtime::Metric;

    struct Silent;

    impl Observer for Silent {
        fn log(&self, _: &str) {}
        fn progress(&self, _: u64, _: u64, _: &[Metric]) {}
        fn should_stop(&self) -> bool {
            false
        }
    }

    /// Instances that double a number, and end at zero. `gate`: none starts while it is locked.
    fn doubling(gate: Arc<Mutex<bool>>) -> Start<u32, u32> {
        Box::new(move |mut next: Next<u32, u32>| {
            let open = *gate.lock();
            async move {
                if !open {
                    return Err(Failure::new(Reason::PluginError, "not today"));
                }
                Ok(Instance::closure(move || {
                    while let Some(Call { input, reply }) = next() {
                        if input == 0 {
                            let failure = Failure::new(Reason::Trapped, "zero");
                            reply(Err(failure.clone()));
                            return Err(failure);
                        }
                        reply(Ok(input * 2));
                    }
                    Ok(())
                }))
            }
            .boxed()
        })
    }

    async fn pool(sizes: Sizes) -> (Pool<u32, u32>, Arc<Mutex<bool>>) {
        let gate = Arc::new(Mutex::new(true));
        let start = doubling(Arc::clone(&gate));
        let cancel = CancellationToken::new();
        let pool = Pool::open(sizes, start, Box::new(single), Arc::new(Silent), cancel).await.unwrap();
        (pool, gate)
    }

    async fn call(pool: &Pool<u32, u32>, input: u32) -> Result<u32, ServeError> {
        pool.call(input, None).await.unwrap_or_else(|_| Err(lost()))
    }

    #[tokio::test]
    async fn an_instance_that_fails_answers_with_its_failure_and_is_replaced() {
        let (pool, _) = pool(Sizes { minimum: 1, maximum: 1, queue: 8 }).await;
        for round in 1..10 {
            assert_eq!(call(&pool, round).await.unwrap(), round * 2);
            let error = call(&pool, 0).await.unwrap_err();
            assert_eq!((error.kind, error.message.as_str()), (ServeErrorKind::Internal, "Trapped: zero"));
        }
    }

    #[tokio::test]
    async fn while_none_can_be_started_calls_are_refused_with_the_reason() {
        let (pool, gate) = pool(Sizes { minimum: 1, maximum: 1, queue: 8 }).await;
        *gate.lock() = false;
        call(&pool, 0).await.unwrap_err();
        let error = call(&pool, 1).await.unwrap_err();
        assert_eq!(error.kind, ServeErrorKind::Unavailable);
        assert!(error.message.contains("not today"), "{error}");
        *gate.lock() = true;
        while call(&pool, 1).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_pool_that_is_drained_answers_what_it_has_and_gives_back_what_comes() {
        let (pool, _) = pool(Sizes { minimum: 2, maximum: 4, queue: 64 }).await;
        let waiting = futures::future::join_all((1..40).map(|input| call(&pool, input)));
        let (answers, ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            pool.drain().await;
        });
        assert!(answers.iter().zip(1..).all(|(answer, input)| answer == &Ok(input * 2)), "{answers:?}");
        assert!(matches!(pool.call(7, None).await, Err(Closed(7))));
        assert_eq!(pool.instances(), 0);
    }

    #[tokio::test]
    async fn a_queue_that_is_full_refuses() {
        let gate: Arc<Mutex<()>> = Arc::default();
        let held = Arc::clone(&gate);
        let start: Start<u32, u32> = Box::new(move |mut next| {
            let held = Arc::clone(&held);
            async move {
                Ok(Instance::closure(move || {
                    while let Some(Call { input, reply }) = next() {
                        drop(held.lock());
                        reply(Ok(input));
                    }
                    Ok(())
                }))
            }
            .boxed()
        });
        let (sizes, cancel) = (Sizes { minimum: 1, maximum: 1, queue: 2 }, CancellationToken::new());
        let pool = Pool::open(sizes, start, Box::new(single), Arc::new(Silent), cancel).await.unwrap();
        let shut = gate.lock();
        // One may be with the instance and two wait, or one is yet to be taken and two wait.
        let mut answers: Vec<_> = (0..16).map(|input| Box::pin(call(&pool, input))).collect();
        let refused = answers.iter_mut().filter_map(|answer| answer.now_or_never());
        assert!(refused.filter(is_overloaded).count() >= 12);
        drop(shut);
    }

    fn is_overloaded(answer: &Result<u32, ServeError>) -> bool {
        answer.as_ref().is_err_and(|error| error.kind == ServeErrorKind::Overloaded)
    }
}
