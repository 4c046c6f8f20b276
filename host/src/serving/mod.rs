//! Serving: requests of the Open Inference Protocol, answered by the inferencers of this node.
//!
//! ```text
//!  application ──REST, gRPC──▶ protocol ──Request──▶ Services ──▶ Endpoint (a worker's service)
//!                                                                   │ queue, batches, instances
//!                                                                   │ miner: which samples are hard
//!                                                                   └ offload ──gRPC──▶ the cloud's node
//! ```
//! `protocol` knows the wire and no worker, a service knows its workers and no wire; they meet in [`Endpoint`].

mod endpoint;
pub mod protocol;

pub use endpoint::{
    Answer, AnsweredBy, Endpoint, Metadata, Port, Request, ServeError, ServeErrorKind, Services, Versions,
};
