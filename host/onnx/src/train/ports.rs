//! Inputs and outputs of graphs, as a file declares them.

use crate::proto::tensor_proto::DataType;
use crate::proto::tensor_shape_proto::{Dimension, dimension};
use crate::proto::type_proto::{self, Tensor};
use crate::proto::{TensorShapeProto, TypeProto, ValueInfoProto};

use super::dim::Dim;

/// What the axis of the samples is called.
const SAMPLES: &str = "N";

/// A tensor of known sizes.
pub fn fixed(name: &str, data_type: DataType, sizes: &[usize]) -> ValueInfoProto {
    let dims = sizes.iter().map(|&size| dimension::Value::DimValue(size as i64));
    info(name, data_type.into(), dims.collect())
}

/// A tensor of samples, whose further axes are `rest`.
pub fn samples(name: &str, data_type: i32, rest: &[Dim]) -> ValueInfoProto {
    let named = |(at, dim): (usize, &Dim)| match dim.size() {
        Some(size) => dimension::Value::DimValue(size as i64),
        None => dimension::Value::DimParam(format!("{name}_{}", at + 1)),
    };
    let first = dimension::Value::DimParam(SAMPLES.to_owned());
    info(name, data_type, std::iter::once(first).chain(rest.iter().enumerate().map(named)).collect())
}

/// A tensor of any shape.
pub fn any(name: &str, data_type: DataType) -> ValueInfoProto {
    let tensor = Tensor { elem_type: Some(data_type.into()), shape: None };
    of_tensor(name, tensor)
}

fn info(name: &str, elem_type: i32, dims: Vec<dimension::Value>) -> ValueInfoProto {
    let dim =
        dims.into_iter().map(|value| Dimension { value: Some(value), ..Dimension::default() }).collect();
    of_tensor(name, Tensor { elem_type: Some(elem_type), shape: Some(TensorShapeProto { dim }) })
}

fn of_tensor(name: &str, tensor: Tensor) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

/// The element type of a tensor, by its number.
pub fn elem_type(info: &ValueInfoProto) -> Option<i32> {
    match info.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => tensor.elem_type,
        _ => None,
    }
}
