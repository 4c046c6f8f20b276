//! The latest changes, in order: what a watch reads from where it stands.
//!
//! One ring for all watches, bounded by count and bytes. A watch keeps its own place in it; one that is
//! too slow finds its place compacted, as does one that comes with a version from before.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was made.
    Added,
    /// It is different.
    Modified,
    /// It is gone.
    Deleted,
}

/// One committed change.
#[derive(Debug)]
pub struct Change {
    /// The version that it led to.
    pub version: u64,
    /// Of which resource.
    pub resource: Arc<str>,
    /// In which namespace; empty for none.
    pub namespace: String,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after it, or its last state with the version of its end.
    pub object: Value,
    /// `object` as JSON.
    pub text: String,
    /// The object before it.
    pub previous: Option<Value>,
}

impl Change {
    /// About the bytes it takes: text, and the trees of two objects.
    fn size(&self) -> usize {
        256 + 6 * self.text.len()
    }
}

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimits {
    /// Most changes.
    pub changes: usize,
    /// Most bytes, roughly.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { changes: 4096, bytes: 32 << 20 }
    }
}

/// What follows a version is no longer all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest version from which a watch can start.
    pub oldest: u64,
}

struct Ring {
    /// Every change after this version is held.
    oldest: u64,
    changes: VecDeque<Arc<Change>>,
    bytes: usize,
}

/// The latest changes.
pub struct History {
    ring: Mutex<Ring>,
    limits: HistoryLimits,
    /// The highest version that any reader can have seen.
    announced: AtomicU64,
    latest: watch::Sender<u64>,
}

impl History {
    /// Without changes, standing at `version`.
    pub fn new(version: u64, limits: HistoryLimits) -> Self {
        let ring = Ring { oldest: version, changes: VecDeque::new(), bytes: 0 };
        let announced = AtomicU64::new(version);
        Self { ring: Mutex::new(ring), limits, announced, latest: watch::Sender::new(version) }
    }

    /// Versions up to this one are about to be committed.
    pub fn announce(&self, version: u64) {
        self.announced.fetch_max(version, Ordering::SeqCst);
    }

    /// Add committed changes, the oldest first.
    pub fn publish(&self, changes: Vec<Change>) {
        let Some(version) = changes.last().map(|change| change.version) else { return };
        let mut ring = self.ring.lock();
        for change in changes {
            ring.bytes += change.size();
            ring.changes.push_back(Arc::new(change));
        }
        while ring.changes.len() > self.limits.changes || ring.bytes > self.limits.bytes {
            let Some(gone) = ring.changes.pop_front() else { break };
            ring.bytes -= gone.size();
            ring.oldest = gone.version;
        }
        drop(ring);
        self.latest.send_replace(version);
    }

    /// Told whenever there are new changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// At most `most` changes after `version`, the oldest first.
    pub fn after(&self, version: u64, most: usize) -> Result<Vec<Arc<Change>>, Compacted> {
        let ring = self.ring.lock();
        if version < ring.oldest || version > self.announced.load(Ordering::SeqCst) {
            return Err(Compacted { oldest: ring.oldest });
        }
        let from = ring.changes.partition_point(|change| change.version <= version);
        Ok(ring.changes.range(from..).take(most).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(version: u64) -> Change {
        Change {
            version,
            resource: "secrets".into(),
            namespace: String::new(),
            kind: ChangeKind::Added,
            object: Value::Null,
            text: "x".repeat(100),
            previous: None,
        }
    }

    fn versions(changes: Vec<Arc<Change>>) -> Vec<u64> {
        changes.iter().map(|change| change.version).collect()
    }

    #[test]
    fn a_place_in_the_ring_is_kept_until_it_is_compacted() {
        let history = History::new(10, HistoryLimits { changes: 3, bytes: usize::MAX });
        history.announce(15);
        history.publish((11..=13).map(change).collect());
        assert_eq!(versions(history.after(10, 9).unwrap()), [11, 12, 13]);
        assert_eq!(versions(history.after(11, 1).unwrap()), [12]);
        history.publish(vec![change(14)]);
        assert_eq!(history.after(10, 9).unwrap_err(), Compacted { oldest: 11 });
        assert_eq!(versions(history.after(11, 9).unwrap()), [12, 13, 14]);
        assert!(history.after(15, 9).unwrap().is_empty(), "announced, though not yet published");
        assert!(history.after(16, 9).is_err(), "from another life");
    }

    #[test]
    fn bytes_bound_it_too() {
        let history = History::new(0, HistoryLimits { changes: 1000, bytes: 5000 });
        history.announce(100);
        history.publish((1..=100).map(change).collect());
        assert!(history.after(90, 100).is_err());
        assert_eq!(versions(history.after(97, 100).unwrap()), [98, 99, 100]);
    }
}
