//! What a client is told that gets no answer, in the words of HTTP and of gRPC.

use http::StatusCode;
use tonic::{Code, Status};

use super::super::endpoint::{ServeError, ServeErrorKind};

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: StatusCode,
    pub code: Code,
    pub message: String,
}

/// Bytes of a message: it may quote what a client sent.
const MESSAGE: usize = 2 << 10;

impl Refusal {
    pub fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE {
            message.truncate(message.floor_char_boundary(MESSAGE));
            message.push('…');
            message.shrink_to_fit();
        }
        Self { status, code, message }
    }

    /// The body, or a message in it, is larger than is taken.
    pub fn too_large(limit: usize) -> Self {
        let text = format!("a request's body may have at most {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, text)
    }
}

impl From<ServeError> for Refusal {
    fn from(error: ServeError) -> Self {
        let (status, code) = match error.kind {
            ServeErrorKind::NotFound => (StatusCode::NOT_FOUND, Code::NotFound),
            ServeErrorKind::InvalidArgument => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
            ServeErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            ServeErrorKind::Overloaded => (StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted),
            ServeErrorKind::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, Code::DeadlineExceeded),
            ServeErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
        };
        Self::new(status, code, error.message)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.message)
    }
}
