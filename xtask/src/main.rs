//! The developer's commands: `cargo xtask COMMAND`. Each command is a module of its own; they run other programs
//! through [`shell`].

mod bench;
mod build;
mod demo;
mod fuzz;
mod plugins;
mod setup;
mod shell;
mod test;
mod venv;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The developer's commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what the build needs and this machine lacks: the wasm32-wasip2 target; or a tensor engine, or a model.
    ///
    /// SEDGE_WASM_TARGET chooses how: `rustup` (rustup target add), `source` (build std from the distribution's
    /// sources), or `auto` (the first, else the second; the default).
    Setup(setup::Arguments),
    /// Build the plugins and check that each imports only what its role's world names.
    Plugins,
    /// Watch ten nodes learn handwritten digits together, from nothing to the trained model.
    Demo(demo::Arguments),
    /// Check all that is checked before a change lands: format, lints, unit tests, plugins, end-to-end tests.
    Test(test::Arguments),
    /// Feed changed ONNX and safetensors files to what reads them, for some minutes.
    Fuzz(fuzz::Arguments),
    /// Measure what Sedge costs, beside what this machine could do at best; builds in release.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say_error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Setup(arguments) => setup::run_with(&arguments),
        Command::Plugins => {
            setup::run()?;
            for plugin in plugins::build()? {
                anstream::println!(
                    "{:<22} {:<11} {:>7} KiB  {}",
                    plugin.reference(),
                    plugin.role,
                    plugin.bytes.div_ceil(1024),
                    plugin.path.display()
                );
            }
            Ok(())
        }
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    }
}
