//! The Open Inference Protocol v2: REST and gRPC on one port, in front of a node's [`Services`].
//!
//! ```text
//!  HTTP/1.1, HTTP/2 ──▶ server ─┬─▶ rest ──▶ json, numbers, binary ─┐
//!                               └─▶ grpc ──▶ wire ──────────────────┴─▶ Request ──▶ Endpoint
//! ```
//! What is served, and where it is written down:
//! - REST: `/v2`, `/v2/health/{live,ready}`, `/v2/models/NAME[/versions/V]`, `…/ready`, `…/infer`
//!   (<https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md>), and
//!   `POST /v2/repository/index`. Tensors in JSON or as binary
//!   (<https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md>).
//! - gRPC: `inference.GRPCInferenceService` (`controllers/api/proto/open_inference.proto`), elements raw or typed.
//! - Datatypes FP16, FP32, FP64, BF16, INT64, INT32, UINT8. No shared memory, no compression, no streams.
//! - A request's `parameters.timeout` (microseconds) and gRPC's `grpc-timeout` become its deadline.
//! - A response's `parameters` say who answered: `answered_by`, `hard`, `hard_samples`, `plugin`, `model`.
//!
//! Requests are hostile: connections, heads, bodies, tensors and the memory of all requests in flight are bounded
//! ([`Limits`]), and so is the time that a head or a body may take. Numbers in JSON can take four times the bytes in
//! memory that they take in the body (`0,` as FP64); this is not counted.
//! [`client`] is the other side, which nodes ask each other with.

mod answer;
mod binary;
mod body;
pub mod client;
mod datatypes;
mod grpc;
mod json;
mod numbers;
mod pulse;
mod refusal;
mod rest;
mod server;
#[cfg(test)]
mod tests;
mod wire;

use bytes::Bytes;

pub use server::{Limits, serve};

use super::endpoint::{Endpoint, ServeError, ServeErrorKind, Services};
use crate::runtime::NamedTensors;
use std::sync::Arc;

/// What runs the models, in the protocol's metadata.
const PLATFORM: &str = "sedge";
/// What is served beyond the protocol's core.
const EXTENSIONS: [&str; 2] = ["binary_tensor_data", "model_repository"];

/// The tensors of an inference request in the protocol's JSON.
///
/// # Errors
/// Where it is no such request, or its tensors are elsewhere (binary).
pub fn parse_inputs(json: &[u8]) -> Result<NamedTensors, ServeError> {
    binary::place(json::parse(json)?.inputs.0, Bytes::new())
}

/// The service of that name, in that version where one is asked for.
fn find(services: &Services, name: &str, version: &str) -> Result<Arc<dyn Endpoint>, ServeError> {
    let not_found = |text: String| Err(ServeError::new(ServeErrorKind::NotFound, text));
    let Some(endpoint) = services.find(name) else {
        return not_found(format!("no service `{name:.100}` is served here"));
    };
    if !version.is_empty() {
        let served = answer::version(&endpoint.metadata().versions);
        if version != served {
            return not_found(format!("version `{version:.100}` of `{name}` is not served; {served} is"));
        }
    }
    Ok(endpoint)
}

/// Whether all services would answer.
fn all_ready(services: &Services) -> bool {
    services.names().iter().all(|name| services.find(name).is_none_or(|endpoint| endpoint.ready()))
}
