//! The client against a server of the test's own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sedge_client::{Client, Error, Tensor};

const ANSWER: &str = r#"{"outputs": [{"name": "p", "datatype": "FP32", "shape": [1],
    "parameters": {"binary_data_size": 4}}], "parameters": {"answered_by": "edge", "hard": false}}"#;
const SECOND: Duration = Duration::from_secs(30);

fn input() -> [(&'static str, Tensor); 1] {
    [("x", Tensor::new(&[1, 2], &[1.0_f32, 2.0]).unwrap())]
}

/// Reads a request: its first line and its body.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    if stream.read_line(&mut first).ok()? == 0 {
        return None;
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first.trim().to_owned(), body))
}

/// A server of one connection after the other, that answers so many requests on each with status and body.
fn server(per_connection: usize, status: u16, head: usize, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            for _ in 0..per_connection {
                let Some((first, _)) = request(&mut stream) else { break };
                assert!(first.contains("/v2/models/digits/"), "{first}");
                let length = body.len();
                let headers = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nInference-Header-Content-Length: {head}\r\n\r\n"
                );
                stream.get_mut().write_all(&[headers.as_bytes(), &body].concat()).unwrap();
            }
        }
    });
    url
}

#[test]
fn connections_stay_and_one_that_the_server_closed_is_opened_again() {
    let body = [ANSWER.as_bytes(), &2.5_f32.to_le_bytes()].concat();
    let client = Client::new(&server(3, 200, ANSWER.len(), body)).unwrap();
    for _ in 0..10 {
        let answer = client.infer("digits", &input(), SECOND).unwrap();
        assert_eq!(answer.output("p").unwrap().elements::<f32>().unwrap(), [2.5]);
        assert_eq!((answer.answered_by.as_deref(), answer.hard), (Some("edge"), false));
    }
    assert!(client.ready("digits", SECOND).unwrap());
}

#[test]
fn what_the_node_refuses_is_an_error_of_its_kind() {
    let refusal = |status| {
        let client = Client::new(&server(1, status, 0, br#"{"error": "because"}"#.to_vec())).unwrap();
        let error = client.infer("digits", &input(), SECOND).unwrap_err();
        assert_eq!(error.to_string(), "because");
        error
    };
    assert!(matches!(refusal(400), Error::InvalidRequest(_)));
    assert!(matches!(refusal(404), Error::NotFound(_)));
    assert!(matches!(refusal(429), Error::Overloaded(_)));
    assert!(matches!(refusal(500), Error::Internal(_)));
    assert!(matches!(refusal(503), Error::Unavailable(_)));
    assert!(matches!(refusal(504), Error::DeadlineExceeded(_)));
}

#[test]
fn a_silent_server_costs_the_timeout_and_nobody_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&format!("http://{}", silent.local_addr().unwrap())).unwrap();
    let error = client.infer("digits", &input(), Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    drop(silent);
    let error = client.infer("digits", &input(), SECOND).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}
