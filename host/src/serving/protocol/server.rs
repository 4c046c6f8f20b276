//! One port for REST and gRPC: connections, their limits and their end.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::endpoint::Services;
use super::super::threads::Threads;
use super::body::Memory;
use super::pulse::{Pulse, Verdict, Watched};
use super::{grpc, rest};

/// What clients may take of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of the bodies of all requests in flight.
    pub memory: usize,
    /// Connections at once; others wait to be accepted.
    pub connections: usize,
    /// How long a request's head may take to come.
    pub header_timeout: Duration,
    /// How long its body may take.
    pub body_timeout: Duration,
    /// How long a connection may rest between requests.
    pub idle_timeout: Duration,
    /// How long requests in flight have to end once the server shuts down.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            memory: 512 << 20,
            connections: 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

/// HTTP/2: what a stream and a connection may have in flight, and streams at once.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const STREAMS: u32 = 256;
const FRAME: u32 = 256 << 10;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Before another connection is accepted where the last could not be, for want of file descriptors say.
const RESPITE: Duration = Duration::from_millis(100);

/// What all connections share.
pub(super) struct Shared {
    pub services: Services,
    pub limits: Limits,
    pub memory: Arc<Memory>,
}

/// The streams of HTTP/2 connections: each has a task, which ends with its connection.
#[derive(Clone)]
struct Streams(TaskTracker);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

/// Answer requests to `services` on `listener`, each connection on one of `threads`, until `shutdown`; then requests in
/// flight have `limits.grace`.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    threads: Threads,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let streams = TaskTracker::new();
    let builder = Arc::new(builder(Streams(streams.clone())));
    let memory = Memory::new(limits.memory);
    let shared = Arc::new(Shared { services, limits, memory });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.cancelled() => break,
        };
        let (socket, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection to the serving port was not accepted");
                tokio::select! {
                    () = tokio::time::sleep(RESPITE) => continue,
                    () = shutdown.cancelled() => break,
                }
            }
        };
        let (builder, shared, shutdown) = (Arc::clone(&builder), Arc::clone(&shared), shutdown.clone());
        threads.serve(&mut connections, async move {
            // Into the executor of its thread.
            match socket.into_std().and_then(TcpStream::from_std) {
                Ok(socket) => connection(socket, &builder, shared, &shutdown).await,
                Err(error) => tracing::warn!(%error, "a connection to the serving port is not served"),
            }
            drop(permit);
        });
    }
    drop(listener);
    // Each ends itself within the grace, and its streams with it.
    while connections.join_next().await.is_some() {}
    streams.close();
    streams.wait().await;
    threads.end().await;
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    // Nagle's algorithm off; a socket that refuses is served none the less.
    let _ = socket.set_nodelay(true);
    Ok((socket, permit))
}

fn builder(streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    // Heads and rests are timed by `Pulse`: hyper has one time for both.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_frame_size(FRAME)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// Serve one connection until it ends, rests too long, or the server shuts down.
async fn connection(
    socket: TcpStream,
    builder: &auto::Builder<Streams>,
    shared: Arc<Shared>,
    shutdown: &CancellationToken,
) {
    let (header, idle, grace) =
        (shared.limits.header_timeout, shared.limits.idle_timeout, shared.limits.grace);
    let pulse = Pulse::new();
    let io = TokioIo::new(Watched { socket, pulse: pulse.clone() });
    let service = service_fn({
        let pulse = pulse.clone();
        move |request: Request<Incoming>| {
            let (turn, shared) = (pulse.turn(), Arc::clone(&shared));
            async move {
                let response = if is_grpc(&request) {
                    grpc::respond(&shared, request).await
                } else {
                    rest::respond(&shared, request).await
                };
                drop(turn);
                Ok::<_, Infallible>(response)
            }
        }
    });
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut look = pin!(tokio::time::sleep(header));
    let mut ending = false;
    loop {
        let last = tokio::select! {
            // Err: the client's doing, and it is gone.
            _ = serving.as_mut() => return,
            () = shutdown.cancelled(), if !ending => grace,
            () = look.as_mut() => match pulse.look(header, idle) {
                _ if ending => return,
                Verdict::Alive(until) => {
                    look.as_mut().reset(until);
                    continue;
                }
                // A response may still be on its way out.
                Verdict::Idle => header,
            },
        };
        serving.as_mut().graceful_shutdown();
        ending = true;
        look.as_mut().reset(Instant::now() + last);
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        && request
            .headers()
            .get(header::CONTENT_TYPE)
            .map(HeaderValue::as_bytes)
            .is_some_and(|kind| kind.starts_with(b"application/grpc"))
}
