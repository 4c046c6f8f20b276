//! What can go wrong between a client and a registry, told so that a person knows what to do.

use std::io;
use std::path::PathBuf;

use oci_client::errors::OciDistributionError;
use serde::Deserialize;
use thiserror::Error;

use crate::registry::component::ComponentError;
use crate::registry::onnx::GraphError;
use crate::registry::weights::WeightsError;

/// Why nothing came of it.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Not a base address.
    #[error("`{0}` is not the address of a registry: write it like http://127.0.0.1:5000")]
    Address(String),
    /// The component is of no use; nothing was sent.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// A file cannot be read.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A graph is none; nothing was sent.
    #[error("{}: {source}", .path.display())]
    Graph {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        source: GraphError,
    },
    /// Weights are none; nothing was sent.
    #[error("{}: {source}", .path.display())]
    Weights {
        /// Their file.
        path: PathBuf,
        /// What is wrong with them.
        source: WeightsError,
    },
    /// Neither graphs nor weights; nothing was sent.
    #[error("a model needs at least one graph, or weights")]
    Empty,
    /// A file is over the limit; nothing was sent.
    #[error("{}: it has {bytes} bytes; at most {limit} may be", .path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What it may be.
        limit: u64,
    },
    /// No or a wrong token.
    #[error("the registry at {0} asks for a token, or knows another one: give its token")]
    Unauthorized(String),
    /// The registry says no.
    #[error("the registry refuses: {message}")]
    Refused {
        /// Its code, e.g. `MANIFEST_INVALID`.
        code: String,
        /// Its words.
        message: String,
    },
    /// No answer.
    #[error("the registry at {host} does not answer: {why}: is it running?")]
    Unreachable {
        /// Where.
        host: String,
        /// What the network says.
        why: String,
    },
    /// It answers otherwise than the distribution API says.
    #[error("the registry's answer is odd: {0}")]
    Odd(String),
}

#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    code: String,
    #[serde(default)]
    message: String,
}

impl ClientError {
    pub(super) fn from_oci(error: OciDistributionError, host: &str) -> Self {
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_)
            | OciDistributionError::ServerError { code: 401, .. } => Self::Unauthorized(host.to_owned()),
            OciDistributionError::ServerError { code, message, .. } => Self::from_body(code, message),
            OciDistributionError::RegistryError { envelope, .. } => match envelope.errors.first() {
                Some(first) => Self::Refused {
                    // The enum's serialised form is the specification's code.
                    code: serde_json::to_value(&first.code)
                        .ok()
                        .and_then(|code| code.as_str().map(str::to_owned))
                        .unwrap_or_default(),
                    message: first.message.clone(),
                },
                None => Self::Odd("it refuses and does not say why".to_owned()),
            },
            OciDistributionError::RequestError(error) if error.status().is_some_and(|s| s == 401) => {
                Self::Unauthorized(host.to_owned())
            }
            OciDistributionError::RequestError(error) if error.status().is_none() => {
                Self::Unreachable { host: host.to_owned(), why: innermost(&error) }
            }
            error => Self::Odd(error.to_string()),
        }
    }

    fn from_body(status: u16, body: String) -> Self {
        match serde_json::from_str::<Envelope>(&body).map(|envelope| envelope.errors.into_iter().next()) {
            Ok(Some(Entry { code, message })) => Self::Refused { code, message },
            _ => Self::Odd(format!("status {status}: {}", body.chars().take(300).collect::<String>())),
        }
    }

    /// Whether the registry says that there is no such artifact.
    pub fn is_not_found(&self) -> bool {
        let codes = ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN"];
        matches!(self, Self::Refused { code, .. } if codes.contains(&code.as_str()))
    }
}

/// What the system said at the bottom: the layers above repeat the address.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
