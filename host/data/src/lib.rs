//! Datasets: files and objects, read into named tensors, watched, and given out in batches.
//!
//! ```text
//!  Dir + path ┐            ┌ csv │ jsonl │ parquet │ arrow ┐
//!  S3, HTTP ──┴▶ Origin ──▶┤ npy │ npz                      ├─▶ Dataset ─▶ Samples ─▶ Batches ─▶ Prefetch ─▶ tensors
//!                  │       └ image folders and lists        ┘     ▲  │
//!                  └──── Watch: something changed ──── refresh ────┘  └▶ Status: schema, statistics, problems
//! ```
//!
//! A [`Description`] says what the files are and what becomes of their columns; an [`Origin`] says where they are. A
//! [`Dataset`] reads what is there, and at each [`Dataset::refresh`] what is new. [`Samples`] are a moment of it that does not
//! change under who reads it. A [`Watch`] tells when a refresh is worth it. [`export`] writes samples as a file to be labelled,
//! [`import`] takes the labelled rows of such a file.
//!
//! The node's dataset module calls this crate; it knows no WebAssembly and nothing of the platform. Reading blocks: call it
//! where that is allowed. Whatever bytes a file has, the outcome is samples or a [`DataError`] that says where and what;
//! every size is bounded by [`Limits`] before memory is taken for it.

#![forbid(unsafe_code)]

mod batches;
mod classes;
mod copied;
mod dataset;
mod description;
mod draft;
mod error;
mod formats;
mod labelling;
mod layout;
mod order;
mod plan;
mod problems;
mod rows;
mod samples;
mod source;
mod sources;
mod split;
mod stats;
mod tensor;
mod watch;

pub use batches::{Batches, NotYet, Prefetch};
pub use copied::copied;
pub use dataset::{Dataset, Growth, Status};
pub use description::{
    BadRows, Classes, Colour, Columns, Csv, Description, Fit, Format, Heading, ImageSpec, LastRow, Layout,
    Limits, Missing, Split, TensorSpec,
};
pub use error::{DataError, Place, Problem};
pub use formats::npz::write as write_npz;
pub use labelling::{Export, ExportError, Exported, Fingerprints, Form, Import, Imported, export, import};
pub use layout::{Field, FileLayout};
pub use plan::Column;
pub use problems::Problems;
pub use samples::{Batch, Part, Samples};
pub use source::{Local, Origin, Patience, Remote, S3};
pub use sources::Span;
pub use stats::ColumnStats;
pub use tensor::{DType, Element, Tensor, Values};
pub use watch::{Changed, Pace, Watch};
