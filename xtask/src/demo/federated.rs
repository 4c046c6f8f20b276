//! `cargo xtask demo federated`: a federated learning job from nothing to the trained model, shown as it happens.

use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sedge_testbed::{Cli, Platform};
use serde_json::Value;

use super::{BOLD, DIM, GOOD, bar};
use crate::build::{self, Profile};
use crate::shell;

const EDGES: usize = 10;
/// Concentration of the Dirichlet distribution that spreads the digits: low, so that nodes differ much.
const ALPHA: f64 = 0.5;
const JOB: &str = "examples/digits/job.yaml";
const PATIENCE: Duration = Duration::from_secs(600);

/// Show it.
pub fn run(exit: bool) -> Result<()> {
    let built = build::everything(Profile::Dev)?;
    let folder = super::folder("demo")?;
    shell::say("Starting", format!("sedge up: manager, cloud node and {EDGES} edge nodes in one process"));
    let platform = Platform::up_in(&built, EDGES, &folder)?;
    shell::say("Uploading", "plugins sgd-trainer, evaluator, fedavg and the model digits-mlp");
    platform.push_plugins(&["sgd-trainer", "evaluator", "fedavg"])?;
    platform.push_digits_model()?;
    let partition = sedge_testbed::digits::partition(EDGES, ALPHA, 1)?;
    let sizes: Vec<usize> = partition.shares.iter().map(Vec::len).collect();
    shell::say(
        "Spreading",
        format!(
            "1,797 digits by Dirichlet({ALPHA}): {} to {} on a node, {} held out",
            sizes.iter().min().unwrap_or(&0),
            sizes.iter().max().unwrap_or(&0),
            partition.test.len()
        ),
    );
    platform.place_digits(&partition)?;
    shell::say("Applying", JOB);
    platform.cli.run(&["apply", "-f", &shell::root().join(JOB).display().to_string()])?;

    anstream::println!();
    let job = watch(&platform.cli).map_err(|error| platform.with_logs(error))?;
    summary(&job, &built.sedge, &folder.join("data/kubeconfig"))?;
    super::linger(exit)
}

/// A line for each round as it closes, until the job has ended.
fn watch(cli: &Cli) -> Result<Value> {
    let end = Instant::now() + PATIENCE;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("  {bar:40.green/dim} {msg}").context("the template is right")?;
    bar.set_style(style.progress_chars("━━─"));
    anstream::println!(
        "{BOLD}{:>5}  {:>8}  {:<24}  {:>6}  {:>7}  {:>7}{BOLD:#}",
        "ROUND",
        "ACCURACY",
        "",
        "LOSS",
        "UPDATES",
        "TIME"
    );
    let mut states = States::of_job(cli)?;
    let mut shown = 0;
    loop {
        let job = states.next(end)?;
        let total = job["spec"]["aggregation"]["rounds"].as_u64().unwrap_or(0);
        bar.set_length(total);
        for round in job["status"]["history"].as_array().into_iter().flatten() {
            let number = round["round"].as_u64().unwrap_or(0);
            if number > shown {
                shown = number;
                bar.suspend(|| anstream::println!("{}", line(round)));
                bar.set_position(number);
            }
        }
        match job["status"]["phase"].as_str() {
            Some("Succeeded") => {
                bar.finish_and_clear();
                return Ok(job);
            }
            Some("Failed") => {
                bar.finish_and_clear();
                bail!("the job failed: {}", job["status"]["reason"]);
            }
            _ if shown == 0 => bar.set_message("the workers are starting"),
            _ => bar.set_message(format!("{shown} of {total} rounds")),
        }
    }
}

/// The states of the job as they come. They are followed by one process; asking again and again would take
/// the time that the nodes need for training.
struct States {
    watching: Child,
    states: Receiver<serde_json::Result<Value>>,
}

impl States {
    fn of_job(cli: &Cli) -> Result<Self> {
        let mut command = cli.command(&["get", "federatedlearningjobs", "digits", "-w", "-o", "json"]);
        let mut watching =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("sedge get")?;
        let output = watching.stdout.take().context("its output was asked for")?;
        let (sender, states) = mpsc::channel();
        // Ends with the process, whose output it reads.
        std::thread::spawn(move || {
            for state in serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter() {
                if sender.send(state).is_err() {
                    return;
                }
            }
        });
        Ok(Self { watching, states })
    }

    fn next(&mut self, end: Instant) -> Result<Value> {
        match self.states.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(state) => state.context("`sedge get -w -o json` printed something else than JSON"),
            Err(RecvTimeoutError::Timeout) => bail!("the job is not done after {PATIENCE:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("`sedge get -w` ended before the job"),
        }
    }
}

impl Drop for States {
    fn drop(&mut self) {
        let _ = self.watching.kill();
        let _ = self.watching.wait();
    }
}

/// One round, as a line of the table.
fn line(round: &Value) -> String {
    let accuracy = metric(round, "accuracy").unwrap_or(0.0);
    let bar = bar(accuracy, 24);
    let loss = metric(round, "loss").map_or_else(|| "-".to_owned(), |loss| format!("{loss:.3}"));
    format!(
        "{:>5}  {:>8.3}  {GOOD}{bar:<24}{GOOD:#}  {loss:>6}  {:>7}  {DIM}{:>4} ms{DIM:#}",
        round["round"].as_u64().unwrap_or(0),
        accuracy,
        round["updates"].as_u64().unwrap_or(0),
        round["durationMillis"].as_u64().unwrap_or(0),
    )
}

/// What came out, and how to look further.
fn summary(job: &Value, sedge: &Path, kubeconfig: &Path) -> Result<()> {
    let rounds = job["status"]["history"].as_array().context("the job has a history")?;
    let last = rounds.last().context("the job has rounds")?;
    let mut times: Vec<u64> = rounds.iter().filter_map(|round| round["durationMillis"].as_u64()).collect();
    times.sort_unstable();
    let result = &job["status"]["result"];
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let reference = text(&result["reference"]);
    anstream::println!();
    for (name, value) in [
        ("Accuracy", format!("{:.3} on digits that no trainer saw", metric(last, "accuracy").unwrap_or(0.0))),
        ("Round", format!("{} ms (median of {})", times.get(times.len() / 2).unwrap_or(&0), times.len())),
        ("Model", reference.clone()),
        ("Digest", text(&result["digest"])),
    ] {
        // A digest then ends within 80 columns.
        anstream::println!("{BOLD}{name:<8}{BOLD:#} {value}");
    }
    let further = [
        ("sedge describe flj digits".to_owned(), "the job, its workers and rounds"),
        ("sedge get workers -o wide".to_owned(), "who ran where"),
        ("sedge logs job/digits".to_owned(), "what they said"),
        (format!("sedge model inspect {reference}"), "what was learned"),
    ];
    super::look_further(sedge, kubeconfig, &further);
    Ok(())
}

fn metric(round: &Value, name: &str) -> Option<f64> {
    round["metrics"].as_array()?.iter().find(|metric| metric["name"] == *name)?["value"].as_f64()
}
