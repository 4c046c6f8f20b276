//! What a graph consists of, without its weights: values, nodes in an order in which they can run, attributes,
//! small constants.
//!
//! An ONNX file comes in, is checked for everything that engines take for granted (see [`Outline::of`]), and
//! goes on as an [`Outline`], from which [`crate::shapes`] computes what computing with it takes. The names of
//! values are gone: each is a [`Slot`], one space of them for the graph and all graphs inside it, so what an
//! inner graph captures is simply the slot of the outer value.

mod graph;
mod tensor;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::error::OnnxError;
use super::file;
use super::proto::{ModelProto, ValueInfoProto};
use super::signature::ElementType;
pub(crate) use tensor::Constant;

/// The newest version of ONNX's own operators that the schema in `proto/` knows.
pub const MAX_OPSET: i64 = 28;

/// Index of a value among all of the model's.
pub(crate) type Slot = usize;

/// A checked model without its weights.
#[derive(Debug)]
pub struct Outline {
    pub(crate) graph: Graph,
    /// Values in all graphs.
    pub(crate) slots: usize,
    /// Version of ONNX's own operators.
    pub(crate) opset: i64,
    /// Bytes of all initializers and of the tensors in attributes.
    pub(crate) constant_bytes: u64,
}

/// A graph, or one inside a node.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// In the file's order, without those that an initializer fixes.
    pub inputs: Vec<Input>,
    pub outputs: Vec<Slot>,
    pub constants: Vec<(Slot, Constant)>,
    /// Every node after those that make what it takes.
    pub nodes: Vec<Node>,
}

/// An input as the file declares it.
#[derive(Debug)]
pub(crate) struct Input {
    pub name: String,
    pub slot: Slot,
    pub element: Option<ElementType>,
    pub shape: Option<Vec<Option<usize>>>,
}

/// An operator at work.
#[derive(Debug)]
pub(crate) struct Node {
    pub operator: String,
    /// `""` for ONNX's own.
    pub domain: String,
    /// For people: its name, or what it makes.
    pub label: String,
    /// None for an optional input that is left out.
    pub inputs: Vec<Option<Slot>>,
    pub outputs: Vec<Option<Slot>>,
    pub attributes: BTreeMap<String, Attribute>,
    /// Values from outside that the graphs in it use; each once.
    pub captures: Vec<Slot>,
}

/// What a node is told beside its inputs.
#[derive(Debug)]
pub(crate) enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Tensor(Constant),
    Graph(Graph),
    /// Of no meaning for shapes.
    Other,
}

impl Outline {
    /// Reads and checks `file`.
    ///
    /// # Errors
    /// What [`crate::read`] refuses, and beyond that, naming the node, tensor or value:
    /// - *Malformed*: a cycle; a node before one that makes what it takes (ONNX demands the order, and engines
    ///   differ in what they make of another); a value that two nodes make or nobody; no or unknown versions
    ///   of operators; a tensor with negative dimensions or whose data are not what its dimensions say
    /// - *TooLarge*: a tensor larger than can be counted
    /// - *Unsupported*: sparse tensors
    /// - *Forbidden*: tensors whose data lie in another file, whatever its path
    pub fn of(file: &Bytes) -> Result<Self, OnnxError> {
        Self::of_model(&file::read(file.clone())?)
    }

    /// As [`Self::of`], of a file that was read.
    pub fn of_model(model: &ModelProto) -> Result<Self, OnnxError> {
        let domains = Domains::of(model)?;
        let graph = model.graph.as_ref().ok_or_else(|| OnnxError::malformed("the file has no ONNX graph"))?;
        let opset = domains.version("").unwrap_or(MAX_OPSET);
        let mut builder = graph::Builder::new(&domains);
        for function in &model.functions {
            builder.check_function(function)?;
        }
        let graph = builder.graph(graph)?;
        Ok(Self { graph, slots: builder.slots, opset, constant_bytes: builder.constant_bytes })
    }

    /// Bytes of all initializers and of the tensors in attributes, as the file's element types have it.
    pub fn constant_bytes(&self) -> u64 {
        self.constant_bytes
    }
}

/// The operator sets that a model imports.
struct Domains(BTreeMap<String, i64>);

impl Domains {
    fn of(model: &ModelProto) -> Result<Self, OnnxError> {
        let mut domains = BTreeMap::new();
        for import in &model.opset_import {
            let domain = canonical(import.domain.as_deref().unwrap_or_default());
            let version = import.version.unwrap_or_default();
            let set = if domain.is_empty() { "ONNX's own operators" } else { domain };
            if version < 1 {
                return Err(OnnxError::malformed(format!(
                    "the file imports version {version} of {set:.100}; versions begin at 1"
                )));
            }
            if domain.is_empty() && version > MAX_OPSET {
                return Err(OnnxError::unsupported(format!(
                    "the file imports version {version} of {set}; {MAX_OPSET} is the newest that is known here: \
                     export it with an older one"
                )));
            }
            if domains.insert(domain.to_owned(), version).is_some_and(|other| other != version) {
                return Err(OnnxError::malformed(format!("the file imports two versions of {set:.100}")));
            }
        }
        // Functions of the model's own need no import of their domain in older versions of the format.
        for function in &model.functions {
            let domain = canonical(function.domain.as_deref().unwrap_or_default());
            domains.entry(domain.to_owned()).or_insert(1);
        }
        if domains.is_empty() {
            return Err(OnnxError::malformed("the file does not say which version of the operators it uses"));
        }
        Ok(Self(domains))
    }

    fn version(&self, domain: &str) -> Option<i64> {
        self.0.get(domain).copied()
    }
}

/// The type that the file declares of a value.
pub(crate) fn declared_element(value: &ValueInfoProto) -> Option<ElementType> {
    graph::declared(value).ok()?.0
}

/// ONNX's own domain has two names.
fn canonical(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

#[cfg(test)]
pub(crate) mod tests;
