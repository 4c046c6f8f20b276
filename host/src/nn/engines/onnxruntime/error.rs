//! The engine's words for what went wrong, in ours.

use std::ffi::CStr;

use ort::sys::{self, OrtErrorCode};

use super::memory;
use crate::nn::{ErrorCode, NnError};

/// What a call into the library came to; takes the status.
#[allow(unsafe_code)]
pub fn check(status: sys::OrtStatusPtr) -> Result<(), NnError> {
    if status.0.is_null() {
        return Ok(());
    }
    let api = ort::api();
    // SAFETY: a status that is not null is valid and ours until it is released, once, below; its message is a
    // C string that lives as long.
    let (code, message) = unsafe {
        let code = (api.GetErrorCode)(status.0);
        let message = CStr::from_ptr((api.GetErrorMessage)(status.0)).to_string_lossy().into_owned();
        (api.ReleaseStatus)(status.0);
        (code, message)
    };
    Err(error(code, &message))
}

/// What the binding says went wrong.
pub fn of_binding<R>(error: &ort::Error<R>) -> NnError {
    NnError::runtime(format!("ONNX Runtime: {}", error.message()))
}

/// What the binding says of a graph that it did not load.
pub fn loading(code: ort::ErrorCode, message: &str) -> NnError {
    let code = match code {
        _ if memory::is_exhausted(message) => ErrorCode::TooLarge,
        ort::ErrorCode::NotImplemented => ErrorCode::UnsupportedOperation,
        // What it finds wrong with a graph the engine mostly calls a failure and no more.
        _ => ErrorCode::InvalidEncoding,
    };
    let message = format!("the engine onnxruntime cannot load the graph: {}", shorten(message));
    NnError::new(code, message)
}

fn error(code: OrtErrorCode, message: &str) -> NnError {
    let code = match code {
        _ if memory::is_exhausted(message) => ErrorCode::TooLarge,
        OrtErrorCode::ORT_INVALID_ARGUMENT => ErrorCode::InvalidArgument,
        OrtErrorCode::ORT_INVALID_PROTOBUF | OrtErrorCode::ORT_INVALID_GRAPH | OrtErrorCode::ORT_NO_MODEL => {
            ErrorCode::InvalidEncoding
        }
        OrtErrorCode::ORT_NOT_IMPLEMENTED => ErrorCode::UnsupportedOperation,
        _ => ErrorCode::RuntimeError,
    };
    NnError::new(code, format!("ONNX Runtime: {}", shorten(message)))
}

/// The engine's messages name its own source files, in lines of their own; people are told the rest.
fn shorten(message: &str) -> String {
    const SHOWN: usize = 600;
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
