//! Load: requests over HTTP/1.1 connections that stay open, one request under way on each, and how long each took.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What is read of one answer at most.
const LARGEST_ANSWER: u64 = 16 << 20;
const LONGEST_LINE: u64 = 16 << 10;
/// How long one answer may take: longer is a failure of what is measured.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to send where, and for how long.
#[derive(Debug)]
pub struct Load<'a> {
    /// The server.
    pub address: SocketAddr,
    /// Path of the request, e.g. `/v2/models/digits/infer`.
    pub path: &'a str,
    /// Bodies in JSON, sent in turn; each connection begins at another.
    pub bodies: &'a [Vec<u8>],
    /// Connections.
    pub concurrency: usize,
    /// Requests are begun for so long, after a tenth of it that is not counted.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Measured {
    /// Requests that were answered with 200, the quickest first.
    answers: Vec<Answer>,
    /// Requests that were not.
    pub failed: usize,
    elapsed: Duration,
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
struct Answer {
    begun: Instant,
    took: Duration,
}

impl Measured {
    /// What `share` of the answers took at most (nearest rank); None without an answer.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let rank = (share * self.answers.len() as f64).ceil() as usize;
        self.answers.get(rank.saturating_sub(1)).map(|answer| answer.took)
    }

    /// Answers in a second.
    pub fn throughput(&self) -> f64 {
        self.answers() / self.elapsed.as_secs_f64()
    }

    /// Answers.
    pub fn answers(&self) -> f64 {
        self.answers.len() as f64
    }

    /// Of requests that were begun before `at`, and of the others.
    pub fn split(self, at: Instant) -> (Self, Self) {
        let (before, after) = self.answers.into_iter().partition(|answer| answer.begun < at);
        let part = |answers| Self { answers, ..self };
        (part(before), part(after))
    }
}

impl Load<'_> {
    /// Sends until the time is over, and waits for the last answers.
    pub fn run(&self) -> io::Result<Measured> {
        if self.bodies.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is nothing to send"));
        }
        let requests: Vec<Vec<u8>> = self.bodies.iter().map(|body| self.request(body)).collect();
        let counted = Instant::now() + self.duration / 10;
        let until = counted + self.duration;
        let requests = &requests;
        let parts: Vec<io::Result<(Vec<Answer>, usize)>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..self.concurrency)
                .map(|first| scope.spawn(move || connection(self.address, requests, first, counted, until)))
                .collect();
            let panicked = || Err(io::Error::other("a connection's thread panicked"));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())).collect()
        });
        let elapsed = counted.elapsed();
        let (mut answers, mut failed) = (Vec::new(), 0);
        for part in parts {
            let (more, failures) = part?;
            answers.extend(more);
            failed += failures;
        }
        answers.sort_unstable_by_key(|answer| answer.took);
        Ok(Measured { answers, failed, elapsed })
    }

    fn request(&self, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.address,
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

/// One connection: answers to what was begun between `counted` and `until`, and how many of these failed.
fn connection(
    address: SocketAddr,
    requests: &[Vec<u8>],
    first: usize,
    counted: Instant,
    until: Instant,
) -> io::Result<(Vec<Answer>, usize)> {
    let mut stream = BufReader::new(TcpStream::connect(address)?);
    stream.get_ref().set_nodelay(true)?;
    stream.get_ref().set_read_timeout(Some(PATIENCE))?;
    let (mut answers, mut failed) = (Vec::new(), 0);
    for request in requests.iter().cycle().skip(first % requests.len()) {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        stream.get_mut().write_all(request)?;
        let status = answer(&mut stream)?;
        match (begun >= counted, status) {
            (true, 200) => answers.push(Answer { begun, took: begun.elapsed() }),
            (true, _) => failed += 1,
            (false, _) => {}
        }
    }
    Ok((answers, failed))
}

/// Reads one answer to its end; its status.
fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<u16> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let status = line(stream)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| wrong("an answer without a status"))?;
    let mut length = None;
    loop {
        let header = line(stream)?;
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let length: u64 = length.ok_or_else(|| wrong("an answer without Content-Length"))?;
    if length > LARGEST_ANSWER {
        return Err(wrong("an answer too large to read"));
    }
    if io::copy(&mut stream.by_ref().take(length), &mut io::sink())? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(status)
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.by_ref().take(LONGEST_LINE).read_line(&mut line)?;
    match line.strip_suffix("\r\n") {
        Some(line) => Ok(line.to_owned()),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A server that answers every second request of a connection with 503, until the client leaves.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                thread::spawn(move || {
                    for status in ["200 OK", "503 Busy"].iter().cycle() {
                        while !line(&mut stream).ok()?.is_empty() {}
                        stream.read_exact(&mut [0; 2]).ok()?;
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 4\r\n\r\nfour");
                        stream.get_mut().write_all(answer.as_bytes()).ok()?;
                    }
                    Some(())
                });
            }
        });
        address
    }

    #[test]
    fn answers_are_timed_and_refusals_are_counted() {
        let duration = Duration::from_millis(100);
        let bodies = [b"{}".to_vec()];
        let load = Load { address: server(), path: "/", bodies: &bodies, concurrency: 4, duration };
        let measured = load.run().unwrap();
        assert!(measured.failed.abs_diff(measured.answers.len()) <= 4, "{measured:?}");
        assert!(measured.throughput() > 0.0);
        assert!(measured.percentile(0.5) <= measured.percentile(0.99));
    }

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let begun = Instant::now();
        let answer = |millis| Answer { begun, took: Duration::from_millis(millis) };
        let of = |count: u64| Measured {
            answers: (1..=count).map(answer).collect(),
            failed: 0,
            elapsed: Duration::from_secs(2),
        };
        assert_eq!(of(100).percentile(0.5), Some(Duration::from_millis(50)));
        assert_eq!(of(100).percentile(0.99), Some(Duration::from_millis(99)));
        assert_eq!(of(1).percentile(0.99), Some(Duration::from_millis(1)));
        assert_eq!(of(0).percentile(0.5), None);
        assert_eq!(of(100).throughput(), 50.0);
    }
}
