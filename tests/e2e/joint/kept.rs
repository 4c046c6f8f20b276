//! Hard examples stay on the node that met them: a Dataset of their own, within its bounds.

use std::fs;

use anyhow::{Context as _, Result};
use sedge_testbed::joint::{HeldOut, PATIENCE, ask, service};
use sedge_testbed::{Built, eventually};

use super::{MINING, QUICK, change, serving};

/// Samples of one round; each takes 256 bytes in its file.
const ROUND: usize = 100;

#[test]
fn hard_examples_are_a_dataset_and_the_oldest_make_room() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = serving(&built, &(service(&[])? + QUICK))?;
    let digits = HeldOut::read()?;
    // A share that changes nothing: to have the node read the files again.
    let declare = |seed: u32| {
        platform.cli.apply(&format!(
            "apiVersion: sedge.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: hard-digits}}\n\
             spec: {{node: edge-1, path: hard, format: npz, split: {{test: 0.5, seed: {seed}}}}}\n"
        ))
    };
    let keep = "miner: always\n    keep: {dataset: hard-digits, maxSize: 40Ki}";
    let yaml = |queue: usize| -> Result<String> {
        let edge = format!("model: digits-small:1\n    queue: {queue}");
        Ok(service(&[(MINING, keep), ("model: digits-small:1", &edge)])? + QUICK)
    };
    declare(0)?;
    change(&platform, &yaml(60)?)?;
    let folder = platform.datasets("edge-1").join("hard");
    let size = || -> Result<u64> {
        let files = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        files.map(|file| Ok(file?.metadata()?.len())).sum()
    };

    for round in 1..=2 {
        let client = platform.client("edge-1")?;
        for sample in digits.samples.iter().skip((round - 1) * ROUND).take(ROUND) {
            assert!(ask(&client, "digits", sample)?.hard);
        }
        // A revision that ends writes what it has.
        change(&platform, &yaml(60 + round)?)?;
        eventually("the examples to be written", PATIENCE, || Ok(size()? > 0))?;
        declare(u32::try_from(round)?)?;
        let mut last = serde_json::Value::Null;
        eventually("the dataset to have this round's examples alone", PATIENCE, || {
            last = platform.cli.get("datasets hard-digits")?["status"].clone();
            Ok(last["samples"] == ROUND && size()? <= 40 << 10)
        })
        .map_err(|error| platform.with_logs(error.context(last.to_string())))?;
    }
    Ok(())
}
