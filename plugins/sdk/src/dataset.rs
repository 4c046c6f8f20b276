//! Datasets that the job grants, read in batches.

use crate::bindings::capabilities::sedge::worker::dataset as host;
pub use crate::bindings::capabilities::sedge::worker::dataset::{Batching, Split};
use crate::{Error, NamedTensor};

/// The number of samples in a split of the dataset granted as `name`.
pub fn size(name: &str, split: Split) -> Result<u64, Error> {
    host::size(name, split).map_err(|message| Error::Dataset { name: name.to_owned(), message })
}

/// Reads a split of the dataset granted as `name`, batch by batch.
pub fn read(name: &str, split: Split, batching: Batching) -> Result<Batches, Error> {
    match host::read(name, split, batching) {
        Ok(batches) => Ok(Batches { batches, name: name.to_owned() }),
        Err(message) => Err(Error::Dataset { name: name.to_owned(), message }),
    }
}

/// The batches of a dataset, in the order that [`Batching`] asked for.
#[derive(Debug)]
pub struct Batches {
    batches: host::Batches,
    name: String,
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.batches.next() {
            Ok(columns) => columns.map(|columns| Ok(Batch { columns })),
            Err(message) => Some(Err(Error::Dataset { name: self.name.clone(), message })),
        }
    }
}

/// Some samples: one tensor per column, whose first dimension counts them.
#[derive(Debug)]
pub struct Batch {
    columns: Vec<NamedTensor>,
}

impl Batch {
    /// The number of samples.
    pub fn samples(&self) -> u64 {
        self.columns.first().and_then(|(_, tensor)| tensor.dimensions().first().copied()).unwrap_or(0).into()
    }

    /// The tensors, named as the dataset names its columns: for a table, `x` and `y`.
    pub fn into_columns(self) -> Vec<NamedTensor> {
        self.columns
    }
}
