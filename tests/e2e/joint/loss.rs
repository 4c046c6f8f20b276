//! A cloud, a node, a manager that is gone: what is left answers.

use std::time::Duration;

use anyhow::{Result, bail};
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, service};
use sedge_testbed::{Built, Platform, eventually};

use super::begin;

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
