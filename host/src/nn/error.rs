//! What goes wrong with tensors and graphs, in the words of `wasi:nn/errors`.

/// As `wasi:nn/errors.error-code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ErrorCode {
    InvalidArgument,
    InvalidEncoding,
    Timeout,
    RuntimeError,
    UnsupportedOperation,
    TooLarge,
    NotFound,
    Security,
    Unknown,
}

/// Why a graph was not loaded or did not compute.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct NnError {
    /// For the guest.
    pub code: ErrorCode,
    /// For people: names the input and both shapes.
    pub message: String,
}

impl NnError {
    /// An error of that code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What the caller gave is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// The file is not what it should be.
    pub fn encoding(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidEncoding, message)
    }

    /// More than can be held.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::TooLarge, message)
    }

    /// The engine cannot do it.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::UnsupportedOperation, message)
    }

    /// The engine failed.
    pub fn runtime(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::RuntimeError, message)
    }
}
