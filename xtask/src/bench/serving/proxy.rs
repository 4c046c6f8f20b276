//! A TCP proxy that passes every byte on after a fixed time, each way: the link between edge and cloud.
//!
//! Bytes are held by the time at which they came, so that a delay costs latency and not throughput.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

/// Pieces that one direction of a connection holds at most; more wait in the sockets.
const HELD: usize = 4096;
const PIECE: usize = 64 << 10;

/// Accepts connections until it is dropped; those that are open then end with their peers.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens on a free port of loopback and passes on to `target`.
    pub fn start(target: SocketAddr, delay: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let closed = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&closed);
        thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // A connection that fails is its client's failure; the next may do better.
                let _ = client.and_then(|client| connect(client, target, delay));
            }
        });
        Ok(Self { address, closed })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(client: TcpStream, target: SocketAddr, delay: Duration) -> io::Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    pass(client.try_clone()?, server.try_clone()?, delay);
    pass(server, client, delay);
    Ok(())
}

/// Passes on from `from` until its end, which is passed on too.
fn pass(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(HELD);
    thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            if sender.send((Instant::now() + delay, piece[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_the_end_arrive_after_the_delay_of_both_ways() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let target = echo.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = echo.accept().unwrap();
            io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        });
        let delay = Duration::from_millis(10);
        let proxy = Proxy::start(target, delay).unwrap();
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        let begun = Instant::now();
        stream.write_all(b"a request").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"a request");
        assert!(begun.elapsed() >= 2 * delay, "a proxy that does not delay measures nothing");
    }
}
