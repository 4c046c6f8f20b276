//! The manager: embedded Kubernetes API server, registry, reconcilers, hub.
//!
//! ```text
//!  kubectl, sedge ──▶ apiserver ◀──kube── federated, joint, incremental, catalog ──▶ Workers, status
//!                        ▲  ▲                       │
//!                        │  └──────kube───── hub ◀──┼──gRPC── nodes
//!  sedge push, nodes ──▶ registry ◀─────────────────┘
//! ```
//!
//! `jobs` has what the reconcilers of jobs do alike; `manager` puts the parts together.

pub mod apiserver;
pub mod catalog;
pub mod federated;
pub mod hub;
pub mod incremental;
pub mod jobs;
pub mod joint;
pub mod manager;
pub mod registry;
