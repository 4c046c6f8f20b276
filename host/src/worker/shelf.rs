//! The datasets that this node is to hold: opened once, shared by the workers that are granted them.
//!
//! The supervisor says which; each is read by a task of its own, whose outcome goes to the board, and workers
//! wait here for theirs. What is no longer wanted is let go, and its memory with its last reader.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use parking_lot::Mutex;
use sedge_api::node::{self, DatasetStatus};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Board;
use crate::data::{DataError, Dataset, Format, Source, Split};
use crate::link::backoff::Backoff;

/// What there is of a dataset.
#[derive(Clone)]
pub(crate) enum Copy {
    /// Being read.
    Opening,
    /// Read.
    Ready(Arc<Dataset>),
    /// Not read, and why: CamelCase word and sentence.
    Failed(&'static str, String),
}

struct Book {
    wanted: node::Dataset,
    copy: Copy,
    cancel: CancellationToken,
}

/// Datasets by namespace/name.
pub(crate) struct Shelf {
    folder: Arc<Dir>,
    board: Arc<Board>,
    books: Mutex<BTreeMap<String, Book>>,
    changed: watch::Sender<u64>,
    /// Reading takes memory and disk: one at a time.
    reading: Semaphore,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Shelf {
    /// Datasets below `folder`.
    pub(crate) fn new(folder: Dir, board: Arc<Board>, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            folder: Arc::new(folder),
            board,
            books: Mutex::default(),
            changed: watch::Sender::new(0),
            reading: Semaphore::new(1),
            tasks: TaskTracker::new(),
            shutdown,
        })
    }

    /// Hold these and no others.
    pub(crate) fn want(self: &Arc<Self>, datasets: Vec<node::Dataset>) {
        let wanted: BTreeMap<_, _> = datasets
            .into_iter()
            .map(|dataset| (format!("{}/{}", dataset.namespace, dataset.name), dataset))
            .collect();
        let mut books = self.books.lock();
        books.retain(|key, book| {
            let keep = wanted.get(key) == Some(&book.wanted);
            if !keep {
                book.cancel.cancel();
            }
            if !wanted.contains_key(key) {
                self.board.remove_dataset(key);
            }
            keep
        });
        for (key, dataset) in wanted {
            if let Entry::Vacant(place) = books.entry(key) {
                let cancel = self.shutdown.child_token();
                let open = Arc::clone(self).open(place.key().clone(), dataset.clone(), cancel.clone());
                self.tasks.spawn(open);
                place.insert(Book { wanted: dataset, copy: Copy::Opening, cancel });
            }
        }
        drop(books);
        self.changed.send_modify(|count| *count += 1);
    }

    /// What there is of a dataset; None where it is not to be held here.
    pub(crate) fn find(&self, key: &str) -> Option<Copy> {
        self.books.lock().get(key).map(|book| book.copy.clone())
    }

    /// The folder of a dataset that this node writes into, made where there is none. Blocking. Err: CamelCase word and
    /// sentence.
    pub(crate) fn folder(&self, key: &str) -> Result<Dir, (&'static str, String)> {
        let wanted = self.books.lock().get(key).map(|book| book.wanted.clone());
        let wanted =
            wanted.ok_or_else(|| ("DatasetNotFound", format!("{key} is not a dataset of this node")))?;
        let source = source(&wanted).map_err(|error| (error.reason, format!("{key}: {error}")))?;
        if source.format != Format::Npz {
            let text = format!("{key}: hard examples are kept in a dataset of format npz");
            return Err(("DatasetUnsuitable", text));
        }
        let made = self.folder.create_dir_all(&source.path).and_then(|()| self.folder.open_dir(&source.path));
        made.map_err(|error| ("DatasetUnsuitable", format!("{key}: the folder {}: {error}", source.path)))
    }

    /// Hears of every change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Returns when no task is left; after `shutdown`.
    pub(crate) async fn closed(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Read a dataset; one whose file is not there is looked for again.
    async fn open(self: Arc<Self>, key: String, wanted: node::Dataset, cancel: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
        loop {
            let read = tokio::select! {
                () = cancel.cancelled() => return,
                read = self.read(&wanted) => read,
            };
            let missing = matches!(&read, Err(error) if error.reason == "NotFound");
            self.put(&key, &wanted, &cancel, read);
            if !missing {
                return;
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    async fn read(&self, wanted: &node::Dataset) -> Result<Dataset, DataError> {
        let source = source(wanted)?;
        // The semaphore is never closed; were it, reading without it would do no harm.
        let _one_at_a_time = self.reading.acquire().await;
        let folder = Arc::clone(&self.folder);
        let read = tokio::task::spawn_blocking(move || Dataset::open(&folder, &source)).await;
        read.unwrap_or_else(|error| Err(DataError { reason: "Malformed", message: error.to_string() }))
    }

    fn put(
        &self,
        key: &str,
        wanted: &node::Dataset,
        cancel: &CancellationToken,
        read: Result<Dataset, DataError>,
    ) {
        let mut books = self.books.lock();
        // Cancelled under the same lock when it is no longer wanted.
        if cancel.is_cancelled() {
            return;
        }
        let Some(book) = books.get_mut(key) else { return };
        let mut status = DatasetStatus {
            namespace: wanted.namespace.clone(),
            name: wanted.name.clone(),
            generation: wanted.generation,
            ..DatasetStatus::default()
        };
        book.copy = match read {
            Ok(dataset) => {
                status.ready = true;
                status.samples = dataset.size(Split::All) as u64;
                status.columns = dataset.columns().iter().map(column).collect();
                Copy::Ready(Arc::new(dataset))
            }
            Err(error) => {
                error.reason.clone_into(&mut status.reason);
                status.message.clone_from(&error.message);
                Copy::Failed(error.reason, error.message)
            }
        };
        self.board.put_dataset(status);
        drop(books);
        self.changed.send_modify(|count| *count += 1);
    }
}

fn column(column: &crate::data::Column) -> node::Column {
    node::Column {
        name: column.name.clone(),
        dtype: format!("{:?}", column.dtype).to_lowercase(),
        shape: column.shape.iter().map(|size| *size as u64).collect(),
    }
}

fn source(dataset: &node::Dataset) -> Result<Source, DataError> {
    let format = match dataset.format() {
        node::Format::Csv => Format::Csv,
        node::Format::Npy => Format::Npy,
        node::Format::Npz => Format::Npz,
        node::Format::Unspecified => {
            return Err(DataError { reason: "Malformed", message: "the dataset names no format".to_owned() });
        }
    };
    if !(0.0..1.0).contains(&dataset.test_share) {
        let message = format!("the test share {} is not from 0 to below 1", dataset.test_share);
        return Err(DataError { reason: "Malformed", message });
    }
    Ok(Source {
        path: dataset.path.clone(),
        format,
        label: (!dataset.label.is_empty()).then(|| dataset.label.clone()),
        test_share: dataset.test_share,
        split_seed: dataset.split_seed,
    })
}
