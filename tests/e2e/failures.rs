//! Plugins that misbehave: their worker fails with a reason; the node and everybody else go on.

use std::time::Duration;

use anyhow::Result;
use sedge_testbed::{Built, Platform, condition, eventually};

use crate::job::{self, example, faulty};

#[test]
fn a_bad_trainer_fails_with_its_reason_and_harms_nobody() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    platform.prepare_digits(2, 8)?;
    platform.push_plugins(&["faulty"])?;
    platform.cli.apply(&example(&[]))?;
    let small = "{memory: 64Mi, timeout: 20s}";
    let faults = [
        ("trap", small, "Trapped"),
        ("panic", small, "Trapped"),
        ("loop", "{timeout: 500ms}", "DeadlineExceeded"),
        ("sleep", "{timeout: 500ms}", "DeadlineExceeded"),
        ("stdout", "{timeout: 500ms}", "DeadlineExceeded"),
        ("memory", small, "OutOfMemory"),
        ("tensors", small, "OutOfMemory"),
    ];
    for (fault, resources, _) in faults {
        platform.cli.apply(&faulty(fault, fault, resources))?;
    }

    for (fault, _, reason) in faults {
        let mut last = String::new();
        eventually(&format!("the trainer `{fault}` to fail"), Duration::from_secs(60), || {
            let workers = job::workers(&platform.cli, fault, "trainer")?;
            last = workers.first().map(|worker| worker["status"].to_string()).unwrap_or_default();
            Ok(workers
                .iter()
                .any(|worker| worker["status"]["phase"] == "Failed" && worker["status"]["reason"] == reason))
        })
        .map_err(|error| {
            platform.with_logs(error.context(format!("wanted {reason}; its status is {last}")))
        })?;
    }
    for (fault, _, _) in faults {
        job::await_reason(&platform, fault, "Failed", "TooFewParticipants")?;
    }
    let healthy = job::await_complete(&platform, "digits", "2m")?;
    assert_eq!(job::rounds(&healthy)?.len(), 20);
    let node = platform.cli.get("edgenodes edge-1")?;
    assert_eq!(condition(&node, "Ready").0, "True", "{node}");
    // What a plugin says before it panics is in its log.
    let panicked = job::workers(&platform.cli, "panic", "trainer")?;
    let name = panicked[0]["metadata"]["name"].as_str().unwrap_or_default();
    let log = platform.cli.run(&["logs", name])?;
    assert!(log.contains("a panic was asked for in round 1"), "{log}");
    Ok(())
}

#[test]
fn an_update_with_nan_is_refused_and_counted() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 3)?;
    platform.prepare_digits(3, 9)?;
    platform.push_plugins(&["faulty"])?;
    let partition = sedge_testbed::digits::partition(3, 0.5, 9)?;
    let fewest = partition.shares.iter().map(Vec::len).min().unwrap_or(0);
    let job = faulty("nan", "nan", "{}")
        .replace("{fault: nan}", &format!("{{fault: nan, below: {}}}", fewest + 1))
        .replace("{names: [digits-edge-1]}", "{names: [digits-edge-1, digits-edge-2, digits-edge-3]}");
    platform.cli.apply(&job)?;

    let job = job::await_complete(&platform, "nan", "2m")?;

    let round = &job::rounds(&job)?[0];
    assert_eq!((&round["updates"], &round["refused"]), (&2.into(), &1.into()), "{round}");
    Ok(())
}
