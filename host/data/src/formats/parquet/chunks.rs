//! A Parquet file as the crate reads it: a column's part of a row group is fetched at once, and its pages are looked at
//! before the crate unpacks them, for it takes their word for what they unpack to.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, buf};
use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::pages;
use crate::error::DataError;
use crate::source::{Blob, Reader};

/// The file, and those of its column chunks that are being read.
#[derive(Clone)]
pub struct Chunks {
    blob: Blob,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// All column chunks that will be read, by their place.
    ranges: Vec<Range<u64>>,
    held: VecDeque<(u64, Bytes)>,
    /// How many are held: those of one row group.
    most: usize,
    /// Bytes that pages may still unpack to.
    room: u64,
    limit: u64,
}

impl Chunks {
    /// None is fetched yet.
    pub fn new(blob: Blob) -> Self {
        Self { blob, state: Arc::default() }
    }

    /// Fetch these as a whole when they are read, and hold `most` at a time. Their pages unpack to at most `limit` bytes.
    pub fn hold(&self, most: usize, mut ranges: Vec<Range<u64>>, limit: u64) {
        ranges.sort_unstable_by_key(|range| range.start);
        *self.state.lock() = State { ranges, held: VecDeque::new(), most: most.max(1), room: limit, limit };
    }

    /// What is held from a place on to the end of its chunk; None: it is in no chunk.
    fn find(&self, start: u64) -> Result<Option<Bytes>, DataError> {
        let mut state = self.state.lock();
        let within = |at: u64, len: u64| start >= at && start - at < len;
        if let Some((at, bytes)) = state.held.iter().find(|(at, bytes)| within(*at, bytes.len() as u64)) {
            return Ok(Some(bytes.slice((start - at) as usize..)));
        }
        let after = state.ranges.partition_point(|range| range.start <= start);
        let range = after.checked_sub(1).map(|index| state.ranges[index].clone());
        let Some(range) = range.filter(|range| start < range.end) else { return Ok(None) };
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // Before the next is fetched: never more than a row group in memory.
        while state.held.len() >= state.most {
            state.held.pop_front();
        }
        let bytes = self.blob.bytes(range.start, len)?;
        let unpacked =
            pages::unpacked(&bytes).map_err(|what| DataError::malformed(self.blob.name(), what))?;
        state.room = state.room.checked_sub(unpacked).ok_or_else(|| {
            let what = format!("its pages unpack to more than the {} bytes that are read", state.limit);
            DataError::too_large(self.blob.name(), what)
        })?;
        state.held.push_back((range.start, bytes.clone()));
        Ok(Some(bytes.slice((start - range.start) as usize..)))
    }
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.blob.len()
    }
}

impl ChunkReader for Chunks {
    type T = Part;

    fn get_read(&self, start: u64) -> Result<Part, ParquetError> {
        Ok(match self.find(start).map_err(wrap)? {
            Some(bytes) => Part::Held(bytes.reader()),
            None => Part::File(self.blob.reader(start)),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        match self.find(start).map_err(wrap)? {
            Some(bytes) if bytes.len() >= length => Ok(bytes.slice(..length)),
            // A page that ends outside of its chunk was not looked at.
            Some(_) => Err(ParquetError::EOF("a page that is longer than its column".to_owned())),
            None => self.blob.bytes(start, length).map_err(wrap),
        }
    }
}

fn wrap(error: DataError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Reads from a place on.
pub enum Part {
    /// Of a chunk in memory.
    Held(buf::Reader<Bytes>),
    /// Of the rest of the file, such as its table of contents.
    File(Reader),
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Held(bytes) => bytes.read(buffer),
            Self::File(reader) => reader.read(buffer),
        }
    }
}
