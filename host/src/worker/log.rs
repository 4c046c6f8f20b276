//! A worker's log: `log` in its folder, and `log.1`, what was rotated out. Bounded on disk and in memory.
//!
//! Lines come through a bounded queue that never blocks who writes; a line that finds it full is counted,
//! and the count is written when there is room again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cap_std::fs::{Dir, OpenOptions};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};

use crate::artifacts::durable;

const CURRENT: &str = "log";
const ROTATED: &str = "log.1";
/// Size at which a file is rotated out: two of these are kept.
const MAX_BYTES: u64 = 1 << 20;
/// Longest line in bytes; what is longer is cut.
const MAX_LINE: usize = 8 << 10;
/// Lines that wait for the disk.
const QUEUE: usize = 1024;
/// Batches of lines that wait for a follower.
const FOLLOW: usize = 64;

/// Why a log was not read.
#[derive(Debug, Error)]
#[error("the log cannot be read: {0}")]
pub struct LogError(#[from] io::Error);

/// The log of one worker.
pub struct WorkerLog {
    dir: Dir,
    max_bytes: u64,
    /// Held over each append and each read, so that who follows misses nothing and hears nothing twice.
    size: Mutex<u64>,
    fresh: broadcast::Sender<Arc<str>>,
}

impl WorkerLog {
    /// The log in a worker's folder. Blocking.
    pub fn open(dir: Dir) -> io::Result<Self> {
        Self::bounded(dir, MAX_BYTES)
    }

    fn bounded(dir: Dir, max_bytes: u64) -> io::Result<Self> {
        let size = match dir.metadata(CURRENT) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        Ok(Self { dir, max_bytes, size: Mutex::new(size), fresh: broadcast::Sender::new(FOLLOW) })
    }

    /// Blocking.
    fn append(&self, lines: &[String]) -> io::Result<()> {
        let mut text: String = lines.concat();
        let mut size = self.size.lock();
        if *size > 0 && *size + text.len() as u64 > self.max_bytes {
            self.dir.rename(CURRENT, &self.dir, ROTATED)?;
            *size = 0;
        }
        if text.len() as u64 > self.max_bytes {
            let cut = text.len() - self.max_bytes as usize;
            let cut = text[text.ceil_char_boundary(cut)..].find('\n').map_or(text.len(), |at| cut + at + 1);
            text.drain(..text.ceil_char_boundary(cut));
        }
        let mut file = self.dir.open_with(CURRENT, OpenOptions::new().append(true).create(true))?;
        file.write_all(text.as_bytes())?;
        *size += text.len() as u64;
        // Nobody follows: fine.
        let _ = self.fresh.send(text.into());
        Ok(())
    }

    /// The last `lines` lines (0: all that are kept), and what is written from now on. Blocking.
    pub fn tail(&self, lines: usize) -> Result<(String, broadcast::Receiver<Arc<str>>), LogError> {
        let _appends_wait = self.size.lock();
        let mut bytes = Vec::new();
        for name in [ROTATED, CURRENT] {
            // A batch may be as long as a file.
            bytes.extend(durable::read(&self.dir, name, 2 * self.max_bytes)?.unwrap_or_default());
        }
        let text = String::from_utf8_lossy(&bytes);
        let start = match lines {
            0 => 0,
            lines => {
                text.trim_end_matches('\n').rmatch_indices('\n').nth(lines - 1).map_or(0, |(at, _)| at + 1)
            }
        };
        Ok((text[start..].to_owned(), self.fresh.subscribe()))
    }
}

/// Where a worker's lines go in; clone shares the queue.
#[derive(Clone)]
pub(crate) struct Lines {
    queue: mpsc::Sender<String>,
    dropped: Arc<AtomicU64>,
}

impl Lines {
    /// Lines for `log`, and the future that writes them until the last `Lines` is gone.
    pub(crate) fn new(log: Arc<WorkerLog>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        (Self { queue, dropped: Arc::clone(&dropped) }, write(log, waiting, dropped))
    }

    /// Never blocks; a line that finds the queue full is counted instead.
    pub(crate) fn push(&self, line: &str) {
        if self.queue.try_send(format_line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn write(log: Arc<WorkerLog>, mut waiting: mpsc::Receiver<String>, dropped: Arc<AtomicU64>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, 256).await > 0 {
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => batch.push(format_line(&format!("{count} lines dropped: they came too fast"))),
        }
        let (log, lines) = (Arc::clone(&log), std::mem::take(&mut batch));
        let written = tokio::task::spawn_blocking(move || log.append(&lines)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "a worker's log cannot be written");
        }
    }
}

/// RFC 3339 time, the line cut to its bound and without characters that move a terminal's cursor, newline.
fn format_line(line: &str) -> String {
    let end = line.floor_char_boundary(MAX_LINE);
    let clean = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    let text: String = line[..end].chars().map(clean).collect();
    format!("{:.3} {text}\n", jiff::Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(max_bytes: u64) -> (tempfile::TempDir, WorkerLog) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let log = WorkerLog::bounded(dir, max_bytes).unwrap();
        (folder, log)
    }

    fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|n| format!("{n:03}\n")).collect()
    }

    #[test]
    fn two_files_of_bounded_size_are_kept() {
        let (folder, log) = log(20);
        for n in 0..100 {
            log.append(&numbered(n..n + 1)).unwrap();
        }
        let size = |name| std::fs::metadata(folder.path().join(name)).unwrap().len();
        assert_eq!((size("log"), size("log.1")), (20, 20));
        assert_eq!(log.tail(0).unwrap().0, numbered(90..100).concat());
    }

    #[test]
    fn the_tail_is_the_last_lines_and_then_what_comes() {
        let (_folder, log) = log(1000);
        log.append(&numbered(0..10)).unwrap();
        let (text, mut fresh) = log.tail(2).unwrap();
        assert_eq!(text, "008\n009\n");
        log.append(&numbered(10..12)).unwrap();
        assert_eq!(&*fresh.try_recv().unwrap(), "010\n011\n");
        assert_eq!(log.tail(99).unwrap().0, numbered(0..12).concat());
    }

    #[test]
    fn an_empty_log_has_an_empty_tail() {
        let (_folder, log) = log(1000);
        assert_eq!(log.tail(5).unwrap().0, "");
    }

    #[test]
    fn a_batch_longer_than_a_file_keeps_its_end() {
        let (_folder, log) = log(20);
        log.append(&numbered(0..100)).unwrap();
        let (text, _) = log.tail(0).unwrap();
        assert!(text.len() <= 20 && text.ends_with("099\n") && text.starts_with('0'), "{text:?}");
    }

    #[test]
    fn a_line_bears_its_time_and_cannot_drive_the_terminal() {
        let line = format_line("a\u{1b}[2Jb\r");
        let (time, text) = line.split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(text, "a\u{fffd}[2Jb\u{fffd}\n");
        assert!(format_line(&"é".repeat(MAX_LINE)).len() < MAX_LINE + 64);
    }

    #[tokio::test]
    async fn lines_that_come_too_fast_are_counted() {
        let (_folder, log) = log(1 << 20);
        let log = Arc::new(log);
        let (lines, writer) = Lines::new(Arc::clone(&log));
        for n in 0..QUEUE + 5 {
            lines.push(&n.to_string());
        }
        drop(lines);
        writer.await;
        let (text, _) = log.tail(0).unwrap();
        assert_eq!(text.lines().count(), QUEUE + 1);
        assert!(text.contains(" 5 lines dropped"));
    }
}
