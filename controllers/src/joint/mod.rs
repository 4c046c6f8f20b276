//! The reconciler of JointInferenceService.
//!
//! ```text
//!  service, plugins, models, ┌─────────┐  actions   ┌───────────┐
//!  nodes, workers          ─▶│ decide  │───────────▶│ reconcile │──▶ Kubernetes API
//!  and the time              └─────────┘            └─────▲─────┘
//!                               pure                      └── watches: any of these changed in a way that matters
//!
//!  take up:  spec ─resolve─▶ status.current        a revision: what every name meant, fixed once
//!  place:    nodes ─▶ edges, status.cloudNode      nodes come and go without a new revision
//!  roll out: one edge and the cloud ─kept─▶ all    `workers` rewrites the specs of the same Workers
//!            any undone ─▶ status.previous         all go back; the spec stays as it was written
//!  report:   workers' statuses ─▶ endpoints, totals
//! ```
//!
//! What is decided is a function of what is observed, so a restart between any two actions loses nothing: how far
//! a rollout is follows from the revisions that the Workers' specs and statuses bear.

mod decide;
mod names;
mod place;
mod reconcile;
mod report;
mod resolve;
mod rollout;
mod workers;

pub(crate) use names::{SIDE_WORDS, side_worker};

pub use decide::{Action, Decision, Observed, decide};
pub use reconcile::run;
