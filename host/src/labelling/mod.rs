//! Samples of this node's datasets on their way to who labels them, and labelled rows on their way back.
//!
//! ```text
//!  manager ─ TransferRequest ─▶ link ─▶ Desk ─ export ─▶ a file ─▶ link ─▶ manager ─▶ who asked
//!                                        └─── import ◀─ a file ◀─ link
//!                                               └─▶ labelled-….csv in the dataset's folder, which its watch finds
//! ```
//! What a file has is for [`sedge_data`]; here is where files lie. On their way they lie in the node's data directory, and
//! are gone with whoever holds them, or when the node starts.

mod desk;
mod place;
mod scratch;
#[cfg(test)]
mod tests;

pub(crate) use self::desk::{Desk, Wanted};
pub(crate) use self::scratch::Received;

use sedge_api::node::FileForm;
use sedge_data::Form;

/// Why a file is not made or not taken: CamelCase word and sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub reason: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    fn disk(error: &std::io::Error) -> Self {
        Self::new("DiskError", format!("the node's disk: {error}"))
    }
}

/// As the protocol says it.
pub(crate) fn form(said: FileForm) -> Result<Form, Refusal> {
    match said {
        FileForm::Csv => Ok(Form::Csv),
        FileForm::Npz => Ok(Form::Npz),
        FileForm::Unspecified => Err(Refusal::new("Unsupported", "this node knows no such kind of file")),
    }
}
