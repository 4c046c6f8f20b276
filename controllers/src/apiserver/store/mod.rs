//! Objects on disk, and their changes in memory.
//!
//! ```text
//!  verbs ──write(closure)──▶ one writer, one transaction ──commit──▶ history ──▶ watches
//!  routes ──read(closure)──▶ a snapshot: objects and the version they stand at
//! ```
//!
//! SQLite in WAL mode with `synchronous=NORMAL`: what is acknowledged is in the operating system's hands, so
//! it survives any end of the process. A power cut may lose the latest commits, never consistency. The
//! watch history lives in memory: each opening moves the version far ahead, so that a watch from before,
//! even one that saw a lost commit, is told that its version is expired, and lists again.

mod history;
mod transaction;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use thiserror::Error;

pub use history::{Change, ChangeKind, History, HistoryLimits};
pub use transaction::{Key, Page, Snapshot, Tx};

use super::kinds::InvalidDefinition;
use super::status::ApiError;

/// The layout of the database that this build reads and writes.
const LAYOUT: i64 = 1;
/// How far each opening moves the version; more than the commits that a power cut can lose.
const LEAP: u64 = 1_000_000;
/// How long an opening waits for a predecessor to let go of the database.
const PATIENCE: Duration = Duration::from_secs(2);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS objects (
        resource TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        uid TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        PRIMARY KEY (resource, namespace, name)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS objects_by_namespace ON objects (namespace);
    CREATE TABLE IF NOT EXISTS owners (
        owner TEXT NOT NULL,
        resource TEXT NOT NULL,
        namespace TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (owner, resource, namespace, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS counter (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        version INTEGER NOT NULL
    ) STRICT;
    INSERT OR IGNORE INTO counter VALUES (0, 0);
";

/// Why the store cannot be opened or used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file cannot be made or opened.
    #[error("cannot open the database {path}: {source}", path = path.display())]
    Io {
        /// The database, or the lock beside it.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process, or another server in this one, has it open.
    #[error("the database {path} is in use by another manager; stop that one first", path = path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// A later build wrote it.
    #[error("the database has layout {found}, this build reads {LAYOUT}; use the build that wrote it")]
    Layout {
        /// What the file says.
        found: i64,
    },
    /// A definition that cannot be served.
    #[error(transparent)]
    Definition(#[from] InvalidDefinition),
    /// SQLite failed.
    #[error("database: {0}")]
    Database(#[from] rusqlite::Error),
    /// A row that is not what was written.
    #[error("the stored object {object} cannot be read: {source}")]
    Corrupt {
        /// Resource, namespace and name.
        object: String,
        /// Why.
        source: serde_json::Error,
    },
    /// What every database holds at least could not be written.
    #[error("cannot prepare the database: {0}")]
    Prepare(ApiError),
    /// The thread that worked on the database ended early.
    #[error("the work on the database was cut off")]
    CutOff,
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::internal("storage", &error)
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

/// The database and the history of changes.
pub struct Store {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    history: History,
    /// Held as long as the store lives; the operating system lets go when the process ends.
    _lock: File,
}

impl Store {
    /// Open the database at `path`, made with mode 0600 where it is not there.
    pub fn open(path: &Path, limits: HistoryLimits) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        private_file(path)?;
        let mut writer = connect(path)?;
        match writer.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
            0 | LAYOUT => writer.pragma_update(None, "user_version", LAYOUT)?,
            found => return Err(StoreError::Layout { found }),
        }
        let tx = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(TABLES)?;
        let version = transaction::version(&tx)?.saturating_add(LEAP);
        transaction::set_version(&tx, version)?;
        tx.commit()?;
        let reader = connect(path)?;
        reader.pragma_update(None, "query_only", true)?;
        let history = History::new(version, limits);
        Ok(Self { writer: Mutex::new(writer), reader: Mutex::new(reader), history, _lock: lock })
    }

    /// The changes since it was opened.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Run `work` in one transaction and publish its changes. Nothing is kept where it fails, or where
    /// `dry_run` is set. Blocks: see [`Store::write`].
    pub fn write_now<T>(
        &self,
        dry_run: bool,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let mut writer = self.writer.lock();
        let mut tx = Tx::begin(writer.transaction_with_behavior(TransactionBehavior::Immediate)?)?;
        let outcome = work(&mut tx)?;
        if !dry_run {
            // A reader may see the commit before the history has it; its watch must not take that for the future.
            self.history.announce(tx.version());
            self.history.publish(tx.commit()?);
        }
        Ok(outcome)
    }

    /// [`Store::write_now`] on a thread that may block. It runs to its end even if nobody waits for it.
    pub async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        dry_run: bool,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || store.write_now(dry_run, work)).await;
        done.map_err(|_| StoreError::CutOff)?
    }

    /// Run `work` on a consistent snapshot, on a thread that may block.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Snapshot<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let store = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut reader = store.reader.lock();
            work(&Snapshot::begin(reader.transaction()?)?)
        });
        done.await.map_err(|_| StoreError::CutOff)?
    }
}

/// One server has the database: a second would not see the first one's changes pass.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = private_file(Path::new(&beside))?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(StoreError::Io { path: beside.into(), source }),
        }
    }
}

fn private_file(path: &Path) -> Result<File, StoreError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    file.map_err(|source| StoreError::Io { path: path.to_owned(), source })
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)).optional()?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
