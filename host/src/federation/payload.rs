//! Weights on the wire: a length announced, chunks, a checksum that ends them. The checksum (CRC-64/NVME) is
//! there against damage and truncation; that the peer is who it should be is not its business.
//!
//! Going out, a [`Payload`] is made once and shared by all that it is sent to. Coming in, an [`Incoming`]
//! is bounded before a byte is allocated, and each chunk is copied once, to where it stays.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use sedge_api::federation::CHUNK;
use thiserror::Error;

use crate::model::Weights;
use crate::nn::{Buffer, Spares, copies};

/// What a safetensors header may differ in: order and spacing of its JSON.
pub(super) const SLACK: u64 = 64 << 10;

/// The size that we cut chunks to: large enough that headers cost nothing, small enough that a chunk is still
/// in the processor's cache on each of the copies between two sockets.
const PIECE: usize = CHUNK / 4;

/// Weights as they go out; cloning shares them.
#[derive(Clone)]
pub(super) struct Payload {
    chunks: Vec<Bytes>,
    len: u64,
    checksum: u64,
}

impl Payload {
    /// Write `weights` as safetensors and sum them up, off the async executor.
    pub(super) async fn of(weights: Weights) -> Option<Self> {
        tokio::task::spawn_blocking(move || Self::new(weights.to_safetensors())).await.ok()
    }

    /// Blocking for as long as it takes to sum up `parts`.
    pub(super) fn new(parts: Vec<Bytes>) -> Self {
        let mut checksum = checksum();
        let mut len = 0;
        let mut chunks = Vec::new();
        for mut part in parts {
            checksum.update(&part);
            len += part.len() as u64;
            while !part.is_empty() {
                chunks.push(part.split_to(part.len().min(PIECE)));
            }
        }
        Self { chunks, len, checksum: checksum.finalize() }
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.chunks.iter().cloned()
    }

    pub(super) const fn checksum(&self) -> u64 {
        self.checksum
    }
}

fn checksum() -> Digest {
    Digest::new(CrcAlgorithm::Crc64Nvme)
}

/// Why what came is not what was announced.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum PayloadError {
    /// Before anything was allocated.
    #[error("a payload of {announced} bytes was announced; between {least} and {most} are taken")]
    Size {
        /// What was announced.
        announced: u64,
        /// Least that is taken.
        least: u64,
        /// Most that is taken.
        most: u64,
    },
    /// More than announced.
    #[error("more than the {announced} bytes announced arrived")]
    TooLong {
        /// What was announced.
        announced: u64,
    },
    /// Ended early.
    #[error("{received} of {announced} bytes arrived")]
    TooShort {
        /// What came.
        received: u64,
        /// What was announced.
        announced: u64,
    },
    /// Changed on its way.
    #[error("the payload does not have the checksum that was sent with it")]
    WrongChecksum,
}

/// A payload that is arriving.
pub(super) struct Incoming {
    buffer: Buffer,
    filled: usize,
    announced: usize,
    checksum: Digest,
}

impl Incoming {
    /// Make room for `announced` bytes, if that is within `least..=most`, out of `spares`.
    pub(super) fn new(announced: u64, least: u64, most: u64, spares: &Spares) -> Result<Self, PayloadError> {
        let error = PayloadError::Size { announced, least, most };
        if announced < least || announced > most {
            return Err(error);
        }
        let announced = usize::try_from(announced).map_err(|_| error.clone())?;
        let buffer = spares.buffer(announced).map_err(|_| error)?;
        Ok(Self { buffer, filled: 0, announced, checksum: checksum() })
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), PayloadError> {
        // `filled <= announced` always, so this cannot overflow.
        if chunk.len() > self.announced - self.filled {
            return Err(PayloadError::TooLong { announced: self.announced as u64 });
        }
        let end = self.filled + chunk.len();
        self.buffer.as_mut_slice()[self.filled..end].copy_from_slice(chunk);
        copies::count(chunk.len());
        self.checksum.update(chunk);
        self.filled = end;
        Ok(())
    }

    pub(super) fn finish(self, checksum: u64) -> Result<Buffer, PayloadError> {
        if self.filled < self.announced {
            return Err(PayloadError::TooShort {
                received: self.filled as u64,
                announced: self.announced as u64,
            });
        }
        if self.checksum.finalize() == checksum { Ok(self.buffer) } else { Err(PayloadError::WrongChecksum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        Payload::new(vec![Bytes::copy_from_slice(bytes)]).checksum()
    }

    #[test]
    fn a_payload_is_cut_without_a_copy_and_summed_up_whole() {
        let part = Bytes::from(vec![7; PIECE + 1]);
        let payload = Payload::new(vec![part.clone(), Bytes::from_static(b"end")]);
        let chunks: Vec<_> = payload.chunks().collect();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE, 1, 3]);
        assert_eq!(chunks[0].as_ptr(), part.as_ptr());
        let whole = [part.as_ref(), b"end"].concat();
        assert_eq!(payload.checksum(), of(&whole));
        assert_eq!(payload.len(), whole.len() as u64);
    }

    #[test]
    fn what_differs_from_the_announcement_is_refused() {
        let checksum = of(b"hello");
        let received = |chunks: &[&[u8]], checksum: u64| {
            let mut incoming = Incoming::new(5, 0, 10, &Spares::new(1))?;
            chunks.iter().try_for_each(|chunk| incoming.push(chunk))?;
            incoming.finish(checksum)
        };
        let mut whole = received(&[b"hel", b"lo"], checksum).unwrap();
        assert_eq!(whole.as_mut_slice(), b"hello");
        assert_eq!(
            received(&[b"hel"], checksum).err(),
            Some(PayloadError::TooShort { received: 3, announced: 5 })
        );
        assert_eq!(received(&[b"hello", b"!"], checksum).err(), Some(PayloadError::TooLong { announced: 5 }));
        assert_eq!(received(&[b"hallo"], checksum).err(), Some(PayloadError::WrongChecksum));
        assert_eq!(received(&[b"hello"], 0).err(), Some(PayloadError::WrongChecksum));
    }

    #[test]
    fn an_announcement_out_of_bounds_allocates_nothing() {
        assert!(Incoming::new(u64::MAX, 0, 100, &Spares::new(1)).is_err());
        assert!(Incoming::new(9, 10, 100, &Spares::new(1)).is_err());
    }
}
