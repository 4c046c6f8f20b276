//! How long a job takes to notice: from the last row written to its trigger firing, and from a better candidate, once it is
//! measured, to the first answer by it.
//!
//! ```text
//!  rows appended ──▶ `round N begins` ──▶ `version N is measured` ──▶ an answer by its model
//!  (this process)    (the learner's log, to the millisecond)          (this process, which asks again and again)
//! ```
//! All on one machine, so that there is one clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use sedge_client::Client;
use sedge_testbed::drift::{self, Stream};
use sedge_testbed::{Built, Platform, eventually, joint};

use super::super::rows::Rows;
use crate::shell;

const NODE: &str = "edge-1";
const JOB: &str = "incrementallearningjobs digits";
const PATIENCE: Duration = Duration::from_secs(60);

/// Run a job over the weeks of the digits, and add both times.
pub fn measure(built: &Built, rows: &mut Rows) -> Result<()> {
    let platform = Platform::up(built, 1)?;
    let times = follow(&platform).map_err(|error| platform.with_logs(error))?;
    for (what, mut times, aim) in [
        ("last row written to the trigger firing", times.noticed, 1_000.0),
        ("candidate measured to the first answer by it", times.deployed, 100.0),
    ] {
        times.sort_by(f64::total_cmp);
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        rows.add(format!("{what}, median of {}", times.len()), median, "ms").p99(most).aim(aim);
    }
    Ok(())
}

/// In milliseconds, one of each round.
#[derive(Default)]
struct Times {
    noticed: Vec<f64>,
    deployed: Vec<f64>,
}

fn follow(platform: &Platform) -> Result<Times> {
    platform.push_plugins(&["sgd-trainer", "evaluator", "onnx-inferencer"])?;
    platform.push_digits_model()?;
    let stream = drift::digits(0)?;
    let path = platform.datasets(NODE).join("digits-stream.csv");
    stream.append(&stream.steps[..1], &path)?;
    let text = std::fs::read_to_string(shell::root().join("examples/drift/digits.yaml"))?;
    // Every candidate is good enough here: what is measured is how soon it answers.
    let always = text.replace("difference.recent.accuracy >= 0", "difference.accuracy >= -1");
    if always == text {
        bail!("examples/drift/digits.yaml has another trigger to deploy than this replaces");
    }
    platform.cli.apply(&always)?;
    model_of(platform, 1)?;
    let client = platform.client(NODE)?;

    let mut times = Times::default();
    for (version, step) in (2..).zip(1..stream.steps.len()) {
        let answers = AtomicBool::new(true);
        let (written, changes) = std::thread::scope(|scope| {
            let asking = scope.spawn(|| watch(&client, &stream, &answers));
            let round = || {
                stream.append(&stream.steps[step..=step], &path)?;
                let written = Timestamp::now();
                model_of(platform, version)?;
                anyhow::Ok(written)
            };
            let written = round();
            answers.store(false, Ordering::Relaxed);
            let changes = asking.join().map_err(|_| anyhow::anyhow!("who asks has panicked"))?;
            anyhow::Ok((written?, changes?))
        })?;
        let model = model_of(platform, version)?;
        let log = platform.cli.run(&["logs", "job/digits"])?;
        let fired = at(&log, &format!("round {version} begins"))?;
        let measured = at(&log, &format!("version {version} is measured"))?;
        let answered = changes.iter().find(|(_, by)| *by == model);
        let answered = answered.with_context(|| format!("no answer by version {version} was seen"))?.0;
        times.noticed.push(milliseconds(written, fired));
        times.deployed.push(milliseconds(measured, answered));
    }
    Ok(times)
}

/// Ask again and again, and note when answers begin to come from another model.
fn watch(client: &Client, stream: &Stream, on: &AtomicBool) -> Result<Vec<(Timestamp, String)>> {
    let sample = &stream.steps[0].asked[0].features;
    let mut changes: Vec<(Timestamp, String)> = Vec::new();
    while on.load(Ordering::Relaxed) {
        let by = joint::ask(client, "digits", sample)?.versions.model.context("an answer names its model")?;
        if changes.last().is_none_or(|(_, last)| *last != by) {
            changes.push((Timestamp::now(), by));
        }
        // One who asks is a client, not a load.
        std::thread::park_timeout(Duration::from_millis(1));
    }
    Ok(changes)
}

/// Digest of the model of a version, once that is deployed.
fn model_of(platform: &Platform, version: u64) -> Result<String> {
    let mut model = None;
    eventually(&format!("version {version} to serve"), PATIENCE, || {
        let learning = platform.cli.get(JOB)?["status"]["learning"].clone();
        if learning["deployed"] == version {
            let versions = learning["versions"].as_array().into_iter().flatten();
            let found = versions.clone().find(|one| one["number"] == version);
            model = found.and_then(|one| one["model"].as_str()).map(str::to_owned);
        }
        Ok(model.is_some())
    })?;
    model.context("it was found")
}

/// The time of the line that says so.
fn at(log: &str, words: &str) -> Result<Timestamp> {
    let line = log.lines().rev().find(|line| line.contains(words));
    let line = line.with_context(|| format!("the learner's log does not say `{words}`:\n{log}"))?;
    let time = line.split_whitespace().find_map(|word| word.parse::<Timestamp>().ok());
    time.with_context(|| format!("a line of a log begins with its time: {line}"))
}

fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_words_and_read_by_its_time() {
        let log = "digits-learner │ 2026-11-25T16:54:41.250Z round 2 begins: newSamples is 900\n\
                   digits-learner │ 2026-11-25T16:54:41.900Z version 2 is measured on 375 samples\n";
        let (fired, measured) =
            (at(log, "round 2 begins").unwrap(), at(log, "version 2 is measured").unwrap());
        assert_eq!(milliseconds(fired, measured).round(), 650.0);
        assert!(at(log, "round 3 begins").unwrap_err().to_string().contains("does not say"));
    }
}
