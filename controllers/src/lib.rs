//! The manager: embedded API server, reconcilers, hub, registry.

pub mod apiserver;
pub mod catalog;
pub mod registry;
