//! Threads that serve connections. Each has an executor of its own and is one that tensor engines are quick from
//! ([`Graphs::attend`]), so that a quick call is answered on the thread that read its request.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::nn::Graphs;

thread_local! {
    static FOR_SERVING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is such a thread.
pub(super) fn is_for_serving() -> bool {
    FOR_SERVING.get()
}

/// The threads. They end when this is dropped, and what runs on them with them.
pub struct Threads {
    threads: Vec<Thread>,
    end: CancellationToken,
}

struct Thread {
    executor: Handle,
    /// Connections that it serves.
    connections: Arc<AtomicUsize>,
    ended: oneshot::Receiver<()>,
}

impl Threads {
    /// Start so many, at least one, which compute with `graphs`.
    ///
    /// # Errors
    /// When the system gives no thread or no executor.
    pub fn start(count: usize, graphs: &Arc<Graphs>) -> io::Result<Self> {
        let mut this = Self { threads: Vec::new(), end: CancellationToken::new() };
        for _ in 0..count.max(1) {
            this.threads.push(Thread::start(graphs, this.end.clone())?);
        }
        Ok(this)
    }

    /// Serve a connection on the thread that has fewest, until it ends; `connections` owns it.
    pub fn serve(
        &self,
        connections: &mut JoinSet<()>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let Some(thread) = self.threads.iter().min_by_key(|thread| thread.connections.load(Relaxed)) else {
            return;
        };
        let counted = Counted::new(&thread.connections);
        let connection = async move {
            connection.await;
            drop(counted);
        };
        connections.spawn_on(connection, &thread.executor);
    }

    /// End them, and wait until they have.
    pub async fn end(mut self) {
        self.end.cancel();
        for thread in self.threads.drain(..) {
            // One that broke off has ended too.
            let _ = thread.ended.await;
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Thread {
    fn start(graphs: &Arc<Graphs>, end: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let executor = runtime.handle().clone();
        let (ending, ended) = oneshot::channel();
        let graphs = Arc::clone(graphs);
        let serve = move || {
            FOR_SERVING.set(true);
            runtime.block_on(end.cancelled());
            drop(runtime);
            // The thread may be an engine's, and go on.
            FOR_SERVING.set(false);
            drop(ending);
        };
        std::thread::Builder::new().name("serving".to_owned()).spawn(move || graphs.attend(serve))?;
        Ok(Self { executor, connections: Arc::default(), ended })
    }
}

/// A connection that is counted for as long as this lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_are_spread_and_run_on_such_threads() {
        let threads = Threads::start(2, &Arc::new(Graphs::new(1))).unwrap();
        let (mut connections, (here, mut seen)) = (JoinSet::new(), tokio::sync::mpsc::channel(2));
        let meet = Arc::new(tokio::sync::Barrier::new(2));
        for _ in 0..2 {
            let (here, meet) = (here.clone(), Arc::clone(&meet));
            threads.serve(&mut connections, async move {
                here.send((std::thread::current().id(), is_for_serving())).await.unwrap();
                meet.wait().await;
            });
        }
        let (first, second) = (seen.recv().await.unwrap(), seen.recv().await.unwrap());
        assert!(first.0 != second.0 && first.1 && second.1);
        connections.join_all().await;
        threads.end().await;
        assert!(!is_for_serving());
    }
}
