//! Incremental learning: rows that arrive are learnt, candidates are measured and deployed by hot swap, on one node or on
//! several.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sedge_testbed::joint::{HeldOut, ask, digit};
use sedge_testbed::{Built, Platform, eventually, root};
use serde_json::Value;

const JOB: &str = "incrementallearningjobs digits";
const PATIENCE: Duration = Duration::from_secs(180);

/// The first `rows` digits, as a file in the dataset folder of `node`.
fn place(platform: &Platform, node: &str, file: &str, rows: usize) -> Result<()> {
    let text = fs::read_to_string(root().join("tests/data/digits.csv"))?;
    let head: Vec<&str> = text.lines().take(rows + 1).collect();
    let folder = platform.datasets(node);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(file), head.join("\n") + "\n")?;
    Ok(())
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
    platform.push_plugins(&["sgd-trainer", "evaluator", "onnx-inferencer"])?;
    platform.push_digits_model()?;
    Ok(platform)
}

/// The job's report once the version `number` serves.
fn deployed(platform: &Platform, number: u64) -> Result<Value> {
    let mut last = Value::Null;
    eventually(&format!("version {number} to serve"), PATIENCE, || {
        last = platform.cli.get(JOB)?["status"].clone();
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

/// Until `node` answers with the model of that version.
fn answers_with(platform: &Platform, node: &str, report: &Value, number: u64) -> Result<()> {
    let model = version(report, number)?["model"].as_str().context("its model")?.to_owned();
    let (client, digits) = (platform.client(node)?, HeldOut::read()?);
    eventually(&format!("an answer by version {number}"), PATIENCE, || {
        let answer = ask(&client, "digits", &digits.samples[0]);
        Ok(answer.is_ok_and(|answer| answer.versions.model.as_deref() == Some(model.as_str())))
    })
    .map_err(|error| platform.with_logs(error))
}

#[test]
fn rows_that_arrive_are_learnt_again_and_again_and_a_version_may_be_gone_back_to() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 1)?;
    place(&platform, "edge-1", "first.csv", 600)?;
    place(&platform, "edge-1", "more.csv", 1_500)?;
    platform.cli.apply(&(dataset("stream", "edge-1", "first.csv") + &job("", "")))?;

    let first = deployed(&platform, 1)?;
    let one = version(&first, 1)?;
    let measured = (accuracy(&one["measured"]["candidate"]), accuracy(&one["measured"]["deployed"]));
    let (Some(better), Some(worse)) = measured else { anyhow::bail!("it was not measured: {one}") };
    assert!(better > 0.8 && worse < 0.3, "{better} {worse}");
    assert_eq!((&one["data"][0]["first"], &one["data"][0]["end"]), (&0.into(), &600.into()), "{one}");
    answers_with(&platform, "edge-1", &first, 1)?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let mut right = 0;
    for (sample, label) in digits.samples.iter().zip(&digits.labels) {
        right += usize::from(digit(&ask(&client, "digits", sample)?)? == *label);
    }
    assert!(right * 10 > digits.labels.len() * 8, "{right} of {}", digits.labels.len());

    // The second round and its data.
    platform.cli.apply(&dataset("stream", "edge-1", "more.csv"))?;
    let second = deployed(&platform, 2)?;
    let two = version(&second, 2)?;
    assert_eq!((&two["data"][0]["first"], &two["data"][0]["end"]), (&600.into(), &1_500.into()), "{two}");
    assert!(two["replayed"].as_u64() > Some(0) && two["parent"] == 1, "{two}");
    assert!(accuracy(&two["measured"]["candidateEarlier"]) > Some(0.8), "{two}");
    answers_with(&platform, "edge-1", &second, 2)?;

    let said = platform.cli.run(&["model", "rollback", "digits", "--timeout", "1m"]).map_err(|error| {
        let status = platform.cli.get(JOB).map(|job| job["status"].to_string());
        platform.with_logs(error.context(status.unwrap_or_default()))
    })?;
    ensure!(said.contains("version 1 serves again"), "{said}");
    let third = deployed(&platform, 1)?;
    assert_eq!(version(&third, 2)?["state"], "RolledBack");
    answers_with(&platform, "edge-1", &third, 1)?;

    let history = platform.cli.run(&["model", "history", "digits"])?;
    assert!(history.contains("RolledBack") && history.contains("rows 600–1499"), "{history}");
    let diff = platform.cli.run(&["model", "diff", "digits", "1", "2"])?;
    assert!(diff.contains("trained from") && diff.contains("measured accuracy"), "{diff}");
    let page = platform.cli.run(&["describe", "ilj", "digits"])?;
    assert!(page.contains("version 1 serves as `digits`"), "{page}");
    platform.cli.run(&["delete", "ilj", "digits"])?;
    eventually("its service to be gone", PATIENCE, || {
        Ok(matches!(ask(&client, "digits", &digits.samples[0]), Err(sedge_client::Error::NotFound(_))))
    })
}

#[test]
fn nodes_train_evaluate_and_answer_each_by_itself() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 3)?;
    place(&platform, "edge-1", "stream.csv", 900)?;
    place(&platform, "edge-2", "held-out.csv", 500)?;
    let evaluate = "    dataset: held-out\n";
    let deploy = "      nodes: {names: [edge-3]}\n";
    let yaml = dataset("stream", "edge-1", "stream.csv") + &dataset("held-out", "edge-2", "held-out.csv");
    platform.cli.apply(&(yaml + &job(evaluate, deploy)))?;
    let report = deployed(&platform, 1)?;
    assert!(accuracy(&version(&report, 1)?["measured"]["candidate"]) > Some(0.8), "{report}");
    answers_with(&platform, "edge-3", &report, 1)?;
    let workers = platform.cli.get("workers")?;
    let mut places: Vec<(&str, &str)> = workers["items"]
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|worker| Some((worker["spec"]["role"].as_str()?, worker["spec"]["node"].as_str()?)))
        .collect();
    places.sort_unstable();
    assert_eq!(places, [("evaluator", "edge-2"), ("inferencer", "edge-3"), ("trainer", "edge-1")]);
    Ok(())
}
