//! `cargo xtask setup`: gives the Rust toolchain the target that plugins are built for.
//!
//! ```text
//! probe: does a tiny program build? ──yes──▶ done
//!   │ no
//!   ├─ route rustup: rustup target add            (needs rustup's server)
//!   └─ route source: sources of std ──cargo──▶ rustlib/wasm32-wasip2   (needs a Debian mirror and crates.io)
//! ```
//! `--engine NAME` puts a tensor engine's library where nodes look for it instead ([`engine`]), `--model NAME` a model
//! that a package ships into a folder to push ([`model`]).
//!
//! One run at a time per user: a lock file in the cache orders them.

mod debian;
pub mod engine;
pub mod model;
mod pypi;
mod std_build;
mod toolchain;

use std::fs::{self, File};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use toolchain::Toolchain;

use crate::{plugins, shell};

/// The target that plugins are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// The environment variable that chooses the route.
const ROUTE: &str = "SEDGE_WASM_TARGET";

/// How to install the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// rustup if it can, else from source.
    Auto,
    /// `rustup target add` alone.
    Rustup,
    /// From the distribution's sources alone; rustup is never called.
    Source,
}

impl Route {
    fn parse(value: Option<&str>) -> Result<Self> {
        match value {
            None | Some("" | "auto") => Ok(Self::Auto),
            Some("rustup") => Ok(Self::Rustup),
            Some("source") => Ok(Self::Source),
            Some(other) => bail!("{ROUTE} is `{other}`, but must be auto, rustup or source"),
        }
    }
}

/// What to set up.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Fetch this tensor engine's library from PyPI, by pip, into Sedge's folder of engines
    #[arg(long, value_enum, value_name = "NAME")]
    engine: Option<engine::Engine>,
    /// Fetch this model from PyPI, by pip, into Sedge's folder of models
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "engine")]
    model: Option<model::Model>,
}

/// Installs what `arguments` name: an engine, a model, or the target.
pub fn run_with(arguments: &Arguments) -> Result<()> {
    let ready = match (arguments.engine, arguments.model) {
        (Some(engine), _) => engine::install(engine)?,
        (None, Some(model)) => model::install(model)?,
        (None, None) => return run(),
    };
    shell::say("Ready", ready.display());
    Ok(())
}

/// Installs the target if it is missing.
pub fn run() -> Result<()> {
    let route = Route::parse(std::env::var(ROUTE).ok().as_deref())?;
    let toolchain = Toolchain::find()?;
    if toolchain.probe().is_ok() {
        return Ok(());
    }
    let cache = shell::cache_dir()?.join("wasm-target");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = cache.join("lock");
    let lock = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
    lock.lock().context("cannot lock the cache")?;
    // Another run may have installed it while this one waited for the lock.
    if toolchain.probe().is_ok() {
        return Ok(());
    }

    match route {
        Route::Rustup => by_rustup(&toolchain)?,
        Route::Source => std_build::install(&toolchain, &cache)?,
        Route::Auto => {
            if let Err(error) = by_rustup(&toolchain) {
                shell::say("Note", format!("{error:#}; building {TARGET} from source instead"));
                std_build::install(&toolchain, &cache)?;
            }
        }
    }
    toolchain
        .probe()
        .with_context(|| format!("{TARGET} was installed, but a tiny program does not build"))?;
    // What was compiled against another std does not link with this one.
    plugins::remove_outputs()?;
    shell::say("Installed", format!("{TARGET} in {}", toolchain.sysroot.display()));
    Ok(())
}

fn by_rustup(toolchain: &Toolchain) -> Result<()> {
    if !shell::is_installed("rustup") {
        bail!("rustup is not installed (see https://rustup.rs)");
    }
    shell::say("Installing", format!("{TARGET} with rustup"));
    shell::run(Command::new("rustup").args(["target", "add", TARGET]))?;
    toolchain.probe().context("rustup installed the target for another toolchain than the one in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_is_one_of_three_words() {
        assert_eq!(Route::parse(None).unwrap(), Route::Auto);
        assert_eq!(Route::parse(Some("source")).unwrap(), Route::Source);
        assert_eq!(Route::parse(Some("rustup")).unwrap(), Route::Rustup);
        let error = Route::parse(Some("src")).unwrap_err().to_string();
        assert_eq!(error, "SEDGE_WASM_TARGET is `src`, but must be auto, rustup or source");
    }
}
