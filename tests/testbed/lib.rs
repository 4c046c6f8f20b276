//! A testbed: the built `sedge` binary and plugins, processes of it, and real data spread over nodes.
//!
//! ```text
//!  Built (binary, plugins) ─▶ Platform: `sedge up`, or a manager and nodes as processes of their own
//!                                 │ Cli: runs `sedge VERB` against it and reads what it prints
//!  digits::partition ─▶ files in the nodes' dataset folders
//! ```
//!
//! End-to-end tests, `cargo xtask demo` and `cargo xtask bench` share it.

mod cli;
pub mod digits;
pub mod drift;
pub mod joint;
mod platform;
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

pub use cli::Cli;
pub use platform::{Platform, condition, dataset};
pub use process::Process;

/// The repository's root.
pub fn root() -> &'static Path {
    // tests/ lies directly below it, and it is run from where it was built.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// What was built: the binary and the plugins.
#[derive(Debug, Clone)]
pub struct Built {
    /// The `sedge` binary.
    pub sedge: PathBuf,
    /// The folder of the plugins' components.
    pub plugins: PathBuf,
}

impl Built {
    /// As the environment says: SEDGE_BIN and SEDGE_PLUGINS, which `cargo xtask test` sets.
    pub fn from_environment() -> Result<Self> {
        let path = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).with_context(|| {
                format!("{name} is not set: end-to-end tests are run by `cargo xtask test`, which builds what they drive")
            })
        };
        Ok(Self { sedge: path("SEDGE_BIN")?, plugins: path("SEDGE_PLUGINS")? })
    }

    /// The example `name` of a package of the workspace, which `cargo test` builds.
    pub fn example(&self, name: &str) -> PathBuf {
        self.sedge.with_file_name("examples").join(name)
    }

    /// The component of the plugin `name`, e.g. `sgd-trainer`.
    pub fn plugin(&self, name: &str) -> PathBuf {
        self.plugins.join(format!("{}.wasm", name.replace('-', "_")))
    }
}

/// Ask `condition` again and again until it holds.
///
/// # Errors
/// When it does not within `patience`; the error says `what` was waited for.
pub fn eventually(what: &str, patience: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + patience;
    loop {
        if condition().with_context(|| format!("while waiting for {what}"))? {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("{what}: not within {patience:?}");
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
