//! Python packages, pinned, in venvs of the cache folder: for what is compared with, and for tests of programs in Python.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// The Python of the venv in `folder` of the cache, where all packages that `wanted` lists, one a line, are there.
pub fn installed(folder: &str, wanted: &str) -> Result<Option<PathBuf>> {
    let folder = shell::cache_dir()?.join(folder);
    let stamp = std::fs::read_to_string(folder.join(STAMP));
    Ok(stamp.is_ok_and(|installed| installed == wanted).then(|| folder.join(PYTHON)))
}

/// The same, installed; with as many of the packages as are to be had.
pub fn install(folder: &str, wanted: &str) -> Result<PathBuf> {
    let folder = shell::cache_dir()?.join(folder);
    let python = folder.join(PYTHON);
    shell::say("Installing", format!("Python packages, in {}", folder.display()));
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut complete = true;
    for package in wanted.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let quietly =
            ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "20"];
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install"]).args(quietly).arg(package);
        if let Err(error) = shell::run(&mut install) {
            shell::say("Missing", format!("{error:#}"));
            complete = false;
        }
    }
    if complete {
        let stamp = folder.join(STAMP);
        std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(python)
}

const PYTHON: &str = "bin/python";
/// Which list was installed, wholly.
const STAMP: &str = "installed.txt";
