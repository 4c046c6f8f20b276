//! Drift as the reason to learn again.

use anyhow::{Context as _, Result};
use sedge_testbed::{Built, eventually};
use serde_json::Value;

use super::{
    PATIENCE, append_to, data, dataset, deployed, job, lines, mislabelled, place, prepared, version,
};

#[test]
fn labels_that_shift_raise_the_drift_of_errors_and_begin_a_round() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 1)?;
    place(&platform, "edge-1", "stream.csv", 600)?;
    let on_errors = job("", "")
        .replace("difference.accuracy > -0.05", "difference.accuracy > -1.0")
        .replace(
            "{condition: {metric: newSamples, operator: '>=', threshold: 100}}",
            "{expression: 'newSamples >= 600 || drift > 0.5'}",
        )
        .replace(
            "{detector: psi, parameters: {window: 200, bins: 5}}",
            "{detector: page-hinkley, on: errors, parameters: {window: 50, threshold: 0.5, minInstances: 3}}",
        );
    assert!(on_errors.contains("drift > 0.5") && on_errors.contains("on: errors"), "{on_errors}");
    platform.cli.apply(&(dataset("stream", "edge-1", "stream.csv") + &on_errors))?;
    deployed(&platform, 1)?;

    // Rows as they were: the deployed version is measured on them, and there is no reason to learn.
    append_to(&platform, "stream.csv", &lines(600..800)?)?;
    let mut report = Value::Null;
    eventually("the drift of 200 rows", PATIENCE, || {
        report = platform.cli.get("incrementallearningjobs digits")?["status"]["learning"].clone();
        Ok(report["figures"]["newSamples"] == 200 && report["figures"]["drift"].is_number())
    })
    .map_err(|error| platform.with_logs(error.context(report.to_string())))?;
    assert!(report["figures"]["drift"].as_f64() < Some(0.5) && report["round"] == 1, "{report}");

    append_to(&platform, "stream.csv", &mislabelled(&lines(800..1_000)?)?)?;
    let report = deployed(&platform, 2)?;
    assert_eq!(data(version(&report, 2)?), Some(600..1_000), "{report}");
    let rounds = report["rounds"].as_array().context("rounds")?;
    let why = rounds.last().context("a round")?["why"].as_str().context("why it began")?;
    assert!(why.contains("drift"), "{why}");
    Ok(())
}
