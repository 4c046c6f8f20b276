//! What Linux tells of changed files.
//!
//! Watches are set on directories that were opened through cap-std, by their descriptors' links in `/proc/self/fd`: no path
//! is looked up outside of what the operator named.

use std::os::fd::{AsFd, AsRawFd as _};

use cap_std::fs::Dir;
use futures::StreamExt as _;
use inotify::{EventMask, EventStream, Inotify, WatchMask};

use crate::description::Format;
use crate::source::{Local, Origin};

/// Folders that are watched at most; changes in others are found by listing.
const MAX_FOLDERS: usize = 4096;
/// Bytes of events that are read at a time.
const EVENTS: usize = 16 << 10;

/// The kernel's watch on an origin, where there is one.
pub struct Kernel {
    watched: Option<(Local, EventStream<Vec<u8>>)>,
    format: Format,
    /// The file's name, where the origin is a file.
    file: Option<String>,
    works: bool,
}

impl Kernel {
    pub fn new(origin: &Origin, format: Format) -> Self {
        let watched = match origin {
            Origin::Local(local) => {
                let stream = Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; EVENTS]));
                stream.ok().map(|stream| (local.clone(), stream))
            }
            Origin::Remote(_) => None,
        };
        let mut kernel = Self { watched, format, file: None, works: false };
        kernel.renew();
        kernel
    }

    /// Whether changes are told.
    pub fn works(&self) -> bool {
        self.works
    }

    /// Set the watches for what there is now; those that are set stay.
    pub fn renew(&mut self) {
        let Some((local, stream)) = &self.watched else { return };
        let mut watches = stream.watches();
        let mut add = |file: &dyn AsFd| {
            let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
            let mask = WatchMask::MODIFY
                | WatchMask::CLOSE_WRITE
                | WatchMask::CREATE
                | WatchMask::DELETE
                | WatchMask::MOVE
                | WatchMask::DELETE_SELF
                | WatchMask::MOVE_SELF;
            watches.add(link, mask).is_ok()
        };
        let (dir, path) = (local.dir(), local.path().trim_end_matches('/'));
        let is_dir = dir.metadata(path).is_ok_and(|metadata| metadata.is_dir());
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        self.file = (!is_dir).then(|| name.to_owned());
        // The folder above hears when what is watched is replaced.
        self.works = dir.open_dir(parent).is_ok_and(|parent| add(&parent));
        if is_dir {
            let mut left = MAX_FOLDERS;
            let deep = self.format == Format::ImageFolder;
            self.works &= dir.open_dir(path).is_ok_and(|folder| add_all(&folder, deep, &mut left, &mut add));
        } else if dir.metadata(path).is_ok_and(|metadata| metadata.is_file())
            // The file may be reached through a link, and lie in another folder.
            && let Ok(file) = dir.open(path)
        {
            add(&file);
        }
    }

    /// Returns when something was told. Never, where nothing is.
    pub async fn changed(&mut self) {
        let Some((_, stream)) = &mut self.watched else { return std::future::pending().await };
        let mut changed = false;
        while !changed {
            let Some(Ok(event)) = stream.next().await else {
                self.works = false;
                self.watched = None;
                return std::future::pending().await;
            };
            let name = event.name.as_ref().map(|name| name.to_string_lossy().into_owned());
            let structure = EventMask::CREATE
                | EventMask::MOVED_TO
                | EventMask::DELETE_SELF
                | EventMask::MOVE_SELF
                | EventMask::IGNORED
                | EventMask::UNMOUNT
                | EventMask::Q_OVERFLOW;
            let concerns = match (&self.file, name) {
                (_, None) => true,
                (Some(file), Some(name)) => *file == name,
                (None, Some(name)) => event.mask.contains(EventMask::ISDIR) || takes(self.format, &name),
            };
            let renew = concerns
                && event.mask.intersects(structure)
                && (self.file.is_some() || event.mask.contains(EventMask::ISDIR) || event.name.is_none());
            // A watch that has just ended tells nothing new by that.
            changed = concerns && event.mask != EventMask::IGNORED;
            if renew {
                self.renew();
                return;
            }
        }
    }
}

fn takes(format: Format, name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    !name.starts_with('.') && format.extensions().iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn add_all(folder: &Dir, deep: bool, left: &mut usize, add: &mut impl FnMut(&dyn AsFd) -> bool) -> bool {
    if *left == 0 || !add(folder) {
        return false;
    }
    *left -= 1;
    if !deep {
        return true;
    }
    let Ok(entries) = folder.entries() else { return false };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Ok(inner) = entry.open_dir()
            && !add_all(&inner, deep, left, add)
        {
            return false;
        }
    }
    true
}
