//! The graphs that a node has loaded: one per digest, however many workers compute with it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_api::Digest;

use super::builtin;
use super::engines;
use super::error::{ErrorCode, NnError};
use super::graph::{Engine, Graph};

/// Graphs of a node: each loaded once per digest, dropped with its last user.
pub struct Graphs {
    /// The preferred one first.
    engines: Vec<Box<dyn Engine>>,
    loaded: Mutex<HashMap<Digest, Arc<Slot>>>,
}

/// One graph. Locked while it is loaded, so that whoever wants it meanwhile waits and shares it.
type Slot = Mutex<Option<Weak<dyn Graph>>>;

impl Graphs {
    /// With the engines of this build; `threads` per compute (at least one).
    pub fn new(threads: usize) -> Self {
        Self::with_engines(engines::all(threads.max(1)))
    }

    fn with_engines(engines: Vec<Box<dyn Engine>>) -> Self {
        Self { engines, loaded: Mutex::default() }
    }

    /// Names of the engines, the preferred one first.
    pub fn engines(&self) -> Vec<String> {
        self.engines.iter().map(|engine| engine.name().to_owned()).collect()
    }

    /// Load or share. `read` is called only where it is not loaded yet. Blocking.
    pub fn load(
        &self,
        digest: &Digest,
        read: impl FnOnce() -> std::io::Result<Bytes>,
    ) -> Result<Arc<dyn Graph>, NnError> {
        let slot = self.slot(digest);
        let mut loaded = slot.lock();
        if let Some(graph) = loaded.as_ref().and_then(Weak::upgrade) {
            return Ok(graph);
        }
        let onnx = read().map_err(|error| {
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorCode::NotFound,
                _ => ErrorCode::RuntimeError,
            };
            NnError::new(code, format!("cannot read the graph {digest}: {error}"))
        })?;
        let graph = self.load_with_any(&onnx)?;
        *loaded = Some(Arc::downgrade(&graph));
        Ok(graph)
    }

    /// The host's own graphs (`sedge:lerp`, `sedge:non-finite`).
    pub fn builtin(&self, name: &str) -> Option<Arc<dyn Graph>> {
        builtin::graph(name)
    }

    /// The slot of `digest`; forgets those that no one uses any more.
    fn slot(&self, digest: &Digest) -> Arc<Slot> {
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, slot| {
            // Another holder of the slot is just loading it.
            Arc::strong_count(slot) > 1 || slot.lock().as_ref().is_some_and(|graph| graph.strong_count() > 0)
        });
        loaded.entry(*digest).or_default().clone()
    }

    /// The first engine that can; the preferred one's error where none can.
    fn load_with_any(&self, onnx: &Bytes) -> Result<Arc<dyn Graph>, NnError> {
        let mut refusal = None;
        for engine in &self.engines {
            match engine.load(onnx.clone()) {
                Ok(graph) => return Ok(graph),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| NnError::unsupported("this build has no tensor engine")))
    }
}

impl std::fmt::Debug for Graphs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graphs").field("engines", &self.engines()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counting(Arc<AtomicUsize>);

    impl Engine for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }
        fn load(&self, _: Bytes) -> Result<Arc<dyn Graph>, NnError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(builtin::graph("sedge:lerp").unwrap())
        }
    }

    fn counting() -> (Arc<AtomicUsize>, Graphs) {
        let loads = Arc::new(AtomicUsize::new(0));
        (loads.clone(), Graphs::with_engines(vec![Box::new(Counting(loads))]))
    }

    #[test]
    fn a_graph_is_loaded_once_while_it_is_used() {
        let (loads, graphs) = counting();
        let digest = Digest::of(b"graph");
        let first = graphs.load(&digest, || Ok(Bytes::new())).unwrap();
        let second = graphs.load(&digest, || unreachable!("it is loaded")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));

        drop((first, second));
        let _again = graphs.load(&digest, || Ok(Bytes::new())).unwrap();
        assert_eq!(loads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn workers_that_start_together_load_a_graph_once() {
        let (loads, graphs) = counting();
        let (digest, together) = (Digest::of(b"graph"), Barrier::new(8));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        let graph = graphs.load(&digest, || Ok(Bytes::new())).unwrap();
                        together.wait();
                        graph
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| drop(worker.join().unwrap()));
        });
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_read_is_tried_again_by_the_next() {
        let (_, graphs) = counting();
        let digest = Digest::of(b"graph");
        let missing = || Err(std::io::ErrorKind::NotFound.into());
        assert_eq!(graphs.load(&digest, missing).err().unwrap().code, ErrorCode::NotFound);
        assert!(graphs.load(&digest, || Ok(Bytes::new())).is_ok());
    }
}
