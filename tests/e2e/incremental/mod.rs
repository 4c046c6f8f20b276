//! Incremental learning: rows that arrive are learnt, candidates are measured and deployed by hot swap, on one node or on
//! several. The fixtures are here, the tests by what they are about.

mod drift;
mod growth;
mod labels;
mod recovery;
mod rounds;

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sedge_testbed::joint::{HeldOut, ask};
use sedge_testbed::{Built, Platform, eventually, root};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(180);

/// These of the digits, a line each.
fn lines(rows: Range<usize>) -> Result<String> {
    let text = fs::read_to_string(root().join("tests/data/digits.csv"))?;
    Ok(text.lines().skip(1 + rows.start).take(rows.len()).flat_map(|line| [line, "\n"]).collect())
}

/// These of the digits, as a file with a heading.
fn table(rows: Range<usize>) -> Result<String> {
    let text = fs::read_to_string(root().join("tests/data/digits.csv"))?;
    let heading = text.lines().next().context("a heading")?;
    Ok(format!("{heading}\n{}", lines(rows)?))
}

/// The first `rows` digits, as a file in the dataset folder of `node`.
fn place(platform: &Platform, node: &str, file: &str, rows: usize) -> Result<()> {
    let folder = platform.datasets(node);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(file), table(0..rows)?)?;
    Ok(())
}

/// Add to a file in the dataset folder of edge-1, in one go.
fn append_to(platform: &Platform, file: &str, text: &str) -> Result<()> {
    let path = platform.datasets("edge-1").join(file);
    Ok(fs::OpenOptions::new().append(true).open(path)?.write_all(text.as_bytes())?)
}

/// Each digit is called by the name of the next.
fn mislabelled(rows: &str) -> Result<String> {
    rows.lines()
        .map(|row| {
            let (pixels, label) = row.rsplit_once(',').context("a label")?;
            Ok(format!("{pixels},{}\n", (label.parse::<u32>()? + 1) % 10))
        })
        .collect()
}

fn dataset(name: &str, node: &str, file: &str) -> String {
    format!(
        "---\napiVersion: sedge.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: {name}}}\n\
         spec: {{node: {node}, path: {file}, format: csv, label: label, split: {{test: 0.25, seed: 3}}}}\n"
    )
}

/// A job on edge-1's `stream`; `evaluate` and `deploy` are further lines of theirs.
fn job(evaluate: &str, deploy: &str) -> String {
    format!(
        "---
apiVersion: sedge.dev/v1alpha1
kind: IncrementalLearningJob
metadata: {{name: digits}}
spec:
  dataset: stream
  model: digits-mlp:1
  train:
    plugin: sgd-trainer:0.1.0
    parameters: {{epochs: 15, learningRate: 0.1}}
    trigger: {{condition: {{metric: newSamples, operator: '>=', threshold: 100}}}}
    replay: {{share: 0.3}}
    drift: {{detector: psi, parameters: {{window: 200, bins: 5}}}}
  evaluate:
    plugin: evaluator:0.1.0
    parameters: {{perClass: y}}
    trigger: {{expression: 'difference.accuracy > -0.05'}}
{evaluate}  deploy:
    inferencer:
      plugin: onnx-inferencer:0.1.0
      rollout: {{probation: 500ms}}
{deploy}"
    )
}

fn prepared(built: &Built, edges: usize) -> Result<Platform> {
    let platform = Platform::up(built, edges)?;
    prepare(&platform)?;
    Ok(platform)
}

fn prepare(platform: &Platform) -> Result<()> {
    platform.push_plugins(&["sgd-trainer", "evaluator", "onnx-inferencer"])?;
    platform.push_digits_model()
}

/// The report of the job `digits` once its version `number` serves.
fn deployed(platform: &Platform, number: u64) -> Result<Value> {
    deployed_by(platform, "digits", number)
}

/// The job's report once its version `number` serves.
fn deployed_by(platform: &Platform, job: &str, number: u64) -> Result<Value> {
    let mut last = Value::Null;
    eventually(&format!("version {number} of {job} to serve"), PATIENCE, || {
        last = platform.cli.get(&format!("incrementallearningjobs {job}"))?["status"].clone();
        Ok(last["learning"]["deployed"] == number)
    })
    .map_err(|error| platform.with_logs(error.context(last.to_string())))?;
    Ok(last["learning"].clone())
}

fn version(report: &Value, number: u64) -> Result<&Value> {
    let versions = report["versions"].as_array().context("versions")?;
    versions.iter().find(|version| version["number"] == number).context("the version is on record")
}

fn accuracy(metrics: &Value) -> Option<f64> {
    let metrics = metrics.as_array()?;
    metrics.iter().find(|metric| metric["name"] == "accuracy")?["value"].as_f64()
}

/// The only range of rows that a version was trained on.
fn data(version: &Value) -> Option<Range<u64>> {
    let [range] = &version["data"].as_array()?[..] else { return None };
    Some(range["first"].as_u64()?..range["end"].as_u64()?)
}

/// Until `node` answers with the model of that version.
fn answers_with(platform: &Platform, node: &str, report: &Value, number: u64) -> Result<()> {
    answers_as("digits", platform, node, report, number)
}

/// Likewise of another service.
fn answers_as(service: &str, platform: &Platform, node: &str, report: &Value, number: u64) -> Result<()> {
    let model = version(report, number)?["model"].as_str().context("its model")?.to_owned();
    let (client, digits) = (platform.client(node)?, HeldOut::read()?);
    eventually(&format!("an answer by version {number}"), PATIENCE, || {
        let answer = ask(&client, service, &digits.samples[0]);
        Ok(answer.is_ok_and(|answer| answer.versions.model.as_deref() == Some(model.as_str())))
    })
    .map_err(|error| platform.with_logs(error))
}
