//! Which files are new, which have grown, and whether all must be read anew.

use super::Dataset;
use crate::error::DataError;
use crate::formats::text::Cursor;
use crate::source::{Blob, Entry, Listing};

/// Bytes at the start and the end of what was read by which a file that grew is known again.
const MARK: u64 = 4096;

/// A file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// As it was found.
    pub entry: Entry,
    /// How far it was read.
    pub cursor: Cursor,
    /// Its first and last bytes that were read.
    pub mark: (Vec<u8>, Vec<u8>),
    /// Nothing of it could be read.
    pub broken: bool,
}

/// What is to be done with a file.
pub enum Step {
    /// From the start.
    Read,
    /// From where it was left.
    Grow(Box<File>),
}

/// The first and the last bytes before an offset.
pub fn mark(blob: &Blob, offset: u64) -> Result<(Vec<u8>, Vec<u8>), DataError> {
    let len = MARK.min(offset);
    let head = blob.bytes(0, len as usize)?.to_vec();
    let tail = if offset > len { blob.bytes(offset - len, len as usize)?.to_vec() } else { Vec::new() };
    Ok((head, tail))
}

impl Dataset {
    /// What is to be read; None: everything.
    pub(super) fn compare(&self, listing: &Listing) -> Result<Option<Vec<(Entry, Step)>>, DataError> {
        let mut steps = Vec::new();
        let mut known = 0;
        for entry in &listing.entries {
            let Some(file) = self.files.get(&entry.key) else {
                steps.push((entry.clone(), Step::Read));
                continue;
            };
            known += 1;
            let before = &file.entry;
            if (before.size, &before.version, &before.identity)
                == (entry.size, &entry.version, &entry.identity)
            {
                continue;
            }
            if file.broken {
                steps.push((entry.clone(), Step::Read));
            } else if before.identity == entry.identity && self.has_grown(file, entry)? {
                steps.push((entry.clone(), Step::Grow(Box::new(file.clone()))));
            } else {
                return Ok(None);
            }
        }
        // One that went took its samples with it.
        let gone = self.files.len() > known
            && self.files.iter().any(|(key, file)| {
                !file.broken
                    && listing.entries.binary_search_by(|entry| entry.name.cmp(&file.entry.name)).is_err()
                    && !key.is_empty()
            });
        Ok(if gone { None } else { Some(steps) })
    }

    /// Whether a file goes on in the middle of a row that was taken for its last.
    pub(super) fn went_on(&self, listing: &Listing) -> bool {
        listing.entries.iter().any(|entry| {
            let before = self.files.get(&entry.key);
            before.is_some_and(|file| {
                file.cursor.open && file.entry.identity == entry.identity && file.entry.size < entry.size
            })
        })
    }

    /// Whether what was read of a file is still there, with more after it.
    fn has_grown(&self, file: &File, entry: &Entry) -> Result<bool, DataError> {
        let offset = file.cursor.offset;
        if !self.description.format.grows() || entry.size <= file.entry.size || entry.size < offset {
            return Ok(false);
        }
        let blob = self.origin.open(entry)?;
        if mark(&blob, offset)? != file.mark {
            return Ok(false);
        }
        // A last row that was taken without its end ends here, or was none.
        let open = file.cursor.open && blob.len() > offset;
        Ok(!open || matches!(blob.bytes(offset, 1)?[..], [b'\n' | b'\r']))
    }
}
