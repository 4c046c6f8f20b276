//! Who says which samples are hard: a built-in or a plugin, by what the edge put out or by what came in.

use anyhow::Result;
use sedge_client::Tensor;
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, service};
use sedge_testbed::{Built, Platform};

use super::{MINING, PATIENT, QUICK, change, serving};

/// Which of the samples are hard, each asked about by itself.
fn hard(platform: &Platform, samples: &[Vec<f32>]) -> Result<Vec<bool>> {
    let client = platform.client("edge-1")?;
    samples.iter().map(|sample| Ok(ask(&client, "digits", sample)?.hard)).collect()
}

#[test]
fn a_miner_is_a_built_in_or_a_plugin_and_sees_outputs_or_inputs() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &(service(&[])? + QUICK))?;
    platform.push_plugins(&["miner", "faulty-inferencer"])?;
    let (client, digits) = (platform.client("edge-1")?, HeldOut::read()?);
    let samples = &digits.samples[..60];

    // The same formula behind the role's interface says the same.
    let by_built_in = hard(&platform, samples)?;
    let plugin = "plugin: miner:0.1.0\n    parameters: {kind: cross-entropy, threshold: 0.7}";
    change(&platform, &(service(&[(MINING, plugin), PATIENT])? + QUICK))?;
    assert_eq!(hard(&platform, samples)?, by_built_in);
    assert!(by_built_in.contains(&true) && by_built_in.contains(&false));

    // By inputs: digits with little ink, of which at least 52 % of the pixels are blank. The edge answers for the
    // others of a request, the cloud for these.
    let little = "miner: ibt\n    parameters: {thresholdBox: 0, thresholdImg: 0.48}\n    mine: inputs";
    change(&platform, &(service(&[(MINING, little), PATIENT])? + QUICK))?;
    let blank = |sample: &Vec<f32>| sample.iter().filter(|pixel| **pixel <= 0.0).count();
    let expected: Vec<u64> =
        (0..).zip(samples).filter(|(_, s)| blank(s) * 100 >= 64 * 52).map(|(at, _)| at).collect();
    let x = Tensor::new(&[samples.len() as u64, 64], &samples.concat())?;
    let answer = client.infer("digits", &[("x", x)], PATIENCE)?;
    assert_eq!(answer.hard_samples.iter().map(|at| *at as u64).collect::<Vec<_>>(), expected, "{answer:?}");
    assert!(!expected.is_empty() && expected.len() < samples.len(), "{expected:?}");
    assert_eq!(answer.answered_by.as_deref(), Some("cloud"));
    assert_eq!(answer.output("probabilities")?.shape(), [samples.len() as u64, 10]);

    // Where all samples are hard by their inputs, the edge's model does not run: this one could not.
    let fails = "plugin: faulty-inferencer:0.1.0\n    parameters: {fault: error}\n    model: digits-small:1";
    let edge = "plugin: onnx-inferencer:0.1.0\n    model: digits-small:1";
    let always = [(MINING, "miner: always\n    mine: inputs"), (edge, fails), PATIENT];
    change(&platform, &(service(&always)? + QUICK))?;
    assert_eq!(ask(&client, "digits", &samples[0])?.answered_by.as_deref(), Some("cloud"));
    Ok(())
}
