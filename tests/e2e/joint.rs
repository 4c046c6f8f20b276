//! Joint inference: the edge answers, the cloud is asked about what the edge is unsure of, and both go on through
//! swaps and losses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sedge_client::Client;
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, digit, service};
use sedge_testbed::{Built, Platform, condition, eventually};
use serde_json::Value;

const SERVICE: &str = "jointinferenceservices digits";

/// A platform of one edge and a cloud whose example service is ready.
fn serving(built: &Built, yaml: &str) -> Result<Platform> {
    let platform = Platform::up(built, 1)?;
    platform.prepare_joint()?;
    begin(&platform, yaml)?;
    Ok(platform)
}

fn begin(platform: &Platform, yaml: &str) -> Result<()> {
    platform.cli.apply(yaml)?;
    platform
        .cli
        .run(&["wait", "jis/digits", "--for", "condition=RolledOut", "--timeout", "2m"])
        .map_err(|error| platform.with_logs(error))?;
    Ok(())
}

fn status(platform: &Platform) -> Result<Value> {
    Ok(platform.cli.get(SERVICE)?["status"].clone())
}

#[test]
fn what_the_edge_is_unsure_of_is_asked_of_the_cloud() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &service(&[])?)?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let (mut right, mut asked) = (0, 0);
    for (sample, label) in digits.samples.iter().zip(&digits.labels) {
        let answer = ask(&client, "digits", sample)?;
        right += usize::from(digit(&answer)? == *label);
        asked += usize::from(answer.answered_by.as_deref() == Some("cloud"));
        assert_eq!(answer.hard, answer.answered_by.as_deref() == Some("cloud"), "{answer:?}");
        assert!(answer.versions.model.is_some() && answer.versions.plugin.is_some());
    }
    let all = digits.labels.len();
    assert!(right * 1000 >= all * 975, "{right} of {all} are right");
    assert!(asked > 0 && asked * 100 < all * 55, "{asked} of {all} were asked of the cloud");

    // What the service counts is what was asked, once each.
    let mut last = Value::Null;
    eventually("the service to tell of all requests", PATIENCE, || {
        last = status(&platform)?;
        let edge = last["endpoints"].as_array().and_then(|all| all.iter().find(|at| at["node"] == "edge-1"));
        Ok(edge.is_some_and(|edge| edge["requests"] == all))
    })
    .map_err(|error| platform.with_logs(error.context(last.to_string())))?;
    let share = last["hardShare"].as_f64().context("a share of hard samples")?;
    assert!((share - asked as f64 / all as f64).abs() < 1e-3, "{share}: {last}");

    let table = platform.cli.run(&["top", "digits", "--once"])?;
    assert!(table.contains("edge-1") && table.contains(&all.to_string()), "{table}");
    Ok(())
}

#[test]
fn a_swap_under_load_fails_no_request() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &service(&[])?)?;
    let digits = HeldOut::read()?;
    let before = ask(&platform.client("edge-1")?, "digits", &digits.samples[0])?.versions.model;
    let stop = AtomicBool::new(false);
    let load = |client: Client| -> Result<usize> {
        let mut requests = 0;
        while !stop.load(Ordering::Relaxed) {
            for sample in digits.samples.iter().take(50) {
                ask(&client, "digits", sample).with_context(|| format!("request {requests}"))?;
                requests += 1;
            }
        }
        Ok(requests)
    };
    std::thread::scope(|scope| -> Result<()> {
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
        for load in loads {
            let requests = load.join().map_err(|_| anyhow::anyhow!("a client broke"))??;
            assert!(requests > 0);
        }
        swapped
    })
    .map_err(|error| platform.with_logs(error))?;
    let after = ask(&platform.client("edge-1")?, "digits", &digits.samples[0])?.versions.model;
    assert_ne!(before, after, "the other model answers");
    assert_eq!(status(&platform)?["failed"].as_u64().unwrap_or_default(), 0);
    Ok(())
}

/// A rollout whose probation is short.
const QUICK: &str = "  rollout: {probation: 500ms}\n";

/// Change the edge to the plugin `faulty-inferencer`; gives why `sedge rollout status` fails.
fn swap_to(platform: &Platform, parameters: &str, rollout: &str, load: bool) -> Result<String> {
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

    // What was undone is left behind by a spec that works.
    platform.cli.run(&["rollout", "undo", "digits"])?;
    platform.cli.run(&["rollout", "status", "digits", "--timeout", "2m"])?;
    Ok(())
}

/// One sample in the protocol's JSON.
fn probe() -> String {
    let zeros = vec!["0"; 64].join(",");
    format!("{{name: x, shape: [1, 64], datatype: FP32, data: [{zeros}]}}")
}

#[test]
fn a_cloud_that_is_gone_costs_one_deadline_and_the_edge_answers() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 1)?;
    platform.prepare_joint()?;
    begin(&platform, &service(&[("threshold: 0.7", "threshold: 1.0")])?)?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let by = |sample: &[f32]| -> Result<String> {
        Ok(ask(&client, "digits", sample)?.answered_by.unwrap_or_default())
    };
    eventually("the cloud to be asked", PATIENCE, || Ok(by(&digits.samples[0])? == "cloud"))?;

    platform.node("cloud")?.kill();
    let answers = digits.samples.iter().take(50).map(|sample| by(sample)).collect::<Result<Vec<_>>>()?;
    assert!(answers.iter().all(|by| by.starts_with("edge-")), "{answers:?}");
    let late = answers.iter().filter(|by| *by == "edge-after-timeout").count();
    assert!(late <= 1, "{late} requests waited for a cloud that is gone");

    platform.start_node("cloud")?;
    eventually("the cloud to be asked again", Duration::from_secs(60), || {
        Ok(by(&digits.samples[0])? == "cloud")
    })
    .map_err(|error| platform.with_logs(error))
}

#[test]
fn a_node_serves_what_it_held_without_its_manager() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 1)?;
    platform.prepare_joint()?;
    begin(&platform, &service(&[])?)?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let before = ask(&client, "digits", &digits.samples[0])?;

    platform.manager().kill();
    platform.node("edge-1")?.kill();
    if ask(&client, "digits", &digits.samples[0]).is_ok() {
        bail!("a node that was killed answers");
    }
    platform.start_node("edge-1")?;
    let mut last = String::new();
    eventually("the restarted node to answer", Duration::from_secs(60), || {
        let answer = ask(&client, "digits", &digits.samples[0]);
        last = format!("{answer:?}");
        Ok(answer.is_ok_and(|answer| answer.versions == before.versions && answer.outputs == before.outputs))
    })
    .map_err(|error| platform.with_logs(error.context(last)))
}

#[test]
fn two_services_share_a_node() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &service(&[])?)?;
    let other =
        service(&[("name: digits", "name: large"), ("model: digits-small:1", "model: digits-large:1")])?;
    platform.cli.apply(&other)?;
    platform.cli.run(&["wait", "jis/large", "--for", "condition=RolledOut", "--timeout", "2m"])?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let models =
        ["digits", "large"].map(|name| ask(&client, name, &digits.samples[0]).map(|it| it.versions.model));
    let [small, large] = models;
    assert_ne!(small?, large?);
    platform.cli.run(&["delete", "jis", "large"])?;
    eventually("the other service to be gone", PATIENCE, || {
        Ok(matches!(ask(&client, "large", &digits.samples[0]), Err(sedge_client::Error::NotFound(_))))
    })?;
    ask(&client, "digits", &digits.samples[0])?;
    Ok(())
}
