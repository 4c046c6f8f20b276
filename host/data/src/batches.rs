//! Samples in batches, and a queue of batches that is filled off the reader's thread.
//!
//! ```text
//!  Samples ─ gather ─▶ Batches ─ a thread ─▶ queue of `depth` ─▶ Prefetch ─▶ consumer
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fast_image_resize::Resizer;
use tokio_util::sync::CancellationToken;

use crate::error::DataError;
use crate::formats::images::Images;
use crate::samples::{Batch, Samples};

/// Reads samples once, in batches, on the thread that asks. Nothing is read twice and nothing copied but what is gathered.
pub struct Batches {
    samples: Arc<Samples>,
    rows: Vec<u32>,
    next: usize,
    size: usize,
    images: Option<Arc<Images>>,
    resizer: Resizer,
}

impl Batches {
    pub(crate) fn new(samples: Arc<Samples>, rows: Vec<u32>, size: usize) -> Self {
        let images = samples.images();
        Self { samples, rows, next: 0, size: size.max(1), images, resizer: Resizer::new() }
    }

    /// Bytes that the next batch takes; 0 at the end.
    pub fn next_byte_len(&self) -> u64 {
        self.samples.sample_byte_len() as u64 * self.size.min(self.rows.len() - self.next) as u64
    }

    /// Samples of a batch.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether images are decoded for a batch.
    pub fn decodes(&self) -> bool {
        self.images.is_some()
    }

    /// Samples that are still to come.
    pub fn left(&self) -> usize {
        self.rows.len() - self.next
    }

    /// The next batch; None at the end.
    pub fn try_next(&mut self) -> Result<Option<Batch>, DataError> {
        let rows = &self.rows[self.next..];
        let rows = &rows[..rows.len().min(self.size)];
        if rows.is_empty() {
            return Ok(None);
        }
        let batch = self.samples.gather(rows, self.images.as_deref(), &mut self.resizer);
        self.next += rows.len();
        batch.map(Some)
    }

    /// From a thread of its own, up to `depth` (≥ 1) batches ahead: at most `depth` + 1 batches are in memory beside the
    /// consumer's.
    pub fn prefetch(self, depth: usize) -> Prefetch {
        let ahead_bytes = self.next_byte_len().saturating_mul(depth.max(1) as u64 + 1);
        let (sender, receiver) = sync_channel(depth.max(1));
        let mut batches = self;
        let mut cancel = None;
        if let Some(images) = &batches.images {
            let (images, token) = images.cancellable();
            batches.images = Some(Arc::new(images));
            cancel = Some(token);
        }
        let fill = move || {
            while let Some(next) = batches.try_next().transpose() {
                let failed = next.is_err();
                // Whoever read these is gone, or has an error now.
                if sender.send(next).is_err() || failed {
                    return;
                }
            }
        };
        match std::thread::Builder::new().name("sedge-data".to_owned()).spawn(fill) {
            Ok(thread) => {
                Prefetch { receiver: Some(receiver), thread: Some(thread), cancel, failed: None, ahead_bytes }
            }
            Err(error) => {
                let what = format!("no thread is to be had: {error}");
                let failed = DataError::Unreadable { file: "the dataset".to_owned(), what };
                Prefetch { receiver: Some(receiver), thread: None, cancel, failed: Some(failed), ahead_bytes }
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.try_next().transpose()
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batches({} of {} samples read, {} at a time)", self.next, self.rows.len(), self.size)
    }
}

/// Batches that are read ahead. Dropping it ends its thread, after the batch that it is at.
#[derive(Debug)]
pub struct Prefetch {
    /// None when it is dropped.
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
    /// Ends requests for images of a store.
    cancel: Option<CancellationToken>,
    failed: Option<DataError>,
    ahead_bytes: u64,
}

/// A batch is not there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotYet;

impl Prefetch {
    /// The next batch; None at the end. Blocks until it is there: not for async code.
    pub fn next_blocking(&mut self) -> Option<Result<Batch, DataError>> {
        let failed = self.failed.take().map(Err);
        failed.or_else(|| self.receiver.as_ref().and_then(|receiver| receiver.recv().ok()))
    }

    /// As above, for so long at most: who is told [`NotYet`] may look about, and ask again.
    pub fn next_within(&mut self, time: Duration) -> Result<Option<Result<Batch, DataError>>, NotYet> {
        if let Some(error) = self.failed.take() {
            return Ok(Some(Err(error)));
        }
        let Some(receiver) = &self.receiver else { return Ok(None) };
        match receiver.recv_timeout(time) {
            Ok(batch) => Ok(Some(batch)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(NotYet),
        }
    }

    /// Bytes that are read ahead at most.
    pub fn ahead_byte_len(&self) -> u64 {
        self.ahead_bytes
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
        // A batch that waits for its place is let go, and its sender sees the end.
        drop(self.receiver.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been reported where it happened.
            let _ = thread.join();
        }
    }
}
