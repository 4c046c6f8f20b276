//! What a dataset shows of itself.

use jiff::Timestamp;
use serde::Serialize;

use crate::plan::Column;
use crate::problems::Problems;
use crate::stats::ColumnStats;

/// What one refresh found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Growth {
    /// New samples; they are the last of all.
    pub added: usize,
    /// All samples were read anew: indices of before mean others now.
    pub replaced: bool,
    /// Rows and files that were left out.
    pub problems: u64,
}

impl Growth {
    /// Whether anything is different.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What a dataset shows of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Samples.
    pub samples: usize,
    /// Of them, to learn from.
    pub train: usize,
    /// Of them, held out.
    pub test: usize,
    /// Bytes in memory.
    pub bytes: u64,
    /// Files that there are.
    pub files: usize,
    /// Bytes of rows that are not complete yet.
    pub waiting_bytes: u64,
    /// The tensors.
    pub columns: Vec<Column>,
    /// For each column that is held, its statistics.
    pub stats: Vec<ColumnStats>,
    /// What was left out.
    pub problems: Problems,
    /// When a refresh last found something.
    pub changed: Option<Timestamp>,
}
