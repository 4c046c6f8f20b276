//! A guest's standard output and error, cut into lines for its log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::Observer;

/// Bytes of one line that are kept; what is longer goes on as another line.
const MAX_LINE: usize = 4096;
/// Bytes taken in one write.
const MAX_WRITE: usize = 64 * 1024;

/// Where a guest's output goes: an [`Observer`], line by line.
#[derive(Clone)]
pub struct Lines(Arc<Mutex<Partial>>);

struct Partial {
    line: Vec<u8>,
    observer: Arc<dyn Observer>,
}

impl Lines {
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Mutex::new(Partial { line: Vec::new(), observer })))
    }

    fn push(&self, bytes: &[u8]) {
        self.0.lock().push(bytes);
    }
}

impl Partial {
    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = &bytes[..bytes.len().min(MAX_LINE - self.line.len())];
            let newline = room.iter().position(|byte| *byte == b'\n');
            self.line.extend_from_slice(&room[..newline.unwrap_or(room.len())]);
            bytes = &bytes[newline.map_or(room.len(), |at| at + 1)..];
            if newline.is_some() || self.line.len() == MAX_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        self.observer.log(&String::from_utf8_lossy(&self.line));
        self.line.clear();
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

impl Pollable for Lines {
    fn ready<'life, 'future>(&'life mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Metric;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn log(&self, line: &str) {
            self.0.lock().push(line.to_owned());
        }
        fn progress(&self, _: u64, _: u64, _: &[Metric]) {}
        fn should_stop(&self) -> bool {
            false
        }
    }

    #[test]
    fn writes_become_lines_and_the_last_needs_no_newline() {
        let heard = Arc::new(Heard::default());
        let lines = Lines::new(Arc::clone(&heard) as Arc<dyn Observer>);
        for write in ["ep", "och 1\nepoch", " 2\n\nend"] {
            lines.push(write.as_bytes());
        }
        drop(lines);
        assert_eq!(*heard.0.lock(), ["epoch 1", "epoch 2", "", "end"]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let heard = Arc::new(Heard::default());
        let lines = Lines::new(Arc::clone(&heard) as Arc<dyn Observer>);
        lines.push(&vec![b'x'; 3 * MAX_LINE + 5]);
        drop(lines);
        let lengths: Vec<usize> = heard.0.lock().iter().map(String::len).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, MAX_LINE, 5]);
    }
}
