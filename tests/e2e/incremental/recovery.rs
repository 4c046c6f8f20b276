//! Nodes that are killed between two stages, a manager that is away, and rounds that come to nothing.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use sedge_testbed::joint::{HeldOut, ask};
use sedge_testbed::{Built, Platform, eventually};
use serde_json::Value;

use super::{
    PATIENCE, accuracy, answers_with, append_to, data, dataset, deployed, job, lines, mislabelled, place,
    prepare, prepared, table, version,
};

/// What the learner of edge-1 has written down of its job; none before it has begun.
fn record(platform: &Platform) -> Result<Option<Value>> {
    let jobs = platform.folder().join("data/nodes/edge-1/learning");
    let Ok(jobs) = fs::read_dir(jobs) else { return Ok(None) };
    let files: Vec<PathBuf> =
        jobs.map(|job| Ok(job?.path().join("rounds.json"))).collect::<std::io::Result<_>>()?;
    let [file] = &files[..] else { return Ok(None) };
    match fs::read(file) {
        Ok(bytes) => Ok(Some(serde_json::from_slice::<Value>(&bytes)?["rounds"].clone())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A round in progress, or one that has ended.
fn round(record: &Value, number: u64) -> Option<&Value> {
    let past = record["past"].as_array().into_iter().flatten();
    past.chain([&record["current"]]).find(|round| round["number"] == number)
}

fn of_number(record: &Value, number: u64) -> Option<&Value> {
    record["versions"].as_array()?.iter().find(|version| version["number"] == number)
}

/// Kill edge-1 as soon as its record says that `stage` of the round is done; what the record says then.
fn kill_after(platform: &mut Platform, number: u64, stage: &str) -> Result<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if Instant::now() > deadline {
            let error = anyhow::anyhow!("{stage} of round {number} is not done: {:?}", record(platform)?);
            return Err(platform.with_logs(error));
        }
        let seen = record(platform)?;
        if seen.and_then(|seen| Some(round(&seen, number)?[stage]["state"] == "completed")) == Some(true) {
            platform.node("edge-1")?.kill();
            return record(platform)?.context("a record that was there stays");
        }
        // The disk is looked at as often as can be; a millisecond leaves the learner its processor.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Nothing that was done `before` was done again by the end of the round.
fn assert_gone_on(before: &Value, after: &Value, number: u64) -> Result<()> {
    let (was, is) = (round(before, number).context("before")?, round(after, number).context("after")?);
    assert_eq!(is["outcome"], "deployed", "{is}");
    for stage in ["train", "evaluate", "deploy"] {
        if was[stage]["state"] == "completed" {
            assert_eq!(was[stage], is[stage], "{stage} of round {number} was done again");
        }
    }
    let (was, is) =
        (of_number(before, number).context("before")?, of_number(after, number).context("after")?);
    for field in ["digest", "created", "samples", "training"] {
        assert_eq!(was[field], is[field], "{field} of version {number}");
    }
    if !was["evaluation"].is_null() {
        assert_eq!(was["evaluation"], is["evaluation"]);
    }
    // No version and no deployment more than there were rounds.
    let versions = after["versions"].as_array().context("versions")?;
    let numbers: Vec<u64> = versions.iter().filter_map(|version| version["number"].as_u64()).collect();
    assert_eq!(numbers, (0..=number).collect::<Vec<_>>());
    assert_eq!((&after["serial"], &after["lastSerial"]), (&Value::from(number), &Value::from(number)));
    Ok(())
}

#[test]
fn a_node_killed_between_two_stages_goes_on_with_the_next() -> Result<()> {
    /// Rounds in which the moment is tried to be hit.
    const TRIES: u64 = 5;
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 1)?;
    prepare(&platform)?;
    place(&platform, "edge-1", "stream.csv", 400)?;
    // Measuring takes long enough to be caught in the middle.
    let long = table(0..1_797)? + &lines(0..1_797)?.repeat(19);
    fs::write(platform.datasets("edge-1").join("held-out.csv"), long)?;
    let yaml = dataset("stream", "edge-1", "stream.csv") + &dataset("held-out", "edge-1", "held-out.csv");
    let mut all = job("    dataset: held-out\n", "");
    all = all.replace("difference.accuracy > -0.05", "difference.accuracy > -1.0");
    platform.cli.apply(&(yaml + &all))?;

    let mut number = 0;
    for (stage, next) in [("train", "evaluate"), ("evaluate", "deploy"), ("deploy", "")] {
        let mut hit = false;
        for _ in 0..TRIES {
            number += 1;
            if number > 1 {
                let from = 400 + (number as usize - 2) * 100;
                append_to(&platform, "stream.csv", &lines(from..from + 100)?)?;
            }
            let before = kill_after(&mut platform, number, stage)?;
            let at = round(&before, number).context("the round")?;
            hit = next.is_empty() || at[next]["state"] != "completed";
            platform.start_node("edge-1")?;
            let report = deployed(&platform, number)?;
            assert_gone_on(&before, &record(&platform)?.context("a record")?, number)?;
            answers_with(&platform, "edge-1", &report, number)?;
            if hit {
                break;
            }
        }
        ensure!(hit, "in {TRIES} rounds the node was not killed between {stage} and {next}");
    }
    Ok(())
}

#[test]
fn without_its_manager_a_node_learns_and_swaps_and_reports_later() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 1)?;
    prepare(&platform)?;
    place(&platform, "edge-1", "stream.csv", 600)?;
    let endless = job("", "").replace("difference.accuracy > -0.05", "difference.accuracy > -1.0");
    platform.cli.apply(&(dataset("stream", "edge-1", "stream.csv") + &endless))?;
    let first = deployed(&platform, 1)?;
    answers_with(&platform, "edge-1", &first, 1)?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let model = || ask(&client, "digits", &digits.samples[0]).ok()?.versions.model;
    let swapped = |platform: &Platform, from: &str, number: u64| -> Result<String> {
        let mut now = None;
        eventually(&format!("the node to serve another model than {from}"), PATIENCE, || {
            now = model();
            let ended = record(platform)?.is_some_and(|record| record["deployed"] == number);
            Ok(ended && now.as_deref().is_some_and(|now| now != from))
        })
        .map_err(|error| platform.with_logs(error))?;
        now.context("a model")
    };
    let one = version(&first, 1)?["model"].as_str().context("its model")?.to_owned();

    platform.manager().kill();
    append_to(&platform, "stream.csv", &lines(600..900)?)?;
    let two = swapped(&platform, &one, 2)?;
    // It is also begun anew without its manager: it serves what it served, and learns what comes.
    platform.node("edge-1")?.kill();
    platform.start_node("edge-1")?;
    eventually("the node to serve again", PATIENCE, || Ok(model().is_some()))
        .map_err(|error| platform.with_logs(error))?;
    assert_eq!(model().as_deref(), Some(two.as_str()));
    append_to(&platform, "stream.csv", &lines(900..1_200)?)?;
    let three = swapped(&platform, &two, 3)?;

    platform.restart_manager()?;
    let mut report = deployed(&platform, 3)?;
    eventually("version 3 to be uploaded", PATIENCE, || {
        report = deployed(&platform, 3)?;
        Ok(version(&report, 3)?["uploaded"] == true)
    })
    .map_err(|error| platform.with_logs(error))?;
    for (number, model, rows) in [(2, two, 600..900), (3, three, 900..1_200)] {
        let said = version(&report, number)?;
        assert_eq!((said["model"].as_str(), data(said)), (Some(model.as_str()), Some(rows)), "{said}");
        assert!(accuracy(&said["measured"]["candidate"]) > Some(0.6), "{said}");
        let rounds = report["rounds"].as_array().context("rounds")?;
        let round = rounds.iter().find(|round| round["number"] == number).context("its round")?;
        assert_eq!((&round["outcome"], &round["candidate"]), (&"Deployed".into(), &number.into()), "{round}");
    }
    let models = platform.cli.run(&["model", "ls"])?;
    assert!(models.contains("-v3"), "{models}");
    answers_with(&platform, "edge-1", &report, 3)
}

/// The job's report once that round has ended so; whatever answers meanwhile is version 1.
fn ended_as(platform: &Platform, number: u64, outcome: &str) -> Result<(Value, Value)> {
    let first = deployed(platform, 1)?;
    answers_with(platform, "edge-1", &first, 1)?;
    let model = version(&first, 1)?["model"].as_str().context("its model")?.to_owned();
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let mut found = None;
    eventually(&format!("round {number} to end {outcome}"), PATIENCE, || {
        let answer = ask(&client, "digits", &digits.samples[0])?;
        ensure!(answer.versions.model.as_deref() == Some(model.as_str()), "{:?} answers", answer.versions);
        let report = platform.cli.get("incrementallearningjobs digits")?["status"]["learning"].clone();
        let rounds = report["rounds"].as_array().into_iter().flatten();
        let round = rounds.clone().find(|round| round["number"] == number).cloned();
        if let Some(round) = &round
            && round["outcome"] != *outcome
        {
            bail!("it ended otherwise: {round}");
        }
        found = round.map(|round| (report, round));
        Ok(found.is_some())
    })
    .map_err(|error| platform.with_logs(error))?;
    answers_with(platform, "edge-1", &first, 1)?;
    found.context("the round")
}

#[test]
fn a_worse_candidate_is_kept_out_with_the_figures() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 1)?;
    place(&platform, "edge-1", "stream.csv", 600)?;
    place(&platform, "edge-1", "held-out.csv", 1_797)?;
    let yaml = dataset("stream", "edge-1", "stream.csv") + &dataset("held-out", "edge-1", "held-out.csv");
    let strict = job("    dataset: held-out\n", "")
        .replace("expression: 'difference.accuracy > -0.05'", "expression: 'difference.accuracy >= 0.0'");
    platform.cli.apply(&(yaml + &strict))?;
    deployed(&platform, 1)?;

    append_to(&platform, "stream.csv", &mislabelled(&lines(600..1_200)?)?)?;
    let (report, round) = ended_as(&platform, 2, "KeptOut")?;
    let two = version(&report, 2)?;
    let [candidate, before] = ["candidate", "deployed"].map(|which| accuracy(&two["measured"][which]));
    assert!(candidate < Some(0.5) && before > Some(0.6), "{two}");
    assert_eq!((&two["state"], &report["deployed"]), (&"KeptOut".into(), &1.into()), "{report}");
    assert_eq!(
        (&round["evaluate"]["state"], &round["deploy"]["state"]),
        (&"Completed".into(), &"Skipped".into())
    );
    let reason = two["reason"].as_str().context("a reason")?;
    assert!(reason.contains("difference.accuracy") && reason.contains("-0."), "{reason}");
    assert_eq!(two["reason"], round["deploy"]["reason"]);
    let history = platform.cli.run(&["model", "history", "digits"])?;
    for figure in [candidate, before].into_iter().flatten() {
        assert!(history.contains(&format!("{figure:.4}")), "{figure}: {history}");
    }
    assert!(history.contains("KeptOut"), "{history}");
    Ok(())
}

#[test]
fn a_trainer_that_fails_is_tried_again_and_then_told() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 1)?;
    platform.push_plugins(&["faulty"])?;
    place(&platform, "edge-1", "stream.csv", 600)?;
    // Whose turn it is is told by how many rows have to come: each round begins by the spec that it is of.
    let sound = |rows: u32| {
        let all = job("", "").replace("threshold: 100", &format!("threshold: {rows}"));
        all.replace("difference.accuracy > -0.05", "difference.accuracy > -1.0") + "  retries: 1\n"
    };
    platform.cli.apply(&(dataset("stream", "edge-1", "stream.csv") + &sound(600)))?;
    deployed(&platform, 1)?;

    let faulty = sound(200)
        .replace("sgd-trainer:0.1.0", "faulty:0.1.0")
        .replace("{epochs: 15, learningRate: 0.1}", "{fault: panic}");
    platform.cli.apply(&faulty)?;
    append_to(&platform, "stream.csv", &lines(600..800)?)?;
    let (report, round) = ended_as(&platform, 2, "Failed")?;
    let train = &round["train"];
    assert_eq!((&train["state"], &train["failures"]), (&"Failed".into(), &2.into()), "{round}");
    let reason = train["reason"].as_str().context("a reason")?;
    assert!(reason.contains("2 tries") && reason.contains("Trapped"), "{reason}");
    assert_eq!(report["deployed"], 1);

    // What the failed round was to teach the next one does.
    platform.cli.apply(&sound(100))?;
    append_to(&platform, "stream.csv", &lines(800..900)?)?;
    let report = deployed(&platform, 2)?;
    assert_eq!(data(version(&report, 2)?), Some(600..900), "{report}");
    answers_with(&platform, "edge-1", &report, 2)
}
