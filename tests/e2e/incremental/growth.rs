//! Datasets that grow while jobs watch them.

use std::fs;

use anyhow::Result;
use sedge_testbed::{Built, Platform, eventually};
use serde_json::Value;

use super::{
    PATIENCE, answers_as, append_to, data, dataset, deployed, deployed_by, job, lines, place, prepare,
    prepared, table, version,
};

/// A job whose every candidate is deployed.
fn endless() -> String {
    job("", "").replace("difference.accuracy > -0.05", "difference.accuracy > -1.0")
}

/// Add to the stream of edge-1, in one go.
fn append(platform: &Platform, text: &str) -> Result<()> {
    append_to(platform, "stream.csv", text)
}

fn has_samples(platform: &Platform, samples: u64) -> Result<()> {
    let mut last = Value::Null;
    eventually(&format!("{samples} samples"), PATIENCE, || {
        last = platform.cli.get("datasets stream")?["status"].clone();
        Ok(last["samples"] == samples)
    })
    .map_err(|error| platform.with_logs(error.context(last.to_string())))
}

#[test]
fn appended_rows_are_learnt_and_a_half_written_one_waits() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 1)?;
    place(&platform, "edge-1", "stream.csv", 600)?;
    platform.cli.apply(&(dataset("stream", "edge-1", "stream.csv") + &endless()))?;
    deployed(&platform, 1)?;

    // Its writer is in the middle of the last row.
    let more = lines(600..900)?;
    let (written, rest) = more.split_at(more.len() - 20);
    append(&platform, written)?;
    let second = deployed(&platform, 2)?;
    assert_eq!(data(version(&second, 2)?), Some(600..899), "{second}");
    append(&platform, rest)?;
    has_samples(&platform, 900)?;

    // Another file in its place that begins with the same rows has grown; one with other rows is new from its first on.
    let folder = platform.datasets("edge-1");
    let replace = |text: String| -> Result<()> {
        fs::write(folder.join("next"), text)?;
        Ok(fs::rename(folder.join("next"), folder.join("stream.csv"))?)
    };
    replace(table(0..1_200)?)?;
    let third = deployed(&platform, 3)?;
    assert_eq!(data(version(&third, 3)?), Some(899..1_200), "{third}");
    replace(table(200..1_700)?)?;
    let fourth = deployed(&platform, 4)?;
    assert_eq!(data(version(&fourth, 4)?), Some(0..1_500), "{fourth}");
    Ok(())
}

#[test]
fn two_jobs_learn_from_one_dataset() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 1)?;
    place(&platform, "edge-1", "stream.csv", 600)?;
    let twin = endless().replace("metadata: {name: digits}", "metadata: {name: twin}");
    platform.cli.apply(&(dataset("stream", "edge-1", "stream.csv") + &endless() + &twin))?;
    for name in ["digits", "twin"] {
        let report = deployed_by(&platform, name, 1)?;
        answers_as(name, &platform, "edge-1", &report, 1)?;
    }
    append(&platform, &lines(600..800)?)?;
    for name in ["digits", "twin"] {
        let report = deployed_by(&platform, name, 2)?;
        assert_eq!(data(version(&report, 2)?), Some(600..800), "{report}");
    }

    // One goes, and the other goes on.
    platform.cli.run(&["delete", "ilj", "digits"])?;
    append(&platform, &lines(800..1_000)?)?;
    let report = deployed_by(&platform, "twin", 3)?;
    assert_eq!(data(version(&report, 3)?), Some(800..1_000), "{report}");
    answers_as("twin", &platform, "edge-1", &report, 3)
}

#[test]
fn files_of_a_folder_grow_each_by_itself_while_the_node_is_there_or_not() -> Result<()> {
    let built = Built::from_environment()?;
    let mut platform = Platform::separate(&built, 1)?;
    prepare(&platform)?;
    let folder = platform.datasets("edge-1").join("stream");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("a.csv"), table(0..400)?)?;
    fs::write(folder.join("b.csv"), table(400..600)?)?;
    platform.cli.apply(&(dataset("stream", "edge-1", "stream") + &endless()))?;
    let first = deployed(&platform, 1)?;
    let ranges = |report: &Value, number| -> Result<Vec<String>> {
        let version = version(report, number)?;
        let ranges = version["data"].as_array().into_iter().flatten();
        Ok(ranges.map(|range| format!("{} {}-{}", range["source"], range["first"], range["end"])).collect())
    };
    assert_eq!(ranges(&first, 1)?, ["\"a.csv\" 0-400", "\"b.csv\" 0-200"]);
    append_to(&platform, "stream/a.csv", &lines(600..720)?)?;
    assert_eq!(ranges(&deployed(&platform, 2)?, 2)?, ["\"a.csv\" 400-520"]);

    // Read anew, all rows of `a.csv` come before those of `b.csv`.
    platform.node("edge-1")?.kill();
    append_to(&platform, "stream/b.csv", &lines(720..900)?)?;
    platform.start_node("edge-1")?;
    assert_eq!(ranges(&deployed(&platform, 3)?, 3)?, ["\"b.csv\" 200-380"]);
    Ok(())
}
