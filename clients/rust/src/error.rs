//! What can go wrong, by what a caller can do about it.

use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Ask differently: a name, shape or type is not what the service takes.
    #[error("{0}")]
    InvalidRequest(String),
    /// Ask elsewhere: the node has no service of this name.
    #[error("{0}")]
    NotFound(String),
    /// Ask later and less: the node's queue is full.
    #[error("{0}")]
    Overloaded(String),
    /// Ask later: the service is not ready.
    #[error("{0}")]
    Unavailable(String),
    /// The service failed; its node's log says more.
    #[error("{0}")]
    Internal(String),
    /// Give it longer: the node says that there was no answer in time.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// Give it longer: nothing came within the timeout.
    #[error("{url} did not answer within {timeout:?}")]
    TimedOut {
        /// Who was asked.
        url: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// Nobody answers at the address, or the connection broke.
    #[error("{url} cannot be reached: {cause}")]
    Unreachable {
        /// Who was asked.
        url: String,
        /// What the connection said.
        cause: ureq::Error,
    },
    /// What came back is not an answer of the Open Inference Protocol.
    #[error("the answer is not of the Open Inference Protocol: {0}")]
    Protocol(String),
    /// A tensor is not of the type, shape or name that it is asked for.
    #[error("{0}")]
    Tensor(String),
    /// Not an address of a node.
    #[error("`{0}` is not an address such as http://127.0.0.1:7501")]
    Address(String),
}

impl Error {
    /// The error that an HTTP status stands for.
    pub(crate) fn of_status(status: u16, message: String) -> Self {
        match status {
            404 => Self::NotFound(message),
            429 => Self::Overloaded(message),
            503 => Self::Unavailable(message),
            504 => Self::DeadlineExceeded(message),
            400..=499 => Self::InvalidRequest(message),
            _ => Self::Internal(message),
        }
    }
}
