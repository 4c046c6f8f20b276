//! The datasets that this node is to hold: read once, watched, shared by the workers that are granted them.
//!
//! ```text
//!  supervisor ─ wanted ─▶ a task each: watch ─ changed ─▶ refresh ─▶ samples of now ─▶ workers
//!                                                             └─▶ status ─▶ board
//! ```
//! What is no longer wanted is let go, and its memory with its last reader. A worker keeps the samples that it was granted
//! when it started; what is added is there for the next.

mod definition;
mod held;
mod status;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use cap_std::fs::Dir;
use parking_lot::Mutex;
use sedge_api::node::{self, DatasetStatus};
use sedge_data::{DataError, Description, Format, Growth, Pace, Watch};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::definition::{Definition, definition};
pub(crate) use self::held::Held;
use super::Board;
use crate::data::Dataset;
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
    /// As it was read, with the classes that were learnt; None before.
    description: Option<Arc<Description>>,
    cancel: CancellationToken,
}

/// Datasets by namespace/name.
pub(crate) struct Shelf {
    folder: Arc<Dir>,
    board: Arc<Board>,
    books: Mutex<BTreeMap<String, Book>>,
    changed: watch::Sender<u64>,
    /// Reading takes memory and disk: one at a time; and one of a store, which may be slow, while files here go on being read.
    reading: Semaphore,
    fetching: Semaphore,
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
            fetching: Semaphore::new(1),
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
                place.insert(Book { wanted: dataset, copy: Copy::Opening, description: None, cancel });
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
        let Definition { description, .. } = definition(&wanted, &self.folder, Handle::current())
            .map_err(|(reason, error)| (reason, format!("{key}: {error}")))?;
        if wanted.elsewhere.is_some() {
            let text = format!("{key}: hard examples are kept in a dataset of the node's own files");
            return Err(("DatasetUnsuitable", text));
        }
        if description.format != Format::Npz {
            let text = format!("{key}: hard examples are kept in a dataset of format npz");
            return Err(("DatasetUnsuitable", text));
        }
        let made = self.folder.create_dir_all(&wanted.path).and_then(|()| self.folder.open_dir(&wanted.path));
        made.map_err(|error| ("DatasetUnsuitable", format!("{key}: the folder {}: {error}", wanted.path)))
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

    /// Read a dataset, and go on reading what is added to it, until it is no longer wanted.
    async fn open(self: Arc<Self>, key: String, wanted: node::Dataset, cancel: CancellationToken) {
        let defined = definition(&wanted, &self.folder, Handle::current());
        let made = defined.and_then(|Definition { origin, description }| {
            let origin = origin.cancelled_by(cancel.child_token());
            let (format, limits) = (description.format, description.limits.clone());
            let dataset = sedge_data::Dataset::new(origin.clone(), description);
            let dataset = dataset.map_err(|error| (error.reason(), error.to_string()))?;
            Ok((dataset, Watch::start(origin, format, limits, Pace::default(), &Handle::current())))
        });
        let (mut dataset, mut watch) = match made {
            Ok(made) => made,
            Err((reason, message)) => {
                // Another definition, or the Secret, makes another book.
                let status = status::unknown(&wanted);
                self.put(&key, &cancel, status, Copy::Failed(reason, message));
                return;
            }
        };
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
        let mut retry = false;
        // The error that was told last, or that there was none.
        let mut told: Option<Option<String>> = None;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = watch.changed() => if changed.is_none() { return },
                // What changes nothing that a watch sees, such as a server that answers again.
                () = tokio::time::sleep(backoff.next()), if retry => {}
            }
            let read = tokio::select! {
                () = cancel.cancelled() => return,
                read = self.refresh(dataset) => read,
            };
            let Some((refreshed, outcome)) = read else {
                let message = "reading the dataset ended unexpectedly; see the node's log".to_owned();
                let status = status::unknown(&wanted);
                self.put(&key, &cancel, status, Copy::Failed("Malformed", message));
                return;
            };
            dataset = refreshed;
            // A file that is as it should not be is read again when it has changed, and not before.
            retry = outcome
                .as_ref()
                .is_err_and(|error| matches!(error.reason(), "NotFound" | "Unreadable" | "Unreachable"));
            if !retry {
                backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(30));
            }
            let now = outcome.as_ref().err().map(ToString::to_string);
            let news = !matches!(&outcome, Ok(growth) if growth.is_none());
            if told.as_ref() == Some(&now) && (now.is_some() || !news) {
                continue;
            }
            told = Some(now);
            self.tell(&key, &wanted, &cancel, &dataset, outcome);
        }
    }

    /// Read what is new. None: it ended unexpectedly.
    async fn refresh(
        &self,
        mut dataset: sedge_data::Dataset,
    ) -> Option<(sedge_data::Dataset, Result<Growth, DataError>)> {
        let turns = match dataset.origin() {
            sedge_data::Origin::Local(_) => &self.reading,
            sedge_data::Origin::Remote(_) => &self.fetching,
        };
        // The semaphore is never closed; were it, reading without it would do no harm.
        let _one_at_a_time = turns.acquire().await;
        let read = move || {
            let growth = dataset.refresh();
            (dataset, growth)
        };
        tokio::task::spawn_blocking(read).await.ok()
    }

    fn tell(
        &self,
        key: &str,
        wanted: &node::Dataset,
        cancel: &CancellationToken,
        dataset: &sedge_data::Dataset,
        outcome: Result<Growth, DataError>,
    ) {
        let granted = Dataset::of(dataset.origin().name(), dataset.samples());
        let mut status = status::read(wanted, dataset, granted.as_ref().ok());
        let copy = match (granted, outcome) {
            (Ok(granted), Ok(_)) => Copy::Ready(Arc::new(granted)),
            // What was read before goes on to be granted.
            (Ok(granted), Err(error)) => {
                error.reason().clone_into(&mut status.reason);
                status.message = error.to_string();
                Copy::Ready(Arc::new(granted))
            }
            (Err(error), Ok(_)) => Copy::Failed("NoSamples", error.to_string()),
            (Err(_), Err(error)) => Copy::Failed(error.reason(), error.to_string()),
        };
        if let Some(book) = self.books.lock().get_mut(key).filter(|_| !cancel.is_cancelled()) {
            book.description = Some(Arc::new(dataset.description().clone()));
        }
        self.put(key, cancel, status, copy);
    }

    fn put(&self, key: &str, cancel: &CancellationToken, mut status: DatasetStatus, copy: Copy) {
        let mut books = self.books.lock();
        // Cancelled under the same lock when it is no longer wanted.
        if cancel.is_cancelled() {
            return;
        }
        let Some(book) = books.get_mut(key) else { return };
        if let Copy::Failed(reason, message) = &copy {
            (*reason).clone_into(&mut status.reason);
            status.message.clone_from(message);
        }
        book.copy = copy;
        self.board.put_dataset(status);
        drop(books);
        self.changed.send_modify(|count| *count += 1);
    }
}
