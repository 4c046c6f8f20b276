//! What a node says, read without surprises: attributes and inputs that may be absent.

use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, GraphProto, NodeProto};

/// The operator, without its domain.
pub fn op(node: &NodeProto) -> &str {
    node.op_type.as_deref().unwrap_or_default()
}

/// Whether it is an operator of ONNX's own.
pub fn is_standard(node: &NodeProto) -> bool {
    matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"))
}

/// The value of input `at`, if the node has it.
pub fn input(node: &NodeProto, at: usize) -> Option<&str> {
    node.input.get(at).map(String::as_str).filter(|name| !name.is_empty())
}

/// The value of output `at`, if the node has it.
pub fn output(node: &NodeProto, at: usize) -> Option<&str> {
    node.output.get(at).map(String::as_str).filter(|name| !name.is_empty())
}

/// An attribute by name.
pub fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name.as_deref() == Some(name))
}

/// A whole number.
pub fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name)?.i
}

/// Whole numbers.
pub fn ints<'a>(node: &'a NodeProto, name: &str) -> Option<&'a [i64]> {
    attribute(node, name).map(|attribute| attribute.ints.as_slice())
}

/// A number.
pub fn float(node: &NodeProto, name: &str) -> Option<f32> {
    attribute(node, name)?.f
}

/// A text; empty where there is none.
pub fn text<'a>(node: &'a NodeProto, name: &str) -> &'a str {
    let bytes = attribute(node, name).and_then(|attribute| attribute.s.as_deref());
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// An attribute that is a whole number.
pub fn with_int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..named(name, AttributeType::Int) }
}

/// An attribute of whole numbers.
pub fn with_ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..named(name, AttributeType::Ints) }
}

/// An attribute that is a number.
pub fn with_float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..named(name, AttributeType::Float) }
}

fn named(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind.into()), ..AttributeProto::default() }
}

/// The graphs that a node holds: bodies of loops and branches.
pub fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Every value that a node reads, those that its bodies take from around them among them.
pub fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> =
        node.input.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    for body in bodies(node) {
        names.extend(body.node.iter().flat_map(reads));
        names.extend(body.output.iter().filter_map(|output| output.name.as_deref()));
    }
    names
}

/// Calls values by other names, in bodies too. Names of a body's own are given by their exporters and unlike
/// those around it, as ONNX demands.
pub fn rename(node: &mut NodeProto, new: &dyn Fn(&str) -> Option<String>) {
    let change = |name: &mut String| {
        if let Some(other) = new(name) {
            *name = other;
        }
    };
    node.input.iter_mut().for_each(change);
    node.output.iter_mut().for_each(change);
    for attribute in &mut node.attribute {
        for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            body.node.iter_mut().for_each(|inner| rename(inner, new));
            body.output.iter_mut().filter_map(|output| output.name.as_mut()).for_each(change);
        }
    }
}
