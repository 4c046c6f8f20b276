//! STUB
use crate::runtime::NamedTensors;
use crate::serving::ServeErrorKind;
use std::time::Duration;
/// x
#[derive(Clone)]
pub struct Client;
/// x
pub struct Answered {
    /// x
    pub outputs: NamedTensors,
}
/// x
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// x
    #[error("{message}")]
    Refused {
        /// x
        kind: ServeErrorKind,
        /// x
        message: String,
    },
    /// x
    #[error("t")]
    TimedOut,
    /// x
    #[error("{0}")]
    Unreachable(String),
}
impl Client {
    /// x
    pub fn connect_lazy(_: &str) -> Result<Self, ClientError> {
        Ok(Self)
    }
    /// x
    pub async fn infer(&self, _: &str, _: NamedTensors, _: Duration) -> Result<Answered, ClientError> {
        Err(ClientError::TimedOut)
    }
    /// x
    pub async fn ready(&self, _: &str) -> Result<bool, ClientError> {
        Ok(true)
    }
}
