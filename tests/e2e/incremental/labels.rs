//! The labelled way back: what a service found hard is taken out, labelled, and brought in, and the next round learns from it.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use sedge_testbed::joint::{HeldOut, ask};
use sedge_testbed::{Built, Platform, eventually, root};
use serde_json::Value;

use super::{PATIENCE, data, dataset, deployed, job, lines, prepared, table, version};

/// Digits that the service is asked about, all of which it keeps.
const HARD: usize = 60;
/// Those of them that somebody labels.
const LABELLED: usize = 54;

/// `queue` changes nothing but the revision: one that ends writes the examples that it has.
fn manifest(queue: u32) -> String {
    let mining = "      hardExampleMining: {miner: always, keep: {dataset: hard}}\n";
    let job = job("", &format!("      queue: {queue}\n{mining}"))
        .replace("threshold: 100", "threshold: 50")
        .replace("difference.accuracy > -0.05", "difference.accuracy > -1.0");
    let hard = "---\napiVersion: sedge.dev/v1alpha1\nkind: Dataset\nmetadata: {name: hard}\n\
                spec: {node: edge-1, path: hard, format: npz}\n";
    dataset("stream", "edge-1", "stream") + &dataset("single", "edge-1", "single.csv") + hard + &job
}

fn samples(platform: &Platform, dataset: &str, count: usize) -> Result<()> {
    let mut last = Value::Null;
    eventually(&format!("{dataset} to have {count} samples"), PATIENCE, || {
        last = platform.cli.get(&format!("datasets {dataset}"))?["status"].clone();
        Ok(last["samples"] == count)
    })
    .map_err(|error| platform.with_logs(error.context(last.to_string())))
}

/// The digit of each row of pixels.
fn known() -> Result<HashMap<String, String>> {
    let text = fs::read_to_string(root().join("tests/data/digits.csv"))?;
    let rows = text.lines().skip(1).filter_map(|line| line.rsplit_once(','));
    Ok(rows.map(|(pixels, label)| (pixels.to_owned(), label.to_owned())).collect())
}

#[test]
fn hard_examples_are_labelled_and_the_next_round_learns_from_them() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = prepared(&built, 1)?;
    let folder = platform.datasets("edge-1");
    fs::create_dir_all(folder.join("stream"))?;
    fs::write(folder.join("stream/first.csv"), table(0..600)?)?;
    fs::write(folder.join("single.csv"), table(0..20)?)?;
    platform.cli.apply(&manifest(64))?;
    let first = deployed(&platform, 1)?;
    assert_eq!(data(version(&first, 1)?), Some(0..600), "{first}");
    platform.cli.run(&["wait", "jis/digits", "--for", "condition=RolledOut", "--timeout", "2m"])?;

    // Digits that nobody has labelled yet.
    let (client, held_out) = (platform.client("edge-1")?, HeldOut::read()?);
    for sample in held_out.samples.iter().rev().take(HARD) {
        ensure!(ask(&client, "digits", sample)?.hard, "all are hard here");
    }
    platform.cli.apply(&manifest(65))?;
    samples(&platform, "hard", HARD)?;

    // Out, as the training set's files are.
    let out = platform.folder().join("hard.csv");
    let path = out.display().to_string();
    let said = platform.cli.run(&["dataset", "export", "hard", "--like", "stream", "-o", &path])?;
    assert!(said.contains("exported 60 samples") && said.contains("fill in `label`"), "{said}");
    let file = fs::read_to_string(&out)?;
    let heading = table(0..0)?;
    assert_eq!(file.lines().next(), heading.lines().next(), "the columns are the stream's");

    // Labelled, but for the last of them.
    let known = known()?;
    let mut labelled = String::new();
    for (number, line) in file.lines().enumerate() {
        let pixels = line.strip_suffix(',');
        let label = pixels.filter(|_| number <= LABELLED).and_then(|pixels| known.get(pixels));
        labelled += &format!("{line}{}\n", label.map_or("", String::as_str));
    }
    fs::write(&out, &labelled)?;
    refused(&platform, &labelled)?;
    let said = platform.cli.run(&["dataset", "import", "stream", &path])?;
    assert!(said.starts_with("54 rows of 60 came in, 6 have no label yet, as stream/labelled-"), "{said}");
    let again = platform.cli.run(&["dataset", "import", "stream", &path])?;
    assert!(again.contains("came in before, as stream/labelled-"), "{again}");

    let second = deployed(&platform, 2)?;
    let two = version(&second, 2)?;
    assert_eq!((data(two), &two["parent"]), (Some(0..LABELLED as u64), &1.into()), "{two}");
    let source = two["data"][0]["source"].as_str().context("its source")?;
    assert!(source.starts_with("labelled-") && source.ends_with(".csv"), "{two}");
    assert!(two["replayed"].as_u64() > Some(0), "{two}");
    samples(&platform, "stream", 600 + LABELLED)?;

    // Some more of them have a label later; and a file that is dropped into the folder does as well.
    let line = file.lines().next_back().context("a last line")?;
    let label = known.get(line.trim_end_matches(',')).context("its digit")?;
    fs::write(&out, labelled.replace(&format!("{line}\n"), &format!("{line}{label}\n")))?;
    let said = platform.cli.run(&["dataset", "import", "stream", &path])?;
    assert!(said.starts_with("1 row of 60 came in, 5 have no label yet, 54 were there before"), "{said}");
    fs::write(folder.join("dropped"), heading + &lines(700..701)?)?;
    fs::rename(folder.join("dropped"), folder.join("stream/dropped.csv"))?;
    samples(&platform, "stream", 600 + LABELLED + 2)
}

/// What is not as it should be is not placed, and what is wrong is said.
fn refused(platform: &Platform, labelled: &str) -> Result<()> {
    let folder = platform.datasets("edge-1").join("stream");
    let path = platform.folder().join("odd.csv");
    let odd = path.display().to_string();
    let refusal = |dataset: &str, content: &str| -> Result<String> {
        fs::write(&path, content)?;
        platform.cli.refusal(&["dataset", "import", dataset, &odd])
    };
    for (content, why) in [
        (labelled[..labelled.len() - 100].to_owned(), "expected 65 cells"),
        (labelled.replacen("p07,", "q07,", 1), "column 8 is \"q07\" where the dataset's files have \"p07\""),
        (labelled.replacen("p07,", "", 1), "its columns are not those of the dataset: \"p07\" missing"),
        (
            format!("{}\n{}8\n", labelled.lines().next().unwrap_or_default(), "1,".repeat(63) + "x,"),
            "odd.csv:2: column 64",
        ),
        (
            format!("{}\n{}88\n", labelled.lines().next().unwrap_or_default(), "1,".repeat(64)),
            "odd.csv:2: column 65 (\"label\"): the label \"88\" is none of those that the dataset has",
        ),
        (String::new(), "odd.csv: it is empty"),
    ] {
        let refusal = refusal("stream", &content)?;
        assert!(refusal.contains(why), "{why}: {refusal}");
    }
    let single = refusal("single", labelled)?;
    assert!(single.contains("its path must be a folder"), "{single}");
    let archive = refusal("hard", labelled)?;
    assert!(archive.contains("the files of default/hard are npz"), "{archive}");
    let path_in_it = refusal("../stream", labelled)?;
    assert!(path_in_it.contains("is not the name of a Dataset"), "{path_in_it}");
    let unknown = refusal("nobody", labelled)?;
    assert!(unknown.contains("\"nobody\" not found"), "{unknown}");
    fs::File::create(&path)?.set_len((256 << 20) + 1)?;
    let large = platform.cli.refusal(&["dataset", "import", "stream", &odd])?;
    assert!(large.contains("at most 256 MiB"), "{large}");
    let files = fs::read_dir(folder)?.count();
    ensure!(files == 1, "{files} files are in the folder");
    Ok(())
}
