//! What can go wrong in a plugin. The host shows an error's text in the worker's status, so it names the thing
//! that failed and, where the host said why, repeats that.

use crate::bindings::capabilities::wasi::nn::errors;

/// What can go wrong in a plugin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `wasi:nn` refused a call.
    #[error("{code}: {data}")]
    Nn {
        /// The standard's code, as WIT writes it.
        code: &'static str,
        /// What the host said.
        data: String,
    },
    /// The job's parameters are not what the plugin reads.
    #[error("parameter {field}: {message}")]
    Parameter {
        /// Where in the parameters, e.g. `learningRate`.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The host could not give a batch or a size.
    #[error("dataset {name}: {message}")]
    Dataset {
        /// The name under which it was asked for.
        name: String,
        /// What the host said.
        message: String,
    },
    /// A tensor is not what was asked for.
    #[error("tensor of shape {shape:?}: {message}")]
    Tensor {
        /// The tensor's dimensions.
        shape: Vec<u32>,
        /// What is wrong with it.
        message: String,
    },
    /// A graph has no output, or a batch no column, of this name.
    #[error("no {name} among: {present}")]
    Missing {
        /// What was asked for.
        name: String,
        /// What there is.
        present: String,
    },
    /// The host said stop: the job was cancelled or its deadline has passed.
    #[error("stopped by the host after {done} of {total}")]
    Stopped {
        /// Units done.
        done: u64,
        /// Units asked for.
        total: u64,
    },
    /// Anything else, in the plugin's own words.
    #[error("{0}")]
    Other(String),
    /// An error and what the plugin was doing.
    #[error("{doing}: {cause}")]
    While {
        /// What the plugin was doing, e.g. `graph train`.
        doing: String,
        /// What went wrong then.
        cause: Box<Error>,
    },
}

impl Error {
    /// An error about the parameter `field`.
    pub fn parameter(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Parameter { field: field.into(), message: message.into() }
    }

    /// Say what the plugin was doing.
    pub fn during(self, doing: impl Into<String>) -> Self {
        Self::While { doing: doing.into(), cause: Box::new(self) }
    }
}

impl From<errors::Error> for Error {
    fn from(error: errors::Error) -> Self {
        Self::Nn { code: code_word(error.code()), data: error.data() }
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::Other(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::Other(message.to_owned())
    }
}

const fn code_word(code: errors::ErrorCode) -> &'static str {
    use errors::ErrorCode as Code;
    match code {
        Code::InvalidArgument => "invalid-argument",
        Code::InvalidEncoding => "invalid-encoding",
        Code::Timeout => "timeout",
        Code::RuntimeError => "runtime-error",
        Code::UnsupportedOperation => "unsupported-operation",
        Code::TooLarge => "too-large",
        Code::NotFound => "not-found",
        Code::Security => "security",
        Code::Unknown => "unknown",
    }
}
