//! Files on their way: in a folder of their own, removed with their last holder.

use std::io::{self, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::{Dir, OpenOptions};
use sedge_api::Digest;
use sedge_api::node::MAX_TRANSFER_BYTES;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::Refusal;

const FOLDER: &str = "transfers";

/// The folder.
pub(super) struct Scratch {
    dir: Dir,
    next: AtomicU64,
}

/// A file in it.
pub(super) struct ScratchFile {
    dir: Dir,
    pub name: String,
}

impl Scratch {
    /// Below the node's data directory; what an earlier run left is removed.
    pub fn open(data: &Dir) -> io::Result<Self> {
        data.create_dir_all(FOLDER)?;
        let dir = data.open_dir(FOLDER)?;
        for entry in dir.entries()? {
            dir.remove_file(entry?.file_name())?;
        }
        Ok(Self { dir, next: AtomicU64::new(0) })
    }

    /// A new file, open to be written and read.
    pub fn create(&self) -> io::Result<(ScratchFile, std::fs::File)> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        let dir = self.dir.try_clone()?;
        let file = dir.open_with(&name, OpenOptions::new().create_new(true).read(true).write(true))?;
        Ok((ScratchFile { dir, name }, file.into_std()))
    }
}

impl ScratchFile {
    pub fn dir(&self) -> &Dir {
        &self.dir
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        // Best effort: what remains is removed when the node starts again.
        let _ = self.dir.remove_file(&self.name);
    }
}

/// A file that was made, from its beginning.
pub(crate) struct Made {
    pub file: std::fs::File,
    pub bytes: u64,
    pub(super) _scratch: ScratchFile,
}

impl Made {
    pub(super) fn new(scratch: ScratchFile, mut file: std::fs::File) -> io::Result<Self> {
        let bytes = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Self { file, bytes, _scratch: scratch })
    }
}

/// A file that is coming, piece by piece.
pub(crate) struct Received {
    pub(super) scratch: ScratchFile,
    file: tokio::fs::File,
    hasher: Sha256,
    bytes: u64,
}

impl Received {
    pub(super) fn new(scratch: ScratchFile, file: std::fs::File) -> Self {
        Self { scratch, file: tokio::fs::File::from_std(file), hasher: Sha256::new(), bytes: 0 }
    }

    /// One more piece. Err: it is too much, or the disk takes no more.
    pub async fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.bytes += piece.len() as u64;
        if self.bytes > MAX_TRANSFER_BYTES {
            let most = MAX_TRANSFER_BYTES >> 20;
            return Err(Refusal::new("TooLarge", format!("at most {most} MiB come in as one file")));
        }
        self.hasher.update(piece);
        self.file.write_all(piece).await.map_err(|error| Refusal::disk(&error))
    }

    /// It is whole.
    pub(super) async fn end(mut self) -> Result<(ScratchFile, Digest), Refusal> {
        self.file.flush().await.map_err(|error| Refusal::disk(&error))?;
        Ok((self.scratch, Digest::from_sha256(self.hasher.finalize().into())))
    }
}
