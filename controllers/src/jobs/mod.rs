//! What the reconcilers of all kinds of job do alike: find what a spec names, declare Workers, try again.
//!
//! ```text
//!  federated, joint, ──▶ resolve   what plugins, models, datasets and selectors mean now, or what is missing
//!  incremental       ──▶ workers   Workers that bear the job's ownership and labels
//!                    ──▶ upkeep    what makes one of them be as it is wanted
//!                    ──▶ names     names of Workers that no two jobs share, and of models that jobs make
//!                    ──▶ writes    reads and writes that tell what they were for, and when to try again
//! ```

#[cfg(test)]
pub(crate) mod fixtures;
mod names;
mod resolve;
mod upkeep;
mod workers;
mod writes;

pub use workers::{JOB_LABEL, JOB_UID_LABEL};

pub(crate) use names::{has_word, model_name, model_reference, model_tag, worker_name};
pub(crate) use resolve::{
    Unmet, find_dataset, find_model, find_plugin, in_touch, node_labels, parse_selector, spread,
};
#[cfg(test)]
pub(crate) use upkeep::RESTART_AFTER;
pub(crate) use upkeep::{Upkeep, upkeep};
pub(crate) use workers::{Job, failure, phase};
pub(crate) use writes::{
    Failures, ReconcileError, already_exists, conflict, declare_worker, delete_worker, failed, list,
    not_found, unless,
};
