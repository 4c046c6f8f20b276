//! Why an artifact did not come or go.

use std::io;

use sedge_api::Digest;
use thiserror::Error;

use crate::nn::{ErrorCode, NnError};

/// Why an artifact could not be fetched, read or pushed.
#[derive(Debug, Error)]
pub enum ArtifactError {
    /// The manager has not said yet where its registry is.
    #[error("the registry's address is not known yet: this node has not reached its manager")]
    NoRegistry,
    /// No answer, or the answer broke off.
    #[error("{what}: the registry cannot be reached: {cause}")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// What the connection said.
        cause: String,
    },
    /// The registry answered with an error.
    #[error("{what}: the registry answered {status}")]
    Refused {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
    },
    /// The registry does not hold it.
    #[error("{what} is not in the registry")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// More bytes than its kind may have.
    #[error("{what} has {bytes} bytes, more than the {limit} allowed")]
    TooLarge {
        /// What.
        what: String,
        /// Its size as announced or received so far.
        bytes: u64,
        /// The bound.
        limit: u64,
    },
    /// The content is not what the digest says.
    #[error("{expected} arrived with the digest {found}")]
    WrongDigest {
        /// Asked for.
        expected: Digest,
        /// Received.
        found: Digest,
    },
    /// It is there, but it is not what it should be.
    #[error("{what}: {why}")]
    Malformed {
        /// What.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// No engine of this node loads a model's graph.
    #[error("{what}: {error}")]
    Graph {
        /// Which.
        what: String,
        /// What the engine says of it.
        error: NnError,
    },
    /// The node's disk.
    #[error("{what}: {source}")]
    Disk {
        /// What was done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl ArtifactError {
    /// Whether another try may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::TooLarge { .. } | Self::Malformed { .. } | Self::Graph { .. } => false,
            Self::NoRegistry
            | Self::Unreachable { .. }
            | Self::Refused { .. }
            | Self::NotFound { .. }
            | Self::WrongDigest { .. }
            | Self::Disk { .. } => true,
        }
    }

    /// One CamelCase word for a worker's status.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoRegistry | Self::Unreachable { .. } => "RegistryUnreachable",
            Self::Refused { .. } => "RegistryRefused",
            Self::NotFound { .. } => "ArtifactNotFound",
            Self::TooLarge { .. } => "ArtifactTooLarge",
            Self::WrongDigest { .. } => "ArtifactDamaged",
            Self::Malformed { .. } => "ArtifactMalformed",
            Self::Graph { error, .. } => match error.code {
                ErrorCode::NotFound => "EngineUnavailable",
                ErrorCode::UnsupportedOperation => "GraphUnsupported",
                ErrorCode::TooLarge => "GraphTooLarge",
                ErrorCode::RuntimeError | ErrorCode::Timeout => "EngineFailed",
                _ => "ArtifactMalformed",
            },
            Self::Disk { .. } => "DiskError",
        }
    }

    pub(super) fn disk(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Disk { what, source }
    }

    pub(super) fn malformed(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), why: why.into() }
    }
}
