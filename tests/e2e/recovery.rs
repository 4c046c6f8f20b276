//! What is killed comes back, or the others go on without it.

use anyhow::Result;
use sedge_testbed::{Built, Platform, digits};

use crate::job::{self, example};

/// The example job, slow enough to be caught in the middle.
fn slow(deadline: &str) -> String {
    example(&[("epochs: 5", "epochs: 30"), ("rounds: 20", "rounds: 12"), ("roundDeadline: 1m", deadline)])
}

#[test]
fn a_manager_killed_in_the_middle_of_a_job_loses_nothing() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 2)?;
    platform.prepare_digits(2, 5)?;
    platform.cli.apply(&slow("roundDeadline: 1m"))?;
    job::await_round(&platform, "digits", 3)?;
    let before = job::workers(&platform.cli, "digits", "trainer")?;

    platform.manager().kill();
    platform.restart_manager()?;

    let job = job::await_complete(&platform, "digits", "5m")?;
    assert_eq!(job::numbers(&job)?, (1..=12).collect::<Vec<u64>>());
    assert!(job["status"]["result"]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
    let after = job::workers(&platform.cli, "digits", "trainer")?;
    let uids = |workers: &[serde_json::Value]| {
        workers.iter().map(|worker| worker["metadata"]["uid"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(uids(&before), uids(&after), "the workers are the same ones");
    Ok(())
}

#[test]
fn a_round_goes_on_without_a_node_that_was_killed() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 3)?;
    platform.prepare_digits(3, 6)?;
    // The node with the most samples is the one that the others wait for, so it is nearly always in the middle of a round.
    let shares = digits::partition(3, 0.5, 6)?.shares;
    let busiest = (0..3).max_by_key(|at| shares[*at].len()).unwrap_or(0);
    platform.cli.apply(&slow("roundDeadline: 6s"))?;
    job::await_round(&platform, "digits", 2)?;

    platform.node(&format!("edge-{}", busiest + 1))?.kill();

    let job = job::await_complete(&platform, "digits", "5m")?;
    assert_eq!(job::numbers(&job)?, (1..=12).collect::<Vec<u64>>());
    let missed =
        job::rounds(&job)?.iter().filter(|round| round["missing"] == 1 && round["updates"] == 2).count();
    // None does where it was killed between its update and its next invitation.
    assert!(missed <= 1, "one round at most waits for the lost node until its deadline: {job}");
    assert_eq!(job::rounds(&job)?[11]["updates"], 2, "later ones do not invite it");
    Ok(())
}

#[test]
fn an_aggregator_killed_resumes_at_the_last_finished_round() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 2)?;
    platform.prepare_digits(2, 7)?;
    platform.cli.apply(&slow("roundDeadline: 1m"))?;
    job::await_round(&platform, "digits", 3)?;
    let before = job::get(&platform.cli, "digits")?;

    platform.node("cloud")?.kill();
    platform.start_node("cloud")?;

    let job = job::await_complete(&platform, "digits", "5m")?;
    assert_eq!(job::numbers(&job)?, (1..=12).collect::<Vec<u64>>());
    // Rounds that were closed before are the same ones, not done again.
    assert_eq!(job::rounds(&job)?[..3], job::rounds(&before)?[..3]);
    Ok(())
}

#[test]
fn a_platform_that_was_told_to_stop_has_everything_when_it_starts_again() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::up(&built, 2)?;
    platform.prepare_digits(2, 12)?;
    platform.cli.apply(&example(&[("rounds: 20", "rounds: 2")]))?;
    let before = job::await_complete(&platform, "digits", "2m")?;

    assert!(platform.manager().terminate()?, "SIGTERM ends it well:\n{}", platform.manager().output());
    platform.restart_manager()?;

    let after = job::get(&platform.cli, "digits")?;
    assert_eq!(before["status"], after["status"]);
    let result = after["status"]["result"]["reference"].as_str().unwrap_or_default();
    platform.cli.run(&["model", "inspect", result])?;
    platform.await_nodes(&["cloud".to_owned(), "edge-1".to_owned(), "edge-2".to_owned()])?;
    let log = platform.cli.run(&["logs", "job/digits"])?;
    assert!(log.contains("round 2: 2 updates"), "{log}");
    Ok(())
}
