//! Precompiled components on disk, one file per component and engine, mapped and not read.
//!
//! Machine code is trusted code, so nothing is loaded that this node did not compile and whose bytes have
//! changed since: each entry stands beside the BLAKE3 hash of its content, and one that differs, or was made
//! by another engine (version, settings, processor), is compiled again. Plugins never arrive in this form.

use std::fs::{self, File};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sedge_api::Digest;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The folder of one engine's precompiled components.
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// `root`/ENGINE, where ENGINE stands for all that must be equal for the code to be usable.
    pub fn open(root: &Path, engine: &Engine) -> io::Result<Self> {
        let mut hasher = CompatibilityHasher(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let folder = root.join(&hasher.0.finalize().to_hex()[..16]);
        fs::create_dir_all(&folder)?;
        private(&folder)?;
        Ok(Self { folder })
    }

    /// The entry for `digest`, where there is a sound one.
    pub fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let (code, hash) = self.paths(digest);
        let expected = fs::read_to_string(hash).ok()?;
        if hash_file(&code).ok()?.to_hex().as_str() != expected {
            tracing::warn!(%digest, "a precompiled component is damaged; it is compiled again");
            return None;
        }
        // SAFETY: the file holds what `store` wrote on this node, as its hash shows, in a folder that only this
        // user can write to and whose name is the engine's compatibility hash; files are replaced, not changed.
        #[allow(unsafe_code)]
        unsafe { Component::deserialize_file(engine, code) }
            .inspect_err(|error| tracing::warn!(%digest, %error, "a precompiled component does not load; it is compiled again"))
            .ok()
    }

    /// Keep `code`, the serialized form of the component `digest`, for the next start.
    pub fn store(&self, digest: &Digest, code: &[u8]) -> io::Result<()> {
        let (path, hash) = self.paths(digest);
        // The hash goes last, and an old one first: a kill in between leaves an entry that does not load.
        match fs::remove_file(&hash) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        replace(&path, code)?;
        replace(&hash, blake3::hash(code).to_hex().as_bytes())
    }

    fn paths(&self, digest: &Digest) -> (PathBuf, PathBuf) {
        let name = digest.hex();
        (self.folder.join(format!("{name}.cwasm")), self.folder.join(format!("{name}.b3")))
    }
}

fn hash_file(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

/// Write a file beside `path` and rename it into place, so that maps of the old one stay what they were.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4()));
    let written = File::create_new(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(unix)]
fn private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn private(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Lets whatever implements `Hash` be hashed to a value that is the same in every process.
struct CompatibilityHasher(blake3::Hasher);

impl Hasher for CompatibilityHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry of the smallest component, in a cache of its own.
    fn filled() -> (tempfile::TempDir, Engine, Cache, Digest) {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::default();
        let cache = Cache::open(folder.path(), &engine).unwrap();
        let component = Component::new(&engine, b"\0asm\x0d\0\x01\0").unwrap();
        let digest = Digest::of(b"component");
        cache.store(&digest, &component.serialize().unwrap()).unwrap();
        (folder, engine, cache, digest)
    }

    #[test]
    fn what_was_stored_loads() {
        let (_folder, engine, cache, digest) = filled();
        assert!(cache.load(&engine, &digest).is_some());
        assert!(cache.load(&engine, &Digest::of(b"another")).is_none());
    }

    #[test]
    fn a_damaged_entry_is_not_loaded() {
        let (_folder, engine, cache, digest) = filled();
        let (path, _) = cache.paths(&digest);
        let sound = fs::read(&path).unwrap();
        for at in [0, sound.len() / 2, sound.len() - 1] {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(cache.load(&engine, &digest).is_none(), "byte {at}");
        }
        fs::write(&path, &sound[..sound.len() - 1]).unwrap();
        assert!(cache.load(&engine, &digest).is_none(), "cut off");
        cache.store(&digest, &sound).unwrap();
        assert!(cache.load(&engine, &digest).is_some(), "stored again");
    }
}
