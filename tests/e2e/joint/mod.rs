//! Joint inference: the edge answers, the cloud is asked about what the edge is unsure of, and both go on through
//! swaps and losses.

mod kept;
mod loss;
mod mining;
mod programs;
mod sending;
mod swap;

use anyhow::{Context as _, Result, ensure};
use sedge_client::{Error, Tensor};
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, digit, service};
use sedge_testbed::{Built, Platform, eventually, root};
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

/// Change the service to what `yaml` says, and wait until all nodes have kept that.
fn change(platform: &Platform, yaml: &str) -> Result<()> {
    platform.cli.apply(yaml)?;
    platform
        .cli
        .run(&["rollout", "status", "digits", "--timeout", "2m"])
        .map_err(|error| platform.with_logs(error))?;
    Ok(())
}

/// A rollout whose probation is short.
const QUICK: &str = "  rollout: {probation: 500ms}\n";

/// A cloud that is slow to answer, as the machine has much to do, is still asked.
const PATIENT: (&str, &str) = ("deadline: 500ms", "deadline: 20s");

/// The part of the example that says who mines.
const MINING: &str = "miner: cross-entropy\n    parameters: {threshold: 0.7}";

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
    files_are_asked_about(&platform, &digits)
}

/// `sedge infer` of an array, which has labels beside it, and of a picture.
fn files_are_asked_about(platform: &Platform, digits: &HeldOut) -> Result<()> {
    let infer = |file: &str, more: &[&str]| -> Result<Vec<usize>> {
        let path = root().join("tests/data/digits-joint").join(file).display().to_string();
        let answer =
            platform.cli.run(&[&["infer", "digits", "--input", &path, "-o", "json"], more].concat())?;
        let answer: Value = serde_json::from_str(&answer)?;
        let scores = answer["outputs"][0]["data"].as_array().context("an output with data")?;
        let scores: Vec<f64> = scores.iter().filter_map(Value::as_f64).collect();
        ensure!(scores.len().is_multiple_of(10), "{answer}");
        let best = |row: &[f64]| (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or_default();
        Ok(scores.chunks_exact(10).map(best).collect())
    };
    let answers = infer("held-out.npz", &[])?;
    let right = answers.iter().zip(&digits.labels).filter(|(a, b)| a == b).count();
    assert!(answers.len() == digits.labels.len() && right * 1000 >= answers.len() * 975, "{right}");
    assert_eq!(infer("three.png", &["--range", "0..16"])?, [3], "its pixels are from 0 to 16");
    let table = infer("../digits.csv", &["--label", "label"])?;
    assert_eq!(table.iter().skip(3).step_by(4).copied().collect::<Vec<_>>(), answers);
    Ok(())
}

#[test]
fn a_request_that_does_not_fit_is_refused_with_what_the_service_takes() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &service(&[])?)?;
    let client = platform.client("edge-1")?;
    let of = |shape: &[u64]| Tensor::new(shape, &vec![0_f32; shape.iter().product::<u64>() as usize]);
    let fits = of(&[1, 64])?;
    let integers = Tensor::new(&[1, 64], &[0_i64; 64])?;
    let cases: [(&[(&str, Tensor)], &str); 6] = [
        (&[("z", fits.clone())], "z"),
        (&[], "x"),
        (&[("x", fits.clone()), ("x", fits.clone())], "x"),
        (&[("x", of(&[1, 63])?)], "63"),
        (&[("x", of(&[64])?)], "64"),
        (&[("x", integers)], "i64"),
    ];
    for (inputs, word) in cases {
        let refused = client.infer("digits", inputs, PATIENCE).err().context("an answer")?;
        assert!(matches!(&refused, Error::InvalidRequest(why) if why.contains(word)), "{word}: {refused:?}");
    }
    let missing = client.infer("none", &[("x", fits.clone())], PATIENCE);
    assert!(matches!(missing, Err(Error::NotFound(_))), "{missing:?}");
    assert!(client.infer("digits", &[("x", fits)], PATIENCE).is_ok());
    Ok(())
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
        Ok(matches!(ask(&client, "large", &digits.samples[0]), Err(Error::NotFound(_))))
    })?;
    ask(&client, "digits", &digits.samples[0])?;
    Ok(())
}
