//! The criterion benches of sedge-host, and their medians.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use sedge_testbed::Built;
use serde_json::Value;

use super::limits::Limits;
use super::rows::Rows;
use crate::{build, shell};

/// Steps that one measured call does, as in `host/benches/worker.rs`.
const STEPS: f64 = 8.0;

/// Run the benches and add their rows.
pub fn measure(built: &Built, limits: &Limits, rows: &mut Rows) -> Result<()> {
    let mut bench = build::cargo();
    bench.args([
        "bench",
        "--workspace",
        "--locked",
        "--quiet",
        "--bench",
        "worker",
        "--",
        "--noplot",
        "--quiet",
    ]);
    shell::run(bench.env("SEDGE_PLUGINS", &built.plugins))?;
    let medians = Medians::read(&build::target_directory()?.join("criterion"))?;

    let hand_over = medians.get("worker/thread hand-over alone")? / 1e3;
    rows.add(
        "instantiate a worker and its first call",
        medians.get("worker/instantiate and first call")? / 1e3,
        "µs",
    )
    .limit(hand_over, "to hand a thread an empty job")
    .aim(50.0);
    let step = "step 784-1024-1024-10, batch 64";
    let direct = medians.get(&format!("{step}/engine called directly"))? / STEPS / 1e6;
    rows.add(
        "training step 784-1024-1024-10 through guest and wasi:nn",
        medians.get(&format!("{step}/guest and wasi:nn"))? / STEPS / 1e6,
        "ms",
    )
    .limit(direct, "the engine called directly")
    .aim(direct * 1.05);
    for (name, bytes) in [("1.2 MB", 1.2e6), ("40 MB", 40e6)] {
        // Read for the check; read update and mean, write the mean.
        let limit = limits.memory_ms(4.0 * bytes);
        rows.add(
            format!("fold an update of {name}"),
            medians.get(&format!("fold an update (fedavg)/{name}"))? / 1e6,
            "ms",
        )
        .limit(limit, "its memory traffic at memcpy's rate");
    }
    Ok(())
}

/// Medians in nanoseconds, by criterion's full name of the bench.
struct Medians(BTreeMap<String, f64>);

impl Medians {
    fn read(folder: &Path) -> Result<Self> {
        let mut medians = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let path = entry?.path();
                if !path.is_dir() {
                    continue;
                }
                if path.ends_with("new") {
                    let id = json(&path.join("benchmark.json"))?;
                    let estimates = json(&path.join("estimates.json"))?;
                    let name = id["full_id"].as_str().context("benchmark.json has a full_id")?;
                    let median = estimates["median"]["point_estimate"].as_f64().context("a median")?;
                    medians.insert(name.to_owned(), median);
                } else {
                    folders.push(path);
                }
            }
        }
        Ok(Self(medians))
    }

    fn get(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("criterion measured no `{name}`"))
    }
}

fn json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}
