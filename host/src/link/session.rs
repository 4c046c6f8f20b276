//! One session after the other with the manager's hub.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use sedge_api::node::hub_client::HubClient;
use sedge_api::node::manager_message::Message as Down;
use sedge_api::node::node_message::Message as Up;
use sedge_api::node::{Heartbeat, ManagerMessage, NodeMessage, Register, Status};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use super::backoff::Backoff;
use super::logs::LogRequests;
use super::transfers::Transfers;
use crate::artifacts::Artifacts;
use crate::labelling::Desk;
use crate::worker::{Board, Supervisor};

/// Messages that wait for the link.
const OUTBOX: usize = 32;
/// Status is said at most this often: what changes in between is one message.
const PACE: Duration = Duration::from_millis(100);
/// Bounds of what a manager may ask for as heartbeat.
const HEARTBEAT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// How often a silent link is probed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Size of one message of status: a quarter of what gRPC takes unless told otherwise.
const PIECE: usize = 1 << 20;
/// Definitions of a node's workers may be many.
const MAX_MESSAGE: usize = 64 << 20;

/// What keeps the session up.
pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    /// The `authorization` metadata.
    pub(crate) authorization: Option<MetadataValue<Ascii>>,
    pub(crate) register: Register,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) board: Arc<Board>,
    pub(crate) desk: Arc<Desk>,
}

impl Link {
    /// Until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let (mut welcomed, dialled) = (false, Instant::now());
            let why = tokio::select! {
                () = shutdown.cancelled() => return,
                why = self.session(&mut welcomed) => why,
            };
            if shutdown.is_cancelled() {
                return;
            }
            if welcomed {
                backoff.after(dialled.elapsed());
            }
            let wait = backoff.next();
            // Whoever started the node is to see why it does nothing: a wrong token or address, say.
            tracing::warn!(node = self.register.node, why, ?wait, "no session with the manager");
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// One session; gives back why it ended.
    async fn session(&self, welcomed: &mut bool) -> String {
        let endpoint = self
            .endpoint
            .clone()
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let channel = match endpoint.connect().await {
            Ok(channel) => channel,
            Err(error) => return format!("{} does not answer: {error}", self.endpoint.uri()),
        };
        let mut client = HubClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let (outbound, messages) = mpsc::channel(OUTBOX);
        // The channel is empty and holds `OUTBOX` messages.
        let _ = outbound.try_send(say(Up::Register(self.register.clone())));
        let mut request = Request::new(ReceiverStream::new(messages));
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        let transfers = Transfers::new(client.clone(), self.authorization.clone(), Arc::clone(&self.desk));
        match client.session(request).await {
            Ok(response) => self.converse(response.into_inner(), outbound, transfers, welcomed).await,
            Err(status) => format!("the manager says: {}", status.message()),
        }
    }

    async fn converse(
        &self,
        mut inbound: Streaming<ManagerMessage>,
        outbound: Outbound,
        transfers: Transfers,
        welcomed: &mut bool,
    ) -> String {
        let mut logs = LogRequests::new(outbound.clone());
        let mut heartbeat = tokio::time::interval(Duration::from_secs(5));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = Instant::now();
        loop {
            let sent = tokio::select! {
                message = inbound.message() => match message {
                    Ok(Some(message)) => match message.message {
                        Some(Down::Welcome(welcome)) => {
                            if let Err(error) = self.artifacts.set_registry(&welcome.registry) {
                                return error.to_string();
                            }
                            let period = Duration::from_millis(welcome.heartbeat_millis.into());
                            heartbeat = tokio::time::interval(period.clamp(*HEARTBEAT.start(), *HEARTBEAT.end()));
                            heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
                            *welcomed = true;
                            tell(&outbound, self.board.everything()).await
                        }
                        Some(Down::Desired(desired)) => {
                            self.supervisor.desire(desired);
                            Ok(())
                        }
                        Some(Down::Log(request)) => {
                            logs.hear(&request, &self.supervisor);
                            Ok(())
                        }
                        Some(Down::Transfer(request)) => {
                            transfers.hear(request);
                            Ok(())
                        }
                        None => Ok(()),
                    },
                    Ok(None) => return "the manager ended the session".to_owned(),
                    Err(status) => return format!("the manager says: {}", status.message()),
                },
                _ = heartbeat.tick(), if *welcomed => outbound.send(say(Up::Heartbeat(Heartbeat {}))).await,
                () = self.unsaid(pace), if *welcomed => {
                    pace = Instant::now() + PACE;
                    match self.board.changes() {
                        Some(status) => tell(&outbound, status).await,
                        None => Ok(()),
                    }
                }
            };
            if sent.is_err() {
                return "the link to the manager is lost".to_owned();
            }
        }
    }

    /// Something has changed, and it is time to say so.
    async fn unsaid(&self, pace: Instant) {
        tokio::time::sleep_until(pace).await;
        self.board.changed().await;
    }
}

type Outbound = mpsc::Sender<NodeMessage>;
type Sent = Result<(), mpsc::error::SendError<NodeMessage>>;

/// Say a status in messages that the manager takes, whatever this node holds.
async fn tell(outbound: &Outbound, status: Status) -> Sent {
    for piece in pieces(status, PIECE) {
        outbound.send(say(Up::Status(piece))).await?;
    }
    Ok(())
}

/// The same in messages of at most `limit` bytes, or of one object where that alone is larger; at least one.
fn pieces(status: Status, limit: usize) -> Vec<Status> {
    let workers =
        status.workers.into_iter().map(|worker| Status { workers: vec![worker], ..Status::default() });
    let datasets =
        status.datasets.into_iter().map(|dataset| Status { datasets: vec![dataset], ..Status::default() });
    let mut pieces = Vec::new();
    let (mut piece, mut size) = (Status::default(), 0);
    for one in workers.chain(datasets) {
        let bytes = one.encoded_len();
        if size > 0 && size + bytes > limit {
            pieces.push(std::mem::take(&mut piece));
            size = 0;
        }
        piece.workers.extend(one.workers);
        piece.datasets.extend(one.datasets);
        size += bytes;
    }
    pieces.push(piece);
    pieces
}

fn say(message: Up) -> NodeMessage {
    NodeMessage { message: Some(message) }
}

#[cfg(test)]
mod tests {
    use sedge_api::node::{DatasetStatus, WorkerStatus};

    use super::*;

    #[test]
    fn a_long_status_is_said_in_pieces_and_none_of_it_is_lost() {
        let worker = |message: &str| WorkerStatus { message: message.to_owned(), ..WorkerStatus::default() };
        let dataset = |name: &str| DatasetStatus { name: name.to_owned(), ..DatasetStatus::default() };
        let status = Status {
            workers: vec![worker("a"), worker(&"b".repeat(200)), worker("c"), worker("d")],
            datasets: vec![dataset("x"), dataset(&"y".repeat(90))],
        };
        let pieces = pieces(status.clone(), 100);
        let sizes: Vec<_> = pieces.iter().map(|piece| (piece.workers.len(), piece.datasets.len())).collect();
        assert_eq!(sizes, [(1, 0), (1, 0), (2, 1), (0, 1)]);
        let whole = Status {
            workers: pieces.iter().flat_map(|piece| piece.workers.clone()).collect(),
            datasets: pieces.into_iter().flat_map(|piece| piece.datasets).collect(),
        };
        assert_eq!(whole, status);
    }

    #[test]
    fn a_node_that_holds_nothing_says_so() {
        assert_eq!(pieces(Status::default(), 100), [Status::default()]);
    }
}
