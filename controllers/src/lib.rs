//! Placeholder.

pub mod catalog;
pub mod registry;
