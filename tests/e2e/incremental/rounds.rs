//! Rounds, one after the other, and on several nodes.

use anyhow::{Context as _, Result, ensure};
use sedge_testbed::joint::{HeldOut, ask, digit};
use sedge_testbed::{Built, eventually};

use super::{PATIENCE, accuracy, answers_with, data, dataset, deployed, job, place, prepared, version};

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
    assert!(better > 0.6 && worse < 0.3, "{better} {worse}");
    for name in ["accuracy.class3", "recent.accuracy", "recent.accuracy.class3"] {
        let metrics = one["measured"]["candidate"].as_array().context("metrics")?;
        assert!(metrics.iter().any(|metric| metric["name"] == name), "{name} of {metrics:?}");
    }
    assert_eq!(data(one), Some(0..600), "{one}");
    answers_with(&platform, "edge-1", &first, 1)?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let mut right = 0;
    for (sample, label) in digits.samples.iter().zip(&digits.labels) {
        right += usize::from(digit(&ask(&client, "digits", sample)?)? == *label);
    }
    assert!(right * 10 > digits.labels.len() * 6, "{right} of {}", digits.labels.len());

    // The second round and its data.
    platform.cli.apply(&dataset("stream", "edge-1", "more.csv"))?;
    let second = deployed(&platform, 2)?;
    let two = version(&second, 2)?;
    assert_eq!(data(two), Some(600..1_500), "{two}");
    assert!(two["replayed"].as_u64() > Some(0) && two["parent"] == 1, "{two}");
    assert!(accuracy(&two["measured"]["candidateEarlier"]) > Some(0.6), "{two}");
    answers_with(&platform, "edge-1", &second, 2)?;

    let said = platform.cli.run(&["model", "rollback", "digits", "--timeout", "1m"]).map_err(|error| {
        let status = platform.cli.get("incrementallearningjobs digits").map(|job| job["status"].to_string());
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
    assert!(accuracy(&version(&report, 1)?["measured"]["candidate"]) > Some(0.6), "{report}");
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
