//! The Rust toolchain in use: where it lies, which release it is, and whether it can build for the target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::TARGET;
use crate::shell;

/// The Rust toolchain in use.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// Where its libraries lie.
    pub sysroot: PathBuf,
    /// Its compiler itself, not a proxy that picks one.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// Which release it is.
    pub version: Version,
}

/// Which release a compiler is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// E.g. `1.95.0`.
    pub release: String,
    /// The commit that it was built from; the paths in std's debug information and panics name it.
    pub commit: String,
}

impl Toolchain {
    /// The toolchain whose `rustc` cargo uses here.
    pub fn find() -> Result<Self> {
        let proxy = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot = shell::capture(Command::new(&proxy).args(["--print", "sysroot"]))?;
        let sysroot = PathBuf::from(sysroot.trim_end());
        let own = |program: &str| Some(sysroot.join("bin").join(program)).filter(|path| path.is_file());
        let rustc = own("rustc").unwrap_or_else(|| proxy.into());
        let cargo =
            own("cargo").unwrap_or_else(|| std::env::var_os("CARGO").unwrap_or("cargo".into()).into());
        let version = Version::parse(&shell::capture(Command::new(&rustc).arg("-vV"))?)?;
        Ok(Self { sysroot, rustc, cargo, version })
    }

    /// Where the target's std lies.
    pub fn target_dir(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(TARGET)
    }

    /// Builds a tiny program that uses std for the target.
    pub fn probe(&self) -> Result<()> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let source = folder.path().join("probe.rs");
        fs::write(&source, "fn main() { println!(\"{:?}\", std::collections::HashMap::from([(1, 2)])); }")
            .with_context(|| format!("cannot write {}", source.display()))?;
        let component = folder.path().join("probe.wasm");
        shell::capture(
            Command::new(&self.rustc)
                .args(["--target", TARGET, "--edition", "2024", "-O", "-o"])
                .args([&component, &source])
                .current_dir(folder.path()),
        )?;
        if !is_component(&component)? {
            bail!("{} built for {TARGET} gives no component", self.rustc.display());
        }
        Ok(())
    }
}

/// A component's preamble: the magic number, then version 13 in layer 1.
fn is_component(file: &Path) -> Result<bool> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(bytes.starts_with(b"\0asm\x0d\0\x01\0"))
}

impl Version {
    /// From what `rustc -vV` prints.
    fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .map(str::to_owned)
                .with_context(|| format!("rustc -vV does not print `{name}`"))
        };
        Ok(Self { release: field("release")?, commit: field("commit-hash")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_verbose_output() {
        let text = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\ncommit-hash: 59807616e1fa\n\
                    commit-date: 2026-04-14\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        let version = Version::parse(text).unwrap();
        assert_eq!(version, Version { release: "1.95.0".into(), commit: "59807616e1fa".into() });
        let error = Version::parse("rustc 1.95.0\n").unwrap_err().to_string();
        assert_eq!(error, "rustc -vV does not print `release`");
    }
}
