//! `sedge logs`: what a worker, or all workers of a job, have said.

use std::io;

use futures::io::AsyncBufReadExt as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use serde_json::Value;

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::objects::{self, Request};
use crate::screen;
use crate::server::{Access, Server};

/// Show the log of a worker, or of all workers of a job.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A worker's name, or `job/NAME` for all workers of a job
    #[arg(value_name = "WORKER")]
    target: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines
    #[arg(long, value_name = "LINES")]
    tail: Option<u32>,
}

/// Show the log of a worker, or of all workers of a job.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let workers = workers(&args, &server).await?;
    let prefixed = workers.len() > 1;
    let width = workers.iter().map(String::len).max().unwrap_or(0);
    let mut logs = Vec::new();
    for worker in workers {
        let prefix = match prefixed {
            true => screen::styled(&format!("{worker:width$} │ "), screen::DIM),
            false => String::new(),
        };
        match open(&args, &server, &worker).await {
            Ok(lines) => {
                logs.push(lines.map_ok(move |line| format!("{prefix}{}\n", printable(&line))).boxed())
            }
            // Of several, one whose node is away must not hide the others.
            Err(error) if prefixed => screen::complain(&format!("{worker}: {error:#}\n")),
            Err(error) => return Err(error),
        }
    }
    let mut lines = match args.follow {
        true => stream::select_all(logs).boxed(),
        false => stream::iter(logs).flatten().boxed(),
    };
    while let Some(line) = lines.try_next().await? {
        screen::print(&line)?;
    }
    Ok(())
}

async fn open(
    args: &Args,
    server: &Server,
    worker: &str,
) -> anyhow::Result<impl futures::Stream<Item = io::Result<String>> + Send + use<>> {
    let kind = kind()?;
    let url = objects::api(server, &kind, false).resource_url().to_owned();
    let tail = args.tail.map(|lines| format!("&tailLines={lines}")).unwrap_or_default();
    let request =
        http::Request::get(format!("{url}/{worker}/log?follow={}{tail}", args.follow)).body(Vec::new())?;
    match server.client.request_stream(request).await {
        Ok(body) => Ok(body.lines()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Err(Failure::new(format!(
            "there is no log of worker `{worker}` in namespace {}",
            server.namespace
        ))
        .detail(status.message.clone())
        .hint("`sedge get workers` lists them; `sedge logs job/NAME` shows those of a job")
        .into()),
        Err(error) => Err(error.into()),
    }
}

fn kind() -> anyhow::Result<Kind> {
    let kind = Kind::named("workers")?.into_iter().next();
    kind.ok_or_else(|| anyhow::anyhow!("the kind Worker is not known"))
}

/// The names of the workers meant.
async fn workers(args: &Args, server: &Server) -> anyhow::Result<Vec<String>> {
    let Some((word, name)) = args.target.split_once('/') else { return Ok(vec![args.target.clone()]) };
    if matches!(word, "worker" | "workers" | "wk") {
        return Ok(vec![name.to_owned()]);
    }
    let request = Request::one(&args.target)?;
    let (_, job) = objects::get(server, &request.kinds, name).await?;
    let workers = of_job(server, &job).await?;
    if workers.is_empty() {
        return Err(Failure::new(format!("{} has no workers yet", args.target))
            .hint(format!("`sedge describe {}` says what it waits for", args.target))
            .into());
    }
    Ok(workers.iter().map(|worker| objects::name(worker).to_owned()).collect())
}

/// The workers that serve a job.
pub async fn of_job(server: &Server, job: &Value) -> anyhow::Result<Vec<Value>> {
    let mut server = server.clone();
    objects::text(job, "/metadata/namespace").clone_into(&mut server.namespace);
    let uid = objects::text(job, "/metadata/uid");
    let mut workers = objects::list(&server, &kind()?, false, &ListParams::default()).await?;
    workers.retain(|worker| objects::text(worker, "/spec/job/uid") == uid);
    Ok(workers)
}

/// A plugin's words must not steer the terminal.
fn printable(line: &str) -> String {
    line.chars().filter(|c| !c.is_control() || *c == '\t').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_control_characters_are_left_out() {
        assert_eq!(printable("a\u{7}b\tc\u{1b}[2J\r"), "ab\tc[2J");
    }
}
