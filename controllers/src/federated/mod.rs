//! The reconciler of FederatedLearningJob.
//!
//! ```text
//!  job, plugins, models,      ┌─────────┐  actions   ┌───────────┐
//!  datasets, nodes, workers ─▶│ decide  │───────────▶│ reconcile │──▶ Kubernetes API
//!  and the time               └─────────┘            └─────▲─────┘
//!                                pure                      └── watches: any of these changed
//!
//!  begin:  resolve ─▶ status.pinned        what every name and selector means, fixed once
//!  run:    status.pinned ─▶ workers        Workers follow from what is pinned alone
//!          aggregator's status ─▶ progress round, history, participants, the end
//! ```
//!
//! What is decided is a function of what is observed, so a restart between any two actions loses nothing.

mod decide;
mod names;
mod progress;
mod reconcile;
mod resolve;
mod workers;

pub use decide::{Action, Decision, Observed, decide};
pub(crate) use names::ROLE_WORDS;
pub use reconcile::run;

pub use crate::jobs::{JOB_LABEL, JOB_UID_LABEL};
