//! Logs of workers, bridged from a reader here to the node that keeps them. Made by `session`, one a
//! session; read through [`Hub::logs`](super::Hub::logs).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use sedge_api::node::{LogChunk, LogRequest};
use thiserror::Error;
use tokio::sync::mpsc;

/// Chunks that wait for a reader.
const BUFFER: usize = 16;
/// Log requests that wait for their node.
const REQUESTS: usize = 64;
/// How long a node's session waits for a reader that is slow, before that reader is cut off.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a log cannot be read, or not further.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LogError {
    /// The node has no session.
    #[error("node `{node}`, which keeps the log, is not in touch with the manager")]
    NotInTouch {
        /// The node.
        node: String,
    },
    /// Too many logs of one node are asked for at once.
    #[error("too many logs of this node are being asked for; try again")]
    Busy,
    /// The node has an answer, but it is no log.
    #[error("the node cannot give the log: {0}")]
    Refused(String),
    /// The session ended, or the reader was too slow for it.
    #[error("the log was interrupted: the node's session ended or the reader fell behind")]
    Interrupted,
}

pub(super) type LogRequests = mpsc::Receiver<LogRequest>;

enum Piece {
    Text(Bytes),
    End(Result<(), LogError>),
}

/// The logs that are asked for in one session.
pub(super) struct Logs {
    requests: mpsc::Sender<LogRequest>,
    /// Readers by request; none once the session has ended.
    readers: Mutex<Option<HashMap<u64, mpsc::Sender<Piece>>>>,
    patience: Duration,
}

impl Logs {
    /// And the requests that the session is to send to its node.
    pub fn new() -> (Arc<Self>, LogRequests) {
        Self::with_patience(PATIENCE)
    }

    fn with_patience(patience: Duration) -> (Arc<Self>, LogRequests) {
        let (requests, to_send) = mpsc::channel(REQUESTS);
        (Arc::new(Self { requests, readers: Mutex::new(Some(HashMap::new())), patience }), to_send)
    }

    /// Ask for a log.
    pub fn request(
        self: &Arc<Self>,
        id: u64,
        node: &str,
        worker_uid: &str,
        tail: u32,
        follow: bool,
    ) -> Result<LogStream, LogError> {
        let mut readers = self.readers.lock();
        let open = readers.as_mut().ok_or_else(|| LogError::NotInTouch { node: node.to_owned() })?;
        let request = LogRequest { id, worker_uid: worker_uid.to_owned(), tail, follow, cancel: false };
        self.requests.try_send(request).map_err(|_| LogError::Busy)?;
        let (reader, pieces) = mpsc::channel(BUFFER);
        open.insert(id, reader);
        Ok(LogStream { pieces, ended: false, id, logs: self.clone() })
    }

    /// Hand a chunk to its reader.
    pub async fn take(&self, chunk: LogChunk) {
        let reader = self.readers.lock().as_ref().and_then(|readers| readers.get(&chunk.id).cloned());
        let Some(reader) = reader else {
            // Its reader has left; the node may not know yet.
            if !chunk.end {
                self.cancel(chunk.id);
            }
            return;
        };
        let text = (!chunk.text.is_empty()).then(|| Piece::Text(chunk.text.into()));
        let refused = (!chunk.error.is_empty()).then_some(LogError::Refused(chunk.error));
        let end = chunk.end.then(|| Piece::End(refused.map_or(Ok(()), Err)));
        for piece in text.into_iter().chain(end) {
            if reader.send_timeout(piece, self.patience).await.is_err() {
                self.forget(chunk.id);
                self.cancel(chunk.id);
                return;
            }
        }
        if chunk.end {
            self.forget(chunk.id);
        }
    }

    /// The session has ended: so have its logs.
    pub fn close(&self) {
        self.readers.lock().take();
    }

    fn forget(&self, id: u64) -> bool {
        self.readers.lock().as_mut().is_some_and(|readers| readers.remove(&id).is_some())
    }

    fn cancel(&self, id: u64) {
        // Where this does not fit, the next chunk of that log will have it sent.
        let _ = self.requests.try_send(LogRequest { id, cancel: true, ..LogRequest::default() });
    }
}

/// The text of a log as it comes. It ends, or has an error as its last item.
pub struct LogStream {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
    id: u64,
    logs: Arc<Logs>,
}

impl Stream for LogStream {
    type Item = Result<Bytes, LogError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.pieces.poll_recv(context)) {
            Some(Piece::Text(text)) => Poll::Ready(Some(Ok(text))),
            Some(Piece::End(outcome)) => {
                self.ended = true;
                Poll::Ready(outcome.err().map(Err))
            }
            None => {
                self.ended = true;
                Poll::Ready(Some(Err(LogError::Interrupted)))
            }
        }
    }
}

impl Drop for LogStream {
    fn drop(&mut self) {
        if self.logs.forget(self.id) {
            self.logs.cancel(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn chunk(id: u64, text: &str, end: bool, error: &str) -> LogChunk {
        LogChunk { id, text: text.to_owned(), end, error: error.to_owned() }
    }

    #[tokio::test]
    async fn a_log_is_read_to_its_end() {
        let (logs, mut requests) = Logs::new();
        let stream = logs.request(7, "edge-1", "uid", 10, false).unwrap();
        assert_eq!(requests.recv().await.unwrap().tail, 10);
        logs.take(chunk(7, "one\n", false, "")).await;
        logs.take(chunk(7, "two\n", true, "")).await;
        let text: Vec<_> = stream.map(Result::unwrap).collect().await;
        assert_eq!(text, ["one\n", "two\n"]);
    }

    #[tokio::test]
    async fn a_nodes_refusal_is_the_last_item() {
        let (logs, _requests) = Logs::new();
        let stream = logs.request(7, "edge-1", "uid", 0, false).unwrap();
        logs.take(chunk(7, "", true, "no such worker")).await;
        let items: Vec<_> = stream.collect().await;
        assert_eq!(items, [Err(LogError::Refused("no such worker".to_owned()))]);
    }

    #[tokio::test]
    async fn dropping_the_stream_cancels_the_request() {
        let (logs, mut requests) = Logs::new();
        drop(logs.request(7, "edge-1", "uid", 0, true).unwrap());
        requests.recv().await.unwrap();
        let cancel = requests.recv().await.unwrap();
        assert_eq!((cancel.id, cancel.cancel), (7, true));
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_is_cut_off() {
        let (logs, _requests) = Logs::with_patience(Duration::ZERO);
        let stream = logs.request(7, "edge-1", "uid", 0, true).unwrap();
        for _ in 0..=BUFFER {
            logs.take(chunk(7, "line\n", false, "")).await;
        }
        let items: Vec<_> = stream.collect().await;
        assert_eq!(items.last(), Some(&Err(LogError::Interrupted)));
    }

    #[tokio::test]
    async fn the_end_of_a_session_ends_its_logs() {
        let (logs, _requests) = Logs::new();
        let stream = logs.request(7, "edge-1", "uid", 0, true).unwrap();
        logs.close();
        let items: Vec<_> = stream.collect().await;
        assert_eq!(items, [Err(LogError::Interrupted)]);
        assert!(logs.request(8, "edge-1", "uid", 0, true).is_err());
    }
}
