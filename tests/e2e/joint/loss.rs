//! A cloud, a node, a manager that is gone: what is left answers.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sedge_client::Error;
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, service};
use sedge_testbed::{Built, Platform, eventually};

use super::swap::swap_to;
use super::{QUICK, begin};

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
fn a_cloud_that_hangs_holds_up_few_and_fails_who_asked_for_that() -> Result<()> {
    const CLIENTS: usize = 8;
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 1)?;
    platform.prepare_joint()?;
    let unsure = ("threshold: 0.7", "threshold: 1.0");
    let strict = ("cloudAbsent: edge", "cloudAbsent: fail");
    platform.cli.apply(&service(&[unsure, strict, ("name: digits", "name: strict")])?)?;
    begin(&platform, &service(&[unsure])?)?;
    platform.cli.run(&["wait", "jis/strict", "--for", "condition=RolledOut", "--timeout", "2m"])?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let by = |name: &str, sample: &[f32]| -> Result<String> {
        Ok(ask(&client, name, sample)?.answered_by.unwrap_or_default())
    };
    for name in ["digits", "strict"] {
        eventually("the cloud to be asked", PATIENCE, || Ok(by(name, &digits.samples[0])? == "cloud"))?;
    }

    platform.node("cloud")?.pause()?;
    let answers = std::thread::scope(|scope| -> Result<Vec<String>> {
        let asks = (0..CLIENTS).map(|at| {
            let (by, samples) = (&by, digits.samples.iter().skip(at).take(50));
            scope.spawn(move || samples.map(|sample| by("digits", sample)).collect::<Result<Vec<_>>>())
        });
        let asks: Vec<_> = asks.collect();
        let answers =
            asks.into_iter().map(|ask| ask.join().map_err(|_| anyhow::anyhow!("a client broke"))?);
        Ok(answers.collect::<Result<Vec<_>>>()?.concat())
    })?;
    assert!(answers.iter().all(|by| by.starts_with("edge-")), "{answers:?}");
    // Those that were under way when the first deadline passed, and now and then one that tries again.
    let late = answers.iter().filter(|by| *by == "edge-after-timeout").count();
    assert!((1..=2 * CLIENTS).contains(&late), "{late} of {} requests waited", answers.len());
    for sample in digits.samples.iter().take(10) {
        let refused = ask(&client, "strict", sample).err().context("an answer without the cloud")?;
        assert!(matches!(refused, Error::Unavailable(_) | Error::DeadlineExceeded(_)), "{refused:?}");
        assert!(refused.to_string().contains("cloud"), "{refused}");
    }

    platform.node("cloud")?.resume()?;
    for name in ["digits", "strict"] {
        eventually("the cloud to be asked again", Duration::from_secs(60), || {
            Ok(by(name, &digits.samples[0]).is_ok_and(|by| by == "cloud"))
        })
        .map_err(|error| platform.with_logs(error))?;
    }
    Ok(())
}

#[test]
fn a_node_serves_what_it_held_without_its_manager() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 1)?;
    platform.prepare_joint()?;
    begin(&platform, &service(&[])?)?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let before = ask(&client, "digits", &digits.samples[0])?;
    // A revision that was undone is none that it holds.
    platform.push_plugins(&["faulty-inferencer"])?;
    swap_to(&platform, "{fault: trapInPrepare}", QUICK, false)?;

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
