//! What the reconcilers of all kinds of job do alike: find what a spec names, declare Workers, try again.
//!
//! ```text
//!  federated, joint ──▶ resolve   what plugins, models and selectors mean now, or what is missing
//!                   ──▶ workers   Workers that bear the job's ownership and labels
//!                   ──▶ names     names of Workers that no two jobs share
//!                   ──▶ writes    reads and writes that tell what they were for, and when to try again
//! ```

#[cfg(test)]
pub(crate) mod fixtures;
mod names;
mod resolve;
mod workers;
mod writes;

pub use workers::{JOB_LABEL, JOB_UID_LABEL};

pub(crate) use names::{beginning, has_word, worker_name};
pub(crate) use resolve::{Unmet, find_model, find_plugin, node_labels, parse_selector, ready, spread};
pub(crate) use workers::{Job, failure, phase};
pub(crate) use writes::{
    Failures, ReconcileError, already_exists, declare_worker, delete_worker, failed, list, not_found, unless,
};
