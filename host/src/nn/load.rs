//! From a file to a graph of an engine: checked first, since engines take a file at its word.

use std::sync::Arc;

use bytes::Bytes;
use sedge_onnx::{Bound, Outline};

use super::error::NnError;
use super::freezer::Freezer;
use super::graph::{Engine, Graph};
use super::measured::{Measured, unknown};
use super::options::{GraphOptions, Optimization};

/// Memory that an engine may take when it loads a graph and computes what depends on no input: some, and in
/// proportion to the file.
const MAX_FOLDED: u64 = 256 << 20;
const MAX_FOLDED_PER_BYTE: u64 = 8;

/// A file that was checked.
#[derive(Clone)]
pub(super) struct Source {
    pub file: Bytes,
    outline: Arc<Outline>,
    /// Of loading.
    bound: Arc<Bound>,
    /// Whether an engine that folds constants would go round loops, which nobody could end.
    folds_loops: bool,
}

impl Source {
    /// Refuses what no engine is to see: what [`Outline::of`] refuses, and graphs that would take far more memory
    /// than they are large as soon as an engine folds their constants, and loops that never end.
    pub fn check(file: Bytes) -> Result<Self, NnError> {
        let outline = Outline::of(&file)?;
        let (bound, loops) = outline.load_bound();
        if let Some(node) = loops.endless {
            return Err(NnError::unsupported(format!(
                "the loop {node} never ends: its condition is always true, and it has no number of rounds that could \
                 be waited for"
            )));
        }
        let limit = MAX_FOLDED.saturating_add((file.len() as u64).saturating_mul(MAX_FOLDED_PER_BYTE));
        if let Bound::Bytes { bytes, largest } = &bound
            && *bytes > limit
        {
            return Err(NnError::too_large(format!(
                "loading the graph would take {bytes} bytes for what depends on no input, and a file of {} bytes may \
                 take {limit}: {largest}",
                file.len()
            )));
        }
        Ok(Self { file, outline: Arc::new(outline), bound: Arc::new(bound), folds_loops: loops.constant })
    }
}

/// The graph of `engine`, which knows the memory that it takes.
pub(super) fn with(
    engine: &Arc<dyn Engine>,
    source: Source,
    options: &GraphOptions,
    threads: usize,
    freezer: Option<Freezer>,
) -> Result<Arc<dyn Graph>, NnError> {
    let bounded = engine.bounds_its_memory();
    if let Bound::Unknown { why } = &*source.bound
        && !bounded
    {
        return Err(unknown(why));
    }
    let mut loaded_with = options.clone();
    if source.folds_loops {
        loaded_with.optimization = Some(Optimization::None);
    }
    let graph = engine.load(source.file, &loaded_with)?;
    let threads = options.threads.map_or(threads, |threads| usize::from(threads.get()));
    Ok(Arc::new(Measured::new(graph, source.outline, threads, bounded, freezer)))
}
