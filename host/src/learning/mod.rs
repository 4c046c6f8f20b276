//! Incremental learning on this node: what the manager says of it, what is kept of it, what is said of it, and which versions
//! serve. The rounds themselves are `sedge_learning`'s; who leads them is `worker::learn`.
//!
//! ```text
//!  Learning ─▶ task ─▶ worker::learn ──▶ Rounds ──▶ record (on disk)
//!                          │  └──────────────────▶ status ─▶ LearningStatus
//!                          └─▶ deployments ─▶ worker::serve (a swap of the model)
//! ```

mod deployments;
mod drift;
mod errors;
mod record;
mod sources;
mod status;
mod sweep;
mod task;

pub(crate) use deployments::{Deployed, Deployments};
pub(crate) use drift::Drift;
pub(crate) use errors::{Errors, Windows};
pub(crate) use record::{Kept, Record, RecordError};
pub(crate) use sources::Sources;
pub(crate) use status::{Wants, metrics_of, status};
pub(crate) use sweep::sweep;
pub(crate) use task::{AssessTask, DriftSubject, EvaluatorTask, Task};
