//! The command line as a whole: its verbs and the options that all share.

use clap::{Parser, Subcommand};

use crate::server::Access;
use crate::verbs::{
    apply, dataset, delete, describe, get, infer, logs, manager, model, node, plugin, rollout, top, up, wait,
};

/// Edge-cloud collaborative AI: federated learning on WebAssembly workers.
#[derive(Debug, Parser)]
#[command(name = "sedge", version, styles = STYLES, arg_required_else_help = true, max_term_width = 110)]
pub struct Cli {
    /// What to log to standard error, e.g. `info` or `sedge_host=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "SEDGE_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// Where the server is.
    #[command(flatten)]
    pub access: Access,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run manager, cloud node and edge nodes in one process
    Up(up::Args),
    /// Run the manager alone
    Manager(manager::Args),
    /// Run one node
    Node(node::Args),
    /// Create or change resources as files say
    Apply(apply::Args),
    /// Show resources, once or as they change
    Get(get::Args),
    /// Show all there is to know of resources
    Describe(describe::Args),
    /// Remove resources
    Delete(delete::Args),
    /// Wait until resources are as asked for
    Wait(wait::Args),
    /// Show the log of a worker, or of all workers of a job
    Logs(logs::Args),
    /// Ask a service, and show its answer
    Infer(infer::Args),
    /// Show rates and latencies of services as they change
    Top(top::Args),
    /// Follow a service's change of revision, or undo it
    Rollout(rollout::Args),
    /// Take samples out to be labelled, and bring labelled ones in
    Dataset(dataset::Args),
    /// Upload plugins and look at them
    Plugin(plugin::Args),
    /// Upload models and look at them
    Model(model::Args),
}

const STYLES: clap::builder::Styles = clap::builder::Styles::styled()
    .header(crate::screen::BOLD)
    .usage(crate::screen::BOLD)
    .literal(crate::screen::HINT)
    .placeholder(crate::screen::DIM)
    .error(crate::screen::ERROR)
    .valid(crate::screen::GOOD)
    .invalid(crate::screen::WAITING);

impl Cli {
    /// Do it.
    pub async fn run(self) -> anyhow::Result<()> {
        let access = &self.access;
        match self.verb {
            Verb::Up(args) => up::run(args).await,
            Verb::Manager(args) => manager::run(args).await,
            Verb::Node(args) => node::run(args).await,
            Verb::Apply(args) => apply::run(args, access).await,
            Verb::Get(args) => get::run(args, access).await,
            Verb::Describe(args) => describe::run(args, access).await,
            Verb::Delete(args) => delete::run(args, access).await,
            Verb::Wait(args) => wait::run(args, access).await,
            Verb::Logs(args) => logs::run(args, access).await,
            Verb::Infer(args) => infer::run(args, access).await,
            Verb::Top(args) => top::run(args, access).await,
            Verb::Rollout(args) => rollout::run(args, access).await,
            Verb::Dataset(args) => dataset::run(args, access).await,
            Verb::Plugin(args) => plugin::run(args, access).await,
            Verb::Model(args) => model::run(args, access).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_readme_shows_is_understood() {
        for line in [
            "sedge apply -f job.yaml -f more/ --server-side",
            "sedge get jobs -w",
            "sedge get wk -A -l task=digits -o wide",
            "sedge get job/digits -o jsonpath={.status.round}",
            "sedge describe job digits",
            "sedge delete -f job.yaml --wait=false --ignore-not-found",
            "sedge wait job/digits --for condition=Complete --timeout 60s",
            "sedge logs job/digits -f --tail 10 -n lab",
            "sedge up --edges 10 --data /tmp/s --listen 127.0.0.1:0 --node-listen 127.0.0.1:0",
            "sedge manager --data m --listen 0.0.0.0:7400 --advertise http://10.0.0.1:7400",
            "sedge node --name edge-1 --role edge --manager http://m:7401 --join-token t --label site=a --threads 2",
            "sedge wait jis/digits --for=Ready",
            "sedge infer digits --input x.npy --node edge-1",
            "sedge infer digits --input - --url http://127.0.0.1:7501 -o json",
            "sedge top",
            "sedge top digits --once",
            "sedge rollout status digits --timeout 30s",
            "sedge rollout undo digits",
            "sedge node --name c --role cloud --join-token t --serving-listen 0.0.0.0:7500 --serving-advertise http://c:7500",
            "sedge dataset export hard-digits --like stream -o hard.csv",
            "sedge dataset export hard-digits -o hard.npz --limit 100",
            "sedge dataset import stream hard.csv",
            "sedge dataset import stream hard.npz --new-labels",
            "sedge plugin push a.wasm fedavg:0.1.0",
            "sedge plugin inspect a.wasm",
            "sedge model push graphs/ w.safetensors digits:1",
            "sedge model ls -A",
            "sedge model history digits",
            "sedge model diff ilj/digits 1 3",
            "sedge model diff digits",
            "sedge model rollback digits --to 2 --timeout 5s",
        ] {
            if let Err(error) = Cli::try_parse_from(line.split(' ')) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "sedge",
            "sedge apply",
            "sedge get",
            "sedge get jobs -o xml",
            "sedge delete",
            "sedge delete job/digits -f job.yaml",
            "sedge wait job/digits --for ready",
            "sedge node --name edge-1",
            "sedge node --name Edge_1 --join-token t",
            "sedge infer digits",
            "sedge rollout digits",
            "sedge dataset export hard-digits",
            "sedge dataset export hard-digits -o hard.csv --limit 0",
            "sedge dataset import stream",
            "sedge plugin push a.wasm Fed:1",
            "sedge model push digits:1",
            "sedge model history",
            "sedge model rollback digits 2",
            "sedge up --edges -1",
            "sedge wait job/digits --for delete --timeout 0s",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
