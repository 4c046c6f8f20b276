//! The manager: embedded Kubernetes API server, registry, reconcilers, hub.
//!
//! ```text
//!  kubectl, sedge ──▶ apiserver ◀──kube── federated, catalog (reconcilers) ──▶ Workers, status
//!                        ▲  ▲                       │
//!                        │  └──────kube───── hub ◀──┼──gRPC── nodes
//!  sedge push, nodes ──▶ registry ◀─────────────────┘
//! ```
//!
//! `manager` puts the parts together.

pub mod apiserver;
pub mod catalog;
pub mod federated;
pub mod hub;
pub mod manager;
pub mod registry;
