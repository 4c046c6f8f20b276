//! Datasets.
use std::sync::Arc;
use cap_std::fs::Dir;
use crate::nn::{DType, Tensor};

/// What the node protocol says of a dataset, parsed.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Source { pub path: String, pub format: Format, pub label: Option<String>, pub test_share: f64, pub split_seed: u64 }
/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format { Csv, Npy, Npz }
/// Which samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Split { Train, Test, All }

/// Why a dataset was not read; `reason()` is one CamelCase word (`NotFound`, `Malformed`, …).
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
#[allow(missing_docs)]
pub struct DataError { pub reason: &'static str, pub message: String }

/// A tensor of each batch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Column { pub name: String, pub dtype: DType, /// Per sample.
 pub shape: Vec<usize> }

/// Samples in memory.
pub struct Dataset(());
impl Dataset {
    /// Read all of it. Blocking.
    pub fn open(_dir: &Dir, _source: &Source) -> Result<Self, DataError> { todo!() }
    /// Tensors of a batch.
    pub fn columns(&self) -> &[Column] { todo!() }
    /// Samples in a split.
    pub fn size(&self, _split: Split) -> usize { todo!() }
    /// In batches of `size` (≥ 1).
    pub fn batches(self: &Arc<Self>, _split: Split, _size: usize, _shuffle: Option<u64>) -> Batches { todo!() }
}
/// Reads a split once.
pub struct Batches(());
impl Iterator for Batches { type Item = Vec<(String, Tensor)>; fn next(&mut self) -> Option<Self::Item> { todo!() } }
