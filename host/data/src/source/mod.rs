//! Where data comes from: files below a directory that the operator named, or objects of a store. Readers of formats see
//! an [`Origin`]'s entries and open them as [`Blob`]s; nothing else here knows what lies behind.
//!
//! ```text
//!  Dir + path ──────────┐
//!                       ├─▶ Origin ─ list ─▶ Entry ─ open ─▶ Blob ─▶ bytes of a range, or a reader
//!  S3 or HTTP + key ────┘
//! ```
//!
//! All of it blocks. A remote read is bounded in size, has a deadline, is tried again with growing pauses where the server
//! fails, goes on where a broken answer stopped, and is an error where the object was replaced meanwhile.

mod blob;
mod local;
mod remote;

use cap_std::fs::Dir;
use tokio_util::sync::CancellationToken;

pub(crate) use blob::from_io;
pub use blob::{Blob, Reader};
pub use local::Local;
pub use remote::{Patience, Remote, S3};

use crate::description::{Format, Limits};
use crate::error::DataError;

/// Where a dataset's files are.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file or folder on this machine.
    Local(Local),
    /// An object, or all with a prefix.
    Remote(Remote),
}

/// A file or object that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As people are told of it.
    pub name: String,
    /// What it is opened by.
    pub(crate) key: String,
    /// The part of its name below the folder that was listed; of a single file, None.
    pub below: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Changes with its content.
    pub version: String,
    /// Changes when another file takes its place; empty where the source cannot tell.
    pub identity: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// By name.
    pub entries: Vec<Entry>,
    /// A folder of files, not a single one.
    pub folder: bool,
}

impl Origin {
    /// A file or folder below a directory. Nothing outside of it is reached, whatever the path and its links say.
    pub fn local(dir: Dir, path: impl Into<String>) -> Self {
        Self::Local(Local::new(dir, path.into()))
    }

    /// As people are told of it. Holds no credentials.
    pub fn name(&self) -> &str {
        match self {
            Self::Local(local) => local.path(),
            Self::Remote(remote) => remote.name(),
        }
    }

    /// The same, whose reads end when the token is cancelled.
    #[must_use]
    pub fn cancelled_by(self, cancel: CancellationToken) -> Self {
        match self {
            Self::Local(local) => Self::Local(local),
            Self::Remote(remote) => Self::Remote(remote.cancelled_by(cancel)),
        }
    }

    /// The same, whose reads also end when this token is cancelled.
    pub(crate) fn child(&self) -> (Self, CancellationToken) {
        match self {
            Self::Local(_) => (self.clone(), CancellationToken::new()),
            Self::Remote(remote) => {
                let (remote, cancel) = remote.child();
                (Self::Remote(remote), cancel)
            }
        }
    }

    /// The same, whose reads end with a token as well as before.
    pub(crate) fn child_of(self, cancel: &CancellationToken) -> Self {
        match self {
            Self::Local(local) => Self::Local(local),
            Self::Remote(remote) => Self::Remote(remote.cancelled_by(cancel.child_token())),
        }
    }

    /// The files of a format: the one that the origin names, or those of the folder that have the format's extensions.
    pub fn list(&self, format: Format, limits: &Limits) -> Result<Listing, DataError> {
        let wanted = Wanted { extensions: format.extensions(), deep: format == Format::ImageFolder, limits };
        let mut listing = match self {
            Self::Local(local) => local.list(&wanted)?,
            Self::Remote(remote) => remote.list(&wanted)?,
        };
        listing.entries.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(listing)
    }

    /// A file that was listed.
    pub fn open(&self, entry: &Entry) -> Result<Blob, DataError> {
        match self {
            Self::Local(local) => local.open(entry),
            Self::Remote(remote) => Ok(remote.open(entry)),
        }
    }

    /// Key of a file beside or below another: `path` as a list has it, relative to the list's folder.
    pub(crate) fn key_beside(&self, list: &Entry, path: &str) -> String {
        let folder = list.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
    }

    /// As above, where there is such a file.
    pub(crate) fn beside(&self, list: &Entry, path: &str) -> Result<Entry, DataError> {
        self.find(&self.key_beside(list, path))
    }

    /// The file of a key.
    pub(crate) fn find(&self, key: &str) -> Result<Entry, DataError> {
        match self {
            Self::Local(local) => local.find(key),
            Self::Remote(remote) => remote.find(key),
        }
    }
}

/// Which files are listed.
pub(crate) struct Wanted<'a> {
    extensions: &'static [&'static str],
    /// Those of folders in the folder too.
    deep: bool,
    limits: &'a Limits,
}

impl Wanted<'_> {
    fn takes(&self, name: &str) -> bool {
        let file = name.rsplit('/').next().unwrap_or(name);
        let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
        // Names with a dot in front are of files that somebody is still writing, mostly.
        !file.starts_with('.') && self.extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
    }

    fn too_many(&self, name: &str) -> DataError {
        DataError::too_large(name, format!("more than {} files; at most so many are read", self.limits.files))
    }
}
