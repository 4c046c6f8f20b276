//! How fast files become tensors, and how fast pandas, pyarrow and Pillow make arrays of the same files; and how soon jobs
//! notice rows that arrive.
//!
//! ```text
//!  host/data/benches/read ── writes files once, reads them ─┐
//!  python/data.py, in a venv of its own, reads the same     ─┴─▶ rows
//! ```
//! Both on one core. Sedge's rows are from the files to all batches; Python's to one array of all rows.

mod reacting;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use sedge_testbed::Built;
use serde::Deserialize;

use super::rows::Rows;
use super::tensors::{packages, script};
use crate::{build, shell};

/// How many times the rows per second of what a case is compared with we want to reach.
fn aim(case: &str) -> Option<f64> {
    match case.split([',', ' ']).next() {
        Some("CSV") => Some(2.0),
        Some("Parquet") => Some(1.0),
        _ => None,
    }
}

/// A case, read in one way.
#[derive(Debug, Deserialize)]
struct Figure {
    case: String,
    way: String,
    /// Why it was not measured.
    absent: Option<String>,
    #[serde(default)]
    rows_per_second: f64,
    #[serde(default)]
    copied_bytes: f64,
}

/// Run both sides and add their rows.
///
/// The Python packages, some hundred megabytes, are fetched only where `fetch` says so; without them there are Sedge's
/// rows alone.
pub fn measure(built: &Built, fetch: bool, rows: &mut Rows) -> Result<()> {
    let folder = shell::cache_dir()?.join("bench/data");
    let mut bench = build::cargo();
    bench.args(["bench", "--workspace", "--locked", "--quiet", "--bench", "read"]);
    bench.env("SEDGE_BENCH_DATA", &folder);
    let printed = shell::capture_shown(&mut bench)?;
    let measured: Vec<Figure> = serde_json::from_str(&printed).context("the bench printed something else")?;
    let python =
        packages("data", fetch).and_then(|python| compare(&python, &folder)).unwrap_or_else(|error| {
            shell::say("Missing", format!("pandas, pyarrow and Pillow: {error:#}"));
            Vec::new()
        });
    report(&measured, &python, rows);
    shell::say("Measuring", "how soon a job notices rows, and a service its candidates");
    reacting::measure(built, rows)
}

fn compare(python: &Path, folder: &Path) -> Result<Vec<Figure>> {
    shell::say("Measuring", "pandas, pyarrow and Pillow");
    let printed = shell::capture_shown(Command::new(python).arg(script("data.py")).arg(folder))?;
    serde_json::from_str(&printed).context("data.py printed something else")
}

fn report(measured: &[Figure], python: &[Figure], rows: &mut Rows) {
    for figure in measured {
        add(rows, figure);
        let other = python.iter().find(|other| other.case == figure.case);
        let Some(other) = other else { continue };
        if let Some(reason) = &other.absent {
            shell::say("Missing", format!("{}, {}: {reason}", other.case, other.way));
            continue;
        }
        rows.limit(other.rows_per_second, &other.way);
        if let Some(times) = aim(&figure.case) {
            rows.at_least(times * other.rows_per_second);
        }
        add(rows, other);
    }
}

fn add(rows: &mut Rows, figure: &Figure) {
    rows.add(format!("{}: {}", figure.case, figure.way), figure.rows_per_second, "row/s")
        .copied(figure.copied_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_held_against_the_same_one_elsewhere() {
        let figure = |case: &str, way: &str, rows_per_second| Figure {
            case: case.to_owned(),
            way: way.to_owned(),
            absent: None,
            rows_per_second,
            copied_bytes: 100.0,
        };
        let mut rows = Rows::default();
        let ours = [figure("CSV, small", "sedge-data", 3e6), figure("PNG, small", "sedge-data", 500.0)];
        let theirs = [
            figure("CSV, small", "pandas", 1e6),
            Figure { absent: Some("No module".to_owned()), ..figure("PNG, small", "Pillow", 0.0) },
        ];
        report(&ours, &theirs, &mut rows);
        let table = rows.to_string();
        let csv = table.lines().find(|line| line.contains("CSV, small: sedge-data")).unwrap();
        assert!(csv.contains("≥ 2000000") && csv.contains(" 3.00 ") && csv.ends_with("pandas"), "{table}");
        assert!(table.contains("CSV, small: pandas") && table.contains("PNG, small: sedge-data"), "{table}");
        assert!(!table.contains("Pillow"), "{table}");
    }
}
