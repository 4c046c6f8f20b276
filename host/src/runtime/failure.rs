//! How a worker's call can end badly, as its status will say it.

use std::fmt;

/// Why a worker's call ended badly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The class of the failure.
    pub reason: Reason,
    /// The same for people: what happened, and what to do where that is known.
    pub message: String,
}

impl Failure {
    /// A failure of class `reason`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Whether the plugin has said no itself, and goes on.
    pub fn is_of_plugin(&self) -> bool {
        self.reason == Reason::PluginError
    }

    /// Something outside the plugin went wrong.
    pub(super) fn host(message: impl Into<String>) -> Self {
        Self::new(Reason::HostError, message)
    }
}

/// The class of a failure; `Display` is the one word that `status.reason` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No component of the role's world: it lacks an export, or imports what no world names.
    InvalidPlugin,
    /// WebAssembly trapped: `unreachable` (a panic), a bad memory access, too deep a stack, …
    Trapped,
    /// It asked for more memory, linear or as tensors, than it was granted.
    OutOfMemory,
    /// One call took longer than it was granted.
    DeadlineExceeded,
    /// The worker was told to end.
    Cancelled,
    /// The plugin returned an error of its own.
    PluginError,
    /// The host could not do its part (disk, threads, instances).
    HostError,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::InvalidPlugin => "InvalidPlugin",
            Self::Trapped => "Trapped",
            Self::OutOfMemory => "OutOfMemory",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Cancelled => "Cancelled",
            Self::PluginError => "PluginError",
            Self::HostError => "HostError",
        })
    }
}
