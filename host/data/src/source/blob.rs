//! An opened file or object: ranges of it as bytes, or a reader that asks for them one after the other.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use super::{Entry, Remote};
use crate::copied;
use crate::error::DataError;

/// Bytes that a reader asks a store for at a time.
const WINDOW: u64 = 4 << 20;
/// Bytes of a local file that are read at a time.
const LOCAL_WINDOW: u64 = 256 << 10;

/// An opened file or object. Clones are of the same.
#[derive(Debug, Clone)]
pub struct Blob {
    entry: Entry,
    inner: Inner,
}

#[derive(Debug, Clone)]
enum Inner {
    Local(Arc<File>),
    Remote(Arc<Remote>),
}

impl Blob {
    pub(super) fn local(entry: Entry, file: File) -> Self {
        Self { entry, inner: Inner::Local(Arc::new(file)) }
    }

    pub(super) fn remote(entry: Entry, remote: Remote) -> Self {
        Self { entry, inner: Inner::Remote(Arc::new(remote)) }
    }

    /// What it was when it was opened: it is read up to that size, should it grow meanwhile.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// As people are told of it.
    pub fn name(&self) -> &str {
        &self.entry.name
    }

    /// Whether reading a little costs little.
    pub fn is_local(&self) -> bool {
        matches!(self.inner, Inner::Local(_))
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.entry.size
    }

    /// All of a range, which lies within the blob.
    pub fn bytes(&self, offset: u64, len: usize) -> Result<Bytes, DataError> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let within = offset.checked_add(len as u64).is_some_and(|end| end <= self.len());
        if !within {
            let what =
                format!("it ends at byte {}, where {len} bytes from {offset} on were looked for", self.len());
            return Err(DataError::malformed(self.name(), what));
        }
        copied::count(len);
        match &self.inner {
            Inner::Local(file) => {
                let mut bytes = Vec::new();
                if bytes.try_reserve_exact(len).is_err() {
                    return Err(DataError::too_large(
                        self.name(),
                        format!("memory for {len} bytes is not to be had"),
                    ));
                }
                while bytes.len() < len {
                    // Into memory as it comes, which nobody fills with zeros first.
                    let at = offset + bytes.len() as u64;
                    match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
                        // It was cut off since it was opened.
                        Ok(0) => return Err(DataError::Replaced { file: self.name().to_owned() }),
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(DataError::io(self.name(), &error.into())),
                    }
                }
                bytes.truncate(len);
                Ok(bytes.into())
            }
            Inner::Remote(remote) => remote.fetch(&self.entry, offset..offset + len as u64),
        }
    }

    /// All of it.
    pub fn whole(&self, limit: u64) -> Result<Bytes, DataError> {
        self.check_size(limit)?;
        self.bytes(0, self.len() as usize)
    }

    /// Err: it is larger than that.
    pub fn check_size(&self, limit: u64) -> Result<(), DataError> {
        if self.len() > limit {
            let what = format!("{} bytes; at most {limit} are read", self.len());
            return Err(DataError::too_large(self.name(), what));
        }
        Ok(())
    }

    /// From a byte on, to the end.
    pub fn reader(&self, offset: u64) -> Reader {
        Reader { blob: self.clone(), at: offset, window: Bytes::new(), start: 0 }
    }
}

/// Reads a blob; keeps one window of it in memory. Its errors hold a [`DataError`]: see [`from_io`].
#[derive(Debug)]
pub struct Reader {
    blob: Blob,
    at: u64,
    window: Bytes,
    /// The window's place in the blob.
    start: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.blob.len().saturating_sub(self.at);
        let wanted = left.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        if let Inner::Local(file) = &self.blob.inner
            && wanted as u64 >= LOCAL_WINDOW
        {
            let read = file.read_at(&mut buffer[..wanted], self.at)?;
            copied::count(read);
            self.at += read as u64;
            if read == 0 {
                return Err(io::Error::other(DataError::Replaced { file: self.blob.name().to_owned() }));
            }
            return Ok(read);
        }
        let within = self.at.checked_sub(self.start).filter(|&place| place < self.window.len() as u64);
        let place = match within {
            Some(place) => place as usize,
            None => {
                let size = if matches!(self.blob.inner, Inner::Local(_)) { LOCAL_WINDOW } else { WINDOW };
                self.window = self.blob.bytes(self.at, size.min(left) as usize).map_err(io::Error::other)?;
                self.start = self.at;
                0
            }
        };
        let read = wanted.min(self.window.len() - place);
        copied::count(read);
        buffer[..read].copy_from_slice(&self.window[place..place + read]);
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.blob.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// The error that a [`Reader`] gave, or what an error of the way means.
pub fn from_io(file: &str, error: io::Error) -> DataError {
    match error.downcast::<DataError>() {
        Ok(error) => error,
        Err(error) => DataError::io(file, &error),
    }
}
