//! The instances of one plugin that answer calls: between a minimum and a maximum of them, as load asks.
//!
//! ```text
//!  call() ─┬─ quick, here ─▶ borrow an idle instance, compute on this thread
//!          └─▶ Queue ◀─ pop ─ as many threads as instances
//!                │ upkeep
//!                └────▶ keeper: starts another where calls wait, replaces one that failed
//! ```
//! A call that is handed to another thread waits twice for that thread to wake, some forty microseconds on a small
//! machine, so one that computes for about as long is answered where it came in, if that is a [thread for
//! serving](super::threads). An instance that nobody needed for a while ends where there are more than the minimum. One
//! that fails has answered its call with an error, and another takes its place; while none can be started calls are
//! refused with the reason.

mod pace;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::pace::Pace;
use super::endpoint::{ServeError, ServeErrorKind};
use super::queue::{Queue, Refused, Waiting, late_error};
use super::threads;
use crate::link::backoff::Backoff;
use crate::nn::Graphs;
use crate::runtime::{Failure, Instance, Observer, Reason};

/// How long instances above the minimum are kept that nobody needs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Waits between tries to start an instance that is wanted and could not be.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Starts an instance.
pub(super) type Start<I, O> =
    Box<dyn Fn() -> BoxFuture<'static, Result<Instance<I, O>, Failure>> + Send + Sync>;

/// Makes one call of those that wait: the first, and others that it is joined with. None: they have been answered already.
pub(super) type Gather<I, O> = Box<dyn Fn(&Queue<I, O>, Waiting<I, O>) -> Option<Call<I, O>> + Send + Sync>;

/// How calls become calls of the plugin.
pub(super) struct Calls<I, O> {
    pub gather: Gather<I, O>,
    /// Whether a call may be answered by itself where it came in.
    pub alone: fn(&I) -> bool,
}

/// One call of the plugin.
pub(super) struct Call<I, O> {
    pub input: I,
    /// Takes what comes out.
    pub reply: Box<dyn FnOnce(Result<O, Failure>) + Send>,
}

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
    pace: Pace,
    /// Why there are no instances.
    down: Mutex<Option<ServeError>>,
    start: Start<I, O>,
    calls: Calls<I, O>,
    graphs: Arc<Graphs>,
    observer: Arc<dyn Observer>,
}

impl<I: Send + 'static, O: Send + 'static> Pool<I, O> {
    /// Start the minimum of instances and wait until they are prepared. `cancel` ends them all; they compute with
    /// `graphs`.
    pub async fn open(
        sizes: Sizes,
        start: Start<I, O>,
        calls: Calls<I, O>,
        graphs: Arc<Graphs>,
        observer: Arc<dyn Observer>,
        cancel: CancellationToken,
    ) -> Result<Self, Failure> {
        let shared = Arc::new(Shared {
            queue: Queue::new(sizes.queue, sizes.minimum),
            sizes,
            pace: Pace::default(),
            down: Mutex::default(),
            start,
            calls,
            graphs,
            observer,
        });
        for _ in 0..sizes.minimum {
            if let Err(failure) = shared.start().await {
                shared.queue.close();
                return Err(failure);
            }
        }
        let keeper = tokio::spawn(Arc::clone(&shared).keep(cancel.clone()));
        Ok(Self { shared, keeper: Mutex::new(Some(keeper)), cancel })
    }

    /// Have a call answered. The input comes back where the pool has been closed.
    pub async fn call(
        &self,
        input: I,
        deadline: Option<Instant>,
    ) -> Result<Result<O, ServeError>, Closed<I>> {
        let shared = &self.shared;
        if threads::is_for_serving()
            && shared.pace.is_quick()
            && (shared.calls.alone)(&input)
            && let Some(instance) = shared.queue.borrow()
        {
            return Ok(self.compute_here(instance, input, deadline).await);
        }
        if self.instances() == 0
            && let Some(error) = shared.down.lock().clone()
        {
            return Ok(Err(error));
        }
        let answer = match shared.queue.push(input, deadline) {
            Ok(answer) => answer,
            Err(Refused::Closed(input)) => return Err(Closed(input)),
            Err(Refused::Full) => {
                let text = format!(
                    "{} requests wait already: ask later, or give the service more instances or a longer queue",
                    shared.sizes.queue
                );
                return Ok(Err(ServeError::new(ServeErrorKind::Overloaded, text)));
            }
        };
        Ok(within(deadline, answer).await)
    }

    async fn compute_here(
        &self,
        instance: Instance<I, O>,
        input: I,
        deadline: Option<Instant>,
    ) -> Result<O, ServeError> {
        let mut call = Box::pin(Arc::clone(&self.shared).compute(instance, input));
        if let Poll::Ready(outcome) = futures::poll!(call.as_mut()) {
            return outcome.map_err(failed);
        }
        // It takes longer after all, or waits: whoever asked may leave, and that is no reason to lose an instance. It ends
        // within the time of a call, or with the pool.
        let (reply, answer) = oneshot::channel();
        tokio::spawn(async move { drop(reply.send(call.await.map_err(failed))) });
        within(deadline, answer).await
    }

    /// Instances that are prepared.
    pub fn instances(&self) -> u32 {
        self.shared.queue.instances()
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

/// What comes of a call whose answer nobody waits for after `deadline`.
async fn within<O>(
    deadline: Option<Instant>,
    answer: oneshot::Receiver<Result<O, ServeError>>,
) -> Result<O, ServeError> {
    let answered = match deadline {
        None => answer.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(answered) => answered,
            Err(_) => return Err(late_error()),
        },
    };
    answered.unwrap_or_else(|_| Err(lost()))
}

impl<I: Send + 'static, O: Send + 'static> Shared<I, O> {
    async fn start(self: &Arc<Self>) -> Result<(), Failure> {
        let instance = (self.start)().await?;
        *self.down.lock() = None;
        if !self.queue.add(instance) {
            return Ok(());
        }
        let (this, executor) = (Arc::clone(self), Handle::current());
        let thread = std::thread::Builder::new().name("instance".to_owned()).spawn(move || {
            let graphs = Arc::clone(&this.graphs);
            graphs.attend(|| this.answer(&executor));
        });
        match thread {
            // It ends with the queue.
            Ok(_) => Ok(()),
            Err(error) => {
                self.queue.withdraw();
                Err(Failure::new(Reason::HostError, format!("no thread for an instance: {error}")))
            }
        }
    }

    /// A thread's work.
    fn answer(self: Arc<Self>, executor: &Handle) {
        while let Some((first, instance)) = self.queue.pop(PATIENCE) {
            match (self.calls.gather)(&self.queue, first) {
                Some(Call { input, reply }) => {
                    reply(executor.block_on(Arc::clone(&self).compute(instance, input)));
                }
                None => self.queue.give_back(instance),
            }
        }
    }

    /// One call of an instance, which is given back, or counted out where it is used up.
    async fn compute(self: Arc<Self>, mut instance: Instance<I, O>, input: I) -> Result<O, Failure> {
        // Also where the call is dropped or panics.
        let out = Out(&self.queue);
        let begun = Instant::now();
        let outcome = instance.call(input).await;
        self.pace.took(begun.elapsed());
        match &outcome {
            Err(failure) if !failure.is_of_plugin() => {
                if failure.reason != Reason::Cancelled {
                    self.observer.log(&format!("an instance ended: {}: {failure}", failure.reason));
                }
                drop(instance);
            }
            Ok(_) | Err(_) => out.back(instance),
        }
        outcome
    }

    /// Keep as many instances as load asks for, until the queue is closed and all have ended.
    async fn keep(self: Arc<Self>, cancel: CancellationToken) {
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        let mut retry: Option<BoxFuture<'static, ()>> = None;
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                () = async { if let Some(wait) = &mut retry { wait.await } }, if retry.is_some() => retry = None,
                () = self.queue.upkeep.notified() => {}
            }
            if self.queue.has_ended() {
                break;
            }
            // While one cannot be started, no other is tried.
            while retry.is_none() && self.wants_more() {
                match self.start().await {
                    Ok(()) => backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY),
                    Err(failure) => {
                        self.observer
                            .log(&format!("no instance can be started: {}: {failure}", failure.reason));
                        self.refuse(&failure);
                        retry = Some(Box::pin(tokio::time::sleep(backoff.next())));
                    }
                }
            }
        }
        self.queue.close();
        self.queue.fail(&lost());
    }

    fn wants_more(&self) -> bool {
        let instances = self.queue.instances();
        let wanted =
            instances < self.sizes.minimum || (instances < self.sizes.maximum && self.queue.is_hungry());
        wanted && !self.queue.is_closed()
    }

    /// While no instance can be had, nobody waits for one.
    fn refuse(&self, failure: &Failure) {
        if self.queue.instances() == 0 {
            let text = format!("the plugin does not start: {}: {failure}", failure.reason);
            let error = ServeError::new(ServeErrorKind::Unavailable, text);
            *self.down.lock() = Some(error.clone());
            self.queue.fail(&error);
        }
    }
}

/// An instance that is out of the queue, and lost to it where this is dropped.
struct Out<'a, I, O>(&'a Queue<I, O>);

impl<I, O> Out<'_, I, O> {
    fn back(self, instance: Instance<I, O>) {
        self.0.give_back(instance);
        std::mem::forget(self);
    }
}

impl<I, O> Drop for Out<'_, I, O> {
    fn drop(&mut self) {
        self.0.lose();
    }
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
