//! One session after the other with the manager's hub.

use std::sync::Arc;
use std::time::Duration;

use sedge_api::node::hub_client::HubClient;
use sedge_api::node::manager_message::Message as Down;
use sedge_api::node::node_message::Message as Up;
use sedge_api::node::{Heartbeat, ManagerMessage, NodeMessage, Register};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Streaming};

use super::backoff::Backoff;
use super::logs::LogRequests;
use crate::artifacts::Artifacts;
use crate::worker::{Board, Supervisor};

/// Messages that wait for the link.
const OUTBOX: usize = 32;
/// Status is said at most this often: what changes in between is one message.
const PACE: Duration = Duration::from_millis(100);
/// Bounds of what a manager may ask for as heartbeat.
const HEARTBEAT: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// How often a silent link is probed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
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
}

impl Link {
    /// Until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        loop {
            let mut welcomed = false;
            let why = tokio::select! {
                () = shutdown.cancelled() => return,
                why = self.session(&mut welcomed) => why,
            };
            if shutdown.is_cancelled() {
                return;
            }
            if welcomed {
                backoff.reset();
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
        match client.session(request).await {
            Ok(response) => self.converse(response.into_inner(), outbound, welcomed).await,
            Err(status) => format!("the manager says: {}", status.message()),
        }
    }

    async fn converse(
        &self,
        mut inbound: Streaming<ManagerMessage>,
        outbound: mpsc::Sender<NodeMessage>,
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
                            outbound.send(say(Up::Status(self.board.everything()))).await
                        }
                        Some(Down::Desired(desired)) => {
                            self.supervisor.desire(desired);
                            Ok(())
                        }
                        Some(Down::Log(request)) => {
                            logs.hear(&request, &self.supervisor);
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
                        Some(status) => outbound.send(say(Up::Status(status))).await,
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

fn say(message: Up) -> NodeMessage {
    NodeMessage { message: Some(message) }
}
