//! How files are read: how CSV is written, what happens to rows that are not as they should be, what is read at most.

use serde::{Deserialize, Serialize};

/// How CSV is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Csv {
    /// Between cells.
    pub delimiter: char,
    /// Whether the first row has names.
    pub heading: Heading,
}

impl Default for Csv {
    fn default() -> Self {
        Self { delimiter: ',', heading: Heading::Auto }
    }
}

/// Whether the first row has names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Heading {
    /// Unless its cells are numbers, some of them missing maybe.
    #[default]
    Auto,
    /// It has.
    Yes,
    /// It has not.
    No,
}

/// What happens to a row that is not as it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BadRows {
    /// Nothing is read.
    #[default]
    Refuse,
    /// It is left out and counted, and the first of them are shown.
    Skip,
}

/// What happens to a text file's last row where no end of line follows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LastRow {
    /// It is a row until one of the dataset's files is seen to grow; from then on it waits.
    #[default]
    Auto,
    /// It is a row: the file is finished. Should it go on in the middle of that row after all, it is read anew.
    Take,
    /// It waits for its end: somebody is writing it.
    Wait,
}

/// What is read at most. A file beyond is an error, never cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a file, of what it unpacks to, and of all samples in memory.
    pub bytes: u64,
    /// Bytes of a row of text.
    pub row_bytes: usize,
    /// Files of a folder.
    pub files: usize,
    /// Columns of a table.
    pub columns: usize,
    /// Classes that are learnt.
    pub classes: usize,
    /// Problems that are shown; the others are counted.
    pub problems: usize,
    /// Bytes of an image's file.
    pub image_bytes: u64,
    /// Pixels of an image before it is resized.
    pub image_pixels: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 4 << 30,
            row_bytes: 16 << 20,
            files: 1 << 20,
            columns: 1 << 16,
            classes: 1 << 16,
            problems: 32,
            image_bytes: 64 << 20,
            image_pixels: 64 << 20,
        }
    }
}
