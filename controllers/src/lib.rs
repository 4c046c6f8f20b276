//! The manager: embedded API server, reconcilers, hub, registry.

pub mod federated;
pub mod hub;
