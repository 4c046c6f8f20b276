//! Weights on the wire: a length announced, chunks, a BLAKE3 digest that ends them.
//!
//! Going out, a [`Payload`] is made once and shared by all that it is sent to. Coming in, an [`Incoming`]
//! is bounded before a byte is allocated, and each chunk is copied once, to where it stays.

use bytes::Bytes;
use sedge_api::federation::CHUNK;
use thiserror::Error;

use crate::model::Weights;
use crate::nn::{Buffer, copies};

/// What a safetensors header may differ in: order and spacing of its JSON.
pub(super) const SLACK: u64 = 64 << 10;

/// The size that we cut chunks to: large enough that headers cost nothing, small enough that a chunk is still
/// in the processor's cache on each of the copies between two sockets.
const PIECE: usize = CHUNK / 8;

/// Weights as they go out; cloning shares them.
#[derive(Clone)]
pub(super) struct Payload {
    chunks: Vec<Bytes>,
    len: u64,
    digest: Bytes,
}

impl Payload {
    /// Write `weights` as safetensors and hash them, off the async executor.
    pub(super) async fn of(weights: Weights) -> Option<Self> {
        tokio::task::spawn_blocking(move || Self::new(weights.to_safetensors())).await.ok()
    }

    /// Blocking for as long as it takes to hash `parts`.
    pub(super) fn new(parts: Vec<Bytes>) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut len = 0;
        let mut chunks = Vec::new();
        for mut part in parts {
            hasher.update(&part);
            len += part.len() as u64;
            while !part.is_empty() {
                chunks.push(part.split_to(part.len().min(PIECE)));
            }
        }
        Self { chunks, len, digest: Bytes::copy_from_slice(hasher.finalize().as_bytes()) }
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.chunks.iter().cloned()
    }

    pub(super) fn digest(&self) -> Bytes {
        self.digest.clone()
    }
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
    #[error("the payload does not have the digest that was sent with it")]
    WrongDigest,
}

/// A payload that is arriving.
pub(super) struct Incoming {
    buffer: Buffer,
    filled: usize,
    announced: usize,
    hasher: blake3::Hasher,
}

impl Incoming {
    /// Make room for `announced` bytes, if that is within `least..=most`.
    pub(super) fn new(announced: u64, least: u64, most: u64) -> Result<Self, PayloadError> {
        let error = PayloadError::Size { announced, least, most };
        if announced < least || announced > most {
            return Err(error);
        }
        let announced = usize::try_from(announced).map_err(|_| error.clone())?;
        let buffer = Buffer::try_zeroed(announced).map_err(|_| error)?;
        Ok(Self { buffer, filled: 0, announced, hasher: blake3::Hasher::new() })
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), PayloadError> {
        // `filled <= announced` always, so this cannot overflow.
        if chunk.len() > self.announced - self.filled {
            return Err(PayloadError::TooLong { announced: self.announced as u64 });
        }
        let end = self.filled + chunk.len();
        self.buffer.as_mut_slice()[self.filled..end].copy_from_slice(chunk);
        copies::count(chunk.len());
        self.hasher.update(chunk);
        self.filled = end;
        Ok(())
    }

    pub(super) fn finish(self, digest: &[u8]) -> Result<Buffer, PayloadError> {
        if self.filled < self.announced {
            return Err(PayloadError::TooShort {
                received: self.filled as u64,
                announced: self.announced as u64,
            });
        }
        if self.hasher.finalize().as_bytes().as_slice() == digest {
            Ok(self.buffer)
        } else {
            Err(PayloadError::WrongDigest)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_cut_without_a_copy_and_hashed_whole() {
        let part = Bytes::from(vec![7; PIECE + 1]);
        let payload = Payload::new(vec![part.clone(), Bytes::from_static(b"end")]);
        let chunks: Vec<_> = payload.chunks().collect();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [PIECE, 1, 3]);
        assert_eq!(chunks[0].as_ptr(), part.as_ptr());
        let whole = [part.as_ref(), b"end"].concat();
        assert_eq!(payload.digest(), blake3::hash(&whole).as_bytes().as_slice());
        assert_eq!(payload.len(), whole.len() as u64);
    }

    #[test]
    fn what_differs_from_the_announcement_is_refused() {
        let digest = *blake3::hash(b"hello").as_bytes();
        let received = |chunks: &[&[u8]], digest: &[u8]| {
            let mut incoming = Incoming::new(5, 0, 10)?;
            chunks.iter().try_for_each(|chunk| incoming.push(chunk))?;
            incoming.finish(digest)
        };
        let mut whole = received(&[b"hel", b"lo"], &digest).unwrap();
        assert_eq!(whole.as_mut_slice(), b"hello");
        assert_eq!(
            received(&[b"hel"], &digest).err(),
            Some(PayloadError::TooShort { received: 3, announced: 5 })
        );
        assert_eq!(received(&[b"hello", b"!"], &digest).err(), Some(PayloadError::TooLong { announced: 5 }));
        assert_eq!(received(&[b"hallo"], &digest).err(), Some(PayloadError::WrongDigest));
        assert_eq!(received(&[b"hello"], b"").err(), Some(PayloadError::WrongDigest));
    }

    #[test]
    fn an_announcement_out_of_bounds_allocates_nothing() {
        assert!(Incoming::new(u64::MAX, 0, 100).is_err());
        assert!(Incoming::new(9, 10, 100).is_err());
    }
}
