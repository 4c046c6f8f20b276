//! Why a file was refused.

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Not ONNX, or damaged.
    Malformed,
    /// Beyond a bound that is there to keep the process alive.
    TooLarge,
    /// Well formed, but not something that can be done here.
    Unsupported,
    /// It reaches for what it must not touch.
    Forbidden,
}

/// Why a file was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OnnxError {
    /// For programs.
    pub kind: ErrorKind,
    /// For people: what, where, and what to do.
    pub message: String,
}

impl OnnxError {
    /// An error of that kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Not ONNX, or damaged.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    /// Beyond a bound.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::TooLarge, message)
    }

    /// Cannot be done.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Must not be done.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Forbidden, message)
    }
}
