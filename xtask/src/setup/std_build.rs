//! The route from source: std of exactly the compiler's release, built with the compiler itself.
//!
//! ```text
//! rust-src (toolchain's component, or Debian's package) ─┐
//! wasi-libc (Debian's package): libc.a, crt1-*.o ────────┴─▶ rustlib/wasm32-wasip2
//! ```
//! What was fetched stays in the cache; what was built is moved into the toolchain in one rename.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::TARGET;
use super::debian::{Archive, entries, remove};
use super::toolchain::{Toolchain, Version};
use crate::shell;

/// Marks a target that we built: it may be replaced, any other may not.
const MARKER: &str = ".built-from-source";
/// What a program for the target is linked with beside std.
const LIBC_FILES: [&str; 3] = ["libc.a", "crt1-command.o", "crt1-reactor.o"];

/// Builds the target's std and puts it into the toolchain.
pub fn install(toolchain: &Toolchain, cache: &Path) -> Result<()> {
    let destination = toolchain.target_dir();
    if destination.exists() && !destination.join(MARKER).exists() {
        bail!(
            "{} is there, but a program does not build with it: remove it (`rustup target remove {TARGET}`) and try again",
            destination.display()
        );
    }
    build(toolchain, cache, &destination)
}

/// Builds the target's std into `destination`, which is replaced.
fn build(toolchain: &Toolchain, cache: &Path, destination: &Path) -> Result<()> {
    let source = StdSource::find(toolchain, cache)?;
    let libc = WasiLibc::find(cache)?;
    shell::say("Building", format!("std for {TARGET} from {} (about two minutes)", source.origin));
    let outputs = compile(toolchain, &source, &cache.join("build"))?;

    let fresh = destination.with_extension("new");
    remove(&fresh)?;
    let library = fresh.join("lib");
    let self_contained = library.join("self-contained");
    fs::create_dir_all(&self_contained)
        .with_context(|| format!("cannot write to {}: is the toolchain yours?", self_contained.display()))?;
    for file in entries(&outputs)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The one crate that is ours is there to have something to build.
        if name.ends_with(".rlib") && !name.starts_with("libstd_for_target-") {
            copy(&file, &library.join(name))?;
        }
    }
    for name in LIBC_FILES {
        copy(&libc.folder.join(name), &self_contained.join(name))?;
    }
    let marker = format!("{}\nstd {}\nwasi-libc {}\n", toolchain.version.commit, source.origin, libc.origin);
    fs::write(fresh.join(MARKER), marker).with_context(|| format!("cannot write to {}", fresh.display()))?;

    remove(destination)?;
    fs::rename(&fresh, destination).with_context(|| format!("cannot write {}", destination.display()))?;
    remove(&cache.join("build"))
}

/// The folder `library` of Rust's sources, and where it is from.
#[derive(Debug)]
struct StdSource {
    library: PathBuf,
    origin: String,
}

impl StdSource {
    /// The toolchain's own component rust-src, or Debian's package of the same release.
    fn find(toolchain: &Toolchain, cache: &Path) -> Result<Self> {
        let component = component_source(&toolchain.sysroot);
        if !component.is_symlink() && component.join("std/Cargo.toml").is_file() {
            return Ok(Self { library: component, origin: "the component rust-src".to_owned() });
        }
        let release = &toolchain.version.release;
        let kept = cache.join(format!("rust-src-{release}"));
        if let Some(library) = library_in(&kept)? {
            let origin = fs::read_to_string(kept.join("origin")).unwrap_or_else(|_| "the cache".to_owned());
            return Ok(Self { library, origin });
        }
        let archive = Archive::open(cache.join("apt"))?;
        for package in ["rust-src", "rust-web-src"] {
            for version in archive.versions(package)?.iter().filter(|version| is_release(version, release)) {
                archive.unpack(package, version, &kept)?;
                if let Some(library) = library_in(&kept)? {
                    let origin = format!("Debian's {package} {version}");
                    fs::write(kept.join("origin"), &origin)?;
                    return Ok(Self { library, origin });
                }
            }
        }
        bail!(
            "no suite of Debian has sources of Rust {release}: use a toolchain of a release that has, or add its \
             own sources (`rustup component add rust-src`), or install the target (`rustup target add {TARGET}`)"
        )
    }
}

/// Where rustup puts the component rust-src, and where cargo looks for std's sources.
fn component_source(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib/src/rust/library")
}

/// The folder `library` in an unpacked package: `usr/src/rustc-1.95.0/library`.
fn library_in(unpacked: &Path) -> Result<Option<PathBuf>> {
    let sources = unpacked.join("usr/src");
    if !sources.is_dir() {
        return Ok(None);
    }
    let libraries = entries(&sources)?.into_iter().map(|folder| folder.join("library"));
    Ok(libraries.into_iter().find(|library| library.join("std/Cargo.toml").is_file()))
}

/// Whether a Debian version is of an upstream release: `1.95.0+dfsg1-2` and `1.95.0-1` are of `1.95.0`.
fn is_release(version: &str, release: &str) -> bool {
    version.strip_prefix(release).is_some_and(|rest| rest.starts_with(['+', '-']))
}

/// The folder with the C library for the target, and where it is from.
#[derive(Debug)]
struct WasiLibc {
    folder: PathBuf,
    origin: String,
}

impl WasiLibc {
    /// From the cache, or Debian's newest package that has this target.
    fn find(cache: &Path) -> Result<Self> {
        let kept = cache.join("wasi-libc");
        let folder = kept.join("usr/lib").join(TARGET);
        let is_whole = || LIBC_FILES.iter().all(|name| folder.join(name).is_file());
        if is_whole() {
            let origin = fs::read_to_string(kept.join("origin")).unwrap_or_else(|_| "the cache".to_owned());
            return Ok(Self { folder, origin });
        }
        let archive = Archive::open(cache.join("apt"))?;
        for version in archive.versions("wasi-libc")? {
            archive.unpack("wasi-libc", &version, &kept)?;
            if is_whole() {
                let origin = format!("Debian's {version}");
                fs::write(kept.join("origin"), &origin)?;
                return Ok(Self { folder, origin });
            }
        }
        bail!(
            "no suite of Debian has a wasi-libc for {TARGET}: install the target (`rustup target add {TARGET}`)"
        )
    }
}

/// Compiles std and gives the folder with its rlibs.
fn compile(toolchain: &Toolchain, source: &StdSource, work: &Path) -> Result<PathBuf> {
    remove(work)?;
    fs::create_dir_all(work.join("src")).with_context(|| format!("cannot make {}", work.display()))?;
    fs::write(work.join("src/lib.rs"), "")?;
    fs::write(work.join("Cargo.toml"), MANIFEST)?;
    let link = SourceLink::make(toolchain, &source.library)?;
    let target_dir = work.join("target");
    let status = Command::new(&toolchain.cargo)
        .args(["build", "--quiet", "--release", "-Zbuild-std=std,panic_abort", "--target", TARGET])
        .current_dir(work)
        .env("CARGO_TARGET_DIR", &target_dir)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(&toolchain.version, &link.library()?, &link.path).join("\u{1f}"),
        )
        .env("RUSTC", &toolchain.rustc)
        // std is built with unstable features, on the stable compiler that it belongs to.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("building std for {TARGET} failed: {status}");
    }
    Ok(target_dir.join(TARGET).join("release/deps"))
}

/// As Rust's own release of std is built: bitcode for link-time optimisation, and paths that name the release.
fn flags(version: &Version, library: &Path, link: &Path) -> Vec<String> {
    let remap =
        |from: &Path| format!("--remap-path-prefix={}=/rustc/{}/library", from.display(), version.commit);
    vec![
        "-Cembed-bitcode=yes".to_owned(),
        "-Zunstable-options".to_owned(),
        "-Cforce-frame-pointers=non-leaf".to_owned(),
        remap(library),
        remap(link),
    ]
}

/// Something to build, so that std is built for it.
const MANIFEST: &str = r#"
[workspace]

[package]
name = "std_for_target"
version = "0.0.0"
edition = "2024"

[profile.release]
codegen-units = 1
debug = false
panic = "abort"
"#;

/// Makes sources appear where cargo looks for them, for as long as it lives, if they are not there already.
#[derive(Debug)]
struct SourceLink {
    path: PathBuf,
    ours: bool,
}

impl SourceLink {
    fn make(toolchain: &Toolchain, library: &Path) -> Result<Self> {
        let path = component_source(&toolchain.sysroot);
        if path == library {
            return Ok(Self { path, ours: false });
        }
        // A link is what a run that was killed left behind.
        if path.is_symlink() {
            remove(&path)?;
        }
        let parent = path.parent().unwrap_or(&toolchain.sysroot);
        fs::create_dir_all(parent)
            .and_then(|()| symlink(library, &path))
            .with_context(|| format!("cannot write to {}: is the toolchain yours?", parent.display()))?;
        Ok(Self { path, ours: true })
    }

    /// The sources themselves.
    fn library(&self) -> Result<PathBuf> {
        self.path.canonicalize().with_context(|| format!("cannot find {}", self.path.display()))
    }
}

impl Drop for SourceLink {
    fn drop(&mut self) {
        if self.ours {
            // What cannot be removed now is removed by the next run; folders that are not empty stay.
            let _ = fs::remove_file(&self.path);
            for folder in self.path.ancestors().skip(1).take(2) {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_compilers_own_release_will_do() {
        assert!(is_release("1.95.0+dfsg1-2~bpo13+1", "1.95.0"));
        assert!(is_release("1.95.0-1", "1.95.0"));
        assert!(!is_release("1.95.01-1", "1.95.0"));
        assert!(!is_release("1.94.1+dfsg1-1", "1.95.0"));
        assert!(!is_release("1.95.0~beta.3+dfsg1-1", "1.95.0"));
    }

    #[test]
    fn sources_are_found_in_an_unpacked_package() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(library_in(folder.path()).unwrap(), None);
        let library = folder.path().join("usr/src/rustc-1.95.0/library");
        fs::create_dir_all(library.join("std")).unwrap();
        fs::write(library.join("std/Cargo.toml"), "").unwrap();
        assert_eq!(library_in(folder.path()).unwrap(), Some(library));
    }

    #[test]
    fn the_link_to_sources_goes_when_the_build_ends() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("sources");
        fs::create_dir_all(&library).unwrap();
        let version = Version { release: "1.95.0".into(), commit: "59807616e1fa".into() };
        let sysroot = folder.path().join("sysroot");
        let toolchain = Toolchain { sysroot, rustc: "rustc".into(), cargo: "cargo".into(), version };
        let link = SourceLink::make(&toolchain, &library).unwrap();
        assert_eq!(link.library().unwrap(), library.canonicalize().unwrap());
        drop(link);
        assert!(!toolchain.sysroot.join("lib/rustlib/src").exists());
    }

    /// Takes minutes, a Debian mirror and crates.io: run it by name with `--ignored`.
    #[test]
    #[ignore = "builds std"]
    fn std_is_built_as_the_toolchain_has_it() {
        let toolchain = Toolchain::find().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join(TARGET);
        let cache = shell::cache_dir().unwrap().join("wasm-target");
        fs::create_dir_all(&cache).unwrap();
        build(&toolchain, &cache, &destination).unwrap();

        // A crate's file name without the hash that depends on where it was built.
        let crates = |target: &Path| {
            let name = |path: PathBuf| {
                path.file_name().unwrap().to_string_lossy().rsplit_once('-').map(|(n, _)| n.to_owned())
            };
            let mut names: Vec<_> =
                entries(&target.join("lib")).unwrap().into_iter().filter_map(name).collect();
            names.sort();
            names
        };
        let built = crates(&destination);
        assert!(built.iter().any(|name| name == "libstd"), "{built:?}");
        assert!(LIBC_FILES.iter().all(|name| destination.join("lib/self-contained").join(name).is_file()));
        assert_eq!(built, crates(&toolchain.target_dir()));
    }
}
