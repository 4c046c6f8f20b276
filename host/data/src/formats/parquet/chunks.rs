//! A Parquet file as the crate reads it, whose pages are looked at before the crate unpacks them, for it takes their word for
//! what they unpack to. Of a local file, page after page is read; of a remote one, a column's part of a row group at once.

use std::collections::{HashMap, VecDeque};
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

/// Bytes in which a page's header is looked for first, and at most.
const HEAD: u64 = 1 << 10;
const LONGEST_HEAD: u64 = 16 << 20;

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
    /// Of a remote file.
    held: VecDeque<(u64, Bytes)>,
    /// Of a local one: pages whose headers were looked at, and that are not read yet; their places and sizes.
    pages: HashMap<u64, usize>,
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
        *self.state.lock() = State { ranges, most: most.max(1), room: limit, limit, ..State::default() };
    }

    /// What is held from a place on to the end of its chunk.
    fn find(&self, start: u64, range: Range<u64>) -> Result<Bytes, DataError> {
        let mut state = self.state.lock();
        let within = |at: u64, len: u64| start >= at && start - at < len;
        if let Some((at, bytes)) = state.held.iter().find(|(at, bytes)| within(*at, bytes.len() as u64)) {
            return Ok(bytes.slice((start - at) as usize..));
        }
        let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        // Before the next is fetched: never more than a row group in memory.
        while state.held.len() >= state.most {
            state.held.pop_front();
        }
        let bytes = self.blob.bytes(range.start, len)?;
        let unpacked =
            pages::unpacked(&bytes).map_err(|what| DataError::malformed(self.blob.name(), what))?;
        state.take(self.blob.name(), unpacked)?;
        state.held.push_back((range.start, bytes.clone()));
        Ok(bytes.slice((start - range.start) as usize..))
    }

    /// The header of a page of a local file, or where there is none, what lies there.
    fn head(&self, start: u64, range: &Range<u64>) -> Result<Bytes, DataError> {
        if self.state.lock().pages.contains_key(&start) {
            // The crate stands behind a header that it knows already, and reads nothing.
            return Ok(Bytes::new());
        }
        let mut len = HEAD;
        loop {
            let left = range.end.min(self.blob.len()).saturating_sub(start);
            let bytes = self.blob.bytes(start, left.min(len) as usize)?;
            let mut state = self.state.lock();
            match pages::header(&bytes).map_err(|what| DataError::malformed(self.blob.name(), what))? {
                Some(page) => {
                    if state.pages.insert(start + page.header as u64, page.packed).is_none() {
                        state.take(self.blob.name(), page.unpacked)?;
                    }
                    return Ok(bytes);
                }
                None if len < left.min(LONGEST_HEAD) => len *= 16,
                None => return Ok(bytes),
            }
        }
    }

    /// The column chunk of a place; None: it is in none.
    fn range(&self, start: u64) -> Option<Range<u64>> {
        let state = self.state.lock();
        let after = state.ranges.partition_point(|range| range.start <= start);
        let range = after.checked_sub(1).map(|index| state.ranges[index].clone());
        range.filter(|range| start < range.end)
    }
}

impl State {
    fn take(&mut self, file: &str, unpacked: u64) -> Result<(), DataError> {
        self.room = self.room.checked_sub(unpacked).ok_or_else(|| {
            let what = format!("its pages unpack to more than the {} bytes that are read", self.limit);
            DataError::too_large(file, what)
        })?;
        Ok(())
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
        Ok(match self.range(start) {
            None => Part::File(self.blob.reader(start)),
            Some(range) if self.blob.is_local() => {
                Part::Held(self.head(start, &range).map_err(wrap)?.reader())
            }
            Some(range) => Part::Held(self.find(start, range).map_err(wrap)?.reader()),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let Some(range) = self.range(start) else { return self.blob.bytes(start, length).map_err(wrap) };
        let unseen = || ParquetError::EOF("a page that is not where the one before it ends".to_owned());
        if !self.blob.is_local() {
            let bytes = self.find(start, range).map_err(wrap)?;
            return if bytes.len() >= length { Ok(bytes.slice(..length)) } else { Err(unseen()) };
        }
        match self.state.lock().pages.remove(&start) {
            Some(packed) if packed == length => self.blob.bytes(start, length).map_err(wrap),
            _ => Err(unseen()),
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
