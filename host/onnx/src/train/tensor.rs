//! Constant tensors of a file: made, and read with bounds.

use bytes::Bytes;

use crate::proto::TensorProto;
use crate::proto::tensor_proto::{DataLocation, DataType};

/// Whether its bytes lie in another file.
pub fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External.into()) || !tensor.external_data.is_empty()
}

/// The type of its elements.
pub fn data_type(tensor: &TensorProto) -> DataType {
    DataType::try_from(tensor.data_type.unwrap_or_default()).unwrap_or(DataType::Undefined)
}

/// The sizes of its axes and the number of its elements; none where one is negative or the product is too large.
pub fn shape(tensor: &TensorProto) -> Option<(Vec<usize>, usize)> {
    let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect::<Option<Vec<_>>>()?;
    let elements = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))?;
    elements.checked_mul(8)?;
    Some((dims, elements))
}

/// The values of an f32 tensor, wherever in it they are; none where there are fewer or more than its shape says.
pub fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let (_, elements) = shape(tensor)?;
    if data_type(tensor) != DataType::Float || is_external(tensor) {
        return None;
    }
    let values = match &tensor.raw_data {
        Some(raw) if raw.len() == elements * 4 => {
            raw.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
        }
        Some(raw) if !raw.is_empty() => return None,
        _ => tensor.float_data.clone(),
    };
    (values.len() == elements).then_some(values)
}

/// The values of a tensor of integers or numbers, as numbers; none where it has others or more than `most`.
pub fn numbers(tensor: &TensorProto, most: usize) -> Option<Vec<f64>> {
    let (_, elements) = shape(tensor)?;
    if elements > most || is_external(tensor) {
        return None;
    }
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    let values: Vec<f64> = match data_type(tensor) {
        DataType::Float => floats(tensor)?.into_iter().map(f64::from).collect(),
        DataType::Double if !raw.is_empty() => {
            raw.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
        }
        DataType::Double => tensor.double_data.clone(),
        DataType::Int32 | DataType::Int64 => {
            ints(tensor, most)?.into_iter().map(|value| value as f64).collect()
        }
        _ => return None,
    };
    (values.len() == elements).then_some(values)
}

/// The values of a tensor of i64 or i32; none where it has others or more than `most`.
pub fn ints(tensor: &TensorProto, most: usize) -> Option<Vec<i64>> {
    let (_, elements) = shape(tensor)?;
    if elements > most || is_external(tensor) {
        return None;
    }
    let raw = tensor.raw_data.as_deref().unwrap_or_default();
    let values: Vec<i64> = match data_type(tensor) {
        DataType::Int64 if !raw.is_empty() => {
            raw.as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()
        }
        DataType::Int64 => tensor.int64_data.clone(),
        DataType::Int32 if !raw.is_empty() => {
            raw.as_chunks::<4>().0.iter().map(|&bytes| i32::from_le_bytes(bytes).into()).collect()
        }
        DataType::Int32 => tensor.int32_data.iter().map(|&value| value.into()).collect(),
        _ => return None,
    };
    (values.len() == elements).then_some(values)
}

/// An f32 tensor.
pub fn of_floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    debug_assert_eq!(dims.iter().product::<usize>(), values.len());
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw(name, dims, DataType::Float, bytes)
}

/// An i64 tensor: a scalar without, a vector with `dims`.
pub fn of_ints(name: &str, dims: &[usize], values: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw(name, dims, DataType::Int64, bytes)
}

fn raw(name: &str, dims: &[usize], data_type: DataType, bytes: Vec<u8>) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: Some(data_type.into()),
        raw_data: Some(Bytes::from(bytes)),
        ..TensorProto::default()
    }
}
