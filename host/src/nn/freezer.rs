//! Graphs with weights frozen into them: loaded once per graph, weights and options, kept within bounds.
//!
//! Freezing costs what loading the graph costs (see `docs/decisions/0012`), so it is for weights that stay while
//! many requests come: an inferencer's. The engine then packs and folds what no longer changes.
//!
//! A graph keeps its file, to be frozen into again. That holds no memory to speak of: the artifact store gives large
//! files mapped from its disk, whose pages are the system's to drop and to read again, and small ones are small. While
//! weights are frozen the new file, the old one's content and the weights, is in memory beside them; it goes when the
//! engine has loaded it.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_api::Digest;
use sedge_onnx::Weight;

use super::error::NnError;
use super::graph::{Engine, Graph};
use super::load::{self, Source};
use super::measured::element;
use super::options::GraphOptions;
use super::tensor::Tensor;

/// What makes a frozen graph: its file, the engine and options, its weights.
#[derive(PartialEq, Eq, Clone)]
struct Key {
    graph: Digest,
    engine: &'static str,
    options: GraphOptions,
    weights: blake3::Hash,
}

/// The frozen graphs of a node.
pub(super) struct Frozen {
    /// Bytes of weights that are kept for later although no one uses them.
    limit: u64,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// Whatever someone uses.
    shared: Vec<(Key, Arc<Slot>)>,
    /// The latest last.
    kept: VecDeque<(Key, u64, Arc<dyn Graph>)>,
    bytes: u64,
}

/// Locked while it is loaded, so that whoever wants it meanwhile waits and shares it.
type Slot = Mutex<Option<Weak<dyn Graph>>>;

impl Frozen {
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, entries: Mutex::default() })
    }

    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut entries = self.entries.lock();
        entries.shared.retain(|(_, slot)| {
            Arc::strong_count(slot) > 1 || slot.lock().as_ref().is_some_and(|graph| graph.strong_count() > 0)
        });
        if let Some((_, slot)) = entries.shared.iter().find(|(other, _)| other == key) {
            return Arc::clone(slot);
        }
        let slot = Arc::<Slot>::default();
        entries.shared.push((key.clone(), Arc::clone(&slot)));
        slot
    }

    /// Keeps `graph` until later ones need its room; one that is larger than all of it is not kept.
    fn keep(&self, key: Key, bytes: u64, graph: Arc<dyn Graph>) {
        let mut dropped = Vec::new();
        let mut entries = self.entries.lock();
        if let Some(at) = entries.kept.iter().position(|(other, ..)| *other == key)
            && let Some(entry) = entries.kept.remove(at)
        {
            entries.bytes -= entry.1;
            dropped.push(entry);
        }
        if bytes <= self.limit {
            entries.bytes += bytes;
            entries.kept.push_back((key, bytes, graph));
        }
        while entries.bytes > self.limit
            && let Some(entry) = entries.kept.pop_front()
        {
            entries.bytes -= entry.1;
            dropped.push(entry);
        }
        // Engines take their time to drop a graph.
        drop(entries);
        drop(dropped);
    }
}

/// What an engine holds of a small graph, roughly, beside its file: bytes.
const SESSION: u64 = 1 << 20;

/// Freezes weights into one graph.
pub(super) struct Freezer {
    pub digest: Digest,
    /// Cheap to hold: see above.
    pub file: Bytes,
    pub engine: Arc<dyn Engine>,
    pub options: GraphOptions,
    pub threads: usize,
    pub frozen: Arc<Frozen>,
}

impl Freezer {
    pub fn freeze(&self, weights: &[(String, Tensor)]) -> Result<Arc<dyn Graph>, NnError> {
        let key = Key {
            graph: self.digest,
            engine: self.engine.name(),
            options: self.options.clone(),
            weights: hash(weights),
        };
        let weights_len: u64 = weights.iter().map(|(_, tensor)| tensor.byte_len() as u64).sum();
        let bytes = weights_len + self.file.len() as u64 + SESSION;
        let slot = self.frozen.slot(&key);
        let mut loaded = slot.lock();
        let graph = match loaded.as_ref().and_then(Weak::upgrade) {
            Some(graph) => graph,
            None => {
                let graph = self.load(weights)?;
                *loaded = Some(Arc::downgrade(&graph));
                graph
            }
        };
        drop(loaded);
        self.frozen.keep(key, bytes, Arc::clone(&graph));
        Ok(graph)
    }

    fn load(&self, weights: &[(String, Tensor)]) -> Result<Arc<dyn Graph>, NnError> {
        let weights: Vec<_> = weights
            .iter()
            .map(|(name, tensor)| Weight {
                name,
                element: element(tensor.dtype()),
                shape: tensor.shape(),
                bytes: tensor.bytes(),
            })
            .collect();
        let file = sedge_onnx::freeze(self.file.clone(), &weights)?;
        let source = Source::check(file)?;
        load::with(&self.engine, source, &self.options, self.threads, None)
    }
}

fn hash(weights: &[(String, Tensor)]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (name, tensor) in weights {
        // Each part with its length, so that no two lists of weights give the same bytes.
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        hasher.update(&[tensor.dtype() as u8]).update(&(tensor.shape().len() as u64).to_le_bytes());
        for size in tensor.shape() {
            hasher.update(&(*size as u64).to_le_bytes());
        }
        hasher.update(tensor.bytes());
    }
    hasher.finalize()
}
