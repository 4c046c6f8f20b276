use super::*;

const INFER: &str = "POST /v2/models/plus-one/infer HTTP/1.1\r\nhost: a\r\n";

fn limits() -> Limits {
    let little = Duration::from_millis(50);
    Limits { body: 1000, header_timeout: little, body_timeout: little, ..Limits::default() }
}

#[tokio::test]
async fn too_large_a_body_is_refused_however_it_comes() {
    let server = Server::start(limits()).await;
    let announced = format!("{INFER}content-length: 1001\r\n\r\n");
    assert!(server.raw(announced.as_bytes()).await.starts_with("HTTP/1.1 413"));
    let chunked = format!("{INFER}transfer-encoding: chunked\r\n\r\n3e9\r\n{}\r\n", "x".repeat(1001));
    assert!(server.raw(chunked.as_bytes()).await.starts_with("HTTP/1.1 413"));
    let endless = format!("{INFER}content-length: 99999999999999999999\r\n\r\n");
    assert!(server.raw(endless.as_bytes()).await.starts_with("HTTP/1.1 400"));
}

#[tokio::test]
async fn memory_is_shared_by_all_requests() {
    let server = Server::start(Limits { memory: 100, ..Limits::default() }).await;
    assert_eq!(server.infer(&" ".repeat(101)).await.0, 429);
    assert_eq!(server.infer(&" ".repeat(100)).await.0, 400, "what it held was given back");
}

#[tokio::test]
async fn slow_heads_and_bodies_end() {
    let server = Server::start(limits()).await;
    assert_eq!(server.raw(b"").await, "", "nothing came");
    assert_eq!(server.raw(b"P").await, "", "is it the preface?");
    assert_eq!(server.raw(b"PRI * HTTP/2.0\r\n").await, "");
    assert_eq!(server.raw(b"POST /v2 HTTP/1.1\r\nhost:").await, "");
    let body = format!("{INFER}content-length: 10\r\n\r\n{{");
    assert!(server.raw(body.as_bytes()).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn a_connection_that_rests_ends() {
    let limits = Limits { idle_timeout: Duration::from_millis(50), ..limits() };
    let server = Server::start(limits).await;
    let answered = server.raw(b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answered.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_are_bounded() {
    let server = Server::start(Limits { connections: 1, ..Limits::default() }).await;
    let ask = b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut first = server.connect().await;
    first.write_all(ask).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut second = server.connect().await;
    second.write_all(ask).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(20), second.read_exact(&mut byte)).await;
    assert!(waits.is_err(), "it is not accepted yet");
    drop(first);
    second.read_exact(&mut byte).await.unwrap();
}

#[tokio::test]
async fn bad_lengths_of_the_json() {
    let server = Server::start(limits()).await;
    for (length, expected) in [("9", "the body has 2 bytes"), ("-1", "no number"), ("1", "EOF")] {
        let header = format!("Inference-Header-Content-Length: {length}\r\n");
        let (status, _, body) = server.ask("POST", "/v2/models/plus-one/infer", &header, b"{}").await;
        let text = String::from_utf8(body).unwrap();
        assert!(status == 400 && text.contains(expected), "{text}");
    }
    let gzip = server.ask("POST", "/v2/models/plus-one/infer", "content-encoding: gzip\r\n", b"{}").await;
    assert_eq!(gzip.0, 415);
}

#[tokio::test]
async fn a_request_whose_client_left_is_given_up() {
    let server = Server::start(Limits::default()).await;
    let body = r#"{"inputs":[{"name":"hang","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    let mut socket = server.connect().await;
    let request = format!("{INFER}content-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.unwrap();
    server.hanging(1).await;
    drop(socket);
    server.hanging(0).await;
}

/// An HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Floods of HTTP/2 that would cost the server more than the client: streams begun and reset, and a head without an end.
#[tokio::test]
async fn floods_of_frames_end_their_connection_and_no_other() {
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let server = Server::start(Limits::default()).await;
    // GET / over http, out of HPACK's static table.
    let head = [0x82, 0x84, 0x86];
    let begin_and_reset = |number: u32| {
        let stream = 2 * number + 1;
        [frame(1, END_STREAM | END_HEADERS, stream, &head), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    };
    server.is_flooded(begin_and_reset).await;
    // A literal field of 16,000 bytes and the name `a`, again and again.
    let field = [&[0, 1, b'a', 127, 0x81, 0x7c][..], &[b'x'; 16_000]].concat();
    let never_ends = |number: u32| match number {
        0 => frame(1, END_STREAM, 1, &head),
        _ => frame(9, 0, 1, &field),
    };
    server.is_flooded(never_ends).await;
}

impl Server {
    /// One client sends frames without end, and is let go; others are answered.
    async fn is_flooded(&self, frames: impl Fn(u32) -> Vec<u8>) {
        const MOST: u32 = 20_000;
        let (mut reads, mut writes) = self.connect().await.into_split();
        let ended = tokio::spawn(async move {
            // Err: the connection was reset, which ends it too.
            let _ = reads.read_to_end(&mut Vec::new()).await;
        });
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        sent.extend(frame(4, 0, 0, &[]));
        let mut number = 0;
        while number < MOST && writes.write_all(&sent).await.is_ok() {
            sent = frames(number);
            number += 1;
        }
        assert!(number < MOST, "all were taken");
        tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap().unwrap();
        let (status, ..) = self.ask("GET", "/v2/health/live", "", b"").await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn shutdown_ends_what_rests_at_once_and_the_rest_after_its_grace() {
    let server = Server::start(Limits { grace: Duration::from_millis(50), ..Limits::default() }).await;
    let body = r#"{"inputs":[{"name":"hang","shape":[1],"datatype":"FP32","data":[1]}]}"#;
    let mut socket = server.connect().await;
    let request = format!("{INFER}content-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.unwrap();
    server.hanging(1).await;
    server.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), server.serving).await.unwrap().unwrap();
    assert_eq!(server.hanging.load(Ordering::SeqCst), 0);
}
