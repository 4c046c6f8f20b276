//! Whole jobs on real processes: the digits, and rounds in which nobody trains.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use sedge_testbed::{Built, Platform, digits};
use serde_json::Value;

use super::limits::{Limits, median};
use super::rows::Rows;
use crate::shell;

/// Weights of a size: name, sides of one f32 matrix, rounds to measure, aim for a round at ten nodes in ms.
const SIZES: [(&str, [usize; 2], u32, f64); 2] =
    [("1.2 MB", [784, 383], 40, 20.0), ("40 MB", [3163, 3163], 15, 400.0)];

/// Run the jobs and add their rows.
pub fn measure(built: &Built, limits: &Limits, rows: &mut Rows) -> Result<()> {
    digits_job(built, rows)?;
    for (name, sides, rounds, aim) in SIZES {
        for nodes in [2, 10] {
            shell::say("Measuring", format!("rounds without training: {name} of weights, {nodes} nodes"));
            let mut platform = Platform::up(built, nodes)?;
            let times = noop_job(&platform, nodes, sides, rounds)?;
            let bytes = 2.0 * nodes as f64 * (sides[0] * sides[1] * 4) as f64;
            rows.add(format!("no-op round, {name}, {nodes} nodes"), median(times), "ms")
                .limit(limits.loopback_ms(bytes), "its bytes over one plain socket");
            if nodes == 10 {
                rows.aim(aim);
            }
            let peak = peak_memory(platform.manager().id())?;
            rows.add(format!("  peak memory, all {} nodes in one process", nodes + 1), peak, "MB");
        }
    }
    let (name, sides, rounds, _) = SIZES[1];
    for nodes in [2, 10] {
        shell::say("Measuring", format!("memory of the aggregating node: {name} of weights, {nodes} nodes"));
        let mut platform = Platform::separate(built, nodes)?;
        noop_job(&platform, nodes, sides, rounds)?;
        let peak = peak_memory(platform.node("cloud")?.id())?;
        rows.add(format!("peak memory of the aggregating node, {name}, {nodes} nodes"), peak, "MB");
    }
    Ok(())
}

fn digits_job(built: &Built, rows: &mut Rows) -> Result<()> {
    shell::say("Measuring", "the digits: 10 nodes, 20 rounds of 5 epochs");
    let mut platform = Platform::up(built, 10)?;
    let idle = peak_memory(platform.manager().id())?;
    platform.prepare_digits(10, 1)?;
    let job = shell::root().join("examples/digits/job.yaml");
    platform.cli.run(&["apply", "-f", &job.display().to_string()])?;
    let job = complete(&platform, "digits")?;
    let last =
        job["status"]["history"].as_array().and_then(|rounds| rounds.last()).context("it has rounds")?;
    let metrics = last["metrics"].as_array().into_iter().flatten();
    let accuracy =
        metrics.filter(|metric| metric["name"] == "accuracy").find_map(|metric| metric["value"].as_f64());
    rows.add("digits: round, 10 nodes in one process", median(durations(&job)), "ms");
    rows.add("digits: accuracy after 20 rounds", accuracy.context("it was evaluated")?, "");
    rows.add(
        "digits: peak memory, all 11 nodes and the manager",
        peak_memory(platform.manager().id())?,
        "MB",
    );
    rows.add("  the same before the job", idle, "MB");
    Ok(())
}

/// Times of rounds in milliseconds; the first, which makes connections and buffers, left out.
fn noop_job(platform: &Platform, nodes: usize, sides: [usize; 2], rounds: u32) -> Result<Vec<f64>> {
    platform.push_plugins(&["noop-trainer", "fedavg"])?;
    platform.place_digits(&digits::partition(nodes, 0.5, 1)?)?;
    let model = model(platform.folder(), sides)?;
    platform.cli.run(&["model", "push", &model.display().to_string(), "noop:1"])?;
    platform.cli.apply(&format!(
        "apiVersion: sedge.dev/v1alpha1
kind: FederatedLearningJob
metadata: {{name: noop}}
spec:
  model: noop:1
  aggregation: {{plugin: 'fedavg:0.1.0', rounds: {rounds}, participants: {{minimum: {nodes}}}}}
  training:
    plugin: noop-trainer:0.1.0
    datasets: {{selector: {{matchLabels: {{sedge.dev/example: digits}}}}}}
"
    ))?;
    let mut times = durations(&complete(platform, "noop")?);
    times.remove(0);
    Ok(times)
}

/// A folder with one graph, which nobody loads, and one matrix of weights.
fn model(folder: &Path, sides: [usize; 2]) -> Result<PathBuf> {
    let folder = folder.join("noop");
    fs::create_dir_all(&folder)?;
    fs::copy(shell::root().join("tests/data/digits-mlp/infer.onnx"), folder.join("infer.onnx"))?;
    let values = sides[0] * sides[1];
    let header = format!(
        r#"{{"w":{{"dtype":"F32","shape":[{},{}],"data_offsets":[0,{}]}}}}"#,
        sides[0],
        sides[1],
        values * 4
    );
    let header = format!("{header:<120}");
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..values).flat_map(|at| (at as f32 / values as f32).to_le_bytes()));
    fs::write(folder.join("weights.safetensors"), bytes)?;
    Ok(folder)
}

fn complete(platform: &Platform, job: &str) -> Result<Value> {
    let name = format!("federatedlearningjob/{job}");
    platform
        .cli
        .run(&["wait", &name, "--for", "condition=Complete", "--timeout", "10m"])
        .map_err(|error| platform.with_logs(error))?;
    platform.cli.get(&format!("federatedlearningjobs {job}"))
}

fn durations(job: &Value) -> Vec<f64> {
    let rounds = job["status"]["history"].as_array().into_iter().flatten();
    rounds.filter_map(|round| round["durationMillis"].as_f64()).collect()
}

/// The most memory that a process has held, in MB (VmHWM, Linux).
fn peak_memory(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let text =
        fs::read_to_string(&path).with_context(|| format!("{path}: peak memory is measured on Linux"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmHWM is a number")?;
    Ok(kilobytes * 1024.0 / 1e6)
}
