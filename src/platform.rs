//! Starting the parts that run: the manager and nodes. `up`, `manager` and `node` call this; what a part is
//! configured with is its own affair, what people may choose is in the options here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use sedge_controllers::manager::{Manager, ManagerConfig, ManagerError};
use sedge_host::nn::{EngineSettings, Graphs};
use sedge_host::runtime::Runtime;
use sedge_host::{Node, NodeConfig};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::server::DATA;

/// Where the manager listens and keeps its data.
#[derive(Debug, Clone, clap::Args)]
pub struct ManagerOptions {
    /// Folder for all data
    #[arg(long, value_name = "DIR", default_value = DATA)]
    pub data: PathBuf,
    /// Address of the Kubernetes API and the registry
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7400")]
    pub listen: SocketAddr,
    /// Address that nodes dial
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7401")]
    pub node_listen: SocketAddr,
}

/// Start the manager; `advertise` is its address for nodes as they reach it.
pub async fn manager(
    options: &ManagerOptions,
    advertise: Option<String>,
    stop: CancellationToken,
) -> anyhow::Result<Manager> {
    let config = ManagerConfig {
        listen: options.listen,
        node_listen: options.node_listen,
        advertise,
        ..ManagerConfig::new(&options.data)
    };
    Manager::start(config, stop).await.map_err(|error| match error {
        ManagerError::Listen { .. } => Failure::new(format!("the manager did not start: {error}"))
            .hint("choose other addresses with --listen and --node-listen; port 0 is any free one")
            .into(),
        other => anyhow::Error::new(other).context("the manager did not start"),
    })
}

/// What nodes of one process share: the WebAssembly engine, its compiled code and the tensor graphs.
pub fn runtime(cache: &Path, engines: &EngineSettings) -> anyhow::Result<Runtime> {
    Ok(Runtime::new(cache, Arc::new(Graphs::with(engines)))?)
}

/// What a node computes with.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineOptions {
    /// The library of ONNX Runtime [default: looked for in Sedge's folder of engines and the system's of
    /// libraries]
    #[arg(long, value_name = "FILE", env = "ORT_DYLIB_PATH")]
    onnxruntime: Option<PathBuf>,
}

impl EngineOptions {
    /// With `threads` of one tensor computation. Libraries that are not named are looked for in Sedge's own folder and
    /// where systems keep libraries.
    pub fn settings(self, threads: usize) -> EngineSettings {
        let usual = ["/usr/local/lib64", "/usr/local/lib", "/usr/lib64", "/usr/lib", "/opt/onnxruntime/lib"];
        let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        let folders = engines_folder().into_iter().chain(usual.map(PathBuf::from)).chain([multiarch.into()]);
        EngineSettings {
            // A variable that is set to nothing names no file.
            onnxruntime: self.onnxruntime.filter(|path| !path.as_os_str().is_empty()),
            folders: folders.collect(),
            ..EngineSettings::builtin(threads)
        }
    }
}

/// Where `cargo xtask setup --engine NAME` puts engines' libraries: `$XDG_DATA_HOME/sedge/engines`, or below
/// `~/.local/share`; none without a home.
fn engines_folder() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("sedge/engines"))
}

/// Start a node.
pub async fn node(config: NodeConfig, stop: CancellationToken) -> anyhow::Result<Node> {
    let name = config.name.clone();
    Node::start(config, stop).await.with_context(|| format!("node {name} did not start"))
}

/// Until `stop` is cancelled or a part cannot go on; then all others are told to end, and awaited.
pub async fn until_ended(stop: CancellationToken, nodes: Vec<Node>, manager: Manager) -> anyhow::Result<()> {
    let ends_all = |outcome: anyhow::Result<()>| {
        // A part that ends by itself leaves the others nothing to do.
        stop.cancel();
        outcome
    };
    let manager = async { ends_all(manager.wait().await.context("the manager ended")) };
    let nodes = nodes.into_iter().map(|node| async { ends_all(node.wait().await.context("a node ended")) });
    let (manager, nodes) = tokio::join!(manager, futures::future::join_all(nodes));
    nodes.into_iter().fold(manager, |first, next| first.and(next))
}

/// The number of processors.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
