//! End-to-end tests: real processes, real plugins, real data, and what a user would see of them.
//!
//! `cargo xtask test` builds what they drive and runs them.

mod engines;
mod failures;
mod federated;
mod incremental;
mod job;
mod joint;
mod own_model;
mod recovery;
mod refusals;
