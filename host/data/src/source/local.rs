//! Files and folders below a directory, through cap-std alone.

use std::io;
use std::sync::Arc;

use cap_std::fs::{Dir, Metadata, MetadataExt as _};

use super::{Blob, Entry, Listing, Wanted};
use crate::error::DataError;

/// Folders in folders that are looked into.
const MAX_DEPTH: usize = 8;
/// Folders that are looked into, in all: links may make few of them many.
const MAX_FOLDERS: usize = 1 << 16;

/// A file or folder below a directory.
#[derive(Debug, Clone)]
pub struct Local {
    dir: Arc<Dir>,
    path: String,
}

impl Local {
    /// Below `dir`.
    pub fn new(dir: Dir, path: String) -> Self {
        Self { dir: Arc::new(dir), path }
    }

    /// Below the directory.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    pub(super) fn list(&self, wanted: &Wanted<'_>) -> Result<Listing, DataError> {
        let metadata = self.dir.metadata(&self.path).map_err(|error| DataError::io(&self.path, &error))?;
        if metadata.is_file() {
            let entry = entry(&self.path, None, &metadata);
            return Ok(Listing { entries: vec![entry], folder: false });
        }
        if !metadata.is_dir() {
            return Err(DataError::Unreadable { file: self.path.clone(), what: "not a file".to_owned() });
        }
        let folder = self.dir.open_dir(&self.path).map_err(|error| DataError::io(&self.path, &error))?;
        let mut entries = Vec::new();
        let mut folders = MAX_FOLDERS;
        self.walk(&folder, "", wanted, &mut entries, 0, &mut folders)?;
        Ok(Listing { entries, folder: true })
    }

    fn walk(
        &self,
        folder: &Dir,
        below: &str,
        wanted: &Wanted<'_>,
        entries: &mut Vec<Entry>,
        depth: usize,
        folders: &mut usize,
    ) -> Result<(), DataError> {
        let shown = if below.is_empty() { self.path.clone() } else { format!("{}/{below}", self.path) };
        let failed = |error: &io::Error| DataError::io(&shown, error);
        for found in folder.entries().map_err(|error| failed(&error))? {
            let found = found.map_err(|error| failed(&error))?;
            let Ok(name) = found.file_name().into_string() else { continue };
            let below = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            // Follows links, as far as they stay below the directory. What goes meanwhile is not there.
            let Ok(metadata) = folder.metadata(&name) else { continue };
            if metadata.is_dir() && wanted.deep && depth < MAX_DEPTH {
                let Ok(inner) = folder.open_dir(&name) else { continue };
                *folders = folders.checked_sub(1).ok_or_else(|| {
                    let what = format!("more than {MAX_FOLDERS} folders; at most so many are looked into");
                    DataError::too_large(&self.path, what)
                })?;
                self.walk(&inner, &below, wanted, entries, depth + 1, folders)?;
            } else if metadata.is_file() && wanted.takes(&name) {
                if entries.len() >= wanted.limits.files {
                    return Err(wanted.too_many(&self.path));
                }
                let key = format!("{}/{below}", self.path.trim_end_matches('/'));
                entries.push(entry(&key, Some(below), &metadata));
            }
        }
        Ok(())
    }

    pub(super) fn find(&self, key: &str) -> Result<Entry, DataError> {
        let metadata = self.dir.metadata(key).map_err(|error| DataError::io(key, &error))?;
        // Before it is opened: opening a pipe would wait for its other end.
        if !metadata.is_file() {
            return Err(DataError::Unreadable { file: key.to_owned(), what: "not a file".to_owned() });
        }
        Ok(entry(key, None, &metadata))
    }

    pub(super) fn open(&self, wanted: &Entry) -> Result<Blob, DataError> {
        self.find(&wanted.key)?;
        let failed = |error: io::Error| DataError::io(&wanted.name, &error);
        let file = self.dir.open(&wanted.key).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let found = entry(&wanted.key, wanted.below.clone(), &metadata);
        Ok(Blob::local(found, file.into_std()))
    }
}

fn entry(key: &str, below: Option<String>, metadata: &Metadata) -> Entry {
    Entry {
        name: key.to_owned(),
        key: key.to_owned(),
        below,
        size: metadata.len(),
        version: format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec()),
        identity: format!("{}:{}", metadata.dev(), metadata.ino()),
    }
}
