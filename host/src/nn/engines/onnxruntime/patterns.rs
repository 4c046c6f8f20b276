//! Patterns of memory: the engine remembers, for every combination of input shapes, where in one block all that a
//! compute needs on the way may lie, and asks the arena once. A step of a small perceptron takes 5 µs less with
//! them, of 88. But it remembers every combination that ever came in, and whoever sends batches of ever other
//! sizes would fill the node's memory: after [`SHAPES`] of them a graph goes on without.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::NAME;
use super::session::Session;
use crate::nn::engines::{guard, with_stack};
use crate::nn::{NnError, Tensor};

/// Combinations of shapes that a graph remembers, at most.
const SHAPES: usize = 64;

/// Files that are kept to load them again, at most: graphs that take more are graphs with weights inside,
/// whose computes are long beside what a pattern saves.
const KEPT: usize = 4 << 20;

/// A graph's session, with patterns for as long as its shapes are few.
pub struct Patterned {
    session: RwLock<Arc<Session>>,
    /// None: without patterns, for good.
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    shapes: HashSet<u64>,
    onnx: Bytes,
    load: Load,
}

/// Loads a graph with or without patterns.
type Load = Box<dyn Fn(&[u8], bool) -> Result<Session, NnError> + Send + Sync>;

impl Patterned {
    /// Load `onnx`.
    pub fn load(onnx: Bytes, load: Load) -> Result<Self, NnError> {
        let with = onnx.len() <= KEPT;
        let session = RwLock::new(Arc::new(load(&onnx, with)?));
        let seen = with.then(|| Seen { shapes: HashSet::new(), onnx, load });
        Ok(Self { session, seen: Mutex::new(seen) })
    }

    /// To compute `inputs` with.
    pub fn session(&self, inputs: &[Tensor]) -> Result<Arc<Session>, NnError> {
        let mut seen = self.seen.lock();
        if let Some(known) = &mut *seen {
            let mut hasher = DefaultHasher::new();
            inputs.iter().for_each(|input| input.shape().hash(&mut hasher));
            let shapes = hasher.finish();
            if known.shapes.len() < SHAPES {
                known.shapes.insert(shapes);
            } else if !known.shapes.contains(&shapes) {
                // Computes under way keep the old one to their end.
                let reload = || guard(NAME, "loading the graph again", || (known.load)(&known.onnx, false));
                *self.session.write() = Arc::new(with_stack(reload)???);
                *seen = None;
            }
        }
        drop(seen);
        Ok(self.session.read().clone())
    }

    /// Whether shapes are remembered still.
    #[cfg(test)]
    pub fn remembers(&self) -> bool {
        self.seen.lock().is_some()
    }
}
