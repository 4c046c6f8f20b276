//! Nodes of older opsets, and of training exports, in the one form that the rest reads.
//!
//! Between opsets 11 and 13 these changed: `Squeeze`, `Unsqueeze`, `ReduceSum` and `Split` take axes and sizes as
//! inputs; `Softmax` and its kin work on one axis, where they had joined all from the axis on
//! (<https://onnx.ai/onnx/operators/>, the operators' histories).

use crate::proto::attribute_proto::AttributeType;
use crate::proto::{NodeProto, TensorProto};

use super::error::TrainError;
use super::gradients;
use super::node::{self, op};
use super::shapes::Shapes;
use super::source::{Node, Source};
use super::tensor;

/// The tensor of a `Constant` node, under the name of its output.
pub fn constant(proto: &NodeProto) -> Option<TensorProto> {
    let name = node::output(proto, 0)?;
    let [attribute] = proto.attribute.as_slice() else { return None };
    let ints = |dims: &[usize], values: &[i64]| Some(tensor::of_ints(name, dims, values));
    let floats = |dims: &[usize], values: &[f32]| Some(tensor::of_floats(name, dims, values));
    match attribute.name.as_deref()? {
        "value" => attribute.t.clone().map(|value| TensorProto { name: Some(name.to_owned()), ..value }),
        "value_int" => ints(&[], &[attribute.i?]),
        "value_ints" => ints(&[attribute.ints.len()], &attribute.ints),
        "value_float" => floats(&[], &[attribute.f?]),
        "value_floats" => floats(&[attribute.floats.len()], &attribute.floats),
        "value_string" | "value_strings" => Some(TensorProto {
            name: Some(name.to_owned()),
            dims: if attribute.strings.is_empty() { vec![] } else { vec![attribute.strings.len() as i64] },
            data_type: Some(crate::proto::tensor_proto::DataType::String.into()),
            string_data: attribute.s.iter().chain(&attribute.strings).cloned().collect(),
            ..TensorProto::default()
        }),
        _ => None,
    }
}

/// Brings a node of opset 11 or 12 to 13; what became an input is given back as constants.
pub fn to_13(node: &mut Node) -> Result<Vec<TensorProto>, TrainError> {
    let (attribute, at) = match op(&node.proto) {
        "Squeeze" | "Unsqueeze" | "ReduceSum" => ("axes", 1),
        "Split" => ("split", 1),
        _ => return Ok(vec![]),
    };
    let Some(values) = node::ints(&node.proto, attribute).map(<[i64]>::to_vec) else { return Ok(vec![]) };
    node.proto.attribute.retain(|other| other.name.as_deref() != Some(attribute));
    let name = format!("{}:{attribute}", node.proto.output.first().map_or("", String::as_str));
    node.proto.input.truncate(at);
    node.proto.input.push(name.clone());
    Ok(vec![tensor::of_ints(&name, &[values.len()], &values)])
}

/// Softmax of opset 11 or 12 joins all axes from its own on, which is 1 if it says nothing: the same as one axis
/// where that is the last.
pub fn softmax(source: &mut Source, shapes: &Shapes) -> Result<(), TrainError> {
    if source.file_opset >= 13 {
        return Ok(());
    }
    for node in &mut source.nodes {
        if !matches!(op(&node.proto), "Softmax" | "LogSoftmax" | "Hardmax") || !node::is_standard(&node.proto)
        {
            continue;
        }
        let axis = node::int(&node.proto, "axis").unwrap_or(1);
        let rank =
            node::input(&node.proto, 0).and_then(|name| shapes.of(name)).map(|shape| shape.len() as i64);
        if axis != -1 && rank.map(|rank| rank - 1) != Some(axis) {
            return Err(node
                .refuse("before opset 13 it joins all axes from its own on: export with opset 13 or later"));
        }
        node.proto.attribute = vec![node::with_int("axis", -1)];
    }
    Ok(())
}

/// Normalisation by running statistics, whichever form the file has: training is put on anew.
pub fn infer_form(proto: &mut NodeProto) {
    proto.output.truncate(1);
    for attribute in &mut proto.attribute {
        if attribute.name.as_deref() == Some("training_mode")
            && attribute.r#type == Some(AttributeType::Int.into())
        {
            attribute.i = Some(0);
        }
    }
}

/// Strides, dilations and pads that a file leaves out or has computed (`auto_pad`): some engines want them said, and
/// some put the odd element of `SAME_LOWER` on the wrong side.
pub fn spell_out(source: &mut Source, shapes: &Shapes) {
    for node in &mut source.nodes {
        let op = op(&node.proto).to_owned();
        if !matches!(op.as_str(), "Conv" | "ConvTranspose" | "MaxPool" | "AveragePool")
            || !node::is_standard(&node.proto)
        {
            continue;
        }
        let input = node::input(&node.proto, 0).and_then(|name| shapes.of(name));
        let Some((kernel, input)) = shapes.kernel(&node.proto).zip(input) else { continue };
        let windows = match op.as_str() {
            "ConvTranspose" => Shapes::transposed_windows(&node.proto, input, &kernel),
            _ => Shapes::windows(&node.proto, input, &kernel),
        };
        let Some(windows) = windows else { continue };
        let names = ["strides", "dilations", "pads", "auto_pad"];
        node.proto.attribute.retain(|other| !names.contains(&other.name.as_deref().unwrap_or_default()));
        let mut form = gradients::window_attributes(&windows);
        if op.ends_with("Pool") && windows.iter().all(|window| window.dilation == 1) {
            form.retain(|attribute| attribute.name.as_deref() != Some("dilations"));
        }
        node.proto.attribute.extend(form);
    }
}
