//! What the protocol and a service say to each other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use sedge_api::Digest;
use thiserror::Error;

use crate::nn::{DType, Tensor};

/// Samples to be answered.
#[derive(Debug, Clone)]
pub struct Request {
    /// Named tensors in the request's order; the first dimension counts samples.
    pub inputs: Vec<(String, Tensor)>,
    /// The answer is worth nothing after this.
    pub deadline: Option<Instant>,
}

/// What a request came to.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Named tensors.
    pub outputs: Vec<(String, Tensor)>,
    /// Who answered.
    pub answered_by: AnsweredBy,
    /// Samples that the miner called hard, by their index; empty without a miner.
    pub hard: Vec<usize>,
    /// What the service that was asked was made of.
    pub versions: Versions,
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The edge's model; no sample was hard.
    Edge,
    /// The cloud's model, for all samples or for those that were hard.
    Cloud,
    /// The edge's model, though samples were hard: the cloud did not answer in time.
    EdgeAfterTimeout,
    /// The edge's model, though samples were hard: the cloud is not there, or the budget for asking it is spent.
    EdgeWithoutCloud,
}

impl AnsweredBy {
    /// As it is told to clients.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Cloud => "cloud",
            Self::EdgeAfterTimeout => "edge-after-timeout",
            Self::EdgeWithoutCloud => "edge-without-cloud",
        }
    }
}

impl fmt::Display for AnsweredBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a service is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Manifest of the plugin.
    pub plugin: Digest,
    /// Manifest of the model.
    pub model: Option<Digest>,
}

/// What a service takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// What it is made of.
    pub versions: Versions,
    /// What a request must have; empty: the plugin alone knows.
    pub inputs: Vec<Port>,
    /// What an answer has; empty: the plugin alone knows.
    pub outputs: Vec<Port>,
}

/// One tensor that goes in or comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: DType,
    /// Its dimensions; None: any size.
    pub shape: Vec<Option<usize>>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ServeError {
    /// What a client can do about it.
    pub kind: ServeErrorKind,
    /// What and where.
    pub message: String,
}

/// What a client can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeErrorKind {
    /// Ask for another service: 404, NOT_FOUND.
    NotFound,
    /// Ask differently: 400, INVALID_ARGUMENT.
    InvalidArgument,
    /// Ask later, the service is not ready: 503, UNAVAILABLE.
    Unavailable,
    /// Ask later and less, the queue is full: 429, RESOURCE_EXHAUSTED.
    Overloaded,
    /// Give it longer: 504, DEADLINE_EXCEEDED.
    DeadlineExceeded,
    /// Nothing, the plugin failed: 500, INTERNAL.
    Internal,
}

impl ServeError {
    /// An error of that kind.
    pub fn new(kind: ServeErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// A service of this node as the protocol sees it.
pub trait Endpoint: Send + Sync {
    /// What it takes and gives now; a change of version may change it.
    fn metadata(&self) -> Arc<Metadata>;

    /// Whether it would answer now.
    fn ready(&self) -> bool;

    /// Answer a request. Dropping the future gives it up: what has not been begun is not computed.
    fn infer(&self, request: Request) -> BoxFuture<'_, Result<Answer, ServeError>>;
}

/// The services of this node by the name that clients ask for; clone shares them.
#[derive(Clone, Default)]
pub struct Services(Arc<RwLock<BTreeMap<String, Arc<dyn Endpoint>>>>);

impl Services {
    /// The service called `name`.
    pub fn find(&self, name: &str) -> Option<Arc<dyn Endpoint>> {
        self.0.read().get(name).cloned()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.0.read().keys().cloned().collect()
    }

    /// Put a service in, in place of another of its name.
    pub fn put(&self, name: &str, endpoint: Arc<dyn Endpoint>) {
        self.0.write().insert(name.to_owned(), endpoint);
    }

    /// Take a service out, if it is still this one.
    pub fn remove(&self, name: &str, endpoint: &Arc<dyn Endpoint>) {
        let mut services = self.0.write();
        if services.get(name).is_some_and(|present| Arc::ptr_eq(present, endpoint)) {
            services.remove(name);
        }
    }
}
