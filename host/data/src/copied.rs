//! How many bytes are copied on the way from files to batches, in this process: out of files, from one place in memory to
//! another, and from arrays of a file's type into tensors. What a number that is parsed or a pixel that is computed writes
//! is no copy. The bench reads it, and whoever wants to show it.

use std::sync::atomic::{AtomicU64, Ordering};

static COPIED: AtomicU64 = AtomicU64::new(0);

/// Bytes so far.
pub fn copied() -> u64 {
    COPIED.load(Ordering::Relaxed)
}

/// So many more; called once for many of them.
pub(crate) fn count(bytes: usize) {
    COPIED.fetch_add(bytes as u64, Ordering::Relaxed);
}
