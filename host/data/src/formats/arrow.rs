//! Apache Arrow's IPC, as a file or a stream. A file is a stream between two marks with a table of contents after it, and is
//! read as such.
//!
//! The crate is fed message by message, after each was found to be as long as it says and to unpack to no more than is
//! allowed: it takes a buffer's word for its unpacked size.

use std::sync::Arc;

use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{BodyCompression, MessageHeader, root_as_message};
use bytes::Bytes;

use super::{arrays, guarded};
use crate::description::Description;
use crate::draft::{Draft, Schema};
use crate::error::DataError;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::source::Blob;
use crate::split::Divider;

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xff; 4];
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
/// Bytes that are read at a time where messages are short.
const AHEAD: u64 = 64 << 10;

/// All rows.
pub fn read(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    guarded(blob.name(), "a damaged Arrow file", || read_stream(blob, description, divider, draft))
}

fn read_stream(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let file = blob.name();
    let mut messages = Messages::new(blob, description.limits.bytes)?;
    let mut decoder = StreamDecoder::new();
    let mut divider = Some(divider);
    let mut reading: Option<(Rows<'_>, Arc<Plan>, Vec<usize>)> = None;
    let mut draft = Some(draft);
    let mut over = false;
    while !over {
        let message = messages.next()?;
        over = message.is_none();
        // The mark of the end; the crate looks at a message without a body when something follows it.
        let (head, body) = message.unwrap_or_else(|| (Bytes::from_static(&END), Bytes::new()));
        let (mut head, mut body) = (Buffer::from(head), Buffer::from(body));
        while !(head.is_empty() && body.is_empty()) {
            let buffer = if head.is_empty() { &mut body } else { &mut head };
            let batch = decoder.decode(buffer).map_err(|error| said(file, &error))?;
            if reading.is_none()
                && let Some(schema) = decoder.schema()
                && let (Some(draft), Some(divider)) = (draft.take(), divider.take())
            {
                let plan = Arc::new(Plan::new(file, arrays::header(&schema), description)?);
                arrays::check(file, &schema, &plan)?;
                draft.agree(file, Schema::of_plan(&plan, description))?;
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

/// Messages of a stream and their bodies, one after the other, as the bytes that they are.
struct Messages<'a> {
    blob: &'a Blob,
    at: u64,
    /// What was read ahead for the next message's head, from `at` on.
    ahead: Bytes,
    /// A file ends with a table of contents, a stream where it ends.
    is_file: bool,
    /// Bytes that compressed buffers may still unpack to.
    room: u64,
    limit: u64,
}

impl<'a> Messages<'a> {
    fn new(blob: &'a Blob, limit: u64) -> Result<Self, DataError> {
        let ahead = blob.bytes(0, blob.len().min(AHEAD) as usize)?;
        let is_file = ahead.starts_with(MAGIC);
        let mut messages = Self { blob, at: 0, ahead, is_file, room: limit, limit };
        if is_file {
            // The mark is followed by zeros: to eight bytes, or as Rust's writer has it, to sixty-four.
            let zeros = messages.ahead[MAGIC.len()..].iter().take(64 - MAGIC.len());
            let padded = MAGIC.len() + zeros.take_while(|&&byte| byte == 0).count();
            messages.range(padded as u64 / 8 * 8)?;
        }
        Ok(messages)
    }

    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, DataError> {
        if self.at == self.blob.len() && !self.is_file {
            return Ok(None);
        }
        let mut head = self.range(4)?;
        if head[..] == CONTINUATION {
            head = self.range(4)?;
        }
        let len = head.first_chunk::<4>().map_or(0, |len| u32::from_le_bytes(*len));
        if len == 0 {
            return Ok(None);
        }
        let bytes = self.range(u64::from(len))?;
        let message = root_as_message(&bytes).map_err(|_| self.damaged("a message that cannot be read"))?;
        let body =
            u64::try_from(message.bodyLength()).map_err(|_| self.damaged("a body of negative length"))?;
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
        Ok(Some(([&head[..], &bytes[..]].concat().into(), body)))
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
                DataError::too_large(self.blob.name(), what)
            })?;
        }
        Ok(())
    }

    /// The next bytes; a body's are read by themselves, and heads of messages some ahead.
    fn range(&mut self, len: u64) -> Result<Bytes, DataError> {
        let left = self.blob.len() - self.at;
        if len > left {
            return Err(self.damaged("less than a message promises"));
        }
        if len > self.ahead.len() as u64 {
            let wanted = if len < AHEAD { left.min(AHEAD) } else { len };
            self.ahead = self.blob.bytes(self.at, wanted as usize)?;
        }
        self.at += len;
        Ok(self.ahead.split_to(len as usize))
    }

    fn damaged(&self, found: &str) -> DataError {
        DataError::malformed(self.blob.name(), format!("truncated or damaged: {found} at byte {}", self.at))
    }
}
