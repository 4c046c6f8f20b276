//! Whether a connection is alive: what its requests and its socket do, told to the one who watches it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What goes on on a connection; clone shares it.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Mutex<State>>);

struct State {
    /// Bytes that have come.
    bytes: usize,
    /// It begins as HTTP/2 does.
    http2: bool,
    /// Requests that are being answered.
    requests: usize,
    /// The last one ended then, or the connection began.
    rested: Instant,
    /// Since then something has come that is no whole head of a request.
    heard: Option<Instant>,
}

/// Bytes of HTTP/2's preface; who has said less has the time for a head.
const PREFACE: usize = 24;

/// A request that is being answered, until dropped.
pub(super) struct Turn(Pulse);

/// How it stands with a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Look again then.
    Alive(Instant),
    /// It does nothing, or not fast enough.
    Idle,
}

impl Pulse {
    pub fn new() -> Self {
        let state = State { bytes: 0, http2: false, requests: 0, rested: Instant::now(), heard: None };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn turn(&self) -> Turn {
        let mut state = self.0.lock();
        state.requests += 1;
        state.heard = None;
        drop(state);
        Turn(self.clone())
    }

    /// A head may take `header`, and between requests may be `idle`; before the first, too, `header` alone.
    pub fn look(&self, header: Duration, idle: Duration) -> Verdict {
        let state = self.0.lock();
        let now = Instant::now();
        if state.requests > 0 {
            return Verdict::Alive(now + header);
        }
        let until = match state.heard {
            _ if state.bytes < PREFACE => state.rested + header,
            Some(heard) if !state.http2 => heard + header,
            // Over HTTP/2 pings and the like come at any time.
            _ => state.rested + idle,
        };
        // A head may begin meanwhile.
        if until <= now { Verdict::Idle } else { Verdict::Alive(until.min(now + header)) }
    }

    fn heard(&self, bytes: &[u8]) {
        let mut state = self.0.lock();
        // No method that is served begins like HTTP/2's preface.
        state.http2 |= state.bytes == 0 && bytes.starts_with(b"PR");
        state.bytes = state.bytes.saturating_add(bytes.len());
        if state.requests == 0 && state.heard.is_none() {
            state.heard = Some(Instant::now());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.requests -= 1;
        state.rested = Instant::now();
        state.heard = None;
    }
}

/// A socket whose reads are told.
pub(super) struct Watched {
    pub socket: TcpStream,
    pub pulse: Pulse,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if let Some(bytes) = buf.filled().get(before..).filter(|bytes| !bytes.is_empty()) {
            self.pulse.heard(bytes);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
