//! The reconciler of IncrementalLearningJob.
//!
//! ```text
//!  job, plugins, models, datasets,  ┌─────────┐  actions   ┌───────────┐
//!  nodes, workers, services        ─▶│ decide  │───────────▶│ reconcile │──▶ Kubernetes API
//!  and the time                     └─────────┘            └─────▲─────┘
//!                                      pure                      └── watches: any of these changed in a way that matters
//!
//!  resolve:  spec ─▶ status.pinned                     what every name meant; model, dataset and nodes stay
//!  workers:  pinned ─▶ learner (leads the rounds), assessor (measures, where that is on another node)
//!  service:  what the learner deployed or wants deployed ─▶ the model of a JointInferenceService
//!  report:   the learner's status, the service's ─▶ the job's
//! ```
//!
//! The learner decides all about rounds; see `sedge-learning`. What is done here is what it cannot do from its node: an
//! assessment elsewhere is declared and its result told, a deployment elsewhere is written into the service and what came of
//! that is told, wishes to roll back are passed on. A service that is on the learner's node alone is swapped by the learner
//! itself, and its spec follows. Everything follows from what is observed, so a stop between any two actions loses nothing.

mod decide;
mod names;
mod reconcile;
mod report;
mod resolve;
mod service;
mod workers;

pub use decide::{Action, Decision, Observed, decide};
pub use reconcile::run;
