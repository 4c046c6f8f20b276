//! The main job, all of it.

use anyhow::Result;
use sedge_testbed::{Built, Platform};

use crate::job::{self, example};

#[test]
fn ten_nodes_learn_digits_in_twenty_rounds() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 10)?;
    platform.prepare_digits(10, 1)?;
    platform.cli.apply(&example(&[]))?;

    let job = job::await_complete(&platform, "digits", "5m")?;

    assert_eq!(job["status"]["phase"], "Succeeded");
    assert_eq!(job::numbers(&job)?, (1..=20).collect::<Vec<u64>>());
    for round in job::rounds(&job)? {
        assert_eq!((&round["updates"], &round["samples"]), (&10.into(), &1438.into()), "{round}");
    }
    let accuracy = job::metric(&job::rounds(&job)?[19], "accuracy")?;
    assert!(accuracy >= 0.95, "accuracy on the held-out digits is {accuracy}");
    // What it ran is pinned, and what it made is in the registry.
    for part in ["model", "aggregation", "training", "evaluation"] {
        let digest = job["status"]["pinned"][part]["digest"].as_str().unwrap_or_default();
        assert!(digest.starts_with("sha256:"), "{part}: {digest}");
    }
    let result = job["status"]["result"]["reference"].as_str().unwrap_or_default();
    let inspected = platform.cli.run(&["model", "inspect", result])?;
    let digest = job["status"]["result"]["digest"].as_str().unwrap_or_default();
    assert!(inspected.contains(digest) && inspected.contains("4,810 parameters"), "{inspected}");
    Ok(())
}

#[test]
fn the_manager_and_nodes_may_be_processes_of_their_own() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::separate(&built, 10)?;
    platform.prepare_digits(10, 1)?;
    platform.cli.apply(&example(&[]))?;

    let job = job::await_complete(&platform, "digits", "5m")?;

    assert_eq!(job::numbers(&job)?, (1..=20).collect::<Vec<u64>>());
    let accuracy = job::metric(&job::rounds(&job)?[19], "accuracy")?;
    assert!(accuracy >= 0.95, "accuracy on the held-out digits is {accuracy}");
    Ok(())
}

#[test]
fn a_job_ends_early_when_its_metric_is_good_enough() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    platform.prepare_digits(2, 3)?;
    let stop = "\n  stop: {metric: accuracy, operator: '>=', threshold: 0.5}\n";
    platform.cli.apply(&(example(&[]) + stop))?;

    let job = job::await_complete(&platform, "digits", "2m")?;

    let rounds = job::rounds(&job)?;
    assert!(rounds.len() < 20, "it ran all {} rounds", rounds.len());
    assert!(job::metric(&rounds[rounds.len() - 1], "accuracy")? >= 0.5);
    Ok(())
}

#[test]
fn a_deleted_job_takes_its_workers_with_it() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    platform.prepare_digits(2, 4)?;
    platform.cli.apply(&example(&[("rounds: 20", "rounds: 100000")]))?;
    job::await_round(&platform, "digits", 1)?;

    platform.cli.run(&["delete", "federatedlearningjob", "digits"])?;

    let workers = platform.cli.get("workers")?;
    assert_eq!(workers["items"].as_array().map(Vec::len), Some(0), "{workers}");
    Ok(())
}
