//! `sedge VERB` as a person runs it, against one server.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// The command line of one platform.
#[derive(Debug, Clone)]
pub struct Cli {
    sedge: PathBuf,
    kubeconfig: PathBuf,
}

impl Cli {
    /// The binary, and the kubeconfig that says where the server is.
    pub fn new(sedge: &Path, kubeconfig: &Path) -> Self {
        Self { sedge: sedge.to_owned(), kubeconfig: kubeconfig.to_owned() }
    }

    /// `sedge --kubeconfig … ARGUMENTS`, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.sedge);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        command
    }

    /// What it prints.
    ///
    /// # Errors
    /// With what it said, when it fails.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments, None)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("`sedge {}` failed:\n{}", arguments.join(" "), errors.trim_end());
        }
        String::from_utf8(output.stdout).context("the output is not UTF-8")
    }

    /// What it says on standard error as it fails.
    ///
    /// # Errors
    /// When it does not fail.
    pub fn refusal(&self, arguments: &[&str]) -> Result<String> {
        let output = self.output(arguments, None)?;
        if output.status.success() {
            bail!(
                "`sedge {}` did not fail:\n{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stdout)
            );
        }
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// What `sedge get … -o json` prints.
    pub fn get(&self, what: &str) -> Result<Value> {
        let mut arguments = vec!["get"];
        arguments.extend(what.split(' '));
        arguments.extend(["-o", "json"]);
        Ok(serde_json::from_str(&self.run(&arguments)?)?)
    }

    /// `sedge apply` of this text.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let output = self.output(&["apply", "-f", "-"], Some(yaml))?;
        if !output.status.success() {
            bail!("`sedge apply` failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn output(&self, arguments: &[&str], input: Option<&str>) -> Result<Output> {
        let mut command = self.command(arguments);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.sedge.display()))?;
        if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
            pipe.write_all(input.as_bytes())?;
        }
        Ok(child.wait_with_output()?)
    }
}
