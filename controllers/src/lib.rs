//! The manager: embedded API server, reconcilers, hub, registry.

pub mod apiserver;
pub mod catalog;
pub mod federated;
pub mod hub;
pub mod manager;
pub mod registry;
