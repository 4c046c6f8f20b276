//! Bodies: a request's, gathered within bounds, and a response's, in the parts that it lies in.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tonic::Code;

use super::refusal::Refusal;

/// What is set aside for a body before any of it has come, at most.
const FIRST: usize = 1 << 20;

/// Responses of more bytes than this are counted until they have been sent.
const COUNTED: usize = 64 << 10;

/// Memory that all requests in flight share, and what of their answers is not sent yet.
pub(super) struct Memory {
    used: AtomicUsize,
    most: usize,
}

impl Memory {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), most })
    }
}

/// What one request holds of it, until dropped.
pub(super) struct Share {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Share {
    /// Of a request of which nothing has come yet.
    pub fn new(memory: &Arc<Memory>) -> Self {
        Self { memory: Arc::clone(memory), bytes: 0 }
    }

    /// Hold so much more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        let before = self.memory.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.memory.most {
            let text = "the requests in flight hold all the memory that there is for them";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, text));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A whole body of at most `limit` bytes that comes within `timeout`. The share is to be kept as long as what
/// is made of the bytes.
pub(super) async fn gather<B>(
    body: B,
    limit: usize,
    timeout: Duration,
    memory: &Arc<Memory>,
) -> Result<(Bytes, Share), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let late = |_| {
        let text = format!("the request's body did not come within {timeout:?}");
        Refusal::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, text)
    };
    tokio::time::timeout(timeout, gathered(body, limit, memory)).await.map_err(late)?
}

async fn gathered<B>(mut body: B, limit: usize, memory: &Arc<Memory>) -> Result<(Bytes, Share), Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let announced = body.size_hint().lower();
    if announced > limit as u64 {
        return Err(Refusal::too_large(limit));
    }
    // Below `limit`.
    let announced = announced as usize;
    let mut share = Share::new(memory);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let cut = |_| Refusal::new(StatusCode::BAD_REQUEST, Code::Internal, "the body was cut off");
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        if data.len() > limit - share.bytes {
            return Err(Refusal::too_large(limit));
        }
        share.grow(data.len())?;
        if share.bytes == data.len() {
            // What comes in one part stays where it lies.
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(announced.clamp(share.bytes, share.bytes.max(FIRST)));
            all.extend_from_slice(&first);
            first = Bytes::new();
        }
        all.extend_from_slice(&data);
    }
    Ok((if all.is_empty() { first } else { all.freeze() }, share))
}

/// A response's body.
pub(super) struct Reply {
    parts: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Reply {
    pub fn new(parts: impl Into<VecDeque<Bytes>>, trailers: Option<HeaderMap>) -> Self {
        let mut parts = parts.into();
        parts.retain(|part| !part.is_empty());
        Self { parts, trailers }
    }
}

/// Part of a response, with the share that it takes of the memory.
struct Held {
    part: Bytes,
    _share: Arc<Share>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}

impl Reply {
    /// Count the response's bytes in place of the request's, until the last of them has been sent or its client has
    /// gone: one that asks and does not read is held against the others.
    pub fn hold(&mut self, share: Share) -> Result<(), Refusal> {
        let bytes = self.parts.iter().map(Bytes::len).sum();
        let memory = Arc::clone(&share.memory);
        drop(share);
        if bytes > COUNTED {
            let mut share = Share::new(&memory);
            share.grow(bytes)?;
            let share = Arc::new(share);
            for part in &mut self.parts {
                let held = Held { part: std::mem::take(part), _share: Arc::clone(&share) };
                *part = Bytes::from_owner(held);
            }
        }
        Ok(())
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new([Bytes::from(bytes)], None)
    }
}

impl Default for Reply {
    fn default() -> Self {
        Self::new([], None)
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let part = self.parts.pop_front().map(Frame::data);
        let frame = part.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.parts.iter().map(|part| part.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_until_its_last_byte_is_let_go() {
        let memory = Memory::new(3 * COUNTED);
        let share = |bytes| {
            let mut share = Share::new(&memory);
            share.grow(bytes).map(|()| share)
        };
        let mut reply = Reply::from(vec![0; 2 * COUNTED]);
        reply.hold(share(COUNTED).unwrap()).unwrap();
        let part = reply.parts.pop_front().unwrap();
        drop(reply);
        assert_eq!(share(2 * COUNTED).err().unwrap().status, StatusCode::TOO_MANY_REQUESTS);
        drop(part);
        assert!(share(2 * COUNTED).is_ok());
    }
}
