//! Rows of a text file, out of a buffer of bounded size. CSV and JSON lines are read through it.

use std::io::Read as _;
use std::sync::Arc;

use memchr::{memchr, memchr2};

use crate::description::LastRow;
use crate::error::{DataError, shown};
use crate::plan::Plan;
use crate::source::{Blob, Reader, from_io};

/// Bytes that are read at a time.
const BLOCK: usize = 1 << 20;

/// How far a text file has been read: what is before is not read again.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// Bytes.
    pub offset: u64,
    /// Lines.
    pub lines: u64,
    /// Rows, bad ones included.
    pub rows: u64,
    /// Of the file's columns; None before its first row.
    pub plan: Option<Arc<Plan>>,
    /// The last row had no end of line.
    pub open: bool,
}

/// Whether line ends within quotes are part of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quotes {
    /// They are; cells are between these.
    Between(u8),
    /// There are none.
    None,
}

/// A row that is complete.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Without its end of line.
    pub bytes: &'a [u8],
    /// As above, and what comes after it, which the row is told from by a line's end.
    pub text: &'a [u8],
    /// From one.
    pub line: u64,
    /// Whether there is a quotation mark in it.
    pub quoted: bool,
}

/// The rest of a text file.
pub struct Text<'a> {
    file: &'a str,
    reader: Reader,
    buffer: Vec<u8>,
    /// What is not given out yet: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// The file has no more.
    over: bool,
    limit: usize,
    quotes: Quotes,
    last: LastRow,
    cursor: &'a mut Cursor,
}

impl<'a> Text<'a> {
    /// From where the cursor is; moves it.
    pub fn new(
        blob: &'a Blob,
        cursor: &'a mut Cursor,
        quotes: Quotes,
        last: LastRow,
        limit: usize,
    ) -> Result<Self, DataError> {
        let reader = blob.reader(cursor.offset);
        let fresh = cursor.offset == 0;
        // The end of the last row's line is still to come.
        cursor.lines -= u64::from(std::mem::take(&mut cursor.open));
        let len = BLOCK.min(blob.len().saturating_sub(cursor.offset) as usize + 1);
        let mut text = Self {
            file: blob.name(),
            reader,
            buffer: vec![0; len],
            start: 0,
            end: 0,
            over: false,
            limit: limit.max(1),
            quotes,
            last,
            cursor,
        };
        if fresh {
            while text.end < 3 && !text.over {
                text.fill()?;
            }
            // A byte order mark.
            if text.buffer[..text.end].starts_with(b"\xef\xbb\xbf") {
                text.take(3);
            }
        }
        Ok(text)
    }

    /// What of the file is known.
    pub fn cursor(&mut self) -> &mut Cursor {
        self.cursor
    }

    /// The next row; empty lines are passed over. None: there is none that is complete.
    #[inline]
    pub fn next(&mut self) -> Result<Option<Row<'_>>, DataError> {
        loop {
            let data = &self.buffer[self.start..self.end];
            let (len, taken, quoted, lines) = match self.find_end(data) {
                Some((end, quoted, lines)) => (end, end + 1, quoted, lines),
                None if !self.over => {
                    self.fill()?;
                    continue;
                }
                None if data.is_empty() || self.last == LastRow::Wait => return Ok(None),
                None => {
                    self.cursor.open = true;
                    (data.len(), data.len(), memchr(b'"', data).is_some(), 1)
                }
            };
            let from = self.start;
            let line = self.cursor.lines + 1;
            self.cursor.lines += lines;
            self.take(taken);
            let carriage = len > 0 && self.buffer[from + len - 1] == b'\r';
            let to = from + len - usize::from(carriage);
            if from < to {
                let text = &self.buffer[from..self.end];
                return Ok(Some(Row { bytes: &text[..to - from], text, line, quoted }));
            }
        }
    }

    fn take(&mut self, len: usize) {
        self.start += len;
        self.cursor.offset += len as u64;
    }

    /// Of the row: where its line ends, whether it has quotation marks, how many lines it has.
    #[inline(always)]
    fn find_end(&self, data: &[u8]) -> Option<(usize, bool, u64)> {
        match self.quotes {
            Quotes::None => memchr(b'\n', data).map(|end| (end, false, 1)),
            Quotes::Between(delimiter) => {
                let end = memchr2(b'\n', b'"', data)?;
                if data[end] == b'\n' { Some((end, false, 1)) } else { quoted_end(data, delimiter) }
            }
        }
    }

    fn fill(&mut self) -> Result<(), DataError> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end > self.limit {
            let line = self.cursor.lines + 1;
            let start = shown(&self.buffer[..40.min(self.end)]);
            let what = format!(
                "line {line} (\"{start}…\") is longer than {} bytes; a quotation mark without its other?",
                self.limit
            );
            return Err(DataError::too_large(self.file, what));
        }
        if self.end == self.buffer.len() {
            let larger = (self.buffer.len() * 2).min(self.limit + BLOCK).max(self.buffer.len() + 1);
            self.buffer.resize(larger, 0);
        }
        let room = &mut self.buffer[self.end..];
        let read = self.reader.read(room).map_err(|error| from_io(self.file, error))?;
        self.end += read;
        self.over = read == 0;
        Ok(())
    }
}

/// As [`Text::find_end`], where there are quotation marks: a cell that begins with one ends with one, doubled ones and line
/// ends within it are its own.
fn quoted_end(data: &[u8], delimiter: u8) -> Option<(usize, bool, u64)> {
    let (mut at, mut lines) = (0, 1);
    loop {
        if data.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let step = memchr2(b'"', b'\n', &data[at..])?;
                at += step + 1;
                if data[at - 1] == b'\n' {
                    lines += 1;
                } else if data.get(at) == Some(&b'"') {
                    at += 1;
                } else {
                    break;
                }
            }
        }
        at += memchr2(delimiter, b'\n', data.get(at..)?)?;
        if data[at] == b'\n' {
            return Some((at, true, lines));
        }
        at += 1;
    }
}
