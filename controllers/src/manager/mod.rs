//! The GlobalManager, put together: API server, registry, hub and controllers, on two listeners.
//!
//! ```text
//!  listen       kubectl, CLI ─▶ Kubernetes API · …/workers/NAME/log, …/datasets/NAME/samples · /v2/ (registry)   bearer api-token
//!  node_listen  nodes ────────▶ gRPC sedge.node.v1.Hub · /v2/ (registry)               bearer join-token
//!  in process   federated, joint, incremental, catalog ─▶ kube::Client ─▶ the API server, or a cluster's
//! ```
//!
//! Called by the binary and by tests.

mod data;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt as _;
use kube::Client;
use serde_json::json;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::apiserver::{ApiServer, StoreError};
use crate::hub::{Hub, HubConfig, Token, log_router, transfer_router};
use crate::registry::{Access, Registry, RegistryError};
use crate::{catalog, federated, incremental, joint};
use data::DataDir;

/// How long connections may take to end at shutdown.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a manager runs.
#[derive(Clone)]
pub struct ManagerConfig {
    /// The data directory; made where it is not there.
    pub data: PathBuf,
    /// Where people's tools reach the API and the registry. Port 0: any free port.
    pub listen: SocketAddr,
    /// Where nodes reach the hub and the registry. Port 0: any free port.
    pub node_listen: SocketAddr,
    /// Base address of `node_listen` as nodes reach it, e.g. `http://10.0.0.1:7400`; absent, each node goes on
    /// with the address by which it dialled.
    pub advertise: Option<String>,
    /// How often nodes are to be heard of.
    pub heartbeat: Duration,
    /// A cluster's API server, with our definitions installed, in place of the embedded one.
    pub kube: Option<Client>,
}

impl ManagerConfig {
    /// On loopback, any free ports, with the embedded API server.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data: data.into(),
            listen: loopback,
            node_listen: loopback,
            advertise: None,
            heartbeat: Duration::from_secs(5),
            kube: None,
        }
    }
}

/// Why a manager did not start, or ended.
#[derive(Debug, Error)]
pub enum ManagerError {
    /// Something in the data directory.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Data {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has the data directory.
    #[error(
        "another manager is running on {}: stop it, or choose another data directory",
        data.display()
    )]
    InUse {
        /// The data directory.
        data: PathBuf,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The API server's database.
    #[error("cannot open the API server's database: {0}")]
    Store(#[from] StoreError),
    /// The registry's store.
    #[error("cannot open the registry: {0}")]
    Registry(#[from] RegistryError),
    /// A part ended that is to run as long as the manager does.
    #[error("the {part} ended unexpectedly{}", cause.as_ref().map(|c| format!(": {c}")).unwrap_or_default())]
    Ended {
        /// Which.
        part: &'static str,
        /// Why, if it said.
        cause: Option<io::Error>,
    },
    /// A defect in a part.
    #[error("a part of the manager failed: {0}")]
    Defect(#[from] JoinError),
}

impl ManagerError {
    fn data(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Data { what, path: path.to_owned(), source }
    }
}

/// A running manager.
pub struct Manager {
    address: SocketAddr,
    node_address: SocketAddr,
    api_token: String,
    join_token: String,
    client: Client,
    shutdown: CancellationToken,
    parts: JoinSet<Result<(), ManagerError>>,
    /// Holds the lock as long as the manager runs.
    _data: DataDir,
}

impl Manager {
    /// Open the data directory, listen, and start every part.
    pub async fn start(config: ManagerConfig, shutdown: CancellationToken) -> Result<Self, ManagerError> {
        let path = config.data.clone();
        let embedded = config.kube.is_none();
        let opened = tokio::task::spawn_blocking(move || Opened::open(&path, embedded)).await??;
        let Opened { data, api, registry, api_token, join_token, secret } = opened;
        let client = match (&config.kube, &api) {
            (Some(client), _) => client.clone(),
            (None, Some(api)) => api.client("default"),
            (None, None) => unreachable!("the API server was opened, as no cluster is configured"),
        };
        let (listener, address) = listen(config.listen).await?;
        let (node_listener, node_address) = listen(config.node_listen).await?;

        // Of this manager alone: the caller's token ends it, its own failure does not end the caller.
        let shutdown = shutdown.child_token();
        let hub = Hub::start(
            client.clone(),
            HubConfig {
                heartbeat: config.heartbeat,
                registry: config.advertise,
                join_token: Token::new(&join_token),
                secret,
            },
            shutdown.clone(),
        );
        let access = |token: &str| Access { token: Some(token.to_owned()), ..Access::default() };
        let token = Token::new(&api_token);
        let mut routes = registry
            .router(access(&api_token))
            .merge(log_router(hub.clone(), client.clone(), token.clone()))
            .merge(transfer_router(hub.clone(), client.clone(), token));
        if let Some(api) = &api {
            routes = routes.fallback_service(api.router_with_token(&api_token));
        }
        // Nodes pull whatever they run, and push the models that jobs result in.
        let node_access = Access { writes_below: Some("models/"), ..access(&join_token) };
        let node_routes = registry.router(node_access).merge(hub.router());

        let mut parts = JoinSet::new();
        parts.spawn(serve("API listener", listener, routes, shutdown.clone()));
        parts.spawn(serve("node listener", node_listener, node_routes, shutdown.clone()));
        parts.spawn(part(
            "federated controller",
            federated::run(client.clone(), shutdown.clone()),
            &shutdown,
        ));
        parts.spawn(part("joint controller", joint::run(client.clone(), shutdown.clone()), &shutdown));
        parts.spawn(part(
            "incremental controller",
            incremental::run(client.clone(), shutdown.clone()),
            &shutdown,
        ));
        parts.spawn(part(
            "plugin controller",
            catalog::run_plugins(client.clone(), registry.clone(), shutdown.clone()),
            &shutdown,
        ));
        parts.spawn(part(
            "model controller",
            catalog::run_models(client.clone(), registry, shutdown.clone()),
            &shutdown,
        ));
        parts.spawn(part(
            "engines of models",
            catalog::run_engines(client.clone(), shutdown.clone()),
            &shutdown,
        ));
        let ending = shutdown.clone();
        parts.spawn(async move {
            ending.cancelled().await;
            if let Some(api) = api {
                api.end_watches();
            }
            hub.join().await;
            Ok(())
        });

        let manager =
            Self { address, node_address, api_token, join_token, client, shutdown, parts, _data: data };
        if embedded {
            manager._data.write("kubeconfig", &manager.kubeconfig())?;
        }
        info!(%address, %node_address, "the manager is up");
        Ok(manager)
    }

    /// Where the API and the registry are.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where nodes dial.
    pub fn node_address(&self) -> SocketAddr {
        self.node_address
    }

    /// What the API and its registry ask for.
    pub fn api_token(&self) -> &str {
        &self.api_token
    }

    /// What the hub and its registry ask nodes for.
    pub fn join_token(&self) -> &str {
        &self.join_token
    }

    /// A client of the API that the controllers use.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A kubeconfig, in YAML, for the embedded API server; DATA/kubeconfig holds the same.
    pub fn kubeconfig(&self) -> String {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sedge", "cluster": {"server": format!("http://{}", dialled(self.address))}}],
            "users": [{"name": "sedge", "user": {"token": self.api_token}}],
            "contexts": [
                {"name": "sedge", "context": {"cluster": "sedge", "user": "sedge", "namespace": "default"}},
            ],
            "current-context": "sedge",
        });
        serde_yaml_ng::to_string(&config).expect("a JSON value of strings is YAML")
    }

    /// Until shutdown, or until a part fails, which ends the others too.
    pub async fn wait(mut self) -> Result<(), ManagerError> {
        let mut outcome = Ok(());
        loop {
            let ended = tokio::select! {
                ended = self.parts.join_next() => ended,
                () = self.shutdown.cancelled() => break,
            };
            match ended {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => outcome = Err(error),
                Some(Err(defect)) => outcome = Err(defect.into()),
                None => break,
            }
            if outcome.is_err() {
                break;
            }
        }
        self.shutdown.cancel();
        let rest = async {
            while let Some(ended) = self.parts.join_next().await {
                if let Ok(Err(error)) = ended {
                    debug!(%error, "while ending");
                }
            }
        };
        if tokio::time::timeout(FAREWELL, rest).await.is_err() {
            // A client that reads nothing must not keep the manager from ending.
            warn!("connections were still open at the end");
            self.parts.shutdown().await;
        }
        outcome
    }
}

/// What is read from the data directory before anything runs.
struct Opened {
    data: DataDir,
    api: Option<ApiServer>,
    registry: Registry,
    api_token: String,
    join_token: String,
    secret: crate::hub::FederationSecret,
}

impl Opened {
    fn open(path: &Path, embedded: bool) -> Result<Self, ManagerError> {
        let data = DataDir::open(path)?;
        let api = match embedded {
            true => Some(ApiServer::open(&data.database(), sedge_api::resources::definitions())?),
            false => None,
        };
        Ok(Self {
            api,
            registry: Registry::open(data.registry()?)?,
            api_token: data.token("api-token")?,
            join_token: data.token("join-token")?,
            secret: data.federation_secret()?,
            data,
        })
    }
}

/// Where this machine reaches what listens on `address`: one that stands for all of its addresses is none to dial.
pub fn dialled(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        one => one,
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ManagerError> {
    let failed = |source| ManagerError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// HTTP/1 and HTTP/2 without TLS on one port.
async fn serve(
    part: &'static str,
    listener: TcpListener,
    routes: Router,
    shutdown: CancellationToken,
) -> Result<(), ManagerError> {
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            debug!(%error, "a connection keeps its delay");
        }
    });
    let served =
        axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned()).await;
    match served {
        Ok(()) if shutdown.is_cancelled() => Ok(()),
        served => Err(ManagerError::Ended { part, cause: served.err() }),
    }
}

/// A part that is to run until shutdown.
fn part(
    part: &'static str,
    running: impl Future<Output = ()> + Send + 'static,
    shutdown: &CancellationToken,
) -> impl Future<Output = Result<(), ManagerError>> + Send + 'static {
    let shutdown = shutdown.clone();
    async move {
        running.await;
        match shutdown.is_cancelled() {
            true => Ok(()),
            false => Err(ManagerError::Ended { part, cause: None }),
        }
    }
}

#[cfg(test)]
mod tests;
