//! Workers of this node: from what the manager wants to tasks that run, and back as status.
//!
//! ```text
//!  link ──Desired──▶ supervisor ──one task per worker──▶ run ──▶ runtime, federation
//!    ▲                   │  └──datasets──▶ shelf
//!    └──── board ◀───────┴── reporter (status, log) ◀─────┘
//! ```
//! What is desired and what has ended is kept in the node's data directory, so a restarted node goes on
//! without its manager.

mod assess;
mod board;
mod definition;
mod fetch;
mod learn;
mod log;
mod measure;
mod reporter;
mod run;
mod serve;
mod shelf;
mod supervisor;
#[cfg(test)]
mod tests;

pub use board::Board;
pub use log::{LogError, WorkerLog};
pub(crate) use reporter::Reporter;
pub(crate) use run::Context;
pub(crate) use shelf::{Held, Shelf};
pub use supervisor::Supervisor;

use crate::runtime::{Failure, Reason};

/// How a worker came to an end that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It is no longer wanted, or the node is going down; nothing is said of it.
    Cancelled,
    /// For good.
    Failed {
        /// One CamelCase word.
        reason: String,
        /// For people.
        message: String,
    },
}

impl Ended {
    pub(crate) fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self::Failed { reason: reason.to_owned(), message: message.into() }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        match failure.reason {
            Reason::Cancelled => Self::Cancelled,
            reason => Self::failed(&reason.to_string(), failure.message),
        }
    }
}

/// The time as the node protocol has it: milliseconds since 1970.
pub(crate) fn now_millis() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}
