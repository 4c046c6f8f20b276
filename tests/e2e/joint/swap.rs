//! Changes of a service while it answers: what works is taken up without losing a request, what fails is undone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use sedge_client::Client;
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, service};
use sedge_testbed::{Built, Platform, condition, eventually};
use serde_json::Value;

use super::{QUICK, SERVICE, serving, status};

#[test]
fn a_swap_under_load_fails_no_request() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &service(&[])?)?;
    let digits = HeldOut::read()?;
    let before = ask(&platform.client("edge-1")?, "digits", &digits.samples[0])?.versions.model;
    let stop = AtomicBool::new(false);
    let load = |client: Client| -> Result<u64> {
        let mut requests = 0;
        while !stop.load(Ordering::Relaxed) {
            for sample in digits.samples.iter().take(50) {
                ask(&client, "digits", sample).with_context(|| format!("request {requests}"))?;
                requests += 1;
            }
        }
        Ok(requests)
    };
    let asked = std::thread::scope(|scope| -> Result<u64> {
        let clients = (0..4).map(|_| platform.client("edge-1")).collect::<Result<Vec<_>>>()?;
        let loads: Vec<_> = clients.into_iter().map(|client| scope.spawn(|| load(client))).collect();
        let swapped = (|| {
            for model in ["digits-large:1", "digits-small:1", "digits-large:1"] {
                let edge = format!("model: {model}\n    nodes");
                platform.cli.apply(&(service(&[("model: digits-small:1\n    nodes", &edge)])? + QUICK))?;
                platform.cli.run(&["rollout", "status", "digits", "--timeout", "2m"])?;
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        let mut asked = 0;
        for load in loads {
            asked += load.join().map_err(|_| anyhow::anyhow!("a client broke"))??;
        }
        assert!(asked > 0);
        swapped.map(|()| asked)
    })
    .map_err(|error| platform.with_logs(error))?;
    let after = ask(&platform.client("edge-1")?, "digits", &digits.samples[0])?.versions.model;
    assert_ne!(before, after, "the other model answers");
    let mut last = Value::Null;
    eventually("the service to tell of the latest request", PATIENCE, || {
        last = status(&platform)?;
        Ok(last["requests"].as_u64().is_some_and(|told| told > asked))
    })
    .map_err(|error| platform.with_logs(error.context(last.to_string())))?;
    assert_eq!(last["failed"], 0, "{last}");
    Ok(())
}

/// Change the edge to the plugin `faulty-inferencer`; gives why `sedge rollout status` fails.
pub fn swap_to(platform: &Platform, parameters: &str, rollout: &str, load: bool) -> Result<String> {
    let faulty =
        format!("plugin: faulty-inferencer:0.1.0\n    parameters: {parameters}\n    model: digits-small:1");
    let yaml = service(&[("plugin: onnx-inferencer:0.1.0\n    model: digits-small:1", &faulty)])?;
    platform.cli.apply(&(yaml + rollout))?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| {
            while load && !stop.load(Ordering::Relaxed) {
                // Some fail, which is what the swap is undone for.
                let _ = ask(&client, "digits", &digits.samples[0]);
            }
        });
        let refusal = platform.cli.refusal(&["rollout", "status", "digits", "--timeout", "2m"]);
        stop.store(true, Ordering::Relaxed);
        requests.join().map_err(|_| anyhow::anyhow!("a client broke"))?;
        refusal
    })
    .map_err(|error| platform.with_logs(error))
}

#[test]
fn a_swap_to_a_plugin_that_fails_is_undone_and_the_old_answers() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &service(&[])?)?;
    platform.push_plugins(&["faulty-inferencer"])?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let before = ask(&client, "digits", &digits.samples[0])?.versions;

    let cases = [
        ("{fault: trapInPrepare}", QUICK.to_owned(), false, "Trapped"),
        ("{fault: errorInPrepare}", QUICK.to_owned(), false, "PluginError"),
        ("{fault: trap, at: 10}", "  rollout: {probation: 60s}\n".to_owned(), true, "ErrorBudgetSpent"),
        (
            "{fault: slow, millis: 300}",
            "  rollout: {probation: 60s, latencyBudget: 100ms}\n".to_owned(),
            true,
            "ErrorBudgetSpent",
        ),
        (
            "{fault: slowInPrepare, millis: 8000}",
            "  rollout: {deadline: 1s, probation: 500ms}\n".to_owned(),
            false,
            "in the plugin's `prepare`",
        ),
        ("{fault: error}", format!("  rollout: {{probes: [{{inputs: [{}]}}]}}\n", probe()), false, "probe 0"),
    ];
    for (parameters, rollout, load, word) in cases {
        let refusal = swap_to(&platform, parameters, &rollout, load)?;
        assert!(refusal.contains(word), "{parameters}: {refusal}");
        let mut last = String::new();
        eventually("the old revision to answer", PATIENCE, || {
            let answer = ask(&client, "digits", &digits.samples[0]);
            last = format!("{answer:?}");
            Ok(answer.is_ok_and(|answer| answer.versions == before))
        })
        .map_err(|error| platform.with_logs(error.context(format!("{parameters}: {last}"))))?;
        let service = platform.cli.get(SERVICE)?;
        assert_eq!(condition(&service, "RolledOut").0, "False", "{service}");
    }

    // A node that would wait for ever for what is not there gives up in time.
    let refusal = swap_to_what_is_lost(&platform)?;
    assert!(refusal.contains("ProgressDeadlineExceeded") && refusal.contains("edge-1"), "{refusal}");
    assert_eq!(ask(&client, "digits", &digits.samples[0])?.versions, before);

    // What was undone is left behind by a spec that works.
    platform.cli.run(&["rollout", "undo", "digits"])?;
    platform.cli.run(&["rollout", "status", "digits", "--timeout", "2m"])?;
    Ok(())
}

/// Change the edge to a model of which the registry has lost a part; gives why `sedge rollout status` fails.
fn swap_to_what_is_lost(platform: &Platform) -> Result<String> {
    let blobs = platform.folder().join("data/registry/blobs/sha256");
    let present = || -> Result<BTreeMap<PathBuf, u64>> {
        let entries = std::fs::read_dir(&blobs)?;
        let sized = entries.map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.metadata()?.len()))
        });
        sized.collect()
    };
    let before = present()?;
    platform.push_digits_model()?;
    eventually("the model to be ready", PATIENCE, || {
        Ok(condition(&platform.cli.get("models digits-mlp.1")?, "Ready").0 == "True")
    })?;
    let pushed = present()?.into_iter().filter(|(path, _)| !before.contains_key(path));
    let (largest, _) = pushed.max_by_key(|(_, len)| *len).context("a model has blobs")?;
    std::fs::remove_file(largest)?;
    let lost = service(&[("model: digits-small:1", "model: digits-mlp:1")])?;
    platform.cli.apply(&(lost + "  rollout: {deadline: 1s, probation: 500ms}\n"))?;
    platform
        .cli
        .refusal(&["rollout", "status", "digits", "--timeout", "2m"])
        .map_err(|error| platform.with_logs(error))
}

/// One sample in the protocol's JSON.
fn probe() -> String {
    let zeros = vec!["0"; 64].join(",");
    format!("{{name: x, shape: [1, 64], datatype: FP32, data: [{zeros}]}}")
}
