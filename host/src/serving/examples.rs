//! Hard examples, kept on the node: the inputs of hard samples, as a folder of NPZ files that a Dataset reads.
//!
//! Requests hand them over and go on; one task writes. A file is of one minute at most or one mebibyte; the oldest go
//! first when the folder is over its size, and each when it is over its age. What comes faster than it can be written
//! is left out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::samples;
use crate::artifacts::durable;
use crate::data::write_npz;
use crate::runtime::NamedTensors;

/// Requests whose samples wait to be written.
const WAITING: usize = 256;
/// Bytes of one file, about.
const FILE: usize = 1 << 20;
/// How long samples wait in memory for more.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often files over their age are looked for.
const LOOK: Duration = Duration::from_secs(60);

/// How much is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bounds {
    pub bytes: u64,
    pub age: Duration,
}

/// Takes hard examples.
pub(super) struct Examples {
    taken: mpsc::Sender<NamedTensors>,
    cancel: CancellationToken,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Examples {
    /// Keep them in `folder`.
    pub fn keep(folder: Arc<Dir>, bounds: Bounds) -> Self {
        let (sender, taken) = mpsc::channel(WAITING);
        let cancel = CancellationToken::new();
        let writer = tokio::spawn(write(folder, bounds, taken, cancel.clone()));
        Self { taken: sender, cancel, writer: Mutex::new(Some(writer)) }
    }

    /// Write what was taken, and take no more.
    pub async fn close(&self) {
        self.cancel.cancel();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // A panic of the writer has been reported where it happened.
            let _ = writer.await;
        }
    }

    /// Take the samples `rows` of a request's inputs, unless too many wait.
    pub fn take(&self, inputs: &NamedTensors, rows: &[usize]) {
        let Ok(place) = self.taken.try_reserve() else { return };
        if let Ok(samples) = samples::select(inputs, rows) {
            place.send(samples);
        }
    }
}

impl Drop for Examples {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

async fn write(
    folder: Arc<Dir>,
    bounds: Bounds,
    mut taken: mpsc::Receiver<NamedTensors>,
    cancel: CancellationToken,
) {
    let mut waiting: Vec<NamedTensors> = Vec::new();
    let mut since = Instant::now();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let ended = tokio::select! {
            () = cancel.cancelled() => {
                taken.close();
                while let Some(more) = taken.recv().await {
                    waiting.push(more);
                }
                true
            }
            more = taken.recv() => match more {
                Some(more) => {
                    if waiting.is_empty() {
                        since = Instant::now();
                    }
                    // A file has samples of one kind.
                    let other = waiting.first().filter(|first| !samples::alike(first, &more));
                    if other.is_some() {
                        put(&folder, &bounds, std::mem::take(&mut waiting)).await;
                    }
                    waiting.push(more);
                    false
                }
                None => true,
            },
            () = tokio::time::sleep_until(since + PATIENCE), if !waiting.is_empty() => false,
            _ = look.tick() => {
                let (folder, bounds) = (Arc::clone(&folder), bounds.clone());
                let now = jiff::Timestamp::now().as_microsecond();
                report(tokio::task::spawn_blocking(move || clear(&folder, &bounds, now)).await);
                false
            }
        };
        let bytes: usize = waiting.iter().flatten().map(|(_, tensor)| tensor.byte_len()).sum();
        if !waiting.is_empty() && (ended || bytes >= FILE || since.elapsed() >= PATIENCE) {
            put(&folder, &bounds, std::mem::take(&mut waiting)).await;
        }
        if ended {
            return;
        }
    }
}

async fn put(folder: &Arc<Dir>, bounds: &Bounds, parts: Vec<NamedTensors>) {
    let (folder, bounds) = (Arc::clone(folder), bounds.clone());
    let now = jiff::Timestamp::now().as_microsecond();
    let put = tokio::task::spawn_blocking(move || {
        let joined = samples::join(&parts).map_err(io::Error::other)?;
        let mut file = io::Cursor::new(Vec::new());
        write_npz(&mut file, &joined)?;
        durable::replace(&folder, &format!("{now:020}.npz"), &[file.into_inner()])?;
        clear(&folder, &bounds, now)
    });
    report(put.await);
}

fn report(done: Result<io::Result<()>, JoinError>) {
    if let Err(error) = done.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, "the folder of hard examples could not be kept");
    }
}

/// Remove the oldest files until the others are within the bounds. Blocking.
fn clear(folder: &Dir, bounds: &Bounds, now: i64) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in folder.entries()? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Files of other names are not ours.
        let written = name.strip_suffix(".npz").and_then(|stem| stem.parse::<i64>().ok());
        if let Some(written) = written {
            files.push((written, name, entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    let mut total: u64 = files.iter().map(|(_, _, len)| len).sum();
    let oldest = now.saturating_sub(i64::try_from(bounds.age.as_micros()).unwrap_or(i64::MAX));
    for (written, name, len) in files {
        if total > bounds.bytes || written < oldest {
            folder.remove_file(name)?;
            total -= len;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Description, Format, Split};
    use crate::nn::Tensor;

    fn request(values: [f32; 2]) -> NamedTensors {
        vec![("x".to_owned(), Tensor::from_vec(&[2], values.to_vec()).unwrap())]
    }

    #[tokio::test]
    async fn what_was_hard_is_a_dataset() {
        let data = tempfile::tempdir().unwrap();
        let root = Dir::open_ambient_dir(data.path(), cap_std::ambient_authority()).unwrap();
        root.create_dir("hard").unwrap();
        let folder = Arc::new(root.open_dir("hard").unwrap());
        let bounds = Bounds { bytes: 1 << 20, age: Duration::from_secs(3600) };
        let examples = Examples::keep(folder, bounds);
        examples.take(&request([1.0, 2.0]), &[1]);
        examples.take(&request([3.0, 4.0]), &[0, 1]);
        examples.close().await;
        let description = Description { format: Format::Npz, ..Description::default() };
        let dataset = Dataset::open(&root, "hard", description).unwrap();
        assert_eq!(dataset.size(Split::All), 3);
    }

    #[test]
    fn the_oldest_go_first_and_other_files_stay() {
        let data = tempfile::tempdir().unwrap();
        let folder = Dir::open_ambient_dir(data.path(), cap_std::ambient_authority()).unwrap();
        let second = 1_000_000;
        for (name, len) in [("7000000.npz", 10), ("8000000.npz", 10), ("9000000.npz", 10), ("mine.npz", 99)] {
            folder.write(name, vec![0; len]).unwrap();
        }
        let left = |bytes, seconds| {
            let bounds = Bounds { bytes, age: Duration::from_secs(seconds) };
            clear(&folder, &bounds, 10 * second).unwrap();
            let mut names: Vec<_> = folder
                .entries()
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(left(30, 60), ["7000000.npz", "8000000.npz", "9000000.npz", "mine.npz"]);
        assert_eq!(left(20, 60), ["8000000.npz", "9000000.npz", "mine.npz"]);
        assert_eq!(left(20, 1), ["9000000.npz", "mine.npz"]);
    }
}
