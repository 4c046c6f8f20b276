//! Threads that calls of workers compute on: ones that tensor engines are quick from
//! ([`Graphs::attend`](crate::nn::Graphs::attend)), kept for a while for later calls.
//!
//! A call is handed over once, to a thread that is such a one already. To make one of it for each call would hand the
//! call over twice more.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::failure::Failure;
use crate::nn::Graphs;

/// How long a thread waits for another call before it ends.
const KEPT: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

/// The threads; clone shares them. As many as there are calls at once, and those that wait for one.
#[derive(Clone)]
pub(super) struct Threads(Arc<Shared>);

struct Shared {
    graphs: Arc<Graphs>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The last to become idle is the first to be given work.
    threads: Vec<(u64, Sender<Work>)>,
    /// Of the next thread.
    number: u64,
}

impl Threads {
    pub fn new(graphs: Arc<Graphs>) -> Self {
        Self(Arc::new(Shared { graphs, idle: Mutex::default() }))
    }

    /// Do `work` on a thread of its own. It goes on where the caller gives up.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (done, outcome) = oneshot::channel();
        // Nobody may be waiting for it.
        self.hand_over(Box::new(move || drop(done.send(work()))))?;
        outcome.await.map_err(|_| Failure::host("the worker's thread broke off"))
    }

    fn hand_over(&self, mut work: Work) -> Result<(), Failure> {
        let idle = || self.0.idle.lock().threads.pop();
        while let Some((_, thread)) = idle() {
            match thread.send(work) {
                Ok(()) => return Ok(()),
                // It broke off.
                Err(SendError(back)) => work = back,
            }
        }
        let number = {
            let mut idle = self.0.idle.lock();
            idle.number += 1;
            idle.number
        };
        let (graphs, shared) = (Arc::clone(&self.0.graphs), Arc::downgrade(&self.0));
        std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || graphs.attend(|| live(number, &shared, work)))
            // It ends when it has been idle for long, or with the runtime.
            .map(drop)
            .map_err(|error| Failure::host(format!("no thread for a worker's call: {error}")))
    }
}

/// One thread's life: `first`, then what else comes.
fn live(number: u64, shared: &Weak<Shared>, first: Work) {
    let (sender, receiver) = channel();
    first();
    while let Some(work) = rest(number, shared, &sender, &receiver) {
        work();
    }
}

/// Wait for work as an idle thread. None: none came for long, or the runtime has ended.
fn rest(
    number: u64,
    shared: &Weak<Shared>,
    sender: &Sender<Work>,
    receiver: &Receiver<Work>,
) -> Option<Work> {
    shared.upgrade()?.idle.lock().threads.push((number, sender.clone()));
    match receiver.recv_timeout(KEPT) {
        Ok(work) => Some(work),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            {
                let shared = shared.upgrade()?;
                let mut idle = shared.idle.lock();
                if let Some(at) = idle.threads.iter().position(|(idle, _)| *idle == number) {
                    idle.threads.remove(at);
                    return None;
                }
            }
            // Just taken from there: work is on its way.
            receiver.recv().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_after_work_is_done_on_one_thread_and_work_at_once_on_two() {
        let threads = Threads::new(Arc::new(Graphs::new(1)));
        let here = || std::thread::current().id();
        let first = threads.run(here).await.unwrap();
        // It becomes idle after it has answered.
        while threads.0.idle.lock().threads.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(threads.run(here).await.unwrap(), first);
        let (meet, met) = std::sync::mpsc::channel();
        let (left, right) = tokio::join!(
            threads.run(move || (here(), met.recv().unwrap())),
            threads.run(move || (here(), meet.send(()).unwrap()))
        );
        assert_ne!(left.unwrap().0, right.unwrap().0);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error_and_the_next_is_done() {
        let threads = Threads::new(Arc::new(Graphs::new(1)));
        let failure = threads.run(|| assert_eq!(1, 2, "on purpose")).await.unwrap_err();
        assert!(failure.message.contains("broke off"), "{failure}");
        assert_eq!(threads.run(|| 7).await.unwrap(), 7);
    }
}
