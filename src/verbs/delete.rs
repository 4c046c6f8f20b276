//! `sedge delete`: remove resources, and wait until they are gone.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::api::{DeleteParams, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use sedge_api::Period;

use super::apply::manifest;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::objects::{self, Request};
use crate::screen;
use crate::server::{Access, Server};

/// Remove resources.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `KIND NAME…` or `KIND/NAME…`
    #[arg(value_name = "KIND", required_unless_present = "files", conflicts_with = "files")]
    words: Vec<String>,
    /// What these files name: a file, a folder of files, or `-`
    #[arg(short, long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whether to wait until they are gone
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    wait: bool,
    /// How long to wait at most
    #[arg(long, default_value = "2m", value_name = "TIME")]
    timeout: Period,
    /// What is not there is no failure
    #[arg(long)]
    ignore_not_found: bool,
}

/// Remove resources; every one is tried before a failure is reported.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let mut leaving = Vec::new();
    let mut problems = Vec::new();
    for (server, kinds, name) in targets(&args, &server)? {
        let Some((kind, _)) = objects::find(&server, &kinds, &name).await? else {
            if !args.ignore_not_found {
                problems.push(objects::absent(&server, &kinds, &name).to_string());
            }
            continue;
        };
        let label = format!("{}/{name}", kind.qualified());
        let api = objects::api(&server, &kind, false);
        match api.delete(&name, &DeleteParams::background()).await {
            Ok(reply) => {
                let uid = reply.left().and_then(|object| object.uid());
                leaving.push((api, name, label, uid));
            }
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error @ kube::Error::Api(_)) => {
                problems.push(format!("{label}: {}", crate::failure::one_line(&error)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (api, name, label, uid) in leaving {
        if args.wait && !gone(api, &name, uid.as_deref(), args.timeout.duration()).await {
            problems.push(format!(
                "{label} is still there after {}; its finalizers may be at work",
                args.timeout
            ));
            continue;
        }
        screen::print(&format!("{label} deleted\n"))?;
    }
    match problems.as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::new(one).into()),
        _ => {
            let failure = Failure::new(format!("{} resources could not be deleted", problems.len()));
            Err(problems.into_iter().fold(failure, Failure::detail).into())
        }
    }
}

/// What is to go: kinds to look through and a name, in the namespace of its server.
fn targets(args: &Args, server: &Server) -> anyhow::Result<Vec<(Server, Vec<Kind>, String)>> {
    let mut targets = Vec::new();
    for path in &args.files {
        for (file, text) in manifest::read(path)? {
            // Bad files delete nothing: half of what was meant may be worse than none.
            for manifest in manifest::parse(&file, &text) {
                let manifest = manifest?;
                let server = manifest.server(server);
                targets.push((server, vec![manifest.kind.clone()], manifest.name().to_owned()));
            }
        }
    }
    // The last that was made goes first: a file names what others rest on before them.
    targets.reverse();
    if args.files.is_empty() {
        for request in Request::parse(&args.words)? {
            if request.names.is_empty() {
                return Err(Failure::new("name what is to be deleted")
                    .hint("write it like `sedge delete job digits` or `sedge delete job/digits`")
                    .into());
            }
            targets.extend(request.names.into_iter().map(|n| (server.clone(), request.kinds.clone(), n)));
        }
    }
    Ok(targets)
}

/// Whether the resource with this uid goes away in time.
async fn gone(api: Api<DynamicObject>, name: &str, uid: Option<&str>, timeout: Duration) -> bool {
    let wait = async {
        let mut states = pin!(watcher::watch_object(api, name).default_backoff());
        loop {
            match states.try_next().await {
                Ok(Some(Some(object))) if uid.is_none() || object.uid().as_deref() == uid => {}
                Ok(_) => return,
                Err(error) => tracing::warn!(%error, "the watch was interrupted; trying again"),
            }
        }
    };
    tokio::time::timeout(timeout, wait).await.is_ok()
}
