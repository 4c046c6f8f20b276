//! `cargo xtask demo`: what Sedge is for, from nothing to the result, shown as it happens.

mod federated;
mod incremental;
mod plot;

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result};

use crate::build;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
const BAD: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));

/// How to show it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to show
    #[arg(value_enum, default_value = "federated")]
    what: What,
    /// End at once when it is done, also on a terminal
    #[arg(long)]
    exit: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum What {
    /// Ten nodes learn handwritten digits together
    Federated,
    /// A model is kept good while the world drifts
    Incremental,
}

/// Show it.
pub fn run(arguments: &Arguments) -> Result<()> {
    match arguments.what {
        What::Federated => federated::run(arguments.exit),
        What::Incremental => incremental::run(arguments.exit),
    }
}

/// An empty folder for a demo; what the last one left in it is gone.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = build::target_directory()?.join(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the last demo, {}", folder.display()));
        }
        _ => fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?,
    }
    Ok(folder)
}

/// A share of 1 as a bar of up to `width` characters, to an eighth of one.
fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

/// How to look at what still runs.
fn look_further(sedge: &Path, kubeconfig: &Path, commands: &[(String, &str)]) {
    anstream::println!("\n{BOLD}Look further{BOLD:#}\n");
    anstream::println!("  export SEDGE_KUBECONFIG={}", kubeconfig.display());
    anstream::println!("  alias sedge={}", sedge.display());
    for (command, what) in commands {
        anstream::println!("  {command:<42} {DIM}{what}{DIM:#}");
    }
}

/// On a terminal, wait until somebody has seen enough.
fn linger(exit: bool) -> Result<()> {
    if !exit && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        anstream::println!("\n{DIM}The platform is still running. Enter ends it.{DIM:#}");
        std::io::stdin().read_line(&mut String::new())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_by_eighths_and_stays_in_its_column() {
        assert_eq!(
            [bar(0.0, 24), bar(0.5, 24), bar(7.0, 24)],
            [String::new(), "█".repeat(12), "█".repeat(24)]
        );
        assert_eq!(bar(1.0 / 48.0, 24), "▌");
    }
}
