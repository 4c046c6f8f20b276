//! STUB (replaced by branch proto2)
pub mod client;
use super::ServeError;
use crate::runtime::NamedTensors;
/// x
pub fn parse_inputs(_json: &[u8]) -> Result<NamedTensors, ServeError> {
    Ok(Vec::new())
}
