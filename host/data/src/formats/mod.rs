//! Formats: each reads what is new in a file into a [`Draft`], and says how far it came.
//!
//! ```text
//!  csv, json ─ text ──────▶ ┐
//!  parquet, arrow ─ arrays ▶├ Rows ─▶ Draft        images: names now, pixels when a batch wants them
//!  npy ───────────────────▶ ┘
//!  npz, npy as it is ────────────────▶ Draft
//! ```

mod arrays;
mod arrow;
pub mod csv;
pub mod images;
mod json;
mod npy;
mod npy_header;
pub mod npz;
mod parquet;
pub mod text;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::text::Cursor;
use crate::description::{Description, Format};
use crate::draft::Draft;
use crate::error::{DataError, Problem};
use crate::source::{Entry, Origin};
use crate::split::Divider;

/// What is new in a file since the cursor; formats that do not grow are read as a whole. Gives the file as it was read.
pub fn read(
    origin: &Origin,
    entry: &Entry,
    description: &Description,
    folder: bool,
    cursor: &mut Cursor,
    draft: &mut Draft,
) -> Result<Entry, DataError> {
    if description.format == Format::ImageFolder {
        // Opened when a batch wants it.
        match images::probe(origin, entry, &description.limits) {
            Ok(()) => cursor.rows = images::read_file(entry, description, draft)?,
            Err(error) if error.is_content() => {
                draft.bad(Problem::of_file(&entry.name, error.without_file()))?
            }
            Err(error) => return Err(error),
        }
        return Ok(entry.clone());
    }
    let blob = origin.open(entry)?;
    let file = entry.below.as_deref().filter(|_| folder);
    let divider = Divider::new(&description.split, file)?;
    let read_whole = match description.format {
        Format::Csv => {
            csv::read(&blob, description, divider, cursor, draft)?;
            return Ok(blob.entry().clone());
        }
        Format::JsonLines => {
            json::read(&blob, description, divider, cursor, draft)?;
            return Ok(blob.entry().clone());
        }
        Format::ImageList => {
            images::read_list(origin, &blob, description, divider, cursor, draft)?;
            return Ok(blob.entry().clone());
        }
        Format::Parquet => parquet::read,
        Format::Arrow => arrow::read,
        Format::Npy => npy::read,
        Format::Npz => npz::read,
        Format::ImageFolder => return Ok(blob.entry().clone()),
    };
    blob.check_size(description.limits.bytes)?;
    let rows = read_whole(&blob, description, divider, draft)?;
    *cursor = Cursor { offset: blob.len(), rows, ..Cursor::default() };
    Ok(blob.entry().clone())
}

/// What `work` gives. The crates that it calls check much of what a file says, and index or add by some of it: where one
/// panics over that, the file is `what`.
fn guarded<T>(file: &str, what: &str, work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(DataError::malformed(file, what)))
}
