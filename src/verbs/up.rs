//! `sedge up`: a whole platform in one process: the manager, a cloud node and some edge nodes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sedge_controllers::manager::dialled;
use sedge_host::{Node, NodeConfig, NodeError, Role};
use tokio_util::sync::CancellationToken;

use crate::interrupt;
use crate::platform::{self, EngineOptions, ManagerOptions};
use crate::screen;
use crate::server::DATA;

/// Where the cloud node serves; edge nodes on the ports that follow.
const SERVING_PORT: u16 = 7500;

/// Run manager, cloud node and edge nodes in one process.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    manager: ManagerOptions,
    /// Number of edge nodes, edge-1 and so on
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(0..=500))]
    edges: u16,
    /// Folder with one folder of datasets per node [default: DATA/datasets]
    #[arg(long, value_name = "DIR")]
    datasets: Option<PathBuf>,
    /// Threads of one tensor computation; nodes compute side by side
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    #[command(flatten)]
    engines: EngineOptions,
}

/// Run all parts in this process, until they are told to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let data = args.manager.data.clone();
    let datasets = args.datasets.clone().unwrap_or_else(|| data.join("datasets"));
    let engines = args.engines.settings(usize::from(args.threads));
    let stop = interrupt::listen()?;
    let manager = platform::manager(&args.manager, None, stop.clone()).await?;
    let runtime = platform::runtime(&data.join("cache"), &engines)?;
    let mut nodes = Vec::new();
    let mut serving = Vec::new();
    let edges = (1..=args.edges).map(|number| (format!("edge-{number}"), Role::Edge));
    let all = std::iter::once(("cloud".to_owned(), Role::Cloud)).chain(edges);
    for ((name, role), port) in all.zip(SERVING_PORT..) {
        let config = NodeConfig {
            role,
            labels: BTreeMap::new(),
            data: data.join("nodes").join(&name),
            datasets: datasets.join(&name),
            manager: format!("http://{}", dialled(manager.node_address())),
            join_token: manager.join_token().to_owned(),
            federation_listen: ([127, 0, 0, 1], 0).into(),
            federation_advertise: None,
            serving_listen: Some(([127, 0, 0, 1], port).into()),
            serving_advertise: None,
            engines: engines.clone(),
            name,
            runtime: Some(runtime.clone()),
        };
        let name = config.name.clone();
        let node = on_its_port_or_any(config, &stop).await?;
        serving.extend(node.serving_address().map(|at| (name, at)));
        nodes.push(node);
    }
    let address = dialled(manager.address()).to_string();
    screen::print(&greeting(&address, args.edges, &serving, &data, &datasets))?;
    platform::until_ended(stop, nodes, manager).await
}

/// Start a node; where another process has the port that it is to serve on, on any free one, with a word.
async fn on_its_port_or_any(config: NodeConfig, stop: &CancellationToken) -> anyhow::Result<Node> {
    let taken = match platform::node(config.clone(), stop.clone()).await {
        Err(error) if matches!(error.downcast_ref(), Some(NodeError::Listen { .. })) => error,
        started => return started,
    };
    let warning = screen::styled("warning", screen::WAITING);
    screen::complain(&format!("{warning}: {taken:#}: any free port is taken\n"));
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    platform::node(NodeConfig { serving_listen: Some(any), ..config }, stop.clone()).await
}

/// Where nodes serve: ports that follow one another as a range, others one by one.
fn serving_line(serving: &[(String, SocketAddr)]) -> String {
    const NAMED: usize = 4;
    let in_a_row = serving.iter().zip(SERVING_PORT..).all(|((_, at), port)| at.port() == port);
    match serving {
        [(first, from), .., (last, to)] if in_a_row && serving.len() > 2 => {
            format!("http://{from} ({first}) … {} ({last})", to.port())
        }
        few => {
            let said = few.iter().take(NAMED).map(|(name, at)| format!("http://{at} ({name})"));
            let more = if few.len() > NAMED { ", …" } else { "" };
            format!("{}{more}", said.collect::<Vec<_>>().join(", "))
        }
    }
}

/// What runs where, and how to go on.
fn greeting(
    address: &str,
    edges: u16,
    serving: &[(String, SocketAddr)],
    data: &Path,
    datasets: &Path,
) -> String {
    let kubeconfig = data.join("kubeconfig");
    let edge_names = match edges {
        0 => String::new(),
        1 => ", edge-1".to_owned(),
        2 => ", edge-1, edge-2".to_owned(),
        _ => format!(", edge-1 … edge-{edges}"),
    };
    let mut text = format!("{}\n\n", screen::styled("Sedge is up.", screen::BOLD));
    let mut field = |name: &str, value: &str| {
        text.push_str(&format!("  {} {value}\n", screen::styled(&format!("{name:<12}"), screen::DIM)));
    };
    field("API", &format!("http://{address}"));
    field("Nodes", &format!("cloud{edge_names}"));
    field("Serving", &serving_line(serving));
    field("Datasets", &format!("{}/NODE", datasets.display()));
    field("Kubeconfig", &kubeconfig.display().to_string());
    text.push('\n');
    if data != Path::new(DATA) {
        text.push_str(&format!("  export SEDGE_KUBECONFIG={}\n", kubeconfig.display()));
    }
    for (command, what) in [
        ("sedge get nodes", "what is there"),
        ("sedge apply -f job.yaml", "start a job"),
        ("sedge get jobs -w", "watch it"),
    ] {
        text.push_str(&format!("  {command:<26} {}\n", screen::styled(what, screen::DIM)));
    }
    text + "\n" + &screen::styled("  Ctrl-C ends all.", screen::DIM) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_says_what_runs_and_how_to_go_on() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let mut serving = vec![("cloud".to_owned(), at(7500))];
        serving.extend((1..=10).map(|edge| (format!("edge-{edge}"), at(7500 + edge))));
        let text =
            greeting("127.0.0.1:7400", 10, &serving, Path::new(DATA), Path::new("./sedge-data/datasets"));
        insta::assert_snapshot!(screen::plain(&text), @"
        Sedge is up.

          API          http://127.0.0.1:7400
          Nodes        cloud, edge-1 … edge-10
          Serving      http://127.0.0.1:7500 (cloud) … 7510 (edge-10)
          Datasets     ./sedge-data/datasets/NODE
          Kubeconfig   ./sedge-data/kubeconfig

          sedge get nodes            what is there
          sedge apply -f job.yaml    start a job
          sedge get jobs -w          watch it

          Ctrl-C ends all.
        ");
        let serving = [("cloud".to_owned(), at(40_123))];
        let text = greeting("127.0.0.1:9000", 0, &serving, Path::new("/srv/a"), Path::new("/srv/d"));
        insta::assert_snapshot!(screen::plain(&text), @"
        Sedge is up.

          API          http://127.0.0.1:9000
          Nodes        cloud
          Serving      http://127.0.0.1:40123 (cloud)
          Datasets     /srv/d/NODE
          Kubeconfig   /srv/a/kubeconfig

          export SEDGE_KUBECONFIG=/srv/a/kubeconfig
          sedge get nodes            what is there
          sedge apply -f job.yaml    start a job
          sedge get jobs -w          watch it

          Ctrl-C ends all.
        ");
    }
}
