//! `sedge`: the command line. It parses, asks the server or starts the parts, and prints; it decides nothing.
//!
//! ```text
//!  cli ──▶ verbs/up, manager, node ──▶ platform ──▶ the manager and nodes, in this process
//!   │
//!   └───▶ verbs/… ──▶ server (kubeconfig) ──▶ objects ──▶ the server's Kubernetes API
//!              ├───────▶ services ──Open Inference Protocol──▶ nodes
//!              └───────▶ columns, table, describe ──▶ screen
//! ```

mod age;
mod cli;
mod columns;
mod failure;
mod interrupt;
mod jsonpath;
mod kinds;
mod lineage;
mod objects;
mod platform;
mod publish;
mod registry;
mod screen;
mod server;
mod services;
mod table;
mod verbs;
mod weights;
mod wrap;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let access = cli.access.clone();
    let Err(error) = start(cli) else { return ExitCode::SUCCESS };
    if failure::is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    screen::complain(&failure::report(&error, access.address().as_deref()));
    ExitCode::FAILURE
}

fn start(cli: Cli) -> anyhow::Result<()> {
    log_to_stderr(cli.log.as_deref())?;
    // Two of our dependencies each bring a provider; rustls wants to be told which.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing has installed a provider before main");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(cli.run())
}

fn log_to_stderr(filter: Option<&str>) -> anyhow::Result<()> {
    use std::io::IsTerminal as _;
    // What goes wrong with a request is reported by the verb, once and in its own words.
    let filter = filter.unwrap_or("warn,kube_client=off");
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        failure::Failure::new(format!("--log: `{filter}` is no filter: {error}"))
            .hint("write it like `info` or `warn,sedge_host=debug`")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false)
        .init();
    Ok(())
}
