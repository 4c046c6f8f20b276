//! Datasets: samples of a file on this node, as batches of tensors.
//!
//! ```text
//!  Source (node protocol) ──▶ csv │ npy │ npz ──▶ Dataset (columns in memory) ──▶ Batches ──▶ tensors
//! ```
//!
//! [`worker`](crate::worker) opens what a job grants; [`runtime`](crate::runtime) reads batches for guests.
//! Files are reached through the directory that the node's operator named, and through nothing else.

mod batches;
mod csv;
mod npy;
mod npz;
mod order;

use std::fmt;
use std::io::{BufReader, Read as _};
use std::sync::Arc;

use cap_std::fs::Dir;

pub use self::batches::Batches;
pub(crate) use self::npz::write as write_npz;
use crate::nn::{DType, Tensor};

/// Largest file that is read, and the most that an array in it may unpack to, in bytes.
pub const MAX_BYTES: u64 = 4 << 30;

/// What the node protocol says of a dataset, parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Below the directory of datasets.
    pub path: String,
    /// How the file is written.
    pub format: Format,
    /// CSV: name or zero-based index of the column of labels. NPY of two dimensions: its zero-based index.
    /// NPZ: the array of labels.
    pub label: Option<String>,
    /// Share of the samples that [`Split::Test`] gets, from 0 to below 1.
    pub test_share: f64,
    /// Decides which samples these are.
    pub split_seed: u64,
}

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, with a heading unless every cell of the first row is a number. Gives `x`
    /// (f32, samples × features) and, with a label, `y` (i64).
    Csv,
    /// A NumPy array; the first dimension is the samples. Gives `x`, and `y` as CSV does.
    Npy,
    /// NumPy arrays under names, which are kept; or a folder of such files with the same names, whose samples come one
    /// after the other in the order of the files' names.
    Npz,
}

/// Which samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// All but those of [`Split::Test`].
    Train,
    /// Held out by the source's share and seed.
    Test,
    /// All of them.
    All,
}

/// Why a dataset was not read; `reason` is one CamelCase word.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct DataError {
    /// `NotFound`, `Unreadable`, `TooLarge`, `Malformed`, `Unsupported`, `NoSuchLabel` or `InvalidSplit`.
    pub reason: &'static str,
    /// With file, and line and column where there are some.
    pub message: String,
}

impl DataError {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn malformed(path: &str, what: impl fmt::Display) -> Self {
        Self::new("Malformed", format!("{path}: {what}"))
    }
}

/// A tensor of each batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in a batch.
    pub name: String,
    /// Its elements.
    pub dtype: DType,
    /// Per sample.
    pub shape: Vec<usize>,
}

/// Samples in memory.
pub struct Dataset {
    columns: Vec<Column>,
    /// One per column; the first dimension is the samples.
    arrays: Vec<Tensor>,
    all: Arc<[u32]>,
    train: Arc<[u32]>,
    test: Arc<[u32]>,
}

impl Dataset {
    /// Read all of it. Blocking.
    pub fn open(dir: &Dir, source: &Source) -> Result<Self, DataError> {
        let path = source.path.as_str();
        if !(0.0..1.0).contains(&source.test_share) {
            return Err(DataError::new(
                "InvalidSplit",
                format!("{path}: a test share of {} is not from 0 to below 1", source.test_share),
            ));
        }
        let unreadable = |error: std::io::Error| {
            let reason = match error.kind() {
                std::io::ErrorKind::NotFound => "NotFound",
                _ => "Unreadable",
            };
            DataError::new(reason, format!("cannot read {path}: {error}"))
        };
        // Before it is opened: opening a pipe would wait for its other end.
        if source.format == Format::Npz && dir.metadata(path).map_err(unreadable)?.is_dir() {
            let folder = dir.open_dir(path).map_err(unreadable)?;
            return Self::new(path, npz::read_folder(&folder, path, source.label.as_deref())?, source);
        }
        if !dir.metadata(path).map_err(unreadable)?.is_file() {
            return Err(DataError::new("Unreadable", format!("cannot read {path}: not a file")));
        }
        let file = dir.open(path).map_err(unreadable)?.into_std();
        let len = file.metadata().map_err(unreadable)?.len();
        if len > MAX_BYTES {
            let message = format!("{path} has {len} bytes; at most {MAX_BYTES} are read");
            return Err(DataError::new("TooLarge", message));
        }
        let mut file = BufReader::with_capacity(1 << 16, file);
        let label = source.label.as_deref();
        let arrays = match source.format {
            // Not more than it was found to have, should it grow meanwhile.
            Format::Csv => csv::read(file.take(len), path, label)?,
            Format::Npy => npy::read(&mut file, path, label)?,
            Format::Npz => npz::read(&mut file, path, label)?,
        };
        Self::new(path, arrays, source)
    }

    fn new(path: &str, arrays: Vec<(String, Tensor)>, source: &Source) -> Result<Self, DataError> {
        let mut samples = None;
        for (name, array) in &arrays {
            let Some(&first) = array.shape().first() else {
                return Err(DataError::malformed(path, format!("\"{name}\" is a single value, not samples")));
            };
            if let Some((other, expected)) = samples.replace((name, first))
                && first != expected
            {
                return Err(DataError::malformed(
                    path,
                    format!("\"{other}\" has {expected} samples and \"{name}\" has {first}"),
                ));
            }
        }
        let samples = samples.map_or(0, |(_, samples)| samples);
        if samples == 0 {
            return Err(DataError::malformed(path, "no samples"));
        }
        let Ok(count) = u32::try_from(samples) else {
            let message = format!("{path} has {samples} samples; at most {} are read", u32::MAX);
            return Err(DataError::new("TooLarge", message));
        };
        let columns = arrays.iter().map(|(name, array)| Column {
            name: name.clone(),
            dtype: array.dtype(),
            shape: array.shape()[1..].to_vec(),
        });
        let (train, test) = order::split(count, source.test_share, source.split_seed);
        Ok(Self {
            columns: columns.collect(),
            arrays: arrays.into_iter().map(|(_, array)| array).collect(),
            all: (0..count).collect(),
            train: train.into(),
            test: test.into(),
        })
    }

    /// Tensors of a batch.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Samples in a split.
    pub fn size(&self, split: Split) -> usize {
        self.indices(split).len()
    }

    /// The same samples, with these alone in its splits, which must be indices of samples that there are.
    pub fn part(&self, train: Vec<u32>, test: Vec<u32>) -> Arc<Self> {
        let count = self.all.len() as u32;
        let there =
            |indices: Vec<u32>| -> Vec<u32> { indices.into_iter().filter(|at| *at < count).collect() };
        let (train, test) = (there(train), there(test));
        let mut all = [train.as_slice(), test.as_slice()].concat();
        all.sort_unstable();
        Arc::new(Self {
            columns: self.columns.clone(),
            arrays: self.arrays.clone(),
            all: all.into(),
            train: train.into(),
            test: test.into(),
        })
    }

    /// Indices of the samples in a split.
    pub fn samples(&self, split: Split) -> &[u32] {
        self.indices(split)
    }

    /// Bytes of all samples.
    pub fn byte_len(&self) -> u64 {
        self.arrays.iter().map(|array| array.byte_len() as u64).sum()
    }

    /// In batches of `size` (≥ 1).
    pub fn batches(self: &Arc<Self>, split: Split, size: usize, shuffle: Option<u64>) -> Batches {
        let mut indices = self.indices(split).clone();
        if let Some(seed) = shuffle {
            let places = order::permutation(indices.len() as u32, seed);
            indices = places.into_iter().map(|place| indices[place as usize]).collect();
        }
        Batches::new(self.clone(), indices, size.max(1))
    }

    fn indices(&self, split: Split) -> &Arc<[u32]> {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
            Split::All => &self.all,
        }
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("columns", &self.columns)
            .field("train", &self.train.len())
            .field("test", &self.test.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
