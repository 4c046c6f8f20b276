//! Bytes of tensors that were copied in this process, wherever the host does it: into a tensor's memory, out of it,
//! or from one element type to another. Moving a handle copies nothing, and nothing is counted for it.
//!
//! What copies says so here; benches and a node's metrics read the sum. An engine's own arithmetic is not counted.

use std::sync::atomic::{AtomicU64, Ordering};

static COPIED: AtomicU64 = AtomicU64::new(0);

/// Bytes that were copied since the process began.
pub fn copied() -> u64 {
    COPIED.load(Ordering::Relaxed)
}

/// `bytes` were copied. One relaxed addition: nanoseconds, beside a copy.
pub(crate) fn count(bytes: usize) {
    COPIED.fetch_add(bytes as u64, Ordering::Relaxed);
}
