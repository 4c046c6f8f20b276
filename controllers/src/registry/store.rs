//! What the registry keeps on disk, and the only file that knows how it lies there.
//!
//! ```text
//!  blobs/sha256/HEX                     content, named by its hash; never changed once there
//!  blobs/sha256/.upload-UUID            content still arriving; left-overs are removed at open
//!  repositories/NAME/_links/HEX         empty: this blob was pushed or mounted to this repository
//!  repositories/NAME/_manifests/HEX     the media type of the manifest with this digest
//!  repositories/NAME/_tags/TAG          the digest that the tag points at
//! ```
//! Every file appears by rename after its content is on disk, and its folder is synced after that: whoever
//! finds a name finds the whole content, also after a loss of power. All calls block.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use cap_std::fs::{Dir, File, OpenOptions};
use sedge_api::Digest;
use uuid::Uuid;

use super::RegistryError;
use super::names::{Repository, Tag};

const UNFINISHED: &str = ".upload-";
/// Links, media types and digests are far below.
const MAX_ENTRY_BYTES: u64 = 4096;

/// The registry's folders.
#[derive(Debug)]
pub(super) struct Store {
    blobs: Arc<Dir>,
    repositories: Dir,
}

/// A file still without a name of its own; it is gone when this is dropped before [`Store::keep`].
#[derive(Debug)]
pub(super) struct Unfinished {
    folder: Arc<Dir>,
    name: String,
    /// Open for writing.
    pub(super) file: File,
    kept: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = self.folder.remove_file(&self.name)
        {
            tracing::warn!(file = self.name, %error, "an unfinished upload could not be removed");
        }
    }
}

impl Unfinished {
    /// Bring the content to disk, then give it `name` in `target`.
    fn rename(mut self, target: &Dir, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        self.folder.rename(&self.name, target, name)?;
        self.kept = true;
        sync(target)
    }
}

impl Store {
    /// Make the folders where they are missing, and remove what an earlier run did not finish.
    pub(super) fn open(dir: &Dir) -> Result<Self, RegistryError> {
        let folder = |path: &str| {
            dir.create_dir_all(path)
                .and_then(|()| dir.open_dir(path))
                .map_err(|source| RegistryError::disk("open its folder", path, source))
        };
        let store = Self { blobs: Arc::new(folder("blobs/sha256")?), repositories: folder("repositories")? };
        store.remove_unfinished().map_err(|e| RegistryError::disk("clean up", "blobs/sha256", e))?;
        Ok(store)
    }

    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in self.blobs.entries()? {
            let name = entry?.file_name();
            if name.to_string_lossy().starts_with(UNFINISHED) {
                self.blobs.remove_file(&name)?;
            }
        }
        Ok(())
    }

    /// A new empty file among the blobs.
    pub(super) fn begin(&self) -> Result<Unfinished, RegistryError> {
        let name = format!("{UNFINISHED}{}", Uuid::new_v4());
        let file = self
            .blobs
            .open_with(&name, OpenOptions::new().write(true).create_new(true))
            .map_err(|source| RegistryError::disk("begin", &name, source))?;
        Ok(Unfinished { folder: Arc::clone(&self.blobs), name, file, kept: false })
    }

    /// Keep what was written as the blob `digest`, which the caller has computed from the same bytes.
    pub(super) fn keep(&self, unfinished: Unfinished, digest: &Digest) -> Result<(), RegistryError> {
        unfinished
            .rename(&self.blobs, &digest.hex())
            .map_err(|source| RegistryError::disk("keep blob", digest, source))
    }

    /// Keep small content as a blob.
    pub(super) fn keep_bytes(&self, content: &[u8]) -> Result<Digest, RegistryError> {
        let digest = Digest::of(content);
        let mut unfinished = self.begin()?;
        unfinished.file.write_all(content).map_err(|e| RegistryError::disk("write blob", digest, e))?;
        self.keep(unfinished, &digest)?;
        Ok(digest)
    }

    /// A blob's size and content, open at its beginning.
    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<(u64, File)>, RegistryError> {
        let open = || {
            let file = self.blobs.open(digest.hex())?;
            Ok((file.metadata()?.len(), file))
        };
        found(open()).map_err(|source| RegistryError::disk("open blob", digest, source))
    }

    /// Make the blob reachable through `repository`.
    pub(super) fn link(&self, repository: &Repository, digest: &Digest) -> Result<(), RegistryError> {
        self.write_entry(repository, "_links", &digest.hex(), b"")
    }

    /// Whether the blob is reachable through `repository`.
    pub(super) fn is_linked(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(self.read_entry(repository, "_links", &digest.hex())?.is_some())
    }

    /// Say that the blob `digest` is a manifest of `repository`.
    pub(super) fn set_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        media_type: &str,
    ) -> Result<(), RegistryError> {
        self.write_entry(repository, "_manifests", &digest.hex(), media_type.as_bytes())
    }

    /// The media type of the manifest `digest`, if `repository` has it.
    pub(super) fn manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<String>, RegistryError> {
        self.read_entry(repository, "_manifests", &digest.hex())
    }

    /// Point `tag` at `digest`.
    pub(super) fn set_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        self.write_entry(repository, "_tags", tag.as_str(), digest.to_string().as_bytes())
    }

    /// What `tag` points at.
    pub(super) fn tag(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, RegistryError> {
        let Some(text) = self.read_entry(repository, "_tags", tag.as_str())? else { return Ok(None) };
        Ok(Some(text.parse()?))
    }

    /// The tags of `repository`, sorted; none where no manifest was ever pushed to it.
    pub(super) fn tags(&self, repository: &Repository) -> Result<Option<Vec<String>>, RegistryError> {
        let list = || -> io::Result<Option<Vec<String>>> {
            let Some(folder) = found(self.repositories.open_dir(repository.as_str()))? else {
                return Ok(None);
            };
            if !folder.try_exists("_manifests")? {
                return Ok(None);
            }
            let Some(entries) = found(folder.read_dir("_tags"))? else { return Ok(Some(Vec::new())) };
            let mut tags = Vec::new();
            for entry in entries {
                tags.extend(entry?.file_name().into_string());
            }
            tags.sort_unstable();
            Ok(Some(tags))
        };
        list().map_err(|source| RegistryError::disk("list the tags of", repository, source))
    }

    /// The repositories that manifests were pushed to, sorted.
    pub(super) fn repositories(&self) -> Result<Vec<String>, RegistryError> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            let mut ahead = vec![(String::new(), self.repositories.try_clone()?)];
            while let Some((name, folder)) = ahead.pop() {
                for entry in folder.entries()? {
                    let entry = entry?;
                    let Ok(part) = entry.file_name().into_string() else { continue };
                    if part == "_manifests" {
                        names.push(name.clone());
                    } else if !part.starts_with('_') && entry.file_type()?.is_dir() {
                        let below = if name.is_empty() { part } else { format!("{name}/{part}") };
                        ahead.push((below, entry.open_dir()?));
                    }
                }
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(|source| RegistryError::disk("list", "its repositories", source))
    }

    fn read_entry(
        &self,
        repository: &Repository,
        folder: &str,
        name: &str,
    ) -> Result<Option<String>, RegistryError> {
        let path = format!("{repository}/{folder}/{name}");
        let read = || {
            let mut text = String::new();
            self.repositories.open(&path)?.take(MAX_ENTRY_BYTES).read_to_string(&mut text)?;
            Ok(text)
        };
        found(read()).map_err(|source| RegistryError::disk("read", &path, source))
    }

    fn write_entry(
        &self,
        repository: &Repository,
        folder: &str,
        name: &str,
        content: &[u8],
    ) -> Result<(), RegistryError> {
        if self.read_entry(repository, folder, name)?.is_some_and(|old| old.as_bytes() == content) {
            return Ok(());
        }
        let path = format!("{repository}/{folder}");
        let mut unfinished = self.begin()?;
        let write = || {
            self.repositories.create_dir_all(&path)?;
            unfinished.file.write_all(content)?;
            unfinished.rename(&self.repositories.open_dir(&path)?, name)
        };
        write().map_err(|source| RegistryError::disk("write", format!("{path}/{name}"), source))
    }
}

/// Bring a folder's list of names to disk.
fn sync(folder: &Dir) -> io::Result<()> {
    folder.open(".")?.sync_all()
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // A name may run through what is a file or longer than the file system takes: nothing is there.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
