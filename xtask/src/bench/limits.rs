//! What this machine can do at best: the physical limits that figures are held against.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::rows::Rows;

/// Bytes of one measurement: well beyond the caches.
const BYTES: usize = 256 << 20;
const CHUNK: usize = 1 << 20;
const REPEATS: usize = 5;

/// Bandwidths in bytes per second, one thread to a side.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Copying memory.
    pub memcpy: f64,
    /// A plain socket from one thread to another, over the loopback address.
    pub loopback: f64,
}

impl Limits {
    /// The time that plain sockets take for `bytes`, in milliseconds.
    pub fn loopback_ms(&self, bytes: f64) -> f64 {
        bytes / self.loopback * 1e3
    }

    /// The time that moving `bytes` through memory takes, in milliseconds; a copy moves each byte twice.
    pub fn memory_ms(&self, bytes: f64) -> f64 {
        bytes / (2.0 * self.memcpy) * 1e3
    }

    /// As rows of their own.
    pub fn report(&self, rows: &mut Rows) {
        rows.add("memcpy, one thread", self.memcpy / 1e9, "GB/s");
        rows.add("loopback TCP, one connection", self.loopback / 1e9, "GB/s");
    }
}

/// Measure them: medians of a few repeats.
pub fn measure() -> Result<Limits> {
    let loopback = (0..REPEATS).map(|_| loopback()).collect::<Result<Vec<_>>>()?;
    Ok(Limits { memcpy: median((0..REPEATS).map(|_| memcpy()).collect()), loopback: median(loopback) })
}

fn memcpy() -> f64 {
    let from = vec![1_u8; BYTES];
    let mut to = vec![2_u8; BYTES];
    let start = Instant::now();
    to.copy_from_slice(black_box(&from));
    black_box(&to);
    rate(start.elapsed())
}

fn loopback() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    let address = listener.local_addr()?;
    let receiver = thread::spawn(move || -> std::io::Result<Duration> {
        let (mut stream, _) = listener.accept()?;
        let mut chunk = vec![0; CHUNK];
        let start = Instant::now();
        while stream.read(&mut chunk)? > 0 {}
        Ok(start.elapsed())
    });
    let mut stream = TcpStream::connect(address)?;
    let chunk = vec![1; CHUNK];
    for _ in 0..BYTES / CHUNK {
        stream.write_all(&chunk)?;
    }
    drop(stream);
    let elapsed = receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))??;
    Ok(rate(elapsed))
}

fn rate(elapsed: Duration) -> f64 {
    BYTES as f64 / elapsed.as_secs_f64()
}

/// The middle one of `values`; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
