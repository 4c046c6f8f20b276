//! One session of one node: in goes its stream, out goes what is wanted of it. Nothing in the receiving
//! path waits for the API server: statuses go to `reports`, which keeps the latest of each.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use sedge_api::node::hub_server::Hub as HubService;
use sedge_api::node::{
    Desired, ManagerMessage, ManagerPiece, NodeMessage, NodePiece, Welcome, manager_message, node_message,
    node_piece,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceBuilder;
use tracing::{debug, info};

use super::logs::{LogRequests, Logs};
use super::register::Registration;
use super::transfers::{Line, Requests, TransferRequests};
use super::{Hub, Inner, presence};

/// A new session must say who it is within this.
const REGISTER_WITHIN: Duration = Duration::from_secs(10);
/// A node that is silent for this many heartbeats is held for lost.
pub(super) const HEARTBEATS: u32 = 3;
/// Messages on their way to a node; what is wanted of it is kept apart, as its latest alone.
const OUTGOING: usize = 16;
/// Pieces of a file that are on their way to a node.
const PIECES: usize = 4;

/// What the rest of the hub knows of a session.
pub(super) struct Handle {
    id: u64,
    replaced: CancellationToken,
    /// What is wanted of the node; none while that is not known.
    pub desired: watch::Sender<Option<Desired>>,
    pub logs: Arc<Logs>,
    pub transfers: Requests,
}

/// The address by which a node reached us, `host:port`.
#[derive(Clone)]
struct DialledAt(String);

impl Hub {
    /// The gRPC service as a router, for a listener that serves more.
    pub fn router(&self) -> Router {
        let dialled = |mut request: axum::extract::Request| {
            let host = request.headers().get(http::header::HOST).and_then(|host| host.to_str().ok());
            let authority = request.uri().authority().map(|a| a.as_str()).or(host).map(str::to_owned);
            if let Some(authority) = authority {
                request.extensions_mut().insert(DialledAt(authority));
            }
            request
        };
        let service = ServiceBuilder::new().map_request(dialled).service(self.service());
        Router::new().route_service("/sedge.node.v1.Hub/{*method}", service)
    }
}

#[tonic::async_trait]
impl HubService for Hub {
    type SessionStream = ReceiverStream<Result<ManagerMessage, Status>>;
    type TransferStream = ReceiverStream<Result<ManagerPiece, Status>>;

    async fn transfer(
        &self,
        request: Request<Streaming<NodePiece>>,
    ) -> Result<Response<Self::TransferStream>, Status> {
        self.authorize(request.metadata())?;
        let mut inbound = request.into_inner();
        let first = timeout(REGISTER_WITHIN, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no id within ten seconds"))??;
        let Some(node_piece::Piece::Id(id)) = first.and_then(|first| first.piece) else {
            return Err(Status::failed_precondition("a transfer begins with its id"));
        };
        let (outgoing, pieces) = mpsc::channel(PIECES);
        self.inner.transfers.meet(&id, Line::new(inbound, outgoing))?;
        Ok(Response::new(ReceiverStream::new(pieces)))
    }

    async fn session(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        self.authorize(request.metadata())?;
        let config = &self.inner.config;
        let dialled = request.extensions().get::<DialledAt>().map(|at| format!("http://{}", at.0));
        let registry = config.registry.clone().or(dialled).unwrap_or_default();
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let inner = self.inner.clone();
        let inbound = request.into_inner();
        self.inner.tasks.spawn(async move {
            if let Err(status) = serve(&inner, inbound, &outgoing, registry).await {
                // The node may be gone, or not be reading.
                let _ = timeout(Duration::from_secs(1), outgoing.send(Err(status))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Hub {
    fn authorize(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        match self.inner.config.join_token.authorizes(header) {
            true => Ok(()),
            false => Err(Status::unauthenticated("the join token is missing or wrong")),
        }
    }
}

type Outgoing = mpsc::Sender<Result<ManagerMessage, Status>>;

async fn serve(
    hub: &Arc<Inner>,
    mut inbound: Streaming<NodeMessage>,
    outgoing: &Outgoing,
    registry: String,
) -> Result<(), Status> {
    let shutting_down = || Status::unavailable("the manager is shutting down");
    let first = tokio::select! {
        first = timeout(REGISTER_WITHIN, inbound.message()) => first,
        () = hub.shutdown.cancelled() => return Err(shutting_down()),
    };
    let first = first.map_err(|_| Status::deadline_exceeded("no Register within ten seconds"))??;
    let node = Registration::parse(first.ok_or_else(|| Status::cancelled("the stream ended"))?)?;
    tokio::select! {
        () = hub.view.ready() => {}
        () = hub.shutdown.cancelled() => return Err(shutting_down()),
    }

    let id = hub.unique();
    let replaced = CancellationToken::new();
    let (desired, wanted) = watch::channel(None);
    let (logs, log_requests) = Logs::new();
    let (transfers, transfer_requests) = Requests::new();
    let handle = Handle { id, replaced: replaced.clone(), desired, logs: logs.clone(), transfers };
    if let Some(older) = hub.sessions.lock().insert(node.name.clone(), handle) {
        older.replaced.cancel();
    }
    info!(node = node.name, "session begins");
    let ended = tokio::select! {
        ended = converse(hub, &node, &mut inbound, outgoing, registry, wanted, (log_requests, transfer_requests), &logs) => ended,
        () = replaced.cancelled() => Err(Status::aborted("a newer session of this node has taken its place")),
        () = hub.shutdown.cancelled() => Err(shutting_down()),
    };
    logs.close();
    if let Entry::Occupied(session) = hub.sessions.lock().entry(node.name.clone())
        && session.get().id == id
    {
        session.remove();
    }
    let how = ended.as_ref().err().map_or("the node ended it", |status| status.message());
    info!(node = node.name, how, "session ends");
    // A node that was silent has had its time; one whose stream broke may be about to dial again.
    let silent = ended.as_ref().is_err_and(|status| status.code() == tonic::Code::DeadlineExceeded);
    let grace = if silent { Duration::ZERO } else { hub.config.heartbeat };
    hub.tasks.spawn(presence::gone(hub.clone(), node.name, grace));
    ended
}

#[expect(clippy::too_many_arguments, reason = "the ends of one session, taken apart here and nowhere else")]
async fn converse(
    hub: &Arc<Inner>,
    node: &Registration,
    inbound: &mut Streaming<NodeMessage>,
    outgoing: &Outgoing,
    registry: String,
    wanted: watch::Receiver<Option<Desired>>,
    requests: (LogRequests, TransferRequests),
    logs: &Logs,
) -> Result<(), Status> {
    presence::arrived(hub, node).await?;
    let heartbeat_millis = u32::try_from(hub.config.heartbeat.as_millis()).unwrap_or(u32::MAX);
    send(outgoing, manager_message::Message::Welcome(Welcome { registry, heartbeat_millis })).await?;
    hub.view.touch();
    tokio::select! {
        ended = tell(outgoing, wanted, requests) => ended,
        ended = listen(hub, &node.name, inbound, logs) => ended,
    }
}

/// Tell the node what is wanted of it, each time that has changed, and which logs and samples are asked for.
async fn tell(
    outgoing: &Outgoing,
    mut wanted: watch::Receiver<Option<Desired>>,
    (mut log_requests, mut transfer_requests): (LogRequests, TransferRequests),
) -> Result<(), Status> {
    loop {
        tokio::select! {
            moved = wanted.changed() => {
                if moved.is_err() {
                    return Err(Status::aborted("a newer session of this node has taken its place"));
                }
                let latest = wanted.borrow_and_update().clone();
                if let Some(desired) = latest {
                    send(outgoing, manager_message::Message::Desired(desired)).await?;
                }
            }
            Some(request) = log_requests.recv() => {
                send(outgoing, manager_message::Message::Log(request)).await?;
            }
            Some(request) = transfer_requests.recv() => {
                send(outgoing, manager_message::Message::Transfer(request)).await?;
            }
        }
    }
}

async fn send(outgoing: &Outgoing, message: manager_message::Message) -> Result<(), Status> {
    let message = ManagerMessage { message: Some(message) };
    outgoing.send(Ok(message)).await.map_err(|_| Status::cancelled("the node has hung up"))
}

/// Hear the node until it ends the stream, breaks the protocol or is silent for too long.
async fn listen(
    hub: &Inner,
    node: &str,
    inbound: &mut Streaming<NodeMessage>,
    logs: &Logs,
) -> Result<(), Status> {
    loop {
        let message = timeout(hub.config.heartbeat * HEARTBEATS, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded(format!("nothing heard for {HEARTBEATS} heartbeats")))??;
        let Some(message) = message else { return Ok(()) };
        match message.message {
            Some(node_message::Message::Heartbeat(_)) => {}
            Some(node_message::Message::Status(status)) => hub.reports.take(&hub.view, node, status),
            Some(node_message::Message::Log(chunk)) => logs.take(chunk).await,
            Some(node_message::Message::Register(_)) => {
                return Err(Status::failed_precondition("a session registers once"));
            }
            None => debug!(node, "a message of a newer protocol is passed over"),
        }
    }
}
