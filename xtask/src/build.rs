//! Builds what demo, tests and benches run: the `sedge` binary and the plugins.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use sedge_testbed::Built;
use serde_json::Value;

use crate::{plugins, setup, shell};

/// How the binary is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build; engines and other dependencies are optimised all the same.
    Dev,
    /// As it is shipped; what benches measure.
    Release,
}

/// Everything that a platform needs. What is missing is installed, what is old is built.
pub fn everything(profile: Profile) -> Result<Built> {
    setup::run()?;
    let built = plugins::build()?;
    let folder = built.first().and_then(|plugin| plugin.path.parent()).context("no plugin was built")?;
    shell::say("Building", "sedge");
    let mut command = cargo();
    // The whole workspace, so that shared dependencies get the same features here as in the tests.
    command.args(["build", "--workspace", "--bins", "--exclude", "xtask", "--locked"]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    shell::run(&mut command)?;
    let outputs = target_directory()?.join(match profile {
        Profile::Dev => "debug",
        Profile::Release => "release",
    });
    let sedge = outputs.join("sedge").with_extension(std::env::consts::EXE_EXTENSION);
    Ok(Built { sedge, plugins: folder.to_owned() })
}

/// cargo at the repository's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(shell::root());
    command
}

/// Where cargo puts what it builds.
pub fn target_directory() -> Result<PathBuf> {
    let text = shell::capture(cargo().args(["metadata", "--no-deps", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cannot read what cargo metadata printed")?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}
