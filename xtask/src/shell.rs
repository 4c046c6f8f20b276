//! Runs other programs, and tells a person what is going on. All commands use it.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result, bail};

/// The repository's root.
pub fn root() -> &'static Path {
    // xtask/ lies directly below it, and it is run from where it was built.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A line of progress on standard error, in cargo's form: `Building std …`.
pub fn say(verb: &str, what: impl Display) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    anstream::eprintln!("{style}{verb:>12}{style:#} {what}");
}

/// Why the command failed: the outermost reason first, then what caused it.
pub fn say_error(error: &anyhow::Error) {
    let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    anstream::eprintln!("{style}error{style:#}: {error}");
    for cause in error.chain().skip(1) {
        anstream::eprintln!("  caused by: {cause}");
    }
}

/// Runs `command` with its output on the terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", words(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", words(command));
    }
    Ok(())
}

/// Runs `command` and gives what it wrote to standard output. Its standard error is part of the error if it fails.
pub fn capture(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", words(command)))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}:\n{}",
            words(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} did not print UTF-8", words(command)))
}

/// As [`capture`], with its standard error on the terminal.
pub fn capture_shown(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", words(command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", words(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} did not print UTF-8", words(command)))
}

/// Whether a program of this name is on the PATH.
pub fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

/// The folder for what is worth keeping between runs: `$XDG_CACHE_HOME/sedge`, or `~/.cache/sedge`.
pub fn cache_dir() -> Result<PathBuf> {
    user_dir("XDG_CACHE_HOME", ".cache")
}

/// Where `sedge` looks for engines: `$XDG_DATA_HOME/sedge`, or `~/.local/share/sedge`.
pub fn data_dir() -> Result<PathBuf> {
    user_dir("XDG_DATA_HOME", ".local/share")
}

fn user_dir(variable: &str, below_home: &str) -> Result<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable)
        .or_else(|| Some(absolute("HOME")?.join(below_home)))
        .map(|folder| folder.join("sedge"))
        .with_context(|| {
            format!("neither {variable} nor HOME names a folder to keep files in: set one of them")
        })
}

/// The command as a person would type it.
fn words(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = capture(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("sh -c") && text.contains("exit status: 3") && text.ends_with("no such thing"),
            "{text}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("sedge-no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "cannot run sedge-no-such-program");
        assert!(!is_installed("sedge-no-such-program") && is_installed("sh"));
    }
}
