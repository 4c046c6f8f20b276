//! A whole node, started and ended as `sedge node` does it; the other end of its session is held by the test.

#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sedge_api::Digest;
use sedge_api::node::hub_server::{Hub, HubServer};
use sedge_api::node::manager_message::Message as Down;
use sedge_api::node::node_message::Message as Up;
use sedge_api::node::{
    self, Desired, ManagerMessage, ManagerPiece, NodeMessage, NodePiece, Register, Status, Welcome,
    WorkerPhase, WorkerRole,
};
use sedge_host::nn::EngineSettings;
use sedge_host::{Node, NodeConfig, NodeError, Role};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Streaming};

/// Nothing here takes that long unless it never comes.
const LONG: Duration = Duration::from_secs(30);

/// One session as the manager has it.
struct Session {
    token: String,
    node: Streaming<NodeMessage>,
    manager: mpsc::Sender<Result<ManagerMessage, tonic::Status>>,
}

/// Hands each session to the test.
struct Manager(mpsc::Sender<Session>);

#[tonic::async_trait]
impl Hub for Manager {
    type SessionStream = ReceiverStream<Result<ManagerMessage, tonic::Status>>;
    type TransferStream = ReceiverStream<Result<ManagerPiece, tonic::Status>>;

    async fn session(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::SessionStream>, tonic::Status> {
        let token = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        let (manager, messages) = mpsc::channel(8);
        self.0.send(Session { token, node: request.into_inner(), manager }).await.unwrap();
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn transfer(
        &self,
        _: Request<Streaming<NodePiece>>,
    ) -> Result<Response<Self::TransferStream>, tonic::Status> {
        Err(tonic::Status::not_found("nobody asked for samples"))
    }
}

async fn manager() -> (String, mpsc::Receiver<Session>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, sessions) = mpsc::channel(8);
    let server = tonic::transport::Server::builder().add_service(HubServer::new(Manager(sender)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, sessions)
}

impl Session {
    async fn hear(&mut self) -> Up {
        let message = timeout(LONG, self.node.message()).await.expect("it says something");
        message.unwrap().expect("the session goes on").message.unwrap()
    }

    async fn say(&self, message: Down) {
        self.manager.send(Ok(ManagerMessage { message: Some(message) })).await.unwrap();
    }

    /// Hear who it is and let it in.
    async fn welcome(&mut self) -> Register {
        let Up::Register(register) = self.hear().await else { panic!("not Register") };
        // Nothing is fetched here, so nothing need listen there.
        let registry = "http://127.0.0.1:9".to_owned();
        self.say(Down::Welcome(Welcome { registry, heartbeat_millis: 100 })).await;
        register
    }

    /// The next status that says something of a worker.
    async fn worker(&mut self) -> node::WorkerStatus {
        loop {
            if let Up::Status(Status { mut workers, .. }) = self.hear().await
                && let Some(worker) = workers.pop()
            {
                return worker;
            }
        }
    }
}

fn config(name: &str, role: Role, folder: &Path, manager: &str) -> NodeConfig {
    NodeConfig {
        name: name.to_owned(),
        role,
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        data: folder.join("data"),
        datasets: folder.join("datasets"),
        manager: manager.to_owned(),
        join_token: "join".to_owned(),
        federation_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        federation_advertise: None,
        serving_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        serving_advertise: None,
        engines: EngineSettings::builtin(1),
        runtime: None,
    }
}

async fn end(node: Node, shutdown: &CancellationToken) {
    shutdown.cancel();
    timeout(LONG, node.wait()).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_node_says_who_it_is_and_what_became_of_its_workers_to_each_session() {
    let (address, mut sessions) = manager().await;
    let folder = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let config = config("cloud-1", Role::Cloud, folder.path(), &address);
    let node = Node::start(config, shutdown.clone()).await.unwrap();

    let mut session = timeout(LONG, sessions.recv()).await.unwrap().unwrap();
    assert_eq!(session.token, "Bearer join");
    let register = session.welcome().await;
    assert_eq!((register.node.as_str(), register.role()), ("cloud-1", node::NodeRole::Cloud));
    assert_eq!(register.federation_endpoint, format!("http://{}", node.federation_address()));
    assert_eq!(register.labels["zone"], "a");

    let wrong = node::Worker {
        uid: "w".to_owned(),
        name: "trainer".to_owned(),
        role: WorkerRole::Trainer.into(),
        plugin: Some(node::Artifact {
            repository: "plugins/p".to_owned(),
            digest: Digest::of(b"p").to_string(),
        }),
        ..node::Worker::default()
    };
    session.say(Down::Desired(Desired { workers: vec![wrong], datasets: Vec::new() })).await;
    let failed = loop {
        let worker = session.worker().await;
        if worker.phase() == WorkerPhase::Failed {
            break worker;
        }
    };
    assert_eq!((failed.uid.as_str(), failed.reason.as_str()), ("w", "InvalidDefinition"));
    assert!(failed.message.contains("limits"), "{}", failed.message);

    drop(session);
    let mut again = timeout(LONG, sessions.recv()).await.unwrap().unwrap();
    assert_eq!(again.welcome().await.node, "cloud-1");
    assert_eq!(again.worker().await, failed, "all of it is said again");
    end(node, &shutdown).await;
}

#[tokio::test]
async fn a_directory_has_one_node_at_a_time_and_needs_no_manager() {
    let folder = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let config = config("edge-1", Role::Edge, folder.path(), "http://127.0.0.1:9");
    let node = Node::start(config.clone(), shutdown.clone()).await.unwrap();
    let second = Node::start(config.clone(), shutdown.clone()).await;
    assert!(matches!(second.err(), Some(NodeError::InUse(path)) if path == folder.path().join("data")));
    end(node, &shutdown).await;
    let shutdown = CancellationToken::new();
    end(Node::start(config, shutdown.clone()).await.unwrap(), &shutdown).await;
}

#[cfg(unix)]
#[tokio::test]
async fn what_a_node_keeps_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let config = config("edge-1", Role::Edge, folder.path(), "http://127.0.0.1:9");
    let node = Node::start(config, shutdown.clone()).await.unwrap();
    let mode = std::fs::metadata(folder.path().join("data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    end(node, &shutdown).await;
}

#[tokio::test]
async fn a_setting_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut NodeConfig);
    let cases: [(Change, &str); 4] = [
        (|config| config.name = "Edge 1".to_owned(), "name of the node"),
        (|config| config.manager = "not an address".to_owned(), "address of the manager"),
        (|config| config.join_token = "a\nb".to_owned(), "join token"),
        (
            |config| config.federation_listen = SocketAddr::from(([0, 0, 0, 0], 0)),
            "advertised federation address",
        ),
    ];
    for (change, named) in cases {
        let mut config = config("cloud-1", Role::Cloud, folder.path(), "http://127.0.0.1:9");
        change(&mut config);
        match Node::start(config, CancellationToken::new()).await.err() {
            Some(NodeError::Setting { setting, .. }) => assert_eq!(setting, named),
            other => panic!("{named}: {other:?}"),
        }
    }
}
