//! `cargo xtask test`: all that is checked before a change lands. CI runs this and nothing else.

mod python;

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::build::{self, Profile, cargo};
use crate::setup::{engine, model};
use crate::{plugins, shell};

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Leave the end-to-end tests out
    #[arg(long)]
    no_e2e: bool,
    /// Run the tests whose name contains this, and nothing else
    filter: Option<String>,
}

/// Check everything, the quick things first; the first that fails ends it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    if arguments.filter.is_none() {
        shell::say("Checking", "format");
        shell::run(cargo().args(["fmt", "--all", "--check"]))?;
        shell::run(plugins::cargo().args(["fmt", "--all", "--check"]))?;
    }
    let built = build::everything(Profile::Dev)?;
    if arguments.filter.is_none() {
        shell::say("Checking", "lints");
        shell::run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))?;
        shell::run(plugins::cargo().args([
            "clippy",
            "--workspace",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]))?;
        shell::say("Testing", "plugins");
        shell::run(plugins::cargo().args([
            "test",
            "--workspace",
            "--locked",
            "--quiet",
            "--target",
            &host()?,
        ]))?;
    }
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let client = if arguments.filter.is_none() { python::test(folder.path())? } else { None };
    // Tests of engines and models that are not there skip themselves, and say so.
    let onnxruntime = engine::install(engine::Engine::OnnxRuntime);
    let magika = model::install(model::Model::Magika);
    shell::say("Testing", if arguments.no_e2e { "units" } else { "units, then end to end" });
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--locked"]);
    if arguments.no_e2e {
        tests.args(["--lib", "--bins"]);
    }
    tests.args(&arguments.filter);
    tests.env("SEDGE_BIN", &built.sedge).env("SEDGE_PLUGINS", &built.plugins);
    match onnxruntime {
        // Named and required: what does not load it fails.
        Ok(library) => drop(tests.env("ORT_DYLIB_PATH", library).env("SEDGE_REQUIRE_ONNXRUNTIME", "1")),
        Err(error) => shell::say("Note", format!("ONNX Runtime is not tested: {error:#}")),
    }
    match magika {
        Ok(folder) => drop(tests.env("SEDGE_MAGIKA", folder)),
        Err(error) => shell::say("Note", format!("Magika is not tested: {error:#}")),
    }
    if let Some(python::Client { python, packages, has_triton }) = client {
        tests.env("SEDGE_PYTHON", python).env("SEDGE_PYTHON_CLIENT", packages);
        if has_triton {
            tests.env("SEDGE_TRITONCLIENT", "1");
        }
    }
    shell::run(&mut tests)?;
    shell::say("Passed", format!("in {} s", start.elapsed().as_secs()));
    Ok(())
}

/// The triple of this machine, where the plugins' own logic is tested.
fn host() -> Result<String> {
    let text = shell::capture(std::process::Command::new("rustc").arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("rustc -vV names no host"))
}
