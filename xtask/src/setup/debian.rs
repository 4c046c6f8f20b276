//! Packages from Debian's archive, any suite, without touching the machine's own package lists: an apt of our own
//! with its state in the cache and only the mirrors' addresses taken from the machine's configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Suites to look in; a toolchain's release may be in any of them.
const SUITES: [&str; 9] = [
    "bookworm",
    "bookworm-security",
    "bookworm-backports",
    "trixie",
    "trixie-security",
    "trixie-backports",
    "forky",
    "sid",
    "experimental",
];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Package lists are fetched again after this.
const LISTS_KEEP: Duration = Duration::from_secs(12 * 60 * 60);

/// Debian's archive, as a mirror near this machine has it.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Opens the archive with its state in `folder`; fetches package lists if there are none of late.
    pub fn open(folder: PathBuf) -> Result<Self> {
        for program in ["apt-get", "apt-cache", "dpkg-deb"] {
            if !shell::is_installed(program) {
                bail!(
                    "{program} is not installed: sources of std can be taken from Debian's archive only on Debian"
                );
            }
        }
        if !Path::new(KEYRING).is_file() {
            bail!("{KEYRING} is missing: install the package debian-archive-keyring");
        }
        let archive = Self { folder };
        for part in ["lists/partial", "cache/archives/partial", "downloads"] {
            let folder = archive.folder.join(part);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let configured = shell::capture(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        let mirrors =
            Mirrors::parse(&configured).context("apt has no Debian mirror configured in /etc/apt")?;
        archive.write("status", "")?;
        archive.write("sources.list", &mirrors.sources())?;
        if !archive.lists_are_recent() {
            shell::say("Fetching", format!("package lists from {}", mirrors.main));
            // Suites come and go on mirrors: those that answered are enough, or the search below says what is missing.
            if let Err(error) = shell::capture(archive.apt("apt-get").args(["--quiet", "update"])) {
                shell::say("Note", format!("some suites did not answer: {error}"));
            }
        }
        Ok(archive)
    }

    /// The versions of a package in all suites, the newest first.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        Ok(parse_madison(&shell::capture(self.apt("apt-cache").args(["madison", package]))?))
    }

    /// Downloads a package, checks it as apt does, and unpacks its files into `into`, which is replaced.
    pub fn unpack(&self, package: &str, version: &str, into: &Path) -> Result<()> {
        let downloads = self.folder.join("downloads");
        shell::say("Fetching", format!("{package} {version}"));
        shell::capture(
            self.apt("apt-get")
                .args(["--quiet", "download"])
                .arg(format!("{package}={version}"))
                .current_dir(&downloads),
        )?;
        let prefix = file_prefix(package, version);
        let file = entries(&downloads)?
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .with_context(|| format!("apt-get left no {prefix}*.deb in {}", downloads.display()))?;
        remove(into)?;
        fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
        shell::capture(Command::new("dpkg-deb").arg("-x").args([&file, into]))?;
        remove(&file)
    }

    /// One of apt's programs, with our state instead of the machine's.
    fn apt(&self, program: &str) -> Command {
        let ours = |option: &str, path: &str| format!("-o{option}={}", self.folder.join(path).display());
        let mut command = Command::new(program);
        command.args([
            ours("Dir::Etc::sourcelist", "sources.list"),
            ours("Dir::State::Lists", "lists"),
            ours("Dir::Cache", "cache"),
            ours("Dir::State::status", "status"),
        ]);
        command.args([
            "-oDir::Etc::sourceparts=/dev/null",
            "-oDir::Etc::preferences=/dev/null",
            "-oDir::Etc::preferencesparts=/dev/null",
            // apt's own user may not be allowed into our cache.
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Languages=none",
        ]);
        command
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn lists_are_recent(&self) -> bool {
        let oldest = SystemTime::now() - LISTS_KEEP;
        entries(&self.folder.join("lists")).unwrap_or_default().iter().any(|path| {
            path.to_string_lossy().contains("Packages")
                && path.metadata().and_then(|file| file.modified()).is_ok_and(|modified| modified > oldest)
        })
    }
}

/// Where this machine gets Debian from.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: Option<String>,
}

impl Mirrors {
    /// From the repositories that apt is configured with, one address a line.
    fn parse(repositories: &str) -> Option<Self> {
        let ending = |end: &str| {
            repositories.lines().map(str::trim).find(|line| line.trim_end_matches('/').ends_with(end))
        };
        Some(Self {
            main: ending("/debian")?.to_owned(),
            security: ending("/debian-security").map(str::to_owned),
        })
    }

    /// Lines for `sources.list`.
    fn sources(&self) -> String {
        let line = |suite: &&str| {
            let mirror = if suite.ends_with("-security") { self.security.as_ref()? } else { &self.main };
            Some(format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))
        };
        SUITES.iter().filter_map(line).collect()
    }
}

/// The versions in what `apt-cache madison` prints, in its order, each once: `package | version | where`.
fn parse_madison(text: &str) -> Vec<String> {
    let mut versions = Vec::new();
    for version in text.lines().filter_map(|line| line.split('|').nth(1)) {
        let version = version.trim();
        if !version.is_empty() && !versions.iter().any(|known| known == version) {
            versions.push(version.to_owned());
        }
    }
    versions
}

/// How the name of a downloaded file begins: apt writes the colon of an epoch as `%3a`.
fn file_prefix(package: &str, version: &str) -> String {
    format!("{package}_{}_", version.replace(':', "%3a"))
}

/// What lies directly in a folder.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
    list().with_context(|| format!("cannot list {}", folder.display()))
}

/// Removes a file or a folder, if it is there.
pub fn remove(path: &Path) -> Result<()> {
    let result = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    result.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_in_apts_order_and_once() {
        let text = "  rust-src | 1.95.0+dfsg1-2 | http://mirror.example/debian sid/main amd64 Packages\n\
                    \x20 rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror.example/debian trixie-backports/main amd64 Packages\n\
                    \x20 rust-src | 1.95.0+dfsg1-2 | http://mirror.example/debian forky/main amd64 Packages\n";
        assert_eq!(parse_madison(text), ["1.95.0+dfsg1-2", "1.95.0+dfsg1-2~bpo13+1"]);
        assert!(parse_madison("N: Unable to locate package\n").is_empty());
    }

    #[test]
    fn mirrors_are_the_machines_own() {
        let configured = "http://mirror.example/debian-security/\nhttp://mirror.example/debian/\n\
                          https://apt.example/llvm\n";
        let mirrors = Mirrors::parse(configured).unwrap();
        assert_eq!(mirrors.main, "http://mirror.example/debian/");
        let sources = mirrors.sources();
        assert_eq!(sources.lines().count(), SUITES.len());
        assert!(sources.contains("http://mirror.example/debian-security/ trixie-security main"));
        assert!(Mirrors::parse("http://archive.ubuntu.com/ubuntu/\n").is_none());
    }

    #[test]
    fn without_a_security_mirror_its_suites_are_left_out() {
        let mirrors = Mirrors::parse("http://mirror.example/debian\n").unwrap();
        assert!(!mirrors.sources().contains("-security"));
    }

    #[test]
    fn an_epoch_is_escaped_in_file_names() {
        assert_eq!(file_prefix("wasi-libc", "1:22.0-1"), "wasi-libc_1%3a22.0-1_");
    }
}
