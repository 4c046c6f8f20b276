//! gRPC on the wire, without a copy of what is large.
//!
//! ```text
//!  messages ─▶ [`body`] ─▶ prefix and field header │ chunk as it lies ─▶ HTTP/2
//!  HTTP/2 ─▶ [`Inbound`] ─▶ messages; a chunk's bytes in the parts that they came in
//! ```
//! Both ends speak plain gRPC (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), and a stock
//! client or server does for either. What `tonic` does with a message is right for small ones: it gathers it
//! into a buffer of its own, on both sides, which for weights is two copies more than there need be.

use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use prost::Message;
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len};
use sedge_api::federation::{AggregatorMessage, ParticipantMessage, aggregator_message, participant_message};
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::MAX_MESSAGE;

/// The one call of the service.
pub(super) const JOIN: &str = "/sedge.federation.v1.Federation/Join";
/// Before each message: whether it is compressed (never), and its length.
const PREFIX: usize = 5;
/// Messages up to this length are gathered before they are looked at.
const SMALL: usize = 1 << 10;
/// The most that a chunk's field header takes: its key, and a length below 2³⁵.
const FIELD: usize = 6;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// A message that may be nothing but a chunk of bytes.
pub(super) trait Chunked: Message + Default + 'static {
    /// The field that the chunk is in.
    const FIELD: u32;
    fn of(chunk: Bytes) -> Self;
    fn chunk(&self) -> Option<&Bytes>;
}

impl Chunked for AggregatorMessage {
    const FIELD: u32 = 4;
    fn of(chunk: Bytes) -> Self {
        Self { message: Some(aggregator_message::Message::Chunk(chunk)) }
    }
    fn chunk(&self) -> Option<&Bytes> {
        match &self.message {
            Some(aggregator_message::Message::Chunk(chunk)) => Some(chunk),
            _ => None,
        }
    }
}

impl Chunked for ParticipantMessage {
    const FIELD: u32 = 3;
    fn of(chunk: Bytes) -> Self {
        Self { message: Some(participant_message::Message::Chunk(chunk)) }
    }
    fn chunk(&self) -> Option<&Bytes> {
        match &self.message {
            Some(participant_message::Message::Chunk(chunk)) => Some(chunk),
            _ => None,
        }
    }
}

/// `message` as bytes, in one part or, where it is a chunk, two.
fn parts<M: Chunked>(message: &M) -> impl Iterator<Item = Bytes> + use<M> {
    let len = message.encoded_len();
    let mut head = BytesMut::with_capacity(PREFIX + len.min(SMALL));
    head.put_u8(0);
    // Messages are of our own making, and chunks are cut to a size far below.
    head.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    let chunk = message.chunk().filter(|chunk| !chunk.is_empty()).cloned();
    match &chunk {
        Some(chunk) => {
            encode_key(M::FIELD, WireType::LengthDelimited, &mut head);
            encode_varint(chunk.len() as u64, &mut head);
        }
        None => message.encode_raw(&mut head),
    }
    [Some(head.freeze()), chunk].into_iter().flatten()
}

/// A body of messages.
fn body<M: Chunked>(messages: impl Stream<Item = M> + Send + 'static) -> Body {
    let frames = messages.flat_map(|message| stream::iter(parts(&message)));
    Body::new(StreamBody::new(frames.map(|part| Ok::<_, Status>(Frame::data(part)))))
}

/// Whether a request is one for [`JOIN`]; else what is answered.
pub(super) fn is_join(request: &Request<Body>) -> Result<(), Status> {
    if request.uri().path() != JOIN {
        return Err(Status::unimplemented("the service has the one call Join"));
    }
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_grpc = kind.and_then(|kind| kind.strip_prefix(GRPC.as_bytes()));
    // `+proto` and parameters may follow, but not `-web`.
    if request.method() != Method::POST || is_grpc.is_none_or(|rest| rest.starts_with(b"-")) {
        return Err(Status::invalid_argument("this is a gRPC service"));
    }
    Ok(())
}

/// The answer to a [`JOIN`]: messages until their end or an error, and the status of the call.
pub(super) fn answer(
    messages: impl Stream<Item = Result<AggregatorMessage, Status>> + Send + 'static,
) -> Response<Body> {
    // An error ends the call: what follows it is not sent.
    let frames = messages
        .map(Some)
        .chain(stream::iter([None]))
        .scan(false, |ended, item| {
            let frames = if *ended { None } else { Some(frames(item, ended)) };
            std::future::ready(frames)
        })
        .flat_map(stream::iter);
    let mut response = Response::new(Body::new(StreamBody::new(frames.map(Ok::<_, Status>))));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// The frames of one message, or those that end the call.
fn frames(item: Option<Result<AggregatorMessage, Status>>, ended: &mut bool) -> Vec<Frame<Bytes>> {
    let status = match item {
        Some(Ok(message)) => return parts(&message).map(Frame::data).collect(),
        Some(Err(status)) => status,
        None => Status::ok(""),
    };
    *ended = true;
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(Code::Internal as i32));
    }
    vec![Frame::trailers(trailers)]
}

/// Call [`JOIN`] over `channel`, saying `messages`.
pub(super) async fn join(
    mut channel: Channel,
    messages: impl Stream<Item = ParticipantMessage> + Send + 'static,
) -> Result<Inbound<AggregatorMessage>, Status> {
    let mut request = Request::new(body(messages));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static(JOIN);
    request.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    let failed = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let response = channel.ready().await.map_err(failed)?.call(request).await.map_err(failed)?;
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => return Err(status),
        _ if !response.status().is_success() => {
            return Err(Status::unavailable(format!("it answers with HTTP status {}", response.status())));
        }
        _ => {}
    }
    Ok(Inbound::new(response.into_body()))
}

/// Messages as they come.
#[derive(Debug)]
pub(super) struct Inbound<M> {
    /// Never locked, but the mutex makes it `Sync`, as its owner is to be.
    body: Mutex<Body>,
    /// Of what came last, what was not looked at yet.
    unread: Bytes,
    /// The beginning of a message: its prefix and what was gathered of it.
    head: BytesMut,
    /// Bytes of a chunk that are still to come.
    chunk: usize,
    message: PhantomData<fn() -> M>,
}

impl<M: Chunked> Inbound<M> {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body: Mutex::new(body),
            unread: Bytes::new(),
            head: BytesMut::new(),
            chunk: 0,
            message: PhantomData,
        }
    }

    /// The next message, or part of a chunk; None at the end. May be given up and called again.
    pub(super) async fn message(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.parse()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.get_mut().frame().await.transpose()? else { break };
            match frame.into_data() {
                Ok(data) => self.unread = data,
                Err(frame) => match frame.into_trailers().ok().as_ref().and_then(Status::from_header_map) {
                    Some(status) if status.code() != Code::Ok => return Err(status),
                    _ => break,
                },
            }
        }
        if self.head.is_empty() && self.chunk == 0 {
            return Ok(None);
        }
        Err(Status::unavailable("the stream ended within a message"))
    }

    /// A message out of what has come, if there is a whole one or some of a chunk. Otherwise nothing is left
    /// unread.
    fn parse(&mut self) -> Result<Option<M>, Status> {
        if self.chunk > 0 && !self.unread.is_empty() {
            return Ok(Some(self.part()));
        }
        if self.chunk > 0 || !self.gather(PREFIX) {
            return Ok(None);
        }
        let mut prefix = &self.head[..PREFIX];
        if prefix.get_u8() != 0 {
            return Err(Status::unimplemented("messages are not compressed here"));
        }
        let len = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if len > MAX_MESSAGE {
            let text = format!("a message of {len} bytes; at most {MAX_MESSAGE} are taken");
            return Err(Status::out_of_range(text));
        }
        if len > SMALL {
            if !self.gather(PREFIX + FIELD) {
                return Ok(None);
            }
            if let Some(chunk) = self.begins_chunk(len) {
                self.head.advance(PREFIX + len - chunk);
                // A few bytes of the chunk were gathered with its header.
                let gathered = self.head.split().freeze();
                self.chunk = chunk - gathered.len();
                return Ok(Some(M::of(gathered)));
            }
        }
        if !self.gather(PREFIX + len) {
            return Ok(None);
        }
        self.head.advance(PREFIX);
        let message = M::decode(self.head.split().freeze());
        message.map(Some).map_err(|error| Status::invalid_argument(format!("not a message: {error}")))
    }

    /// What has come of the chunk.
    fn part(&mut self) -> M {
        let part = self.unread.split_to(self.chunk.min(self.unread.len()));
        self.chunk -= part.len();
        M::of(part)
    }

    /// The chunk's length, where all of a message of `len` bytes is one.
    fn begins_chunk(&self, len: usize) -> Option<usize> {
        let mut field = self.head.get(PREFIX..PREFIX + FIELD)?;
        let key = decode_varint(&mut field).ok()?;
        let chunk = usize::try_from(decode_varint(&mut field).ok()?).ok()?;
        let head = key_len(M::FIELD) + encoded_len_varint(chunk as u64);
        let is_chunk = key == u64::from(M::FIELD << 3 | WireType::LengthDelimited as u32);
        (is_chunk && chunk.checked_add(head) == Some(len)).then_some(chunk)
    }

    /// Move what is unread to `head` until that has `len` bytes; whether it has.
    fn gather(&mut self, len: usize) -> bool {
        let missing = len.saturating_sub(self.head.len()).min(self.unread.len());
        self.head.extend_from_slice(&self.unread.split_to(missing));
        self.head.len() >= len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sedge_api::federation::{Failure, Grant};

    use super::*;

    /// All messages of a stream that comes in those pieces; parts of a chunk joined.
    async fn heard(pieces: Vec<Bytes>) -> Result<Vec<AggregatorMessage>, Status> {
        let frames = stream::iter(pieces).map(|piece| Ok::<_, Status>(Frame::data(piece)));
        let mut inbound = Inbound::<AggregatorMessage>::new(Body::new(StreamBody::new(frames)));
        let (mut messages, mut chunk) = (Vec::new(), BytesMut::new());
        while let Some(message) = inbound.message().await? {
            match message.chunk() {
                Some(part) => chunk.extend_from_slice(part),
                None => messages.push(message),
            }
            if inbound.chunk == 0 && !chunk.is_empty() {
                messages.push(AggregatorMessage::of(chunk.split().freeze()));
            }
        }
        Ok(messages)
    }

    fn grant(round: u32) -> AggregatorMessage {
        AggregatorMessage { message: Some(aggregator_message::Message::Grant(Grant { round })) }
    }

    fn chunk(len: usize) -> AggregatorMessage {
        AggregatorMessage::of((0..len).map(|at| (at % 251) as u8).collect())
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_the_stream_is_cut(
            lens in proptest::collection::vec(1..5000_usize, 1..6),
            cuts in proptest::collection::vec(1..3000_usize, 1..40),
        ) {
            let said: Vec<_> = lens.iter().flat_map(|&len| [chunk(len), grant(len as u32)]).collect();
            let mut bytes = BytesMut::new();
            said.iter().flat_map(parts).for_each(|part| bytes.extend_from_slice(&part));
            let mut bytes = bytes.freeze();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if bytes.is_empty() {
                    break;
                }
                pieces.push(bytes.split_to(bytes.len().min(*cut)));
            }
            let heard = futures::executor::block_on(heard(pieces)).unwrap();
            prop_assert_eq!(heard, said);
        }

        #[test]
        fn no_bytes_panic(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let _ = futures::executor::block_on(heard(pieces.into_iter().map(Bytes::from).collect()));
        }
    }

    #[test]
    fn what_is_said_is_protobuf_as_others_write_it() {
        for message in [chunk(0), chunk(1), chunk(100_000), grant(7), grant(0)] {
            let mut plain = vec![0];
            plain.extend((message.encoded_len() as u32).to_be_bytes());
            message.encode(&mut plain).unwrap();
            let ours: Vec<u8> = parts(&message).flatten().collect();
            assert_eq!(ours, plain);
        }
        let failure = Failure { reason: "r".repeat(3000), ..Failure::default() };
        let message = ParticipantMessage { message: Some(participant_message::Message::Failure(failure)) };
        assert_eq!(parts(&message).map(|part| part.len()).sum::<usize>(), PREFIX + message.encoded_len());
    }

    #[test]
    fn a_chunk_is_not_copied() {
        let said = chunk(10_000);
        assert_eq!(parts(&said).nth(1).unwrap().as_ptr(), said.chunk().unwrap().as_ptr());
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        let refused = async |bytes: &[u8]| heard(vec![Bytes::copy_from_slice(bytes)]).await.unwrap_err();
        assert_eq!(refused(&[1, 0, 0, 0, 0]).await.code(), Code::Unimplemented);
        assert_eq!(refused(&[0, 255, 255, 255, 255]).await.code(), Code::OutOfRange);
        assert_eq!(refused(&[0, 0, 0, 0, 2, 255, 255]).await.code(), Code::InvalidArgument);
        assert_eq!(refused(&[0, 0, 0, 0, 2, 8]).await.code(), Code::Unavailable);
        assert_eq!(refused(&[0, 0, 1, 0, 0, 34, 253]).await.code(), Code::Unavailable);
    }
}
