//! A node, as far as the manager can tell: the real gRPC client, with a test for its will.

use std::time::Duration;

use sedge_api::node::hub_client::HubClient;
use sedge_api::node::{
    Desired, LogChunk, LogRequest, ManagerMessage, NodeMessage, NodeRole, PROTOCOL, Register, Status,
    TransferRequest, Welcome, manager_message, node_message,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::super::Manager;

/// No condition takes longer, or the test fails.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Node {
    outgoing: mpsc::Sender<NodeMessage>,
    inbound: Streaming<ManagerMessage>,
    pub welcome: Welcome,
}

impl Node {
    /// Register, and hear Welcome.
    pub async fn dial(manager: &Manager, name: &str, role: NodeRole) -> Self {
        Self::dial_with(manager, manager.join_token(), name, role).await.unwrap()
    }

    pub async fn dial_with(
        manager: &Manager,
        token: &str,
        name: &str,
        role: NodeRole,
    ) -> Result<Self, tonic::Status> {
        let mut client = HubClient::connect(format!("http://{}", manager.node_address())).await.unwrap();
        let (outgoing, messages) = mpsc::channel(16);
        let register = Register {
            protocol: PROTOCOL,
            node: name.to_owned(),
            role: role.into(),
            federation_endpoint: format!("http://{name}.test:7003"),
            serving_endpoint: format!("http://{name}.test:7500"),
            ..Register::default()
        };
        let first = NodeMessage { message: Some(node_message::Message::Register(register)) };
        outgoing.send(first).await.unwrap();
        let mut request = tonic::Request::new(ReceiverStream::new(messages));
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut inbound = client.session(request).await?.into_inner();
        match next(&mut inbound).await? {
            Some(manager_message::Message::Welcome(welcome)) => Ok(Self { outgoing, inbound, welcome }),
            other => panic!("no Welcome but {other:?}"),
        }
    }

    /// The first Desired that is as it should be.
    pub async fn desired(&mut self, holds: impl Fn(&Desired) -> bool) -> Desired {
        loop {
            if let Some(manager_message::Message::Desired(desired)) = next(&mut self.inbound).await.unwrap()
                && holds(&desired)
            {
                return desired;
            }
        }
    }

    pub async fn log_request(&mut self) -> LogRequest {
        loop {
            if let Some(manager_message::Message::Log(request)) = next(&mut self.inbound).await.unwrap() {
                return request;
            }
        }
    }

    pub async fn transfer_request(&mut self) -> TransferRequest {
        loop {
            if let Some(manager_message::Message::Transfer(request)) = next(&mut self.inbound).await.unwrap()
            {
                return request;
            }
        }
    }

    /// How the manager ends the session.
    pub async fn end(mut self) -> tonic::Status {
        loop {
            match next(&mut self.inbound).await {
                Ok(_) => {}
                Err(status) => return status,
            }
        }
    }

    pub async fn say(&self, status: Status) {
        self.send(node_message::Message::Status(status)).await;
    }

    pub async fn log(&self, chunk: LogChunk) {
        self.send(node_message::Message::Log(chunk)).await;
    }

    async fn send(&self, message: node_message::Message) {
        self.outgoing.send(NodeMessage { message: Some(message) }).await.unwrap();
    }
}

async fn next(
    inbound: &mut Streaming<ManagerMessage>,
) -> Result<Option<manager_message::Message>, tonic::Status> {
    let message = timeout(DEADLINE, inbound.message()).await.expect("the manager says something in time")?;
    Ok(message.expect("the manager does not end a session without a status").message)
}
