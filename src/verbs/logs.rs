//! `sedge logs`: what a worker, or all workers of a job, have said.

use std::io;

use futures::io::AsyncBufReadExt as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use serde_json::Value;

use anstyle::Style;
use k8s_openapi::jiff::Timestamp;

use crate::failure::{self, Failure};
use crate::kinds::Kind;
use crate::objects::{self, Request};
use crate::screen;
use crate::server::{Access, Server};

/// Logs read at a time; a node answers a few dozen requests at once.
const AT_ONCE: usize = 8;
/// Colours that tell workers apart; those of states are left to states.
const WORKERS: [Style; 4] = [screen::CYAN, screen::MAGENTA, screen::BLUE, screen::DIM];

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
    match args.follow {
        true => follow(&args, &server, &workers).await,
        false => show(&args, &server, &workers).await,
    }
}

/// The lines that there are; of several workers, in the order of their times. Each log is read at once: the
/// manager does not wait for a reader that pauses, as a pager does, and a node keeps a few MiB of each.
async fn show(args: &Args, server: &Server, workers: &[String]) -> anyhow::Result<()> {
    let read = async |worker: &String| -> anyhow::Result<Vec<String>> {
        Ok(open(args, server, worker).await?.try_collect().await?)
    };
    let reading: Vec<_> = workers.iter().map(read).collect();
    let mut found = stream::iter(reading).buffered(AT_ONCE).enumerate();
    let mut lines = Vec::new();
    while let Some((at, log)) = found.next().await {
        match log {
            Ok(log) => lines.extend(log.into_iter().map(|line| (at, line))),
            Err(error) => complain(&workers[at], error, workers)?,
        }
    }
    // Times of one form sort as text; lines of one time stay as they were.
    lines.sort_by_cached_key(|(_, line)| time(line).to_owned());
    let form = Form::new(workers);
    for (at, line) in lines {
        screen::print(&form.line(at, &line))?;
    }
    Ok(())
}

/// The lines that there are and those that come.
async fn follow(args: &Args, server: &Server, workers: &[String]) -> anyhow::Result<()> {
    let form = Form::new(workers);
    let opening: Vec<_> = workers.iter().map(|worker| open(args, server, worker)).collect();
    let mut opened = stream::iter(opening).buffered(AT_ONCE).enumerate();
    let mut logs = Vec::new();
    while let Some((at, log)) = opened.next().await {
        match log {
            Ok(lines) => logs.push(lines.map(move |line| (at, line)).boxed()),
            Err(error) => complain(&workers[at], error, workers)?,
        }
    }
    let mut lines = stream::select_all(logs);
    while let Some((at, line)) = lines.next().await {
        match line {
            Ok(line) => screen::print(&form.line(at, &line))?,
            Err(error) => complain(&workers[at], error.into(), workers)?,
        }
    }
    Ok(())
}

/// Of several workers, one whose node is away must not hide the others.
fn complain(worker: &str, error: anyhow::Error, workers: &[String]) -> anyhow::Result<()> {
    if workers.len() < 2 {
        return Err(error);
    }
    let why = failure::brief(&error);
    screen::complain(&format!("{}: {worker}: {why}\n", screen::styled("warning", screen::WAITING)));
    Ok(())
}

/// How lines look: with whose they are before them, where there are several workers.
struct Form {
    /// One for each worker; none where there is but one.
    prefixes: Vec<String>,
    on_terminal: bool,
}

impl Form {
    fn new(workers: &[String]) -> Self {
        let on_terminal = screen::is_terminal();
        let prefixes = match workers {
            [] | [_] => Vec::new(),
            _ => {
                let width = workers.iter().map(String::len).max().unwrap_or(0);
                let colours = WORKERS.iter().cycle();
                let prefix = |(worker, colour): (&String, &Style)| {
                    format!("{} ", screen::styled(&format!("{worker:width$} │"), *colour))
                };
                workers.iter().zip(colours).map(prefix).collect()
            }
        };
        Self { prefixes, on_terminal }
    }

    fn line(&self, worker: usize, line: &str) -> String {
        let prefix = self.prefixes.get(worker).map(String::as_str).unwrap_or_default();
        let line = printable(line);
        match (self.on_terminal, time(&line)) {
            (true, at) if !at.is_empty() => {
                format!("{prefix}{}{}\n", screen::styled(clock(at), screen::DIM), &line[at.len()..])
            }
            _ => format!("{prefix}{line}\n"),
        }
    }
}

/// The time that a line begins with, empty where there is none.
fn time(line: &str) -> &str {
    let first = line.split(' ').next().unwrap_or_default();
    if first.parse::<Timestamp>().is_ok() { first } else { "" }
}

/// The hours, minutes, seconds and milliseconds of a time.
fn clock(time: &str) -> &str {
    time.split_once('T').map_or(time, |(_, clock)| clock.trim_end_matches('Z'))
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
    match server.once()?.request_stream(request).await {
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

    #[test]
    fn on_a_terminal_a_line_has_its_clock_and_in_a_pipe_its_whole_time() {
        let names = ["digits-aggregator".to_owned(), "digits-trainer-a".to_owned()];
        let line = "2026-11-25T00:28:09.487Z round 19: 3 updates";
        let form = |on_terminal| Form { on_terminal, ..Form::new(&names) };
        assert_eq!(
            screen::plain(&form(true).line(1, line)),
            "digits-trainer-a  │ 00:28:09.487 round 19: 3 updates\n"
        );
        assert_eq!(screen::plain(&form(false).line(0, line)), format!("digits-aggregator │ {line}\n"));
        assert_eq!(Form::new(&names[..1]).line(0, "no time"), "no time\n");
    }
}
