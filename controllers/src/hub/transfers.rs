//! Samples on their way between somebody here and the node that holds them, over a stream that the node dials when its session
//! has said so. Used by `transfer_route`.
//!
//! ```text
//!  Hub::transfer ─ TransferRequest ─▶ session ══▶ node
//!        ╰──────── Line ◀── meet ◀── Transfer ◀═══╯      bytes, with HTTP/2's own flow control
//! ```
//! Nothing of it is kept here: neither on disk, nor more in memory than a few pieces.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sedge_api::node::transfer_request::What;
use sedge_api::node::{ManagerPiece, NodePiece, TransferAnswer, TransferRequest, manager_piece, node_piece};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::Hub;

/// Transfers of one node at a time.
const AT_ONCE: usize = 4;
/// How long a node has to dial.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// How long it may work before it says something: a file of the largest size is read, checked and written.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// Why samples do not go their way.
#[derive(Debug, Error)]
pub(super) enum TransferError {
    /// The node has no session.
    #[error("node `{node}`, which holds the dataset, is not in touch with the manager; try again when it is")]
    NotInTouch {
        /// The node.
        node: String,
    },
    /// Too many at once.
    #[error("{AT_ONCE} files of samples go to or from node `{node}` already; try again when one is done")]
    Busy {
        /// The node.
        node: String,
    },
    /// It did not dial, or fell silent.
    #[error("node `{node}` does not answer; it may be of an older version")]
    Silent {
        /// The node.
        node: String,
    },
    /// The node has an answer.
    #[error("{message}")]
    Refused {
        /// A CamelCase word.
        reason: String,
        /// For people.
        message: String,
    },
    /// The stream broke.
    #[error("the samples were cut off on their way: {0}; try again")]
    Interrupted(String),
}

pub(super) type TransferRequests = mpsc::Receiver<TransferRequest>;

/// How a session is asked for transfers.
#[derive(Clone)]
pub(super) struct Requests {
    requests: mpsc::Sender<TransferRequest>,
    permits: Arc<Semaphore>,
}

impl Requests {
    /// And the requests that the session is to send to its node.
    pub fn new() -> (Self, TransferRequests) {
        let (requests, to_send) = mpsc::channel(AT_ONCE);
        (Self { requests, permits: Arc::new(Semaphore::new(AT_ONCE)) }, to_send)
    }
}

/// Who waits for a node to dial, by the request's id.
#[derive(Default)]
pub(super) struct Waiting(Mutex<HashMap<String, oneshot::Sender<Line>>>);

impl Waiting {
    /// A node has dialled.
    pub fn meet(&self, id: &str, line: Line) -> Result<(), Status> {
        let waiting = self.0.lock().remove(id);
        let gone = || Status::not_found("nobody waits for this transfer");
        waiting.ok_or_else(gone)?.send(line).map_err(|_| gone())
    }
}

/// Takes the place of who waits back.
struct Place<'a> {
    waiting: &'a Waiting,
    id: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.0.lock().remove(&self.id);
    }
}

impl Hub {
    /// Have `node` dial for what is wanted of the dataset `namespace/name`.
    pub(super) async fn transfer(
        &self,
        node: &str,
        dataset: String,
        what: What,
    ) -> Result<Line, TransferError> {
        let node = node.to_owned();
        let asked = self.inner.sessions.lock().get(&node).map(|handle| handle.transfers.clone());
        let Some(asked) = asked else { return Err(TransferError::NotInTouch { node }) };
        let Ok(permit) = asked.permits.try_acquire_owned() else { return Err(TransferError::Busy { node }) };
        let id = Uuid::new_v4().to_string();
        let (arrives, line) = oneshot::channel();
        let place = Place { waiting: &self.inner.transfers, id: id.clone() };
        self.inner.transfers.0.lock().insert(id.clone(), arrives);
        let request = TransferRequest { id, dataset, what: Some(what) };
        let dialled = async {
            let sent = asked.requests.send(request).await;
            if sent.is_ok() { line.await.ok() } else { None }
        };
        let line = timeout(DIAL_WITHIN, dialled).await.ok().flatten();
        drop(place);
        let Some(line) = line else { return Err(TransferError::Silent { node }) };
        Ok(Line { _permit: Some(permit), node, ..line })
    }
}

/// The two directions of one transfer; dropped, it is broken off.
pub(super) struct Line {
    node: String,
    inbound: Streaming<NodePiece>,
    outgoing: mpsc::Sender<Result<ManagerPiece, Status>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Line {
    /// Of a node that has dialled.
    pub fn new(inbound: Streaming<NodePiece>, outgoing: mpsc::Sender<Result<ManagerPiece, Status>>) -> Self {
        Self { node: String::new(), inbound, outgoing, _permit: None }
    }

    /// Send a piece. False: the node takes no more, and its answer says why.
    pub async fn send(&self, piece: manager_piece::Piece) -> bool {
        self.outgoing.send(Ok(ManagerPiece { piece: Some(piece) })).await.is_ok()
    }

    /// What came of it.
    pub async fn answer(&mut self) -> Result<TransferAnswer, TransferError> {
        match self.next().await? {
            Some(node_piece::Piece::Answer(answer)) if answer.reason.is_empty() => Ok(answer),
            Some(node_piece::Piece::Answer(TransferAnswer { reason, message, .. })) => {
                Err(TransferError::Refused { reason, message })
            }
            _ => Err(TransferError::Interrupted("the node gave no answer".to_owned())),
        }
    }

    /// More bytes; None at their end.
    pub async fn bytes(&mut self) -> Result<Option<Vec<u8>>, TransferError> {
        match self.next().await? {
            Some(node_piece::Piece::Bytes(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(TransferError::Interrupted("the node broke the protocol".to_owned())),
            None => Ok(None),
        }
    }

    async fn next(&mut self) -> Result<Option<node_piece::Piece>, TransferError> {
        let heard = timeout(ANSWER_WITHIN, self.inbound.message()).await;
        let heard = heard.map_err(|_| TransferError::Silent { node: self.node.clone() })?;
        let heard = heard.map_err(|status| TransferError::Interrupted(status.message().to_owned()))?;
        Ok(heard.and_then(|heard| heard.piece))
    }
}
