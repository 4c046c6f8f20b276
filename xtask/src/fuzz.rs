//! `cargo xtask fuzz`: the entry points for ONNX and safetensors files over changed copies of the corpus in
//! `tests/data/corpus`, for some minutes each.
//!
//! It runs the test `changed_files_are_harmless` of `host/tests/hostile_files.rs` in a process of its own, with a
//! limit on its memory and a watch on its time. What ends that process is kept under `target/fuzz`, and the next
//! process goes on behind it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::build::cargo;
use crate::shell;

/// How long, and what.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Minutes for each entry point
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Number to begin with, to see the same inputs again; otherwise the time of day
    #[arg(long)]
    seed: Option<u64>,
    /// Entry points: onnx, engine, safetensors; otherwise all
    entries: Vec<String>,
}

/// Address space of the process, in KiB: engines reserve more than they use.
const MAX_ADDRESSES: u64 = 6 << 20;
/// Findings after which an entry point is left.
const MAX_FINDINGS: usize = 10;

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = shell::root().join("target/fuzz");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let test = build()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seed = arguments.seed.unwrap_or(now.as_secs() << 32);
    let all = ["onnx", "engine", "safetensors"].map(str::to_owned);
    let entries = if arguments.entries.is_empty() { &all[..] } else { &arguments.entries };
    let mut findings = 0;
    for entry in entries {
        shell::say("Fuzzing", format!("{entry} for {} minutes, seed {seed}", arguments.minutes));
        findings += fuzz(&test, entry, Duration::from_secs(arguments.minutes * 60), seed, &folder)?;
    }
    if findings > 0 {
        bail!("{findings} inputs ended the process: see {}", folder.display());
    }
    Ok(())
}

/// The test program.
fn build() -> Result<String> {
    let mut build = cargo();
    build.args(["test", "--workspace", "--test", "hostile_files", "--no-run", "--message-format=json"]);
    let messages = shell::capture(&mut build)?;
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "hostile_files";
        message["executable"].as_str().filter(|_| is_it).map(str::to_owned)
    });
    programs.next_back().context("cargo built no test `hostile_files`")
}

fn fuzz(test: &str, entry: &str, time: Duration, seed: u64, folder: &Path) -> Result<usize> {
    let start = Instant::now();
    let (mut executions, mut findings, mut process) = (0u64, 0, 0u64);
    while let Some(left) = time.checked_sub(start.elapsed()).filter(|left| left.as_secs() > 0) {
        let last = folder.join(format!("{entry}.last"));
        let mut command = Command::new("sh");
        // The shell sets the limit and becomes the test.
        command.args([
            "-c",
            "ulimit -v \"$1\" && shift && exec \"$@\"",
            "sh",
            &MAX_ADDRESSES.to_string(),
            test,
        ]);
        command.args(["changed_files_are_harmless", "--exact", "--nocapture", "--test-threads=1"]);
        command
            .env("SEDGE_FUZZ", entry)
            .env("SEDGE_FUZZ_SECONDS", left.as_secs().to_string())
            .env("SEDGE_FUZZ_SEED", seed.wrapping_add(process << 24).to_string())
            .env("SEDGE_FUZZ_LAST", &last);
        let output = command.stdin(Stdio::null()).output().context("cannot run the test")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let counted =
            said.split("SEDGE_FUZZ: ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        executions += counted.unwrap_or(0u64);
        if !output.status.success() {
            findings += 1;
            let kept = folder.join(format!("{entry}-{seed}-{process}"));
            std::fs::copy(&last, &kept).with_context(|| format!("cannot keep {}", last.display()))?;
            let told = String::from_utf8_lossy(&output.stderr);
            let told: Vec<_> = told.lines().take(4).collect();
            shell::say("Found", format!("{} ({}): {}", kept.display(), output.status, told.join(" / ")));
            if findings == MAX_FINDINGS {
                break;
            }
        }
        process += 1;
    }
    shell::say(
        "Fuzzed",
        format!("{entry}: {executions} executions of processes that ended well, {findings} findings"),
    );
    Ok(findings)
}
