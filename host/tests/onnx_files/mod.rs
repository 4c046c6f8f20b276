//! Small ONNX files that tests make for themselves.

#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each user takes what it needs")]

use bytes::Bytes;
use sedge_onnx::proto::tensor_proto::DataType;
use sedge_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto,
    ValueInfoProto, attribute_proto, type_proto,
};

/// `outputs = operator(inputs)`.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: outputs.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    }
}

/// A tensor of any shape.
pub fn port(name: &str, of: DataType) -> ValueInfoProto {
    let tensor = type_proto::Tensor { elem_type: Some(of.into()), shape: None };
    let of_type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(of_type), ..Default::default() }
}

/// A scalar.
pub fn truth(name: &str, value: bool) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Bool.into()),
        int32_data: vec![i32::from(value)],
        ..Default::default()
    }
}

/// A graph within a node.
pub fn inner(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(attribute_proto::AttributeType::Graph.into()),
        g: Some(graph),
        ..Default::default()
    }
}

/// The file of `graph`.
pub fn file(graph: GraphProto) -> Bytes {
    let opset = OperatorSetIdProto { version: Some(13), ..Default::default() };
    let graph = GraphProto { name: Some("graph".to_owned()), ..graph };
    sedge_onnx::write(&ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset],
        ..Default::default()
    })
}
