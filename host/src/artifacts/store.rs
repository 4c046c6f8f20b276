//! Blobs on the node's disk by digest: `blobs/HEX`, complete and verified or not there at all. Blocking.

use std::io::{self, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use cap_std::fs::{Dir, File};
use sedge_api::Digest;
use sha2::{Digest as _, Sha256};

use super::ArtifactError;
use super::durable;
use crate::model::mapped;

/// Ending of a blob that is still arriving.
const PART: &str = ".part";

/// As much of a graph as is kept in memory rather than as a mapping of its own.
const SMALL: u64 = 4 << 20;

/// The store's folder.
pub(super) struct Store {
    blobs: Dir,
    /// Numbers what arrives, so that no two share a file: who gave up may still be writing.
    arrivals: AtomicU64,
}

impl Store {
    /// Open `blobs/` below the node's data directory; what a kill left half-written is removed.
    pub(super) fn open(data: &Dir) -> io::Result<Self> {
        data.create_dir_all("blobs")?;
        let blobs = data.open_dir("blobs")?;
        for entry in blobs.entries()? {
            let name = entry?.file_name();
            if name.to_string_lossy().ends_with(PART) {
                blobs.remove_file(name)?;
            }
        }
        Ok(Self { blobs, arrivals: AtomicU64::new(0) })
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.blobs
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.blobs.is_file(digest.hex())
    }

    /// All of a blob of at most `limit` bytes.
    pub(super) fn read(&self, digest: &Digest, limit: u64) -> io::Result<Bytes> {
        durable::read(&self.blobs, &digest.hex(), limit)?
            .map(Bytes::from)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{digest} is not in the store")))
    }

    /// As [`Self::read`]; a large blob is mapped, for whoever keeps it.
    pub(super) fn graph(&self, digest: &Digest, limit: u64) -> io::Result<Bytes> {
        let name = digest.hex();
        match self.blobs.metadata(&name) {
            Ok(blob) if blob.is_file() && blob.len() > SMALL && blob.len() <= limit => {
                Ok(Bytes::from_owner(mapped::map(&self.blobs.open(name)?.into_std())?))
            }
            _ => self.read(digest, limit),
        }
    }

    pub(super) fn open_blob(&self, digest: &Digest) -> io::Result<File> {
        self.blobs.open(digest.hex())
    }

    /// Put what was made here into the store; what is there already stays.
    pub(super) fn put<P: AsRef<[u8]>>(&self, digest: Digest, parts: &[P]) -> Result<(), ArtifactError> {
        if self.contains(&digest) {
            return Ok(());
        }
        let bytes = parts.iter().map(|part| part.as_ref().len() as u64).sum();
        let mut incoming =
            self.receive(digest, bytes).map_err(ArtifactError::disk(format!("keeping {digest}")))?;
        for part in parts {
            incoming.write(part.as_ref())?;
        }
        incoming.keep()
    }

    /// Remove a blob, if it is there. Who has it open or mapped keeps it.
    pub(super) fn remove(&self, digest: &Digest) -> io::Result<()> {
        match self.blobs.remove_file(digest.hex()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Begin to receive a blob of at most `limit` bytes.
    pub(super) fn receive(&self, digest: Digest, limit: u64) -> io::Result<Incoming> {
        let arrival = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}.{arrival}{PART}", digest.hex());
        let file = self.blobs.create(&name)?;
        let blobs = self.blobs.try_clone()?;
        Ok(Incoming { blobs, name, file, digest, limit, written: 0, hasher: Sha256::new(), kept: false })
    }
}

/// A blob that is arriving; dropped before [`Incoming::keep`], it leaves nothing behind.
pub(super) struct Incoming {
    blobs: Dir,
    name: String,
    file: File,
    digest: Digest,
    limit: u64,
    written: u64,
    hasher: Sha256,
    kept: bool,
}

impl Incoming {
    /// Bytes received so far: where to go on after a lost link.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn write(&mut self, chunk: &[u8]) -> Result<(), ArtifactError> {
        let bytes = self.written + chunk.len() as u64;
        if bytes > self.limit {
            return Err(ArtifactError::TooLarge { what: self.digest.to_string(), bytes, limit: self.limit });
        }
        self.file.write_all(chunk).map_err(ArtifactError::disk(format!("writing {}", self.digest)))?;
        self.hasher.update(chunk);
        self.written = bytes;
        Ok(())
    }

    /// Forget what came so far.
    pub(super) fn restart(&mut self) -> Result<(), ArtifactError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(ArtifactError::disk(format!("restarting {}", self.digest)))?;
        self.written = 0;
        self.hasher = Sha256::new();
        Ok(())
    }

    /// Verify the digest; right, the blob is in the store; wrong, what came is forgotten.
    pub(super) fn keep(mut self) -> Result<(), ArtifactError> {
        let found = Digest::from_sha256(std::mem::take(&mut self.hasher).finalize().into());
        if found != self.digest {
            return Err(ArtifactError::WrongDigest { expected: self.digest, found });
        }
        self.file
            .sync_all()
            .and_then(|()| self.blobs.rename(&self.name, &self.blobs, self.digest.hex()))
            .and_then(|()| durable::sync(&self.blobs))
            .map_err(ArtifactError::disk(format!("keeping {}", self.digest)))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            // Best effort: what remains is removed when the store is opened again.
            let _ = self.blobs.remove_file(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let store = Store::open(&dir).unwrap();
        (folder, store)
    }

    #[test]
    fn a_blob_is_there_once_its_digest_is_right() {
        let (_folder, store) = store();
        let digest = Digest::of(b"hello");
        let mut incoming = store.receive(digest, 5).unwrap();
        incoming.write(b"hel").unwrap();
        incoming.write(b"lo").unwrap();
        assert!(!store.contains(&digest));
        incoming.keep().unwrap();
        assert_eq!(store.read(&digest, 5).unwrap(), "hello");
    }

    #[test]
    fn wrong_content_and_too_much_of_it_leave_nothing() {
        let (_folder, store) = store();
        let digest = Digest::of(b"hello");
        let mut wrong = store.receive(digest, 5).unwrap();
        wrong.write(b"hallo").unwrap();
        assert!(matches!(wrong.keep(), Err(ArtifactError::WrongDigest { .. })));
        let mut long = store.receive(digest, 4).unwrap();
        assert!(matches!(long.write(b"hello"), Err(ArtifactError::TooLarge { bytes: 5, limit: 4, .. })));
        drop(long);
        assert!(!store.contains(&digest));
        assert_eq!(store.dir().entries().unwrap().count(), 0);
    }

    #[test]
    fn who_gave_up_does_not_disturb_who_comes_next() {
        let (_folder, store) = store();
        let digest = Digest::of(b"hello");
        let mut earlier = store.receive(digest, 5).unwrap();
        earlier.write(b"he").unwrap();
        let mut later = store.receive(digest, 5).unwrap();
        later.write(b"hello").unwrap();
        earlier.write(b"!!!").unwrap();
        drop(earlier);
        later.keep().unwrap();
        assert_eq!(store.read(&digest, 5).unwrap(), "hello");
    }

    #[test]
    fn a_graph_is_read_where_it_is_small_and_mapped_where_it_is_large() {
        let (folder, store) = store();
        for len in [3, SMALL as usize, SMALL as usize + 1, SMALL as usize + 5000] {
            let content: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let digest = Digest::of(&content);
            let mut incoming = store.receive(digest, len as u64).unwrap();
            incoming.write(&content).unwrap();
            incoming.keep().unwrap();

            let graph = store.graph(&digest, len as u64).unwrap();
            assert!(graph == content, "{len} bytes");
            // A mapping shows what becomes of the file; what was read does not.
            let mapped = len as u64 > SMALL;
            let blob = folder.path().join("blobs").join(digest.hex());
            let mut file = std::fs::File::options().write(true).open(&blob).unwrap();
            file.write_all(&[255]).unwrap();
            assert_eq!(graph[0], if mapped { 255 } else { 0 }, "{len} bytes");
            // Who holds it may go on when the store has dropped it.
            std::fs::remove_file(&blob).unwrap();
            assert_eq!(graph[len - 1], content[len - 1]);
            assert_eq!(store.graph(&digest, u64::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_graph_beyond_its_limit_is_neither_read_nor_mapped() {
        let (_folder, store) = store();
        let content = vec![7; SMALL as usize + 1];
        let digest = Digest::of(&content);
        let mut incoming = store.receive(digest, content.len() as u64).unwrap();
        incoming.write(&content).unwrap();
        incoming.keep().unwrap();
        for limit in [SMALL, SMALL - 1, 0] {
            assert!(store.graph(&digest, limit).is_err(), "{limit}");
        }
    }

    #[test]
    fn what_a_kill_left_half_written_is_removed_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        dir.create_dir("blobs").unwrap();
        dir.write("blobs/00.part", b"x").unwrap();
        let store = Store::open(&dir).unwrap();
        assert_eq!(store.dir().entries().unwrap().count(), 0);
    }
}
