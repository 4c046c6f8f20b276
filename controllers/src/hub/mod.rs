//! The manager's side of the node sessions: the gRPC service `sedge.node.v1.Hub`.
//!
//! ```text
//!  Workers, Datasets, EdgeNodes ─watch─▶ view ─▶ desired (pure) ─▶ session ══gRPC══▶ node
//!  Worker.status, Dataset.status ◀─ reports (latest wins, never back from final) ◀═══╡
//!  EdgeNode, its Ready condition ◀─ presence ◀─ a session begins or ends             │
//!  log route ─▶ logs ─▶ LogRequest ═══════════════════════════════════════▶ LogChunk ╯
//!  samples route ─▶ transfers ─▶ TransferRequest ══▶ node; it dials Transfer, a stream of its own
//! ```
//!
//! The hub holds no state that matters: what it wants of a node follows from the resources, what a node says
//! is written into them. The node dials; of two sessions under one name the newer stays.

mod desired;
mod log_route;
mod logs;
mod presence;
mod refusal;
mod register;
mod reports;
mod session;
mod status;
mod tokens;
mod transfer_route;
mod transfers;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use sedge_api::node::hub_server::HubServer;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use log_route::{LOG_PATH, log_router};
pub use logs::{LogError, LogStream};
pub use tokens::{FederationSecret, Token};
pub use transfer_route::{LABELLED_PATH, SAMPLES_PATH, transfer_router};

use session::Handle;
use view::View;

/// How the hub runs.
pub struct HubConfig {
    /// How often a node is to be heard of.
    pub heartbeat: Duration,
    /// Base address of the registry, as nodes reach it; absent, the address by which the node dialled.
    pub registry: Option<String>,
    /// What a node must present.
    pub join_token: Token,
    /// What the tokens of federations are made from.
    pub secret: FederationSecret,
}

/// The hub; clones are the same one.
#[derive(Clone)]
pub struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    config: HubConfig,
    view: View,
    reports: reports::Reports,
    sessions: Mutex<HashMap<String, Handle>>,
    transfers: transfers::Waiting,
    next: AtomicU64,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Hub {
    /// Start watching and serving; everything ends with `shutdown`.
    pub fn start(client: Client, config: HubConfig, shutdown: CancellationToken) -> Self {
        let inner = Arc::new(Inner {
            view: View::new(),
            reports: reports::Reports::default(),
            sessions: Mutex::default(),
            transfers: transfers::Waiting::default(),
            next: AtomicU64::new(1),
            tasks: TaskTracker::new(),
            client,
            config,
            shutdown,
        });
        view::watch(&inner);
        inner.tasks.spawn(view::plan(inner.clone()));
        inner.tasks.spawn(reports::write(inner.clone()));
        inner.tasks.spawn(presence::forget_unseen(inner.clone()));
        Self { inner }
    }

    /// The gRPC service.
    pub fn service(&self) -> HubServer<Self> {
        HubServer::new(self.clone())
    }

    /// Wait for every task to end, after `shutdown`.
    pub async fn join(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// The log of a worker: its last `tail` lines (0: all that its node keeps), and with `follow` those that
    /// come. Dropping the stream ends the request on the node too.
    pub fn logs(&self, node: &str, worker_uid: &str, tail: u32, follow: bool) -> Result<LogStream, LogError> {
        let sessions = self.inner.sessions.lock();
        let handle = sessions.get(node).ok_or_else(|| LogError::NotInTouch { node: node.to_owned() })?;
        handle.logs.request(self.inner.unique(), node, worker_uid, tail, follow)
    }
}

impl Inner {
    /// A number that this process has not used.
    fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}
