//! A node put together: its directory, its parts, the tasks that run them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;
use sedge_api::{is_dns_label, node};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;

use crate::artifacts::{ArtifactError, Artifacts};
use crate::federation::Federation;
use crate::labelling::Desk;
use crate::learning::Deployments;
use crate::link::Link;
use crate::machine;
use crate::nn::{EngineSettings, Graphs};
use crate::runtime::{Failure, Runtime};
use crate::serving::protocol::{self, Limits};
use crate::serving::{Services, Threads};
use crate::worker::{Board, Context, Shelf, Supervisor};

/// What a node is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Holds data: trains and evaluates.
    Edge,
    /// Is reached by other nodes: aggregates.
    Cloud,
}

/// How a node is to be started.
#[derive(Clone)]
pub struct NodeConfig {
    /// Name of its EdgeNode, a DNS label.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// Labels of its EdgeNode.
    pub labels: BTreeMap<String, String>,
    /// Its own directory, made where there is none; one process at a time.
    pub data: PathBuf,
    /// The directory that its datasets lie below, made where there is none.
    pub datasets: PathBuf,
    /// The manager, as `http://host:port`.
    pub manager: String,
    /// What lets it in; shown to the hub and the registry.
    pub join_token: String,
    /// Where a cloud node listens for participants.
    pub federation_listen: SocketAddr,
    /// How other nodes reach that, as `http://host:port`; absent: by the address listened on.
    pub federation_advertise: Option<String>,
    /// Where it answers the Open Inference Protocol, REST and gRPC; absent: it does not serve.
    pub serving_listen: Option<SocketAddr>,
    /// How applications and other nodes reach that, as `http://host:port`; absent: by the address listened on.
    pub serving_advertise: Option<String>,
    /// Its tensor engines.
    pub engines: EngineSettings,
    /// Shared by nodes in one process; absent: one of its own.
    pub runtime: Option<Runtime>,
}

/// Why a node did not start or did not go on.
#[derive(Debug, Error)]
pub enum NodeError {
    /// A setting that cannot be.
    #[error("{setting}: {why}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// A directory or file.
    #[error("{path}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{0} is in use by another node: end that one, or choose another directory")]
    InUse(PathBuf),
    /// The federation's port, or that of serving.
    #[error("cannot listen for {whom} on {address}: {source}")]
    Listen {
        /// Participants or requests.
        whom: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The artifact store.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    /// The WebAssembly engine.
    #[error("the WebAssembly runtime did not start: {0}")]
    Runtime(#[from] Failure),
    /// The federation's server.
    #[error("the federation service ended: {0}")]
    Federation(#[from] tonic::transport::Error),
    /// The server of requests.
    #[error("the threads that answer requests do not start: {0}")]
    Serving(io::Error),
    /// A defect of this program, whose message went to the error output.
    #[error("a part of the node broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// A node that runs until its shutdown token is cancelled.
pub struct Node {
    address: SocketAddr,
    serving_address: Option<SocketAddr>,
    /// Ends this node's parts alone; `shutdown` may be shared with other nodes.
    parts: CancellationToken,
    tasks: JoinSet<Result<(), NodeError>>,
    /// Locked for as long as the node lives.
    _lock: File,
}

impl Node {
    /// Start all parts; the manager need not be there. `shutdown` ends them.
    pub async fn start(config: NodeConfig, shutdown: CancellationToken) -> Result<Self, NodeError> {
        if !is_dns_label(&config.name) {
            let why =
                format!("`{}` must be lower-case letters, digits and inner `-`, at most 63", config.name);
            return Err(NodeError::Setting { setting: "name of the node", why });
        }
        let manager = Endpoint::from_shared(config.manager.clone()).map_err(|error| NodeError::Setting {
            setting: "address of the manager",
            why: format!("`{}` must be like http://host:port ({error})", config.manager),
        })?;
        let authorization = match config.join_token.as_str() {
            "" => None,
            token => {
                Some(MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| NodeError::Setting {
                    setting: "join token",
                    why: "it must be visible ASCII characters".to_owned(),
                })?)
            }
        };

        let (data, lock) = directory(&config.data, true)?;
        let (datasets, _) = directory(&config.datasets, false)?;
        let disk = |path: &Path| {
            let path = path.to_owned();
            move |source| NodeError::Disk { path, source }
        };
        let runtime = match config.runtime.clone() {
            Some(runtime) => runtime,
            None => Runtime::new(&config.data.join("cache"), Arc::new(Graphs::with(&config.engines)))?,
        };
        let artifacts = Artifacts::open(&data, config.join_token.clone())?;
        let board = Arc::new(Board::default());
        let federation = Federation::default();
        let services = Services::default();
        let mut tasks = JoinSet::new();
        // Ends the parts that were started if a later one fails, too.
        let parts = shutdown.child_token();
        let guard = parts.clone().drop_guard();

        let (address, reached) = match config.role {
            Role::Edge => (config.federation_listen, String::new()),
            Role::Cloud => {
                let advertised = config.federation_advertise.clone();
                let (listener, address, reached) = listen(
                    "participants",
                    config.federation_listen,
                    advertised,
                    "advertised federation address",
                )
                .await?;
                let (federation, parts) = (federation.clone(), parts.clone());
                tasks.spawn(async move { Ok(federation.serve(listener, parts).await?) });
                (address, reached)
            }
        };

        let (serving_address, served_at) = match config.serving_listen {
            None => (None, String::new()),
            Some(address) => {
                let advertised = config.serving_advertise.clone();
                let (listener, address, reached) =
                    listen("requests", address, advertised, "advertised serving address").await?;
                let threads = std::thread::available_parallelism().map_or(1, usize::from);
                let threads = Threads::start(threads, runtime.graphs()).map_err(NodeError::Serving)?;
                let (services, parts) = (services.clone(), parts.clone());
                tasks.spawn(async move {
                    protocol::serve(listener, services, threads, Limits::default(), parts).await;
                    Ok(())
                });
                (Some(address), reached)
            }
        };

        let shelf = Shelf::new(datasets, Arc::clone(&board), parts.clone());
        let desk = Arc::new(Desk::open(&data, Arc::clone(&shelf)).map_err(disk(&config.data))?);
        let engines = runtime.graphs().engines();
        let artifacts_of_workers = Arc::clone(&artifacts);
        let context = Context {
            node: config.name.clone(),
            artifacts: artifacts_of_workers,
            runtime,
            shelf,
            federation,
            services,
            deployments: Arc::new(
                Deployments::open(data.try_clone().map_err(disk(&config.data))?)
                    .map_err(disk(&config.data))?,
            ),
            records: Arc::new(data.try_clone().map_err(disk(&config.data))?),
        };
        let supervisor = Supervisor::new(data, context, Arc::clone(&board)).map_err(disk(&config.data))?;
        let supervised = Arc::clone(&supervisor).run(parts.clone());
        tasks.spawn(async move {
            supervised.await;
            Ok(())
        });

        let mut register = node::Register {
            protocol: node::PROTOCOL,
            node: config.name,
            labels: config.labels.into_iter().collect(),
            federation_endpoint: reached,
            serving_endpoint: served_at,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cpus: std::thread::available_parallelism()
                .map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
            memory_bytes: machine::memory_bytes(),
            engines,
            ..node::Register::default()
        };
        register.set_role(match config.role {
            Role::Edge => node::NodeRole::Edge,
            Role::Cloud => node::NodeRole::Cloud,
        });
        let link = Link { endpoint: manager, authorization, register, artifacts, supervisor, board, desk };
        let linked = link.run(parts.clone());
        tasks.spawn(async move {
            linked.await;
            Ok(())
        });
        // From here on the parts end with `shutdown` or with the node.
        guard.disarm();
        Ok(Self { address, serving_address, parts, tasks, _lock: lock })
    }

    /// Where a cloud node listens for participants; of an edge node, which does not, what was configured.
    pub fn federation_address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers requests; none: it does not.
    pub fn serving_address(&self) -> Option<SocketAddr> {
        self.serving_address
    }

    /// Until all parts have ended: after `shutdown`, or because one cannot go on; gives why the first did not.
    pub async fn wait(mut self) -> Result<(), NodeError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            // A part that ends takes the others with it: a node that does half its work is not seen to be ill.
            self.parts.cancel();
            outcome = outcome.and(ended.map_err(NodeError::from).flatten());
        }
        outcome
    }
}

/// Listen on `address`; beside it, how others reach that: as `advertised`, or by the address itself.
async fn listen(
    whom: &'static str,
    address: SocketAddr,
    advertised: Option<String>,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr, String), NodeError> {
    let failed = |source| NodeError::Listen { whom, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let reached = match advertised {
        Some(advertised) => advertised,
        None if bound.ip().is_unspecified() => {
            let why = format!("{bound} says nothing to other nodes: name the address to reach it by");
            return Err(NodeError::Setting { setting, why });
        }
        None => format!("http://{bound}"),
    };
    Ok((listener, bound, reached))
}

/// Make and open a directory; `alone`: and keep other users and processes out of it. The file must be kept open.
fn directory(path: &Path, alone: bool) -> Result<(Dir, File), NodeError> {
    let disk = |source| NodeError::Disk { path: path.to_owned(), source };
    let mut maker = std::fs::DirBuilder::new();
    maker.recursive(true);
    #[cfg(unix)]
    if alone {
        // Definitions of workers are kept there, and with them the secrets of their jobs.
        std::os::unix::fs::DirBuilderExt::mode(&mut maker, 0o700);
    }
    maker.create(path).map_err(disk)?;
    let dir = Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(disk)?;
    if !alone {
        let file = dir.try_clone().map_err(disk)?.into_std_file();
        return Ok((dir, file));
    }
    let lock =
        File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(disk)?;
    match lock.try_lock() {
        Ok(()) => Ok((dir, lock)),
        Err(std::fs::TryLockError::WouldBlock) => Err(NodeError::InUse(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(disk(source)),
    }
}
