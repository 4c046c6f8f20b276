//! A Model says which engine computes it; what came of that is in the status of its Workers and its own.

use std::time::Duration;

use anyhow::Result;
use sedge_testbed::{Built, Platform, eventually};
use serde_json::Value;

use crate::job::{self, example};

/// A Model's choice of engines, merged into what `sedge model push` made.
fn choose(platform: &Platform, choice: &str) -> Result<()> {
    let model = format!(
        "apiVersion: sedge.dev/v1alpha1
kind: Model
metadata: {{name: digits-mlp.1}}
spec:
  reference: digits-mlp:1
{choice}
"
    );
    platform.cli.apply(&model)?;
    Ok(())
}

fn engines(status: &Value) -> Vec<(&str, &str)> {
    let engines = status["engines"].as_array().map(Vec::as_slice).unwrap_or_default();
    engines
        .iter()
        .map(|engine| {
            (engine["graph"].as_str().unwrap_or_default(), engine["engine"].as_str().unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_model_is_computed_by_the_engine_that_it_names() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    platform.prepare_digits(2, 12)?;
    choose(&platform, "  engine: {name: rten}\n  graphs: {infer: {optimization: none}}")?;
    platform.cli.apply(&example(&[("rounds: 20", "rounds: 2")]))?;
    job::await_complete(&platform, "digits", "2m")?;

    let all = [("evaluate", "rten"), ("infer", "rten"), ("train", "rten")];
    for worker in job::workers(&platform.cli, "digits", "trainer")? {
        assert_eq!(engines(&worker["status"]), all, "{worker}");
    }
    let mut last = Value::Null;
    eventually("the Model to say what computes it", Duration::from_secs(30), || {
        last = platform.cli.get("models digits-mlp.1")?;
        Ok(last["status"]["engine"] == "rten" && engines(&last["status"]) == all)
    })
    .map_err(|error| platform.with_logs(error.context(last.to_string())))?;
    let table = platform.cli.run(&["get", "models", "-o", "wide"])?;
    assert!(table.contains("ENGINE") && table.contains("rten"), "{table}");
    Ok(())
}

#[test]
fn an_engine_that_no_node_has_fails_the_worker_with_what_to_do() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    platform.prepare_digits(2, 13)?;
    choose(&platform, "  engine: {name: abacus}")?;
    platform.cli.apply(&example(&[]))?;

    let mut last = Value::Null;
    eventually("a trainer to fail", Duration::from_secs(60), || {
        let workers = job::workers(&platform.cli, "digits", "trainer")?;
        last = workers.first().map(|worker| worker["status"].clone()).unwrap_or_default();
        Ok(last["phase"] == "Failed")
    })
    .map_err(|error| platform.with_logs(error.context(last.to_string())))?;
    assert_eq!(last["reason"], "EngineUnavailable", "{last}");
    let message = last["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("abacus") && message.contains("this node has") && message.contains("rten"),
        "{last}"
    );
    Ok(())
}
