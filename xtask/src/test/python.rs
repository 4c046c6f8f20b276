//! The Python client: its package is built and installed into a folder of its own, and its tests run against that; the
//! end-to-end tests run its example. Without a Python that has numpy, neither is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{shell, venv};

/// In the cache folder.
const VENV: &str = "test/python";

/// What end-to-end tests of Python programs are told.
pub struct Client {
    /// A Python that has numpy.
    pub python: PathBuf,
    /// The package, installed.
    pub packages: PathBuf,
    /// Whether it has Triton's client.
    pub has_triton: bool,
}

/// Build the package into `folder` and test it; None where it cannot be tested here, which is said.
pub fn test(folder: &Path) -> Result<Option<Client>> {
    let Some(python) = with_packages() else {
        shell::say("Skipping", "the Python client: no python3 with numpy is found (SEDGE_PYTHON names one)");
        return Ok(None);
    };
    let has_triton = has(&python, "tritonclient.http, tritonclient.grpc");
    if !has_triton {
        shell::say("Note", "Triton's client is not tested: it is not installed");
    }
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
    Ok(Some(Client { python, packages, has_triton }))
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

/// SEDGE_PYTHON; else one with all packages, in a venv; else the first on the path that has numpy.
fn with_packages() -> Option<PathBuf> {
    let wanted = include_str!("../../../tests/requirements.txt");
    let named = std::env::var_os("SEDGE_PYTHON").map(PathBuf::from);
    let own = || {
        let present = venv::installed(VENV, wanted).ok().flatten();
        present.or_else(|| match venv::install(VENV, wanted) {
            Ok(python) => Some(python),
            Err(error) => {
                shell::say("Note", format!("no Python packages are installed: {error:#}"));
                None
            }
        })
    };
    let usual = ["python3", "python"].map(PathBuf::from);
    let own = if named.is_some() { None } else { own() };
    named.into_iter().chain(own).chain(usual).find(|python| has(python, "numpy"))
}

fn has(python: &Path, modules: &str) -> bool {
    shell::capture(Command::new(python).args(["-c", &format!("import {modules}")])).is_ok()
}
