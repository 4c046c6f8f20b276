//! `sedge node`: one node, which joins a manager elsewhere.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use sedge_host::{NodeConfig, Role};

use crate::failure::Failure;
use crate::interrupt;
use crate::platform::{self, EngineOptions};
use crate::screen;

/// Run one node.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name, a DNS label
    #[arg(long, value_parser = name)]
    name: String,
    /// Where it stands
    #[arg(long, value_enum, default_value_t = Place::Edge)]
    role: Place,
    /// The manager's address for nodes
    #[arg(long, value_name = "URL", env = "SEDGE_MANAGER", default_value = "http://127.0.0.1:7401")]
    manager: String,
    /// What lets it join
    #[arg(long, value_name = "TOKEN", env = "SEDGE_JOIN_TOKEN", hide_env_values = true)]
    #[arg(required_unless_present = "join_token_file", conflicts_with = "join_token_file")]
    join_token: Option<String>,
    /// A file with what lets it join: the manager keeps one in its data folder
    #[arg(long, value_name = "FILE")]
    join_token_file: Option<PathBuf>,
    /// Folder for its own data
    #[arg(long, value_name = "DIR", default_value = "./sedge-node")]
    data: PathBuf,
    /// Folder with the files of its datasets [default: DATA/datasets]
    #[arg(long, value_name = "DIR")]
    datasets: Option<PathBuf>,
    /// A label to register with; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Address where other nodes of a federation reach it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    federation_listen: SocketAddr,
    /// The same as others see it, `http://host:port`, where it is not the one listened on
    #[arg(long, value_name = "URL")]
    federation_advertise: Option<String>,
    /// Address where applications and other nodes ask it to infer, by REST and gRPC
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    serving_listen: SocketAddr,
    /// The same as others see it, `http://host:port`, where it is not the one listened on
    #[arg(long, value_name = "URL")]
    serving_advertise: Option<String>,
    /// Threads of one tensor computation [default: one per processor]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(flatten)]
    engines: EngineOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    /// By the data
    Edge,
    /// In a data centre: it may aggregate
    Cloud,
}

impl From<Place> for Role {
    fn from(place: Place) -> Self {
        match place {
            Place::Edge => Self::Edge,
            Place::Cloud => Self::Cloud,
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    match sedge_api::is_dns_label(text) {
        true => Ok(text.to_owned()),
        false => Err("it takes lower-case letters, digits and inner `-`, at most 63".into()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like `site=a`".into()),
    }
}

/// Run one node, until it is told to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let join_token = match (args.join_token, &args.join_token_file) {
        (Some(token), _) => token,
        (None, Some(file)) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .trim()
            .to_owned(),
        (None, None) => {
            return Err(Failure::new("a node needs a join token").hint("pass --join-token-file").into());
        }
    };
    let stop = interrupt::listen()?;
    let datasets = args.datasets.unwrap_or_else(|| args.data.join("datasets"));
    let threads = args.threads.map_or_else(platform::processors, usize::from);
    let config = NodeConfig {
        name: args.name,
        role: args.role.into(),
        labels: args.labels.into_iter().collect(),
        data: args.data,
        datasets,
        manager: args.manager,
        join_token,
        federation_listen: args.federation_listen,
        federation_advertise: args.federation_advertise,
        serving_listen: Some(args.serving_listen),
        serving_advertise: args.serving_advertise.clone(),
        engines: args.engines.settings(threads),
        runtime: None,
    };
    let title = screen::styled(&format!("Node {} is up.", config.name), screen::BOLD);
    let mut lines =
        vec![("Manager", config.manager.clone()), ("Datasets", config.datasets.display().to_string())];
    let node = platform::node(config, stop.clone()).await?;
    let serving = args.serving_advertise.or(node.serving_address().map(|at| format!("http://{at}")));
    lines.extend(serving.map(|at| ("Serving", at)));
    let lines: String = lines
        .into_iter()
        .map(|(what, value)| format!("  {} {value}\n", screen::styled(&format!("{what:<12}"), screen::DIM)))
        .collect();
    screen::print(&format!("{title}\n\n{lines}"))?;
    Ok(node.wait().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_checked_where_they_are_read() {
        assert!(name("edge-1").is_ok() && name("Edge_1").is_err());
        assert_eq!(label("site=a"), Ok(("site".into(), "a".into())));
        assert!(label("site").is_err() && label("=a").is_err());
    }
}
