//! gRPC's framing of the one message of a request and of a response
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), without a copy of what is large.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use prost::Message;
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len};
use sedge_api::inference::ModelInferResponse;
use tonic::{Code, Status};

use super::body::{Reply, Share};
use super::refusal::Refusal;
use crate::nn::MAX_RANK;

/// Whether a message is compressed (never), and its length.
const PREFIX: usize = 5;
/// `raw_output_contents`.
const RAW: u32 = 6;
/// Elements up to this many bytes are gathered with what is before them.
const SMALL: usize = 4 << 10;
/// Fields that a message and its tensors may have: what is read of each takes more memory than its bytes.
const FIELDS: usize = 1 << 14;

/// Fields of a request that are messages: parameters, inputs, outputs.
const NESTED: std::ops::RangeInclusive<u64> = 4..=6;

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message)
}

/// Bytes of one tensor's shape: as many dimensions as a tensor has, of ten bytes each at most.
const SHAPE: usize = 10 * MAX_RANK;
/// In an input: its shape, and its elements where they are typed.
const INPUT_SHAPE: u64 = 3;
const INPUT_CONTENTS: u64 = 5;
/// A typed element of one byte may take eight in memory.
const GROWTH: usize = 8;

/// The one message of a body; `share` is grown by what it may take in memory beyond its bytes.
pub(super) fn message<M: Message + Default>(mut body: Bytes, share: &mut Share) -> Result<M, Refusal> {
    if body.len() < PREFIX {
        return Err(invalid("the request has no message"));
    }
    if body.get_u8() != 0 {
        let text = "compressed messages are not taken";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, Code::Unimplemented, text));
    }
    let length = body.get_u32() as usize;
    if length != body.len() {
        return Err(invalid(format!("a message of {length} bytes is announced, {} came", body.len())));
    }
    let mut counted = Counted::default();
    count(&body, 2, &mut counted)?;
    share.grow(counted.typed.saturating_mul(GROWTH))?;
    M::decode(body).map_err(|error| invalid(format!("the message is malformed: {error}")))
}

/// What a message has.
#[derive(Default)]
struct Counted {
    fields: usize,
    /// Bytes of typed elements.
    typed: usize,
}

/// Count the fields of a message and, down to `depth`, of those in it. What is malformed is left to prost.
fn count(mut bytes: &[u8], depth: u8, counted: &mut Counted) -> Result<(), Refusal> {
    while !bytes.is_empty() {
        counted.fields += 1;
        if counted.fields > FIELDS {
            return Err(invalid(format!("the message has more than {FIELDS} fields")));
        }
        let Ok(key) = decode_varint(&mut bytes) else { return Ok(()) };
        let skip = match key & 7 {
            0 => {
                let Ok(_) = decode_varint(&mut bytes) else { return Ok(()) };
                0
            }
            1 => 8,
            5 => 4,
            2 => {
                let Ok(length) = decode_varint(&mut bytes) else { return Ok(()) };
                let Ok(length) = usize::try_from(length) else { return Ok(()) };
                if depth > 1 && NESTED.contains(&(key >> 3)) {
                    let Some(inner) = bytes.get(..length) else { return Ok(()) };
                    count(inner, depth - 1, counted)?;
                } else if depth == 1 && key >> 3 == INPUT_SHAPE && length > SHAPE {
                    return Err(invalid(format!("a tensor has more than {MAX_RANK} dimensions")));
                } else if depth == 1 && key >> 3 == INPUT_CONTENTS {
                    counted.typed = counted.typed.saturating_add(length);
                }
                length
            }
            // Groups.
            _ => return Err(invalid("the message is malformed: it has groups")),
        };
        let Some(rest) = bytes.get(skip..) else { return Ok(()) };
        bytes = rest;
    }
    Ok(())
}

/// A response of one message.
pub(super) fn response<M: Message>(message: &M) -> Response<Reply> {
    with_raw(message, &[])
}

/// A response of one message, with `raw` as its raw contents.
pub(super) fn infer_response(message: &ModelInferResponse, raw: &[Bytes]) -> Response<Reply> {
    with_raw(message, raw)
}

fn with_raw<M: Message>(message: &M, raw: &[Bytes]) -> Response<Reply> {
    let head = message.encoded_len();
    let behind = |bytes: &Bytes| key_len(RAW) + encoded_len_varint(bytes.len() as u64) + bytes.len();
    let total = head + raw.iter().map(behind).sum::<usize>();
    let Ok(announced) = u32::try_from(total) else {
        return Status::resource_exhausted("the answer is larger than a gRPC message can be").into_http();
    };
    let gathered = raw.iter().map(|bytes| bytes.len().min(SMALL) + 12).sum::<usize>();
    let mut out = BytesMut::with_capacity(PREFIX + head + gathered);
    out.put_u8(0);
    out.put_u32(announced);
    message.encode_raw(&mut out);
    let mut parts = VecDeque::new();
    for bytes in raw {
        encode_key(RAW, WireType::LengthDelimited, &mut out);
        encode_varint(bytes.len() as u64, &mut out);
        if bytes.len() <= SMALL {
            out.extend_from_slice(bytes);
        } else {
            parts.push_back(out.split().freeze());
            parts.push_back(bytes.clone());
        }
    }
    parts.push_back(out.freeze());
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let mut response = Response::new(Reply::new(parts, Some(trailers)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The header `grpc-timeout`: at most eight digits and a unit.
pub(super) fn timeout(header: &HeaderValue) -> Option<Duration> {
    let text = header.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}
