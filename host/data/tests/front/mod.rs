//! A server in front of a store that misbehaves as it is told: it answers late, in part, with errors, or not at all. What is
//! behind it is another server, or files that it holds itself.
#![allow(clippy::unwrap_used, reason = "what tests stand on")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sedge_data::S3;

/// What happens to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This status instead.
    Status(u16),
    /// Cut off after so many bytes of the body, though the head promised more.
    Cut(usize),
    /// After so many bytes of the body, nothing more comes, and the connection stays.
    Hang(usize),
    /// In pieces of so many bytes, with a pause after each.
    Drip(usize),
    /// The connection is closed without a word.
    Reset,
    /// More bytes than the head promised, and no HTTP.
    Garbage,
    /// The range that was asked for is not the one that is answered.
    OtherRange,
}

type Hook = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it reads some of a file.
    pub fn is_read(&self) -> bool {
        self.method == "GET" && self.head.to_ascii_lowercase().contains("\r\nrange:")
    }
}

struct Shared {
    upstream: Option<u16>,
    files: Mutex<HashMap<String, (Vec<u8>, u64)>>,
    hook: Mutex<Hook>,
    requests: AtomicUsize,
}

/// The server; its threads end with the process.
pub struct Front {
    shared: Arc<Shared>,
    port: u16,
}

impl Front {
    /// Before a server on that port of this machine; None: before its own files.
    pub fn start(upstream: Option<u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream,
            files: Mutex::default(),
            hook: Mutex::new(Box::new(|_| None)),
            requests: AtomicUsize::new(0),
        });
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&served);
                std::thread::spawn(move || while serve(&shared, &client).is_some() {});
            }
        });
        Self { shared, port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A file of its own, at `/name`; each time it is put it has another tag.
    pub fn put(&self, name: &str, content: impl Into<Vec<u8>>) {
        let mut files = self.shared.files.lock().unwrap();
        let version = files.get(name).map_or(1, |(_, version)| version + 1);
        files.insert(name.to_owned(), (content.into(), version));
    }

    /// Asked for each request what is to happen to its answer.
    pub fn on_request(&self, hook: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        *self.shared.hook.lock().unwrap() = Box::new(hook);
    }

    /// The next reads fail so, one each.
    pub fn fail(&self, faults: &[Fault]) {
        let mut faults = faults.to_vec();
        faults.reverse();
        self.on_request(move |request| if request.is_read() { faults.pop() } else { None });
    }

    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

/// None: the connection has ended.
fn serve(shared: &Shared, client: &TcpStream) -> Option<()> {
    let request = read(client)?;
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let fault = (shared.hook.lock().unwrap())(&request);
    let (head, body) = match shared.upstream {
        Some(port) => forward(port, &request),
        None => answer(&shared.files.lock().unwrap(), &request),
    };
    let mut client = client;
    match fault {
        None => {
            client.write_all(head.as_bytes()).ok()?;
            client.write_all(&body).ok()?;
            return Some(());
        }
        Some(Fault::Status(status)) => {
            let head = format!("HTTP/1.1 {status} Told So\r\ncontent-length: 0\r\n\r\n");
            return client.write_all(head.as_bytes()).ok();
        }
        Some(Fault::Cut(len)) => {
            client.write_all(head.as_bytes()).ok()?;
            client.write_all(&body[..len.min(body.len())]).ok()?;
        }
        Some(Fault::Hang(len)) => {
            client.write_all(head.as_bytes()).ok()?;
            client.write_all(&body[..len.min(body.len())]).ok()?;
            // Until the client has had enough.
            let _ = client.read(&mut [0; 1]);
        }
        Some(Fault::Drip(len)) => {
            client.write_all(head.as_bytes()).ok()?;
            for piece in body.chunks(len) {
                client.write_all(piece).ok()?;
                // The pause is the fault.
                std::thread::sleep(Duration::from_millis(20));
            }
            return Some(());
        }
        Some(Fault::Reset) => {}
        Some(Fault::Garbage) => {
            client.write_all(b"SMTP 12 \xff\xff\r\n\r\n").ok()?;
            client.write_all(&[0xff; 1000]).ok()?;
        }
        Some(Fault::OtherRange) => {
            let head = head.replace("ontent-range: bytes ", "ontent-range: bytes 1");
            let head = head.replace("ontent-Range: bytes ", "ontent-Range: bytes 1");
            client.write_all(head.as_bytes()).ok()?;
            client.write_all(&body).ok()?;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    None
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut body = vec![0; header(&head, "content-length").map_or(0, |len| len.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, head, body })
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v)
}

/// Ask the server behind.
fn forward(port: u16, request: &Request) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = request.head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&request.body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    // The connection to the client goes on.
    let head = String::from_utf8(answer).unwrap();
    let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    (lines.map(|line| format!("{line}\r\n")).collect(), body)
}

/// Answer from the files.
fn answer(files: &HashMap<String, (Vec<u8>, u64)>, request: &Request) -> (String, Vec<u8>) {
    let Some((content, version)) = files.get(request.path.trim_start_matches('/')) else {
        return ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(), Vec::new());
    };
    let tag = format!("\"v{version}\"");
    if header(&request.head, "if-match").is_some_and(|wanted| wanted != tag) {
        return ("HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\n\r\n".to_owned(), Vec::new());
    }
    let common = format!("etag: {tag}\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
    let range = header(&request.head, "range").and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some(from.parse::<usize>().ok()?..to.parse::<usize>().ok()? + 1)
    });
    let len = content.len();
    match range {
        _ if request.method == "HEAD" => {
            (format!("HTTP/1.1 200 OK\r\n{common}content-length: {len}\r\n\r\n"), Vec::new())
        }
        Some(range) => {
            let body = content[range.clone()].to_vec();
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\n{common}content-range: bytes {}-{}/{len}\r\ncontent-length: {}\r\n\r\n",
                range.start,
                range.end - 1,
                body.len()
            );
            (head, body)
        }
        None => (format!("HTTP/1.1 200 OK\r\n{common}content-length: {len}\r\n\r\n"), content.clone()),
    }
}

/// The bucket that [`Moto`] has, of the server at `url`.
pub fn s3(url: &str) -> S3 {
    S3 {
        endpoint: Some(url.to_owned()),
        bucket: "bucket".to_owned(),
        keys: Some(("the-key".to_owned(), "the-secret".to_owned())),
        allow_http: true,
        ..S3::default()
    }
}

/// A real S3-compatible server, as a child process.
pub struct Moto {
    child: Child,
    pub port: u16,
}

impl Moto {
    /// None, and a loud word, where there is no Python with moto: `SEDGE_PYTHON` names one.
    pub fn start() -> Option<Self> {
        let Some(python) = std::env::var_os("SEDGE_PYTHON") else {
            eprintln!(
                "SKIPPED: set SEDGE_PYTHON to a Python that has moto[server] to test against an S3 server"
            );
            return None;
        };
        let has_moto =
            Command::new(&python).args(["-c", "import moto.server"]).stderr(Stdio::null()).status();
        if !has_moto.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: {python:?} has no moto[server]: no test against an S3 server");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Self { child, port };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto's server does not start");
            std::thread::yield_now();
        }
        assert_eq!(moto.put("/bucket", b""), 200);
        Some(moto)
    }

    /// Make a bucket or an object; gives the status.
    pub fn put(&self, path: &str, body: &[u8]) -> u16 {
        self.ask("PUT", path, body)
    }

    pub fn delete(&self, path: &str) -> u16 {
        self.ask("DELETE", path, b"")
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> u16 {
        // Not verified, but asked for where an object is there already.
        let signed = "AWS4-HMAC-SHA256 Credential=the-key/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=00";
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {signed}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let request = Request { method: method.to_owned(), path: path.to_owned(), head, body: body.to_vec() };
        let (head, _) = forward(self.port, &request);
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
