//! The protocol over real sockets, in front of a service that adds one.

mod client;
mod hostile;
mod parsers;
mod rest;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use sedge_api::Digest;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::super::endpoint::{
    Answer, AnsweredBy, Endpoint, Metadata, Port, Request, ServeError, ServeErrorKind, Services, Versions,
};
use super::super::threads::Threads;
use super::{Limits, serve};
use crate::nn::{DType, Graphs, Tensor};

/// Adds one to each f32 `x` and gives it as `y`; tensors of other types come back as they are. A request of
/// `hang` is never
/// answered, one of `hurry` only where it has a deadline.
struct PlusOne {
    metadata: Arc<Metadata>,
    /// Requests that hang now.
    hanging: Arc<AtomicUsize>,
}

impl PlusOne {
    fn new(hanging: &Arc<AtomicUsize>) -> Arc<Self> {
        let port = |name: &str| Port { name: name.to_owned(), dtype: DType::F32, shape: vec![None, Some(2)] };
        let versions = Versions { plugin: Digest::of(b"plugin"), model: Some(Digest::of(b"model")) };
        let metadata = Metadata { versions, inputs: vec![port("x")], outputs: vec![port("y")] };
        Arc::new(Self { metadata: Arc::new(metadata), hanging: Arc::clone(hanging) })
    }
}

/// Counts itself while it lives.
struct Hanging<'a>(&'a AtomicUsize);

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endpoint for PlusOne {
    fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.metadata)
    }

    fn ready(&self) -> bool {
        true
    }

    fn infer(&self, request: Request) -> BoxFuture<'_, Result<Answer, ServeError>> {
        Box::pin(async move {
            let mut outputs = Vec::new();
            for (name, tensor) in request.inputs {
                match name.as_str() {
                    "hang" => {
                        self.hanging.fetch_add(1, Ordering::SeqCst);
                        let _hanging = Hanging(&self.hanging);
                        std::future::pending::<()>().await;
                    }
                    "hurry" if request.deadline.is_none() => {
                        return Err(ServeError::new(ServeErrorKind::Unavailable, "there is no hurry"));
                    }
                    "full" => return Err(ServeError::new(ServeErrorKind::Overloaded, "the queue is full")),
                    "x" if tensor.dtype() == DType::F32 => {
                        let values = tensor.as_slice::<f32>().unwrap().iter().map(|value| value + 1.0);
                        let sum = Tensor::from_vec(tensor.shape(), values.collect::<Vec<f32>>()).unwrap();
                        outputs.push(("y".to_owned(), sum));
                    }
                    _ => outputs.push((name, tensor)),
                }
            }
            let versions = self.metadata.versions;
            Ok(Answer { outputs, answered_by: AnsweredBy::Edge, hard: vec![0, 2], versions })
        })
    }
}

/// A server on a free port, until dropped.
struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    hanging: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (services, shutdown, hanging) = (Services::default(), CancellationToken::new(), Arc::default());
        services.put("plus-one", PlusOne::new(&hanging));
        let threads = Threads::start(2, &Arc::new(Graphs::new(1))).unwrap();
        let serving = tokio::spawn(serve(listener, services, threads, limits, shutdown.clone()));
        Self { address, shutdown, hanging, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Send bytes on a new connection and read until it closes.
    async fn raw(&self, sent: &[u8]) -> String {
        let mut socket = self.connect().await;
        // An early answer may close the connection under what is still to be sent.
        let _ = socket.write_all(sent).await;
        let mut got = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut got)).await;
        let _ = read.expect("the server closes the connection");
        String::from_utf8_lossy(&got).into_owned()
    }

    /// A request with a body; its status, head and body.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        let mut socket = self.connect().await;
        let _ = socket.write_all(&[head.as_bytes(), body].concat()).await;
        let mut got = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut got)).await;
        let _ = read.expect("the server closes the connection");
        let end = got.windows(4).position(|four| four == b"\r\n\r\n").expect("a response");
        let head = String::from_utf8(got[..end].to_vec()).unwrap();
        (head[9..12].parse().unwrap(), head, got[end + 4..].to_vec())
    }

    async fn infer(&self, body: &str) -> (u16, Value) {
        let (status, _, body) = self.ask("POST", "/v2/models/plus-one/infer", "", body.as_bytes()).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Wait until so many requests hang.
    async fn hanging(&self, count: usize) {
        let waiting = async {
            while self.hanging.load(Ordering::SeqCst) != count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    }
}

/// For clients of other languages, by hand (`cargo xtask test` asks a whole node with one): `cargo test -p sedge-host --lib -- --ignored --nocapture serve_for_others`,
/// then `python tests/serving/triton.py URL plus-one`.
#[tokio::test]
#[ignore = "serves until it is ended"]
async fn serve_for_others() {
    let server = Server::start(Limits::default()).await;
    println!("serving plus-one on {}", server.address);
    server.serving.await.unwrap();
}
