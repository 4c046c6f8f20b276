//! `cargo xtask bench`: what Sedge costs, beside what the machine could do at best.
//!
//! ```text
//!  worker: criterion benches of sedge-host ─┐
//!  limits: memcpy, loopback TCP             │
//!  tensors: engines, guests, PyTorch        ├─▶ rows ─▶ table on the terminal, JSON in a file
//!  jobs: whole jobs on real processes       │
//!  serving: joint inference from Python     │
//!  data: files into tensors, pandas         ─┘
//! ```

mod data;
mod jobs;
mod limits;
mod rows;
mod serving;
mod tensors;
mod worker;

use std::path::PathBuf;

use anyhow::Result;

use crate::build::{self, Profile};
use crate::shell;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Measure only this
    #[arg(value_enum)]
    part: Option<Part>,
    /// Where to write the figures as JSON [default: bench.json in cargo's target folder]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A part of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Instances, training steps and folds, without a network.
    Worker,
    /// Calls of tensor engines: directly, through guest and `wasi:nn`, and PyTorch and onnxruntime from Python.
    ///
    /// pip fetches the latter, some gigabytes, into the cache folder, if this part is asked for by name.
    Tensors,
    /// Whole jobs: the digits, and rounds without training.
    Jobs,
    /// Joint inference the ordinary Python way: FastAPI, uvicorn, onnxruntime and aiohttp.
    ///
    /// Only if asked for by name: pip fetches these.
    Serving,
    /// Files into tensors: CSV, Parquet and images, beside pandas, pyarrow and Pillow; and how soon jobs notice rows.
    ///
    /// pip fetches the latter, some hundred megabytes, if this part is asked for by name.
    Data,
}

/// Measure, print, write.
pub fn run(arguments: &Arguments) -> Result<()> {
    let built = build::everything(Profile::Release)?;
    let limits = limits::measure()?;
    let mut rows = rows::Rows::default();
    limits.report(&mut rows);
    let wanted = |part| arguments.part.is_none_or(|only| only == part);
    if wanted(Part::Worker) {
        shell::say("Measuring", "workers");
        worker::measure(&built, &limits, &mut rows)?;
    }
    if wanted(Part::Tensors) {
        shell::say("Measuring", "tensors");
        // Alone, it may fetch some gigabytes of Python packages to compare with.
        tensors::measure(&built, arguments.part.is_some(), &mut rows)?;
    }
    if wanted(Part::Jobs) {
        jobs::measure(&built, &limits, &mut rows)?;
    }
    if wanted(Part::Serving) {
        // Alone, it may fetch some hundred megabytes of Python packages to compare with.
        serving::measure(&built, arguments.part.is_some(), &mut rows)?;
    }
    if wanted(Part::Data) {
        shell::say("Measuring", "data");
        // Alone, it may fetch some hundred megabytes of Python packages to compare with.
        data::measure(&built, arguments.part.is_some(), &mut rows)?;
    }
    anstream::println!("\n{rows}");
    let path = match &arguments.json {
        Some(path) => path.clone(),
        None => build::target_directory()?.join("bench.json"),
    };
    rows.write(&path)?;
    shell::say("Wrote", path.display());
    Ok(())
}
