//! The way of samples to who labels them, and back.
//!
//! ```text
//!  Samples ─ export, as the files of another dataset are laid out ─▶ a file whose label is empty
//!                                                                         │ a person, any editor
//!  a file that lies beside the others ◀─ import: checked, labelled rows ──┘
//! ```
//! The node's own module `labelling` calls this with files; nothing here knows where they come from. In CSV a label that is
//! empty is not there yet; in NPZ one that is -1, or not a number.

mod export;
mod import;
mod known;
mod write;

use std::collections::HashSet;

pub use self::export::{Export, ExportError, Exported, export};
pub use self::import::{Import, Imported, import};
use crate::description::Format;
use crate::draft::Chunk;
use crate::samples::Samples;
use crate::tensor::{Element, each};

/// Name of the column for labels, where no other dataset gives one.
const LABEL: &str = "label";

/// How a file for labels is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A sample a line; every editor and spreadsheet takes it.
    Csv,
    /// Arrays with their shapes.
    Npz,
}

impl Form {
    /// How names of such files end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Npz => "npz",
        }
    }

    /// Of such files, in a dataset.
    pub fn format(self) -> Format {
        match self {
            Self::Csv => Format::Csv,
            Self::Npz => Format::Npz,
        }
    }
}

/// Samples that are known again by their values.
#[derive(Debug, Clone, Default)]
pub struct Fingerprints(HashSet<[u8; 16]>);

impl Fingerprints {
    /// With these samples.
    pub fn add(&mut self, samples: &Samples) {
        for chunk in samples.chunks() {
            self.0.extend((0..chunk.len()).map(|row| fingerprint(chunk, row)));
        }
    }

    fn have(&self, chunk: &Chunk, row: usize) -> bool {
        !self.0.is_empty() && self.0.contains(&fingerprint(chunk, row))
    }
}

/// Of all that a sample has.
fn fingerprint(chunk: &Chunk, row: usize) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    let mut bytes = Vec::new();
    for values in &chunk.values {
        let width = values.len() / chunk.len().max(1);
        bytes.clear();
        each!(values, values => {
            bytes.extend(values[row * width..(row + 1) * width].iter().flat_map(|value| value.to_f64().to_le_bytes()));
        });
        hasher.update(&bytes);
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}
