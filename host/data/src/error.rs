//! What can be wrong with data, said so that a person can act: the file, the row and column where there are some,
//! what was found there, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest piece of a file's own text that a message repeats, in characters.
const SHOWN: usize = 40;

/// Where in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// The file as a whole.
    #[default]
    File,
    /// A line of a text file, from one, as editors count.
    Line(u64),
    /// A row or sample, from zero.
    Row(u64),
}

/// Something wrong with a file, a row or a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The file or object, relative to the data's location.
    pub file: String,
    /// Where in it.
    #[serde(default)]
    pub place: Place,
    /// Number from one, and heading where there is one; or a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// What is wrong and what was expected.
    pub what: String,
}

impl Problem {
    /// Of a whole file.
    pub(crate) fn of_file(file: &str, what: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), place: Place::File, column: None, what: what.to_string() }
    }

    /// Of a row.
    pub(crate) fn of_row(file: &str, place: Place, what: impl fmt::Display) -> Self {
        Self { place, ..Self::of_file(file, what) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        match self.place {
            Place::File => {}
            Place::Line(line) => write!(f, ":{line}")?,
            Place::Row(row) => write!(f, ": row {row}")?,
        }
        if let Some(column) = &self.column {
            write!(f, ": column {column}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Why data was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DataError {
    /// There is no such file, folder or object.
    #[error("cannot read {file}: there is none; check the path, and that what it lies on is mounted")]
    NotFound {
        /// The file or object.
        file: String,
    },
    /// The operating system or the server refused or failed.
    #[error("cannot read {file}: {what}")]
    Unreadable {
        /// The file or object.
        file: String,
        /// What it said.
        what: String,
    },
    /// A server did not answer in time, or not with all it had promised, at any of some tries.
    #[error("cannot read {file}: {what}; it is tried again at the next reading")]
    Unreachable {
        /// The object.
        file: String,
        /// What was seen.
        what: String,
    },
    /// It became another file or object while it was read.
    #[error("{file} was replaced while it was read; read it again")]
    Replaced {
        /// The file or object.
        file: String,
    },
    /// More than is read.
    #[error("{file}: {what}")]
    TooLarge {
        /// The file or object.
        file: String,
        /// What is too large, and the limit.
        what: String,
    },
    /// Its content is not what its format asks for.
    #[error("{0}")]
    Malformed(Problem),
    /// A valid file, but of a kind that is not read.
    #[error("{file}: {what}")]
    Unsupported {
        /// The file or object.
        file: String,
        /// What, and what to use instead.
        what: String,
    },
    /// The description names a column that the file does not have, or not once.
    #[error("{file}: {what}")]
    NoSuchColumn {
        /// The file or object.
        file: String,
        /// Which, and those that there are.
        what: String,
    },
    /// The description contradicts itself.
    #[error("the description of the dataset: {what}")]
    Description {
        /// Which part, and what it may be.
        what: String,
    },
    /// Whoever asked has withdrawn.
    #[error("reading {file} was cancelled")]
    Cancelled {
        /// The file or object.
        file: String,
    },
}

impl DataError {
    /// One CamelCase word for conditions and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "NotFound",
            Self::Unreadable { .. } => "Unreadable",
            Self::Unreachable { .. } => "Unreachable",
            Self::Replaced { .. } => "Replaced",
            Self::TooLarge { .. } => "TooLarge",
            Self::Malformed(_) => "Malformed",
            Self::Unsupported { .. } => "Unsupported",
            Self::NoSuchColumn { .. } => "NoSuchColumn",
            Self::Description { .. } => "InvalidDescription",
            Self::Cancelled { .. } => "Cancelled",
        }
    }

    /// Whether the file itself is at fault, and not the way to it: reading it again gives the same.
    pub(crate) fn is_content(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::TooLarge { .. } | Self::Unsupported { .. })
    }

    /// What is wrong, for a message that names the file anyway.
    pub(crate) fn without_file(&self) -> String {
        match self {
            Self::Malformed(problem) => problem.what.clone(),
            Self::TooLarge { what, .. } | Self::Unsupported { what, .. } => what.clone(),
            other => other.to_string(),
        }
    }

    /// The same of what people know under another name.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        let file = match &mut self {
            Self::NotFound { file }
            | Self::Unreadable { file, .. }
            | Self::Unreachable { file, .. }
            | Self::Replaced { file }
            | Self::TooLarge { file, .. }
            | Self::Unsupported { file, .. }
            | Self::NoSuchColumn { file, .. }
            | Self::Cancelled { file } => file,
            Self::Malformed(problem) => &mut problem.file,
            Self::Description { .. } => return self,
        };
        if file == from {
            to.clone_into(file);
        }
        self
    }

    pub(crate) fn malformed(file: &str, what: impl fmt::Display) -> Self {
        Self::Malformed(Problem::of_file(file, what))
    }

    pub(crate) fn too_large(file: &str, what: impl fmt::Display) -> Self {
        Self::TooLarge { file: file.to_owned(), what: what.to_string() }
    }

    pub(crate) fn unsupported(file: &str, what: impl fmt::Display) -> Self {
        Self::Unsupported { file: file.to_owned(), what: what.to_string() }
    }

    pub(crate) fn no_such(file: &str, what: impl fmt::Display) -> Self {
        Self::NoSuchColumn { file: file.to_owned(), what: what.to_string() }
    }

    pub(crate) fn description(what: impl fmt::Display) -> Self {
        Self::Description { what: what.to_string() }
    }

    pub(crate) fn io(file: &str, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::NotFound { file: file.to_owned() },
            _ => Self::Unreadable { file: file.to_owned(), what: error.to_string() },
        }
    }
}

/// Some of a file's text, fit for a message: short, and without control characters.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * SHOWN)]);
    text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
