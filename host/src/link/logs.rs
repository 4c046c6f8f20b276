//! Answers the manager's requests for a worker's log: the tail, then what is written, in bounded pieces.

use std::collections::HashMap;
use std::sync::Arc;

use sedge_api::node::node_message::Message;
use sedge_api::node::{LogChunk, LogRequest, NodeMessage};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::worker::{Supervisor, WorkerLog};

/// Requests that are answered at once.
const MAX_REQUESTS: usize = 32;
/// Longest text of one chunk, in bytes.
const PIECE: usize = 64 << 10;

/// The log requests of one session; dropped with it, which ends them.
pub(super) struct LogRequests {
    outbound: mpsc::Sender<NodeMessage>,
    running: HashMap<u64, CancellationToken>,
    tasks: TaskTracker,
    session: CancellationToken,
}

impl Drop for LogRequests {
    fn drop(&mut self) {
        self.session.cancel();
    }
}

impl LogRequests {
    pub(super) fn new(outbound: mpsc::Sender<NodeMessage>) -> Self {
        let (running, tasks) = (HashMap::new(), TaskTracker::new());
        Self { outbound, running, tasks, session: CancellationToken::new() }
    }

    /// Begin or end an answer.
    pub(super) fn hear(&mut self, request: &LogRequest, supervisor: &Supervisor) {
        if let Some(earlier) = self.running.remove(&request.id) {
            earlier.cancel();
        }
        if request.cancel {
            return;
        }
        // Those that have ended have let go of their token's child.
        self.running.retain(|_, token| !token.is_cancelled());
        let log = if self.running.len() >= MAX_REQUESTS {
            Err(format!("{MAX_REQUESTS} logs of this node are being read already"))
        } else {
            supervisor.log(&request.worker_uid).ok_or_else(|| {
                "this node has no log of that worker: it has not begun or is forgotten".to_owned()
            })
        };
        let token = self.session.child_token();
        self.running.insert(request.id, token.clone());
        let answer = answer(request.clone(), log, self.outbound.clone());
        self.tasks.spawn(async move {
            token.run_until_cancelled(answer).await;
            token.cancel();
        });
    }
}

async fn answer(
    request: LogRequest,
    log: Result<Arc<WorkerLog>, String>,
    outbound: mpsc::Sender<NodeMessage>,
) {
    let id = request.id;
    let error = match log {
        Ok(log) => send(request, log, &outbound).await.err().unwrap_or_default(),
        Err(error) => error,
    };
    let end = LogChunk { id, text: String::new(), end: true, error };
    // The session may have ended meanwhile.
    let _ = outbound.send(NodeMessage { message: Some(Message::Log(end)) }).await;
}

async fn send(
    request: LogRequest,
    log: Arc<WorkerLog>,
    outbound: &mpsc::Sender<NodeMessage>,
) -> Result<(), String> {
    let id = request.id;
    let tail = tokio::task::spawn_blocking(move || log.tail(request.tail as usize));
    let (text, mut fresh) = match tail.await {
        Ok(Ok(tail)) => tail,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(error) => return Err(error.to_string()),
    };
    pieces(id, &text, outbound).await?;
    while request.follow {
        match fresh.recv().await {
            Ok(text) => pieces(id, &text, outbound).await?,
            Err(broadcast::error::RecvError::Lagged(batches)) => {
                pieces(
                    id,
                    &format!("[{batches} batches of lines skipped: the link is too slow]\n"),
                    outbound,
                )
                .await?;
            }
            Err(broadcast::error::RecvError::Closed) => break,
        }
    }
    Ok(())
}

/// Whole characters, at most [`PIECE`] bytes a chunk.
async fn pieces(id: u64, mut text: &str, outbound: &mpsc::Sender<NodeMessage>) -> Result<(), String> {
    while !text.is_empty() {
        let (piece, rest) = text.split_at(text.floor_char_boundary(PIECE));
        text = rest;
        let chunk = LogChunk { id, text: piece.to_owned(), end: false, error: String::new() };
        let message = NodeMessage { message: Some(Message::Log(chunk)) };
        outbound.send(message).await.map_err(|_| "the session has ended".to_owned())?;
    }
    Ok(())
}
