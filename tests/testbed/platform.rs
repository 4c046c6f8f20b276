//! A platform under test: the manager and nodes, in one process or in many, below one temporary folder.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::digits::Partition;
use crate::{Built, Cli, Process, eventually, root};

/// How long a start may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The label that the example job selects its datasets by.
const LABEL: &str = "sedge.dev/example: digits";

/// Manager and nodes. Dropping it ends them and removes their data.
pub struct Platform {
    /// What is run.
    pub built: Built,
    /// The command line against it.
    pub cli: Cli,
    manager: Manager,
    nodes: BTreeMap<String, Process>,
    /// The ports on which nodes with processes of their own answer requests, and what they are started with besides.
    serving: BTreeMap<String, (u16, Vec<String>)>,
    folder: PathBuf,
    /// Removes the folder, where it is a temporary one.
    _temporary: Option<TempDir>,
}

/// The process that serves the API, with the command that starts it again.
struct Manager {
    process: Process,
    arguments: Vec<String>,
}

impl Platform {
    /// `sedge up` with one cloud node and `edges` edge nodes, all in one process.
    pub fn up(built: &Built, edges: usize) -> Result<Self> {
        let temporary = temporary()?;
        let mut platform = Self::up_in(built, edges, temporary.path())?;
        platform._temporary = Some(temporary);
        Ok(platform)
    }

    /// The same in a folder that stays.
    pub fn up_in(built: &Built, edges: usize, folder: &Path) -> Result<Self> {
        let arguments = ["up", "--edges", &edges.to_string()].map(str::to_owned).to_vec();
        let mut platform = Self::start(built, folder, arguments)?;
        platform.await_nodes(&node_names(edges))?;
        Ok(platform)
    }

    /// A manager, a cloud node and `edges` edge nodes, each a process of its own.
    pub fn separate(built: &Built, edges: usize) -> Result<Self> {
        Self::separate_with(built, edges, |_, _| Ok(Vec::new()))
    }

    /// The same, with more arguments for each node, by its name and the port that it serves on.
    pub fn separate_with(
        built: &Built,
        edges: usize,
        mut arguments: impl FnMut(&str, u16) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let temporary = temporary()?;
        let mut platform = Self::start(built, temporary.path(), vec!["manager".to_owned()])?;
        platform._temporary = Some(temporary);
        let names = node_names(edges);
        for name in &names {
            let port = free_port()?;
            platform.serving.insert(name.clone(), (port, arguments(name, port)?));
            platform.start_node(name)?;
        }
        platform.await_nodes(&names)?;
        Ok(platform)
    }

    fn start(built: &Built, folder: &Path, mut arguments: Vec<String>) -> Result<Self> {
        // Fixed ports, so that a manager that is started again is found where it was.
        for option in ["--listen", "--node-listen"] {
            arguments.extend([option.to_owned(), format!("127.0.0.1:{}", free_port()?)]);
        }
        arguments.extend(["--data".to_owned(), folder.join("data").display().to_string()]);
        let cli = Cli::new(&built.sedge, &folder.join("data/kubeconfig"));
        let process = start(built, &arguments, &folder.join("manager.log"))?;
        let manager = Manager { process, arguments };
        let mut platform = Self {
            built: built.clone(),
            cli,
            manager,
            nodes: BTreeMap::new(),
            serving: BTreeMap::new(),
            folder: folder.to_owned(),
            _temporary: None,
        };
        platform.await_server()?;
        Ok(platform)
    }

    /// Start the node `name` (`cloud`, `edge-1`, …) as a process of its own, again or for the first time.
    pub fn start_node(&mut self, name: &str) -> Result<()> {
        let data = self.folder.join("data");
        // The same when it is started again, so that its clients find it where it was.
        let (port, more) =
            self.serving.get(name).with_context(|| format!("there is no node {name}"))?.clone();
        let role = if name == "cloud" { "cloud" } else { "edge" };
        let mut arguments = [
            "node",
            "--name",
            name,
            "--role",
            role,
            "--manager",
            &format!("http://{}", self.node_address()?),
            "--join-token-file",
            &data.join("join-token").display().to_string(),
            "--data",
            &data.join("nodes").join(name).display().to_string(),
            "--datasets",
            &self.datasets(name).display().to_string(),
            "--serving-listen",
            &format!("127.0.0.1:{port}"),
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(more);
        let process = start(&self.built, &arguments, &self.folder.join(format!("{name}.log")))?;
        self.nodes.insert(name.to_owned(), process);
        Ok(())
    }

    fn node_address(&self) -> Result<&str> {
        let arguments = &self.manager.arguments;
        let at =
            arguments.iter().position(|argument| argument == "--node-listen").context("a manager listens")?;
        Ok(&arguments[at + 1])
    }

    /// The process that serves the API: the manager's own, or the one of `sedge up`.
    pub fn manager(&mut self) -> &mut Process {
        &mut self.manager.process
    }

    /// The process of the node `name`.
    pub fn node(&mut self, name: &str) -> Result<&mut Process> {
        self.nodes.get_mut(name).with_context(|| format!("node {name} has no process of its own"))
    }

    /// Where the node `name`, which has a process of its own, answers requests.
    pub fn serving_address(&self, name: &str) -> Option<SocketAddr> {
        self.serving.get(name).map(|(port, _)| (Ipv4Addr::LOCALHOST, *port).into())
    }

    /// Start the process that serves the API again, once it has been killed.
    pub fn restart_manager(&mut self) -> Result<()> {
        self.manager.process = start(&self.built, &self.manager.arguments, &self.folder.join("manager.log"))?;
        self.await_server()
    }

    /// The folder in which the node `name` looks for its datasets' files.
    pub fn datasets(&self, name: &str) -> PathBuf {
        self.folder.join("data/datasets").join(name)
    }

    /// The folder below which all of it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn await_server(&mut self) -> Result<()> {
        let Self { cli, manager, .. } = self;
        let answers = || {
            if !manager.process.is_running() {
                bail!("it ended:\n{}", manager.process.output());
            }
            Ok(cli.run(&["get", "namespaces"]).is_ok())
        };
        eventually("the server to answer", PATIENCE, answers)
    }

    /// Until all these nodes are ready.
    pub fn await_nodes(&mut self, names: &[String]) -> Result<()> {
        let cli = self.cli.clone();
        let ready = || {
            let nodes = cli.get("edgenodes")?;
            let nodes = nodes["items"].as_array().context("a list")?;
            Ok(names.iter().all(|name| {
                nodes
                    .iter()
                    .any(|node| node["metadata"]["name"] == **name && condition(node, "Ready").0 == "True")
            }))
        };
        eventually("all nodes to be ready", PATIENCE, ready).map_err(|error| self.with_logs(error))
    }

    /// Upload plugins that were built, as NAME:0.1.0.
    pub fn push_plugins(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let component = self.built.plugin(name);
            self.cli.run(&["plugin", "push", &component.display().to_string(), &format!("{name}:0.1.0")])?;
        }
        Ok(())
    }

    /// Upload the classifier of digits, as digits-mlp:1.
    pub fn push_digits_model(&self) -> Result<()> {
        let folder = root().join("tests/data/digits-mlp");
        self.cli.run(&["model", "push", &folder.display().to_string(), "digits-mlp:1"])?;
        Ok(())
    }

    /// Put a share of digits on each edge node, and those held out on the cloud node, and declare them.
    pub fn place_digits(&self, partition: &Partition) -> Result<()> {
        let mut yaml = String::new();
        for (number, share) in (1..).zip(&partition.shares) {
            let node = format!("edge-{number}");
            partition.write(share, &self.datasets(&node).join("digits.csv"))?;
            yaml += &dataset(&format!("digits-{node}"), &node, Some(LABEL));
        }
        partition.write(&partition.test, &self.datasets("cloud").join("digits.csv"))?;
        yaml += &dataset("digits-test", "cloud", None);
        self.cli.apply(&yaml)?;
        Ok(())
    }

    /// All that the example job names: plugins, model, and digits on `edges` edge nodes.
    pub fn prepare_digits(&self, edges: usize, seed: u64) -> Result<()> {
        self.push_plugins(&["sgd-trainer", "evaluator", "fedavg"])?;
        self.push_digits_model()?;
        self.place_digits(&crate::digits::partition(edges, 0.5, seed)?)
    }

    /// Add to an error what manager and nodes have printed.
    pub fn with_logs(&self, error: anyhow::Error) -> anyhow::Error {
        let mut text = format!("{error:#}\n--- manager ---\n{}", self.manager.process.output());
        for (name, process) in &self.nodes {
            text += &format!("--- {name} ---\n{}", process.output());
        }
        anyhow::anyhow!(text)
    }
}

fn temporary() -> Result<TempDir> {
    tempfile::Builder::new().prefix("sedge-").tempdir().context("no temporary folder can be made")
}

/// `cloud`, `edge-1`, …
fn node_names(edges: usize) -> Vec<String> {
    std::iter::once("cloud".to_owned()).chain((1..=edges).map(|number| format!("edge-{number}"))).collect()
}

/// Status and reason of a resource's condition; empty where it has none.
pub fn condition<'a>(resource: &'a serde_json::Value, kind: &str) -> (&'a str, &'a str) {
    let conditions = resource["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == *kind));
    let text = |field: &str| found.and_then(|condition| condition[field].as_str()).unwrap_or_default();
    (text("status"), text("reason"))
}

/// A Dataset of digits on `node`.
pub fn dataset(name: &str, node: &str, label: Option<&str>) -> String {
    let labels = label.map(|label| format!("  labels: {{{label}}}\n")).unwrap_or_default();
    format!(
        "---\napiVersion: sedge.dev/v1alpha1\nkind: Dataset\nmetadata:\n  name: {name}\n{labels}\
         spec: {{node: {node}, path: digits.csv, format: csv, label: label}}\n"
    )
}

fn start(built: &Built, arguments: &[String], log: &Path) -> Result<Process> {
    let mut command = Command::new(&built.sedge);
    command.args(arguments).env("SEDGE_LOG", "info").env("NO_COLOR", "1");
    Process::start(&mut command, log)
}

/// A port that is free, and that nobody takes before it is listened on: one below those that systems give to clients, and
/// each is given once by this process. Two processes of tests begin at different ones.
fn free_port() -> Result<u16> {
    const FIRST: u16 = 20_000;
    const PORTS: u16 = 12_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let begin = (std::process::id() % u32::from(PORTS)) as u16;
    let mut ports =
        std::iter::repeat_with(|| FIRST + begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.by_ref().take(PORTS.into()).find(is_free).context("no port is free on the loopback address")
}
