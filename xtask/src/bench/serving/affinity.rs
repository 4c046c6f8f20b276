//! Which cores a process may run on, told and changed (Linux, by util-linux's `taskset`).

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// The cores that a process may run on.
pub struct Affinity {
    process: u32,
    threads: bool,
    cores: String,
}

impl Affinity {
    /// Of a process's first thread, from which others are begun; or, with `threads`, of all that it has.
    pub fn of(process: u32, threads: bool) -> Result<Self> {
        let path = format!("/proc/{process}/status");
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let cores =
            cores.with_context(|| format!("{path} does not say Cpus_allowed_list"))?.trim().to_owned();
        Ok(Self { process, threads, cores })
    }

    /// Run on these, e.g. `0` or `0-3`.
    pub fn to(&self, cores: &str) -> Result<()> {
        let all = if self.threads { "-apc" } else { "-pc" };
        shell::capture(Command::new("taskset").args([all, cores, &self.process.to_string()])).map(drop)
    }

    /// As it was.
    pub fn back(&self) -> Result<()> {
        self.to(&self.cores)
    }
}
