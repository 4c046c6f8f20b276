//! The Python client: its package is built and installed into a folder of its own, and its tests run against that; the
//! end-to-end tests run its example. Without a Python that has numpy, neither is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// What end-to-end tests of Python programs are told.
pub struct Client {
    /// A Python that has numpy.
    pub python: PathBuf,
    /// The package, installed.
    pub packages: PathBuf,
}

/// Build the package into `folder` and test it; None where it cannot be tested here, which is said.
pub fn test(folder: &Path) -> Result<Option<Client>> {
    let Some(python) = with_numpy() else {
        shell::say("Skipping", "the Python client: no python3 with numpy is found (SEDGE_PYTHON names one)");
        return Ok(None);
    };
    shell::say("Testing", format!("the Python client, with {}", python.display()));
    let source = shell::root().join("clients/python");
    let mut packages = folder.join("packages");
    let built = wheel(&python, &source, folder).and_then(|wheel| {
        // A wheel is a zip file of what is to lie in the folder.
        shell::run(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(wheel).arg(&packages))
    });
    if let Err(error) = built {
        // Building takes a backend from PyPI, which may be out of reach.
        shell::say("Note", format!("the Python client's wheel is not tested: {error:#}"));
        packages = source.join("src");
    }
    let mut tests = Command::new(&python);
    tests.args(["-m", "unittest", "discover", "--quiet", "--start-directory"]).arg(source.join("tests"));
    shell::run(tests.env("PYTHONPATH", &packages).env("PYTHONDONTWRITEBYTECODE", "1"))?;
    Ok(Some(Client { python, packages }))
}

/// As `pip wheel ./clients/python` makes it.
fn wheel(python: &Path, source: &Path, folder: &Path) -> Result<PathBuf> {
    let mut build = Command::new(python);
    build.args(["-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]);
    // What pip says of an index out of reach takes lines and time.
    build.args(["--retries", "0", "--timeout", "20", "--wheel-dir"]).arg(folder).arg(source);
    shell::capture(&mut build)?;
    let entries = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let wheel = entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "whl"));
    wheel.context("pip built no wheel")
}

/// SEDGE_PYTHON, else the first on the path that has numpy.
fn with_numpy() -> Option<PathBuf> {
    let named = std::env::var_os("SEDGE_PYTHON").map(PathBuf::from);
    let usual = ["python3", "python"].map(PathBuf::from);
    named
        .into_iter()
        .chain(usual)
        .find(|python| shell::capture(Command::new(python).args(["-c", "import numpy"])).is_ok())
}
