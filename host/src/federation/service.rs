//! The gRPC service `Federation/Join` of a node: it shows each participant to the aggregation of its job.
//!
//! [`Federation`] holds a [`Door`] per job that is aggregated here; the worker's supervisor opens and closes
//! them. Behind an open door waits [`super::aggregation`].

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use http::{Request, Response};
use parking_lot::Mutex;
use sedge_api::federation::aggregator_message::Message as Down;
use sedge_api::federation::participant_message::Message as Up;
use sedge_api::federation::{
    Accepted, AggregatorMessage, Finished, Hello, PROTOCOL, ParticipantMessage, ParticipantRole,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::frames::{self, Inbound};
use super::{FRAME, KEEP_ALIVE, WINDOW};

/// Messages that wait for one participant's link. Chunks are shared, so this bounds no copies.
const OUTBOX: usize = 4;
/// How long a caller may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);
/// Participants that wait to be seated by one aggregation.
const LOBBY: usize = 64;

/// A participant that has shown its token.
pub(crate) struct Guest {
    pub(super) worker: String,
    pub(super) node: String,
    pub(super) role: ParticipantRole,
    pub(super) inbound: Inbound<ParticipantMessage>,
    pub(super) outbound: mpsc::Sender<Result<AggregatorMessage, Status>>,
}

/// Participants as they come.
pub(crate) type Guests = mpsc::Receiver<Guest>;

/// What a participant of a job finds here.
#[derive(Clone)]
pub(crate) enum Door {
    /// Its aggregation.
    Open(mpsc::Sender<Guest>),
    /// The job has ended well.
    Finished {
        /// Rounds closed.
        rounds: u32,
    },
    /// The job has failed.
    Failed(String),
}

impl Door {
    /// An open door, and where those who come through it arrive.
    pub(crate) fn open() -> (Self, Guests) {
        let (sender, guests) = mpsc::channel(LOBBY);
        (Self::Open(sender), guests)
    }
}

/// The jobs aggregated on this node; clone shares them.
#[derive(Clone, Default)]
pub struct Federation {
    /// By the job's uid.
    doors: Arc<Mutex<HashMap<String, Entrance>>>,
}

struct Entrance {
    /// Uid of the aggregating worker whose door this is.
    worker: String,
    token: String,
    door: Door,
}

impl Federation {
    /// Set what participants of the job find who present `token`. A job has one aggregation: what another of
    /// its workers opens takes the place of this, but one that has ended does not close another's door.
    pub(crate) fn set(&self, job_uid: &str, worker: &str, token: &str, door: Door) {
        let mut doors = self.doors.lock();
        let others = doors.get(job_uid).is_some_and(|entrance| entrance.worker != worker);
        if !others || matches!(door, Door::Open(_)) {
            let (worker, token) = (worker.to_owned(), token.to_owned());
            doors.insert(job_uid.to_owned(), Entrance { worker, token, door });
        }
    }

    /// The job is aggregated by this worker no more.
    pub(crate) fn close(&self, job_uid: &str, worker: &str) {
        let mut doors = self.doors.lock();
        if doors.get(job_uid).is_some_and(|entrance| entrance.worker == worker) {
            doors.remove(job_uid);
        }
    }

    /// Answer participants on `listener` until `shutdown`.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let incoming = TcpListenerStream::new(listener).inspect(|socket| {
            if let Ok(socket) = socket {
                // Nagle's algorithm off; a socket that refuses is served none the less.
                let _ = socket.set_nodelay(true);
            }
        });
        tonic::transport::Server::builder()
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_frame_size(FRAME)
            // A participant has one stream; a few more for its next try before the last is noticed.
            .max_concurrent_streams(8)
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .http2_keepalive_timeout(Some(KEEP_ALIVE))
            .add_service(Calls(self.clone()))
            .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
            .await
    }

    pub(super) fn door(&self, hello: &Hello) -> Result<Door, Status> {
        if hello.protocol != PROTOCOL {
            let text = format!("protocol {} is not spoken here; {PROTOCOL} is", hello.protocol);
            return Err(Status::failed_precondition(text));
        }
        let doors = self.doors.lock();
        let Some(Entrance { token, door, .. }) = doors.get(&hello.job_uid) else {
            return Err(Status::not_found("no such job is aggregated here"));
        };
        // Hashes of equal length, compared in constant time: nothing of the token shows in the time it takes.
        if blake3::hash(token.as_bytes()) != blake3::hash(hello.token.as_bytes()) {
            return Err(Status::unauthenticated("the token is not this job's"));
        }
        Ok(door.clone())
    }

    /// Hear who it is, and show it to its aggregation.
    async fn join(
        &self,
        mut inbound: Inbound<ParticipantMessage>,
    ) -> Result<mpsc::Receiver<Result<AggregatorMessage, Status>>, Status> {
        let first = tokio::time::timeout(HELLO, inbound.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello came"))??;
        let Some(ParticipantMessage { message: Some(Up::Hello(hello)) }) = first else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let door = self.door(&hello)?;
        let role = match hello.role() {
            ParticipantRole::Unspecified => return Err(Status::invalid_argument("Hello names no role")),
            role => role,
        };
        let (outbound, messages) = mpsc::channel(OUTBOX);
        let say = |message| Ok(AggregatorMessage { message: Some(message) });
        match door {
            Door::Open(aggregation) => {
                let guest = Guest { worker: hello.worker, node: hello.node, role, inbound, outbound };
                aggregation.try_send(guest).map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => Status::resource_exhausted("too many at once"),
                    mpsc::error::TrySendError::Closed(_) => Status::not_found("the aggregation is ending"),
                })?;
            }
            Door::Finished { rounds } => {
                let reason = "Finished".to_owned();
                // The channel is empty and holds `OUTBOX` messages.
                let _ = outbound.try_send(say(Down::Accepted(Accepted {})));
                let _ = outbound.try_send(say(Down::Finished(Finished { rounds, reason })));
            }
            Door::Failed(why) => {
                return Err(Status::failed_precondition(format!("the job has failed: {why}")));
            }
        }
        Ok(messages)
    }
}

/// The service as HTTP has it.
#[derive(Clone)]
struct Calls(Federation);

impl NamedService for Calls {
    const NAME: &'static str = "sedge.federation.v1.Federation";
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let federation = self.0.clone();
        Box::pin(async move {
            let answered = match frames::is_join(&request) {
                Ok(()) => federation.join(Inbound::new(request.into_body())).await,
                Err(status) => Err(status),
            };
            Ok(match answered {
                Ok(messages) => frames::answer(ReceiverStream::new(messages)),
                Err(status) => status.into_http(),
            })
        })
    }
}
