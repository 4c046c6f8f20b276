//! Models: named graphs and weights.
use std::collections::BTreeMap;
use std::sync::Arc;
use bytes::Bytes;
use crate::nn::{Buffer, Graph, NnError, Tensor};

/// Why weights were refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ModelError(pub String);

/// Named tensors, sorted by name; clone copies the handle.
#[derive(Clone)]
pub struct Weights(());
impl Weights {
    /// Names must be unique.
    pub fn new(_tensors: Vec<(String, Tensor)>) -> Result<Self, ModelError> { todo!() }
    /// Map a safetensors file.
    pub fn map(_dir: &cap_std::fs::Dir, _path: &str) -> Result<Self, ModelError> { todo!() }
    /// Safetensors in memory; tensors are views of the buffer.
    pub fn from_buffer(_safetensors: Buffer) -> Result<Self, ModelError> { todo!() }
    /// As a safetensors file, in parts that share the tensors' memory.
    pub fn to_safetensors(&self) -> Vec<Bytes> { todo!() }
    /// Sum of the parts' lengths.
    pub fn safetensors_len(&self) -> u64 { todo!() }
    /// By name.
    pub fn tensors(&self) -> &[(String, Tensor)] { todo!() }
    /// Of all tensors.
    pub fn byte_len(&self) -> u64 { todo!() }
    /// Err names the first tensor that differs in name, dtype or shape.
    pub fn check_layout(&self, _other: &Weights) -> Result<(), ModelError> { todo!() }
}

/// A job's model, loaded.
pub struct Model { /// By name.
 pub graphs: BTreeMap<String, Arc<dyn Graph>>, /// Initial weights.
 pub weights: Option<Weights> }

/// `graph` with every input that bears a weight's name fixed to that weight.
pub fn bind(_graph: Arc<dyn Graph>, _weights: &Weights) -> Result<Arc<dyn Graph>, NnError> { todo!() }
