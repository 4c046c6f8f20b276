//! Tensors whose bytes lie beside the ONNX file, brought into it. PyTorch's exporter writes weights so by default
//! (<https://onnx.ai/onnx/repo-docs/ExternalData.html>).
//!
//! Where a file may lie is decided here: below the ONNX file's folder and nowhere else. Reading it is the caller's.

use std::path::{Component, Path};

use bytes::Bytes;

use super::error::OnnxError;
use super::proto::tensor_proto::{DataLocation, DataType};
use super::proto::{GraphProto, ModelProto, TensorProto};

/// Brings in what lies elsewhere; `read` gives so many bytes from an offset of a file, named relative to the ONNX
/// file's folder. Gives how many tensors came.
///
/// Refused are locations outside of that folder, and lengths that are not those of the tensor's shape.
pub fn inline_external(
    model: &mut ModelProto,
    mut read: impl FnMut(&Path, u64, usize) -> std::io::Result<Bytes>,
) -> Result<usize, OnnxError> {
    model.graph.as_mut().map_or(Ok(0), |graph| graph_tensors(graph, &mut read))
}

fn graph_tensors(
    graph: &mut GraphProto,
    read: &mut impl FnMut(&Path, u64, usize) -> std::io::Result<Bytes>,
) -> Result<usize, OnnxError> {
    let mut count = 0;
    for tensor in &mut graph.initializer {
        count += usize::from(inline(tensor, read)?);
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            count += usize::from(inline(tensor, read)?);
        }
        for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            count += graph_tensors(body, read)?;
        }
    }
    Ok(count)
}

/// Whether it lay elsewhere.
fn inline(
    tensor: &mut TensorProto,
    read: &mut impl FnMut(&Path, u64, usize) -> std::io::Result<Bytes>,
) -> Result<bool, OnnxError> {
    if tensor.data_location != Some(DataLocation::External.into()) {
        return Ok(false);
    }
    let name = tensor.name.clone().unwrap_or_default();
    let entry = |key: &str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some(key));
        entry.and_then(|entry| entry.value.as_deref())
    };
    let number = |key: &str| -> Result<Option<u64>, OnnxError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                OnnxError::malformed(format!("\"{name}\": its {key} in the file of weights is no number"))
            })
        };
        entry(key).map(parse).transpose()
    };
    let location = entry("location").unwrap_or_default().to_owned();
    let path = Path::new(&location);
    let below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.is_empty() || !below {
        return Err(OnnxError::forbidden(format!(
            "\"{name}\" lies in \"{location}\", outside of the model's folder"
        )));
    }
    let expected = byte_len(tensor).ok_or_else(|| {
        OnnxError::malformed(format!("\"{name}\" has a shape or type whose size in bytes cannot be told"))
    })?;
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if length.is_some_and(|length| length != expected as u64) {
        return Err(OnnxError::malformed(format!(
            "\"{name}\" has {} bytes in \"{location}\", but its shape takes {expected}",
            length.unwrap_or_default()
        )));
    }
    let bytes = read(path, offset, expected);
    let bytes =
        bytes.map_err(|error| OnnxError::malformed(format!("\"{name}\" in \"{location}\": {error}")))?;
    tensor.raw_data = Some(bytes);
    tensor.external_data.clear();
    tensor.data_location = None;
    Ok(true)
}

fn byte_len(tensor: &TensorProto) -> Option<usize> {
    let size = match DataType::try_from(tensor.data_type?).ok()? {
        DataType::Bool | DataType::Int8 | DataType::Uint8 => 1,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 2,
        DataType::Float | DataType::Int32 | DataType::Uint32 => 4,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 8,
        _ => return None,
    };
    tensor.dims.iter().try_fold(size, |product: usize, &dim| product.checked_mul(usize::try_from(dim).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::StringStringEntryProto;

    fn model(entries: &[(&str, &str)]) -> ModelProto {
        let external_data = entries.iter().map(|(key, value)| StringStringEntryProto {
            key: Some((*key).to_owned()),
            value: Some((*value).to_owned()),
        });
        let tensor = TensorProto {
            name: Some("w".to_owned()),
            dims: vec![2, 3],
            data_type: Some(DataType::Float.into()),
            data_location: Some(DataLocation::External.into()),
            external_data: external_data.collect(),
            ..TensorProto::default()
        };
        let graph = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
        ModelProto { graph: Some(graph), ..ModelProto::default() }
    }

    #[test]
    fn bytes_beside_the_file_are_brought_in() {
        let mut model = model(&[("location", "model.onnx.data"), ("offset", "64"), ("length", "24")]);
        let read = |path: &Path, offset, length| {
            assert_eq!((path, offset), (Path::new("model.onnx.data"), 64));
            Ok(vec![7; length].into())
        };
        assert_eq!(inline_external(&mut model, read).unwrap(), 1);
        let tensor = &model.graph.unwrap().initializer[0];
        assert_eq!(tensor.raw_data.as_deref(), Some(&[7; 24][..]));
        assert_eq!((tensor.data_location, tensor.external_data.len()), (None, 0));
    }

    #[test]
    fn what_lies_outside_or_does_not_fit_is_not_read() {
        for (entries, told) in [
            (&[("location", "../secret")][..], "\"w\" lies in \"../secret\", outside of the model's folder"),
            (&[("location", "/etc/passwd")], "\"w\" lies in \"/etc/passwd\", outside of the model's folder"),
            (&[], "\"w\" lies in \"\", outside of the model's folder"),
            (&[("location", "d"), ("length", "8")], "\"w\" has 8 bytes in \"d\", but its shape takes 24"),
            (&[("location", "d"), ("offset", "-1")], "\"w\": its offset in the file of weights is no number"),
        ] {
            let read = |_: &Path, _, _| -> std::io::Result<Bytes> { panic!("{told}: read") };
            assert_eq!(inline_external(&mut model(entries), read).unwrap_err().message, told);
        }
    }
}
