//! Blobs that are arriving: a session from its POST to its PUT, over any number of requests.
//!
//! A request leases its session, so no two write to one. What was written was also hashed, always: the file
//! and the hash live in one value that only its lease can reach, and the lease travels into the blocking
//! write and back. A request that is cut off at any moment therefore leaves its session either as it was
//! after some whole write, or gone.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sedge_api::Digest;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

use super::RegistryError;
use super::names::Repository;
use super::store::{Store, Unfinished};

/// Sessions that may be open at once.
pub(super) const MAX_OPEN: usize = 64;
/// A session that no request has touched for so long is given up.
const MAX_IDLE: Duration = Duration::from_secs(60 * 60);

/// Why a session could not be had.
#[derive(Debug, Error)]
pub(super) enum UploadError {
    #[error("{MAX_OPEN} uploads are open already: finish or cancel one, then try again")]
    TooMany,
    #[error(
        "there is no such upload in `{0}`: it was finished, cancelled, given up after an hour, or lost in a restart"
    )]
    Unknown(Repository),
    #[error("another request is writing to this upload")]
    Busy,
    #[error("the content has the digest {found}, not {expected} as the request says")]
    Mismatch { expected: Digest, found: Digest },
    #[error(transparent)]
    Disk(#[from] RegistryError),
}

/// Every open session.
#[derive(Debug)]
pub(super) struct Uploads {
    store: Arc<Store>,
    open: Mutex<HashMap<Uuid, Slot>>,
}

#[derive(Debug)]
enum Slot {
    Idle(Upload, Instant),
    Leased,
}

#[derive(Debug)]
struct Upload {
    repository: Repository,
    unfinished: Unfinished,
    hasher: Sha256,
    written: u64,
}

/// The right to write to one session. Dropped, it gives the session back, or ends it after
/// [`Lease::end_when_dropped`] or a failed write.
#[derive(Debug)]
pub(super) struct Lease {
    uploads: Arc<Uploads>,
    id: Uuid,
    upload: Option<Upload>,
    ends: bool,
}

impl Uploads {
    pub(super) fn new(store: Arc<Store>) -> Arc<Self> {
        Arc::new(Self { store, open: Mutex::new(HashMap::new()) })
    }

    /// Open a session that will end in `repository`.
    pub(super) fn begin(self: &Arc<Self>, repository: &Repository) -> Result<Lease, UploadError> {
        let id = Uuid::new_v4();
        let given_up = {
            let mut open = self.open.lock();
            let given_up: Vec<Slot> = open
                .extract_if(|_, slot| matches!(slot, Slot::Idle(_, since) if since.elapsed() > MAX_IDLE))
                .map(|(_, slot)| slot)
                .collect();
            if open.len() >= MAX_OPEN {
                return Err(UploadError::TooMany);
            }
            open.insert(id, Slot::Leased);
            given_up
        };
        // Their files are removed here, outside the lock.
        drop(given_up);
        let mut lease = Lease { uploads: Arc::clone(self), id, upload: None, ends: false };
        lease.upload = Some(Upload {
            repository: repository.clone(),
            unfinished: self.store.begin()?,
            hasher: Sha256::new(),
            written: 0,
        });
        Ok(lease)
    }

    /// Lease the session `id`, if it is one of `repository`.
    pub(super) fn resume(self: &Arc<Self>, repository: &Repository, id: Uuid) -> Result<Lease, UploadError> {
        let mut open = self.open.lock();
        match open.get_mut(&id) {
            Some(Slot::Leased) => Err(UploadError::Busy),
            Some(slot @ Slot::Idle(..)) if slot.is_of(repository) => {
                let Slot::Idle(upload, _) = std::mem::replace(slot, Slot::Leased) else {
                    unreachable!("the arm's pattern says that it is idle")
                };
                Ok(Lease { uploads: Arc::clone(self), id, upload: Some(upload), ends: false })
            }
            _ => Err(UploadError::Unknown(repository.clone())),
        }
    }
}

impl Slot {
    fn is_of(&self, repository: &Repository) -> bool {
        matches!(self, Self::Idle(upload, _) if upload.repository == *repository)
    }
}

impl Lease {
    /// The session's name in addresses.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// Bytes taken so far.
    pub(super) fn written(&self) -> u64 {
        self.upload.as_ref().map_or(0, |upload| upload.written)
    }

    /// From here on, the session does not outlive this lease.
    pub(super) fn end_when_dropped(&mut self) {
        self.ends = true;
    }

    /// Take more content. Blocks.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        upload.hasher.update(piece);
        let wrote = upload.unfinished.file.write_all(piece);
        match wrote {
            Ok(()) => upload.written += piece.len() as u64,
            // File and hash no longer agree.
            Err(_) => self.ends = true,
        }
        wrote
    }

    /// Keep the content as a blob of the session's repository, if it is what `expected` says. Blocks.
    pub(super) fn finish(mut self, expected: &Digest) -> Result<(), UploadError> {
        self.ends = true;
        let Some(upload) = self.upload.take() else { return Ok(()) };
        let found = Digest::from_sha256(upload.hasher.finalize().into());
        if found != *expected {
            return Err(UploadError::Mismatch { expected: *expected, found });
        }
        self.uploads.store.keep(upload.unfinished, &found)?;
        self.uploads.store.link(&upload.repository, &found)?;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let slot = self.upload.take().filter(|_| !self.ends).map(|u| Slot::Idle(u, Instant::now()));
        let mut open = self.uploads.open.lock();
        match slot {
            Some(slot) => open.insert(self.id, slot),
            None => open.remove(&self.id),
        };
    }
}
