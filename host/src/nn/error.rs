//! What goes wrong with tensors and graphs, in the words of `wasi:nn/errors`.

use sedge_onnx::{ErrorKind, OnnxError};

/// As `wasi:nn/errors.error-code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// An input, or what a graph was asked for, is not as it must be.
    InvalidArgument,
    /// The bytes are no graph.
    InvalidEncoding,
    /// It took too long.
    Timeout,
    /// The engine failed.
    RuntimeError,
    /// The engine lacks an operator or a type.
    UnsupportedOperation,
    /// It would take more memory than there is.
    TooLarge,
    /// There is no graph of that name.
    NotFound,
    /// It is not allowed.
    Security,
    /// None of the others.
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

impl From<OnnxError> for NnError {
    fn from(error: OnnxError) -> Self {
        let code = match error.kind {
            ErrorKind::Malformed => ErrorCode::InvalidEncoding,
            ErrorKind::TooLarge => ErrorCode::TooLarge,
            ErrorKind::Unsupported => ErrorCode::UnsupportedOperation,
            ErrorKind::Forbidden => ErrorCode::Security,
        };
        Self { code, message: error.message }
    }
}
