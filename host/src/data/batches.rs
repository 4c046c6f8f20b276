//! A split, read once, in batches: where reading takes time, from a queue that a thread of its own fills.

use std::time::Duration;

use sedge_data::{NotYet, Prefetch};

use super::tensors;
use crate::nn::{Tensor, check_interrupt, copies};

/// Batches that are read ahead.
const AHEAD: usize = 2;
/// Bytes of a split from which on its batches are read ahead: gathering fewer takes less than a thread does.
const WORTH_A_THREAD: u64 = 4 << 20;

/// How often who waits for a batch looks whether it is still to.
const LOOK: Duration = Duration::from_millis(50);

/// Reads a split once.
#[derive(Debug)]
pub struct Batches {
    inner: Inner,
    /// Bytes of a full batch, and samples that are still to come.
    batch_bytes: u64,
    left: usize,
    size: usize,
}

#[derive(Debug)]
enum Inner {
    Direct(sedge_data::Batches),
    Ahead(Prefetch),
}

impl Batches {
    pub(super) fn direct(batches: sedge_data::Batches) -> Self {
        let (batch_bytes, left) = (batches.next_byte_len(), batches.left());
        let size = batches.size().min(left.max(1));
        Self { inner: Inner::Direct(batches), batch_bytes, left, size }
    }

    /// Bytes that reading ahead holds; None where it is not worth it.
    pub fn ahead_byte_len(&self) -> Option<u64> {
        let Inner::Direct(batches) = &self.inner else { return None };
        let all = (self.batch_bytes / self.size as u64).saturating_mul(self.left as u64);
        let worth_it = self.left > self.size && (all >= WORTH_A_THREAD || batches.decodes());
        worth_it.then(|| self.batch_bytes.saturating_mul(AHEAD as u64 + 1))
    }

    /// Read ahead from now on, off the thread that asks.
    #[must_use]
    pub fn read_ahead(mut self) -> Self {
        self.inner = match self.inner {
            Inner::Direct(batches) => Inner::Ahead(batches.prefetch(AHEAD)),
            ahead @ Inner::Ahead(_) => ahead,
        };
        self
    }

    /// Bytes that the next batch will take; none at the end.
    pub fn next_byte_len(&self) -> u64 {
        self.batch_bytes / self.size as u64 * self.left.min(self.size) as u64
    }

    /// The next batch: one tensor per column, the first dimension is the samples; None at the end. Err: a sentence.
    pub fn try_next(&mut self) -> Result<Option<Vec<(String, Tensor)>>, String> {
        let next = match &mut self.inner {
            Inner::Direct(batches) => batches.next(),
            Inner::Ahead(queue) => loop {
                match queue.next_within(LOOK) {
                    Ok(next) => break next,
                    // A store may take long; the call that waits for it may be over.
                    Err(NotYet) => check_interrupt().map_err(|error| error.message)?,
                }
            },
        };
        let Some(batch) = next.transpose().map_err(|error| error.to_string())? else { return Ok(None) };
        self.left -= self.left.min(self.size);
        let batch = tensors::batch(batch).map_err(|error| error.message)?;
        copies::count(batch.iter().map(|(_, tensor)| tensor.byte_len()).sum());
        Ok(Some(batch))
    }
}

/// # Panics
/// Where a batch cannot be read; [`Batches::try_next`] gives an error instead.
impl Iterator for Batches {
    type Item = Vec<(String, Tensor)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.try_next().unwrap_or_else(|error| panic!("{error}"))
    }
}
