//! Serving: requests of the Open Inference Protocol, answered by the inferencers of this node.
//!
//! ```text
//!  application ──REST, gRPC──▶ protocol ──Request──▶ Services ──▶ Endpoint (a worker's service)
//!                                                                   │ queue, batches, instances
//!                                                                   │ miner: which samples are hard
//!                                                                   └ offload ──gRPC──▶ the cloud's node
//! ```
//! `protocol` knows the wire and no worker, a service knows its workers and no wire; they meet in [`Endpoint`].

mod batching;
mod breaker;
mod budget;
mod endpoint;
mod examples;
mod mining;
mod offload;
mod pool;
pub mod protocol;
mod queue;
mod revision;
mod samples;
mod served;
mod service;
mod stats;
mod task;
mod threads;

pub(crate) use served::{Parts, Prepared, Served, Trial};
pub(crate) use task::Task;
pub use threads::Threads;

pub use endpoint::{
    Answer, AnsweredBy, Endpoint, Metadata, Port, Request, ServeError, ServeErrorKind, Services, Versions,
};
