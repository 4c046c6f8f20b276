//! Datasets: samples that this node reads, as batches of tensors.
//!
//! ```text
//!  sedge-data: files, objects ──▶ samples of a moment ──▶ Dataset ──▶ Batches ─ a queue ─▶ tensors
//! ```
//!
//! The crate [`sedge_data`] reads and watches; here its samples become what workers are granted. [`worker`](crate::worker)
//! holds what a job grants; [`runtime`](crate::runtime) reads batches for guests. Files are reached through the directory
//! that the node's operator named, and through nothing else.

mod batches;
mod tensors;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use cap_std::fs::Dir;
pub use sedge_data::{DataError, Description, Format, Part as Split};
use sedge_data::{Origin, Samples};

pub use self::batches::Batches;
pub(crate) use self::tensors::write_npz;
use crate::nn::DType;

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

/// The samples that there are at one moment. What is added later is in another one, and whoever reads this goes on undisturbed.
pub struct Dataset {
    columns: Vec<Column>,
    samples: Arc<Samples>,
    /// Where only some of the samples are meant.
    part: Option<Rows>,
}

/// Indices of samples.
struct Rows {
    train: Vec<u32>,
    test: Vec<u32>,
    all: Vec<u32>,
}

impl Rows {
    fn of(&self, split: Split) -> &[u32] {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
            Split::All => &self.all,
        }
    }
}

impl Dataset {
    /// Read a file or folder below a directory. Blocking. Err also where there are no samples.
    pub fn open(dir: &Dir, path: &str, description: Description) -> Result<Self, DataError> {
        let failed =
            |error: std::io::Error| DataError::Unreadable { file: path.to_owned(), what: error.to_string() };
        let origin = Origin::local(dir.try_clone().map_err(failed)?, path);
        let dataset = sedge_data::Dataset::open(origin, description)?;
        Self::of(path, dataset.samples())
    }

    /// Of samples that were read. Err: there are none.
    pub(crate) fn of(name: &str, samples: Arc<Samples>) -> Result<Self, DataError> {
        if samples.is_empty() {
            return Err(DataError::Unreadable { file: name.to_owned(), what: "no samples yet".to_owned() });
        }
        let column = |column: &sedge_data::Column| Column {
            name: column.name.clone(),
            dtype: tensors::dtype(column.dtype),
            shape: column.shape.clone(),
        };
        Ok(Self { columns: samples.columns().iter().map(column).collect(), samples, part: None })
    }

    /// Tensors of a batch.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Samples in a split.
    pub fn size(&self, split: Split) -> usize {
        match &self.part {
            Some(part) => part.of(split).len(),
            None => self.samples.len(split),
        }
    }

    /// The same samples, with these alone in its splits: indices of samples that there are.
    pub fn part(&self, train: Vec<u32>, test: Vec<u32>) -> Arc<Self> {
        let count = self.samples.len(Split::All) as u32;
        let there = |rows: Vec<u32>| -> Vec<u32> { rows.into_iter().filter(|row| *row < count).collect() };
        let (train, test) = (there(train), there(test));
        let mut all = [train.as_slice(), test.as_slice()].concat();
        all.sort_unstable();
        let part = Some(Rows { train, test, all });
        Arc::new(Self { columns: self.columns.clone(), samples: Arc::clone(&self.samples), part })
    }

    /// Indices of the samples in a split.
    pub fn rows(&self, split: Split) -> Cow<'_, [u32]> {
        match &self.part {
            Some(part) => Cow::Borrowed(part.of(split)),
            None => Cow::Owned(self.samples.select(split, 0..self.samples.len(Split::All))),
        }
    }

    /// Bytes of all samples in memory.
    pub fn byte_len(&self) -> u64 {
        self.samples.byte_len()
    }

    /// Bytes of a sample in a batch.
    pub fn sample_byte_len(&self) -> usize {
        self.samples.sample_byte_len()
    }

    /// The samples.
    pub fn samples(&self) -> &Arc<Samples> {
        &self.samples
    }

    /// In batches of `size` (≥ 1), read on the thread that asks for them.
    pub fn batches(self: &Arc<Self>, split: Split, size: usize, shuffle: Option<u64>) -> Batches {
        Batches::direct(match &self.part {
            Some(part) => self.samples.batches_of(part.of(split).to_vec(), size, shuffle),
            None => self.samples.batches(split, size, shuffle),
        })
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("columns", &self.columns)
            .field("samples", &self.samples)
            .field("part", &self.part.as_ref().map(|part| part.all.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests;
