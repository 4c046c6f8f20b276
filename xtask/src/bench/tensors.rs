//! What a call of a tensor engine costs, called directly and through guest and `wasi:nn`; and what PyTorch and
//! onnxruntime take for the same, called from Python.
//!
//! ```text
//!  host/benches/tensors ──▶ every engine of this machine, both ways ─┐
//!  python/compare.py, in a venv of its own                          ─┴─▶ rows
//! ```
//! Engines are compared by their times, how far their outputs lie apart, what they hold of memory, and how many of ONNX's
//! own node tests they compute.
//!
//! Models and Python packages come by pip, pinned, into the cache folder. What is not to be had is named on the
//! terminal, and the rest is measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sedge_testbed::Built;
use serde::Deserialize;

use super::rows::Rows;
use crate::{build, shell, venv};

/// Calls that take longer than this, in µs, may take [`SHARE`] of it through a guest; shorter ones [`ADDED`] more.
const LONG: f64 = 100.0;
const SHARE: f64 = 1.03;
const ADDED: f64 = 5.0;
/// What two workers on two cores are to do at least, as a multiple of one.
const TWO_WORKERS: f64 = 1.8;

/// What the bench of sedge-host prints.
#[derive(Debug, Deserialize)]
struct Measured {
    figures: Vec<Figure>,
    parallel: Vec<Parallel>,
    #[serde(default)]
    coverage: Vec<Coverage>,
}

/// A case computed in one way.
#[derive(Debug, Deserialize)]
struct Figure {
    case: String,
    engine: Option<String>,
    way: String,
    /// Why it was not measured.
    absent: Option<String>,
    #[serde(default)]
    median_us: f64,
    #[serde(default)]
    p99_us: f64,
    copied_bytes: Option<f64>,
    held_bytes: Option<f64>,
    /// From what the preferred engine puts out, in parts of the largest element.
    apart: Option<f64>,
}

/// ONNX's own node tests by an engine.
#[derive(Debug, Deserialize)]
struct Coverage {
    engine: String,
    tests: usize,
    right: usize,
    wrong: usize,
    refused: usize,
}

#[derive(Debug, Deserialize)]
struct Parallel {
    case: String,
    engine: String,
    ratio: f64,
}

/// Run both sides and add their rows.
///
/// What Python needs, some gigabytes, is fetched only where `fetch` says so.
pub fn measure(built: &Built, fetch: bool, rows: &mut Rows) -> Result<()> {
    let models = shell::cache_dir()?.join("bench/models");
    for missing in fetch_models(&models) {
        shell::say("Missing", missing);
    }
    let python = packages("tensors", fetch);
    let tests = python.as_ref().ok().and_then(|python| {
        let made = node_tests(python);
        made.inspect_err(|error| shell::say("Missing", format!("ONNX's node tests: {error:#}"))).ok()
    });
    let mut bench = build::cargo();
    bench.args(["bench", "--workspace", "--locked", "--quiet", "--bench", "tensors"]);
    bench.env("SEDGE_PLUGINS", &built.plugins).env("SEDGE_BENCH_MODELS", &models);
    if let Some(tests) = tests {
        bench.env("SEDGE_ONNX_NODE_TESTS", tests);
    }
    let printed = shell::capture_shown(&mut bench)?;
    let measured: Measured = serde_json::from_str(&printed).context("the bench printed something else")?;
    let python = python.and_then(|python| compare(&python, &models)).unwrap_or_else(|error| {
        shell::say("Missing", format!("PyTorch and onnxruntime from Python: {error:#}"));
        Vec::new()
    });
    report(&measured, &python, rows);
    Ok(())
}

fn report(measured: &Measured, python: &[Figure], rows: &mut Rows) {
    let mut cases: Vec<&str> = Vec::new();
    for figure in &measured.figures {
        if !cases.contains(&figure.case.as_str()) {
            cases.push(&figure.case);
        }
    }
    for case in cases {
        let of_case = || measured.figures.iter().filter(|figure| figure.case == case);
        let direct: BTreeMap<_, _> = of_case()
            .filter(|figure| figure.way == "direct")
            .map(|figure| (figure.engine.as_deref(), figure.median_us))
            .collect();
        let mut fastest = f64::INFINITY;
        for figure in of_case() {
            let engine = figure.engine.as_deref().unwrap_or("engine");
            let way = if figure.way == "guest" { "guest and wasi:nn" } else { "called directly" };
            add(rows, &format!("{case}: {engine}, {way}"), figure);
            if let ("guest", Some(&direct)) = (figure.way.as_str(), direct.get(&figure.engine.as_deref())) {
                let aim = if direct > LONG { direct * SHARE } else { direct + ADDED };
                rows.limit(direct, "called directly").aim(aim);
                fastest = fastest.min(figure.median_us);
            }
        }
        for figure in python.iter().filter(|figure| figure.case == case) {
            match &figure.absent {
                Some(reason) => shell::say("Missing", format!("{case}, {}: {reason}", figure.way)),
                None => {
                    add(rows, &format!("{case}: {}", figure.way), figure);
                    rows.limit(fastest, "the fastest through a guest");
                }
            }
        }
    }
    for Coverage { engine, tests, right, wrong, refused } in &measured.coverage {
        let what = format!("ONNX's {tests} node tests of wasi:nn's types: {engine} computes");
        let limit = format!("all; {refused} are refused, {wrong} come out otherwise");
        rows.add(what, *right as f64, "").limit(*tests as f64, limit);
    }
    for Parallel { case, engine, ratio } in &measured.parallel {
        let what = format!("two workers on two cores, as a multiple of one: {case}, {engine}");
        rows.add(what, *ratio, "×").at_least(TWO_WORKERS);
    }
}

fn add(rows: &mut Rows, what: &str, figure: &Figure) {
    rows.add(what, figure.median_us, "µs").p99(figure.p99_us);
    figure.copied_bytes.into_iter().for_each(|bytes| _ = rows.copied(bytes));
    figure.held_bytes.into_iter().for_each(|bytes| _ = rows.held(bytes));
    figure.apart.into_iter().for_each(|parts| _ = rows.apart(parts));
}

/// Models that packages ship, into `folder`; what is not to be had, in words.
fn fetch_models(folder: &Path) -> Vec<String> {
    let fetched = shell::capture(Command::new("python3").arg(script("models.py")).arg(folder));
    match fetched {
        Ok(missing) => missing.lines().map(str::to_owned).collect(),
        Err(error) => vec![format!("models out of packages: {error:#}")],
    }
}

/// ONNX's own node tests, out of its package.
fn node_tests(python: &Path) -> Result<PathBuf> {
    let folder = shell::cache_dir()?.join("bench/onnx-node-tests");
    if !folder.is_dir() {
        shell::say("Writing", format!("ONNX's node tests to {}", folder.display()));
        let partial = folder.with_extension("partial");
        shell::capture(Command::new(python).arg(script("node_tests.py")).arg(&partial))?;
        std::fs::rename(&partial, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(folder)
}

/// What the comparison measured.
fn compare(python: &Path, models: &Path) -> Result<Vec<Figure>> {
    shell::say("Measuring", "PyTorch and onnxruntime from Python");
    let data = shell::root().join("tests/data");
    let printed = shell::capture_shown(Command::new(python).arg(script("compare.py")).arg(data).arg(models))?;
    serde_json::from_str(&printed).context("compare.py printed something else")
}

/// The Python of a venv with the pinned packages of a part of the bench, as many of them as are to be had.
pub(super) fn packages(part: &str, fetch: bool) -> Result<PathBuf> {
    // The packages of the tensors came first.
    let (folder, list) = match part {
        "tensors" => ("bench/python".to_owned(), "requirements.txt".to_owned()),
        _ => (format!("bench/python-{part}"), format!("{part}.txt")),
    };
    let wanted = std::fs::read_to_string(script(&list))?;
    match venv::installed(&folder, &wanted)? {
        Some(python) => Ok(python),
        None if fetch => venv::install(&folder, &wanted),
        None => bail!("`cargo xtask bench {part}` installs them"),
    }
}

pub(super) fn script(name: &str) -> PathBuf {
    shell::root().join("xtask/src/bench/python").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_held_against_its_own_engine_and_python_against_the_fastest_guest() {
        let figure = |engine: Option<&str>, way: &str, median_us| Figure {
            case: "step".to_owned(),
            engine: engine.map(str::to_owned),
            way: way.to_owned(),
            absent: None,
            median_us,
            p99_us: 2.0 * median_us,
            copied_bytes: None,
            held_bytes: None,
            apart: None,
        };
        let figures = vec![
            figure(Some("rten"), "direct", 50.0),
            figure(Some("rten"), "guest", 53.0),
            figure(Some("onnxruntime"), "direct", 200.0),
            figure(Some("onnxruntime"), "guest", 204.0),
        ];
        let python = vec![
            figure(None, "PyTorch on CPU", 106.0),
            Figure { absent: Some("No module".to_owned()), ..figure(None, "onnxruntime from Python", 0.0) },
        ];
        let mut rows = Rows::default();
        let coverage =
            vec![Coverage { engine: "rten".to_owned(), tests: 10, right: 7, wrong: 1, refused: 2 }];
        report(&Measured { figures, parallel: Vec::new(), coverage }, &python, &mut rows);
        let table = rows.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            "step: rten, guest and wasi:nn 53.0 µs 106 ≤ 55.0 1.06 50.0 µs: called directly",
            "step: onnxruntime, guest and wasi:nn 204 µs 408 ≤ 206 1.02 200 µs: called directly",
            "node tests of wasi:nn's types: rten computes 7.00 - - 0.70 10.0 : all; 2 are refused, 1 come out otherwise",
            "step: PyTorch on CPU 106 µs 212 - 2.00 53.0 µs: the fastest through a guest",
        ] {
            assert!(table.contains(expected), "{table}");
        }
        assert!(!table.contains("onnxruntime from Python"), "{table}");
    }
}
