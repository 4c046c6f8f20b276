//! Jobs as tests write them, and what their status says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use sedge_testbed::{Cli, Platform, condition, eventually, root};
use serde_json::Value;

/// The example job, with lines of its text replaced.
pub fn example(replacements: &[(&str, &str)]) -> String {
    let text =
        std::fs::read_to_string(root().join("examples/digits/job.yaml")).expect("the example job is there");
    replacements.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example job has no `{from}`");
        text.replace(from, to)
    })
}

/// A job `name` of one round that trains with the plugin `faulty` on edge-1's digits.
pub fn faulty(name: &str, fault: &str, resources: &str) -> String {
    format!(
        "apiVersion: sedge.dev/v1alpha1
kind: FederatedLearningJob
metadata: {{name: {name}}}
spec:
  model: digits-mlp:1
  aggregation: {{plugin: 'fedavg:0.1.0', rounds: 1, roundDeadline: 30s}}
  training:
    plugin: faulty:0.1.0
    parameters: {{fault: {fault}}}
    resources: {resources}
    datasets: {{names: [digits-edge-1]}}
"
    )
}

/// The job's resource.
pub fn get(cli: &Cli, name: &str) -> Result<Value> {
    cli.get(&format!("federatedlearningjobs {name}"))
}

/// Wait until the job is complete and give its resource.
pub fn await_complete(platform: &Platform, name: &str, patience: &str) -> Result<Value> {
    let job = format!("federatedlearningjob/{name}");
    platform
        .cli
        .run(&["wait", &job, "--for", "condition=Complete", "--timeout", patience])
        .map_err(|error| platform.with_logs(error))?;
    get(&platform.cli, name)
}

/// Wait until at least `round` rounds are closed.
pub fn await_round(platform: &Platform, name: &str, round: u64) -> Result<()> {
    eventually(&format!("round {round} of {name}"), Duration::from_secs(120), || {
        Ok(get(&platform.cli, name)?["status"]["round"].as_u64().unwrap_or(0) >= round)
    })
    .map_err(|error| platform.with_logs(error))
}

/// Wait until the job's condition `kind` has this reason.
pub fn await_reason(platform: &Platform, name: &str, kind: &str, reason: &str) -> Result<()> {
    let mut last = String::new();
    eventually(&format!("{kind} of {name} to be {reason}"), Duration::from_secs(60), || {
        last = condition(&get(&platform.cli, name)?, kind).1.to_owned();
        Ok(last == reason)
    })
    .map_err(|error| platform.with_logs(error.context(format!("the last reason was `{last}`"))))
}

/// The closed rounds of a job, oldest first.
pub fn rounds(job: &Value) -> Result<&Vec<Value>> {
    job["status"]["history"].as_array().context("the job has a history")
}

/// A metric of a closed round.
pub fn metric(round: &Value, name: &str) -> Result<f64> {
    let metrics = round["metrics"].as_array().context("the round has metrics")?;
    let found = metrics.iter().find(|metric| metric["name"] == *name);
    found
        .and_then(|metric| metric["value"].as_f64())
        .with_context(|| format!("the round has no metric {name}: {round}"))
}

/// The numbers of the closed rounds.
pub fn numbers(job: &Value) -> Result<Vec<u64>> {
    Ok(rounds(job)?.iter().filter_map(|round| round["round"].as_u64()).collect())
}

/// The workers of a job with this role.
pub fn workers(cli: &Cli, job: &str, role: &str) -> Result<Vec<Value>> {
    let all = cli.get("workers")?;
    let all = all["items"].as_array().context("a list")?;
    let ours = |worker: &&Value| worker["spec"]["job"]["name"] == *job && worker["spec"]["role"] == *role;
    Ok(all.iter().filter(ours).cloned().collect())
}
