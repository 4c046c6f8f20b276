//! Apache Arrow's IPC, as a file or a stream. A file is a stream between two marks with a table of contents after it, and is
//! read as such.
//!
//! The crate is fed message by message, after each was found to be as long as it says and to unpack to no more than is
//! allowed: it takes a buffer's word for its unpacked size.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{BodyCompression, MessageHeader, root_as_message};
use bytes::Bytes;

use super::arrays;
use crate::description::Description;
use crate::draft::{Draft, Schema};
use crate::error::DataError;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::source::Blob;
use crate::split::Divider;

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xff; 4];

/// All rows.
pub fn read(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let bytes = blob.whole(description.limits.bytes)?;
    // The crate checks much of what a file says, and indexes by some of it.
    catch_unwind(AssertUnwindSafe(|| read_stream(blob.name(), bytes, description, divider, draft)))
        .unwrap_or_else(|_| Err(DataError::malformed(blob.name(), "a damaged Arrow file")))
}

fn read_stream(
    file: &str,
    bytes: Bytes,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let mut messages = Messages::new(file, bytes, description.limits.bytes);
    let mut decoder = StreamDecoder::new();
    let mut divider = Some(divider);
    let mut reading: Option<(Rows<'_>, Arc<Plan>, Vec<usize>)> = None;
    let mut draft = Some(draft);
    while let Some(message) = messages.next()? {
        let mut buffer = Buffer::from(message);
        while !buffer.is_empty() {
            let batch = decoder.decode(&mut buffer).map_err(|error| said(file, &error))?;
            if reading.is_none()
                && let Some(schema) = decoder.schema()
                && let (Some(draft), Some(divider)) = (draft.take(), divider.take())
            {
                let plan = Arc::new(Plan::new(file, arrays::header(&schema), description)?);
                arrays::check(file, &schema, &plan)?;
                draft.agree(file, Schema::of_plan(&plan))?;
                let columns = (0..plan.uses.len()).collect();
                reading = Some((Rows::new(draft, Arc::clone(&plan), file, divider, 0), plan, columns));
            }
            let (Some(batch), Some((rows, plan, columns))) = (batch, &mut reading) else { continue };
            // In parts that fit the processor's cache.
            for from in (0..batch.num_rows()).step_by(rows.full()) {
                let part = batch.slice(from, rows.full().min(batch.num_rows() - from));
                arrays::push(rows, plan, &part, columns)?;
            }
        }
    }
    let Some((mut rows, ..)) = reading else {
        return Err(DataError::malformed(file, "not an Arrow file: there is no schema in it"));
    };
    rows.flush()?;
    Ok(rows.row())
}

fn said(file: &str, error: &arrow_schema::ArrowError) -> DataError {
    let text: String = error.to_string().chars().take(200).collect();
    DataError::malformed(file, format!("a damaged Arrow file: {text}"))
}

/// Messages of a stream, each with its body, as the bytes that they are.
struct Messages<'a> {
    file: &'a str,
    bytes: Bytes,
    at: usize,
    /// A file ends with a table of contents, a stream where it ends.
    is_file: bool,
    /// Bytes that compressed buffers may still unpack to.
    room: u64,
    limit: u64,
}

impl<'a> Messages<'a> {
    fn new(file: &'a str, bytes: Bytes, limit: u64) -> Self {
        let is_file = bytes.starts_with(MAGIC);
        Self { file, at: if is_file { 8 } else { 0 }, bytes, is_file, room: limit, limit }
    }

    fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        if self.at == self.bytes.len() && !self.is_file {
            return Ok(None);
        }
        let start = self.at;
        let mut len = self.take(4)?;
        if len == CONTINUATION {
            len = self.take(4)?;
        }
        let len = u32::from_le_bytes(len) as usize;
        if len == 0 {
            return Ok(None);
        }
        let message = self.range(len)?;
        let message = root_as_message(&message).map_err(|_| self.damaged("a message that cannot be read"))?;
        let body =
            usize::try_from(message.bodyLength()).map_err(|_| self.damaged("a body of negative length"))?;
        let body = self.range(body)?;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|batch| batch.data())
            }
            _ => None,
        };
        if let Some(batch) = batch {
            self.check(&batch, &body)?;
        }
        Ok(Some(self.bytes.slice(start..self.at)))
    }

    /// That a batch's compressed buffers unpack to what is allowed.
    fn check(&mut self, batch: &arrow_ipc::RecordBatch<'_>, body: &[u8]) -> Result<(), DataError> {
        let _: BodyCompression<'_> = match batch.compression() {
            Some(compression) => compression,
            None => return Ok(()),
        };
        for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() >= 8) {
            let size =
                usize::try_from(buffer.offset()).ok().and_then(|at| body.get(at..)?.first_chunk::<8>());
            // -1: this one is not compressed.
            let size = size.map_or(0, |size| i64::from_le_bytes(*size));
            let size = u64::try_from(size).unwrap_or(0);
            self.room = self.room.checked_sub(size).ok_or_else(|| {
                let what = format!("it unpacks to more than the {} bytes that are read", self.limit);
                DataError::too_large(self.file, what)
            })?;
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<[u8; 4], DataError> {
        let bytes = self.range(len)?;
        bytes.first_chunk::<4>().copied().ok_or_else(|| self.damaged("nothing"))
    }

    fn range(&mut self, len: usize) -> Result<Bytes, DataError> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let Some(end) = end else { return Err(self.damaged("less than a message promises")) };
        let range = self.bytes.slice(self.at..end);
        self.at = end;
        Ok(range)
    }

    fn damaged(&self, found: &str) -> DataError {
        DataError::malformed(self.file, format!("truncated or damaged: {found} at byte {}", self.at))
    }
}
