//! The safetensors format, <https://github.com/huggingface/safetensors#format>: eight bytes with the length
//! of a JSON header, the header, and the tensors' bytes without gaps.
//!
//! Written so that no reader need copy: the header is padded with spaces until the data begins on a multiple
//! of 64, and larger elements come before smaller ones, so every tensor lies aligned. The header is read here
//! and not by the `safetensors` crate, which accepts a name given twice, a hundred megabytes of header, and
//! does not say which tensor is wrong.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cap_std::fs::Dir;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserializer as _;
use serde::de::{Error as _, MapAccess, Visitor};

use super::{ModelError, Weights, mapped};
use crate::nn::{ALIGNMENT, Buffer, DType, Region, Tensor, describe, element_count};

/// Header that is read or written, at most: more than a hundred thousand tensors.
const MAX_HEADER: usize = 16 << 20;
/// The header's length, before it.
const LENGTH: usize = size_of::<u64>();
/// The key under which the format keeps what is no tensor.
const METADATA: &str = "__metadata__";

/// Maps the file, as long as any of its tensors lives.
pub fn map(dir: &Dir, path: &str) -> Result<Weights, ModelError> {
    let failed = |error: std::io::Error| ModelError(format!("cannot read the weights: {error}"));
    // Before it is opened: opening a pipe would wait for its other end.
    if !dir.metadata(path).map_err(failed)?.is_file() {
        return Err(ModelError("cannot read the weights: not a file".to_owned()));
    }
    let file = dir.open(path).map_err(failed)?.into_std();
    if file.metadata().map_err(failed)?.len() < LENGTH as u64 {
        return Err(truncated());
    }
    read(Region::Mapped(mapped::map(&file).map_err(failed)?))
}

/// Views of `buffer`.
pub fn from_buffer(buffer: Buffer) -> Result<Weights, ModelError> {
    read(Region::Buffer(buffer))
}

fn truncated() -> ModelError {
    ModelError("not a safetensors file: it is shorter than it says".to_owned())
}

fn read(region: Region) -> Result<Weights, ModelError> {
    let region = Arc::new(region);
    let file = region.as_slice();
    let (&length, rest) = file.split_first_chunk::<LENGTH>().ok_or_else(truncated)?;
    let length = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_HEADER {
        return Err(ModelError(format!(
            "not a safetensors file: a header of {length} bytes, where {MAX_HEADER} are allowed"
        )));
    }
    let (header, data) = rest.split_at_checked(length).ok_or_else(truncated)?;
    let mut entries = parse_header(header)?;
    entries.sort_by_key(|(_, info)| info.data_offsets);

    let mut end = 0;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, info) in entries {
        let wrong = |what: String| ModelError(format!("tensor \"{name}\": {what}"));
        let dtype = dtype_of(info.dtype).ok_or_else(|| {
            wrong(format!(
                "elements of {} are not supported; use F32, F64, F16, BF16, U8, I32 or I64",
                info.dtype
            ))
        })?;
        let elements = element_count(dtype, &info.shape).map_err(|error| wrong(error.message))?;
        let (start, stop) = info.data_offsets;
        if start != end {
            let what = if start < end { "overlaps the one before it" } else { "leaves a gap before it" };
            return Err(wrong(format!("{what}: begins at byte {start} of the data, not at {end}")));
        }
        if stop.checked_sub(start) != Some(elements * dtype.size()) {
            return Err(wrong(format!(
                "{} does not lie in the bytes from {start} to {stop}",
                describe(dtype, &info.shape)
            )));
        }
        if stop > data.len() {
            return Err(wrong(format!("ends at byte {stop} of the data, which has only {}", data.len())));
        }
        end = stop;
        let at = LENGTH + length + start;
        let tensor = if at.is_multiple_of(dtype.size()) {
            Tensor::in_region(dtype, &info.shape, &region, at)
        } else {
            Tensor::from_bytes(dtype, &info.shape, &data[start..stop])
        };
        let tensor = tensor.map_err(|error| wrong(error.message))?;
        tensors.push((name, tensor));
    }
    if end != data.len() {
        return Err(ModelError(format!(
            "not a safetensors file: {} bytes after the last tensor",
            data.len() - end
        )));
    }
    Weights::new(tensors)
}

/// Names and infos, in the header's order, each name once.
fn parse_header(header: &[u8]) -> Result<Vec<(String, TensorInfo)>, ModelError> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, TensorInfo)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object with a tensor under each name")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(name) = map.next_key::<String>()? {
                if name == METADATA {
                    map.next_value::<serde::de::IgnoredAny>()?;
                    continue;
                }
                let info = map
                    .next_value()
                    .map_err(|error| A::Error::custom(format!("tensor \"{name}\": {error}")))?;
                entries.push((name, info));
            }
            Ok(entries)
        }
    }

    let refused = |error: serde_json::Error| ModelError(format!("not a safetensors file: {error}"));
    let mut json = serde_json::Deserializer::from_slice(header);
    let entries = json.deserialize_map(Entries).map_err(refused)?;
    json.end().map_err(refused)?;
    Ok(entries)
}

/// Indices of `tensors` in the order of the file: larger elements first, then by name.
pub fn order(tensors: &[(String, Tensor)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    // Stable, and `tensors` are sorted by name.
    order.sort_by_key(|&index| std::cmp::Reverse(tensors[index].1.dtype().size()));
    order
}

/// Length and header of a file with `tensors` in that order.
pub fn header(tensors: &[(String, Tensor)], order: &[usize]) -> Result<Bytes, ModelError> {
    let too_long = |length: usize| {
        ModelError(format!(
            "weights do not make a safetensors file: their names and shapes take {length} bytes of {MAX_HEADER}"
        ))
    };
    // Before they are written out, in which a byte of a name can become six.
    let names = tensors.iter().map(|(name, _)| name.len()).sum();
    if names > MAX_HEADER {
        return Err(too_long(names));
    }
    let mut end = 0usize;
    let infos = order.iter().map(|&index| {
        let (name, tensor) = &tensors[index];
        if name == METADATA {
            return Err(ModelError(format!("no weight can be called \"{METADATA}\"")));
        }
        let start = end;
        end = start
            .checked_add(tensor.byte_len())
            .ok_or_else(|| ModelError("the weights are larger than the address space".to_owned()))?;
        let info = TensorInfo {
            dtype: dtype_to(tensor.dtype()),
            shape: tensor.shape().to_vec(),
            data_offsets: (start, end),
        };
        Ok((name.clone(), info))
    });
    let infos = infos.collect::<Result<Vec<_>, _>>()?;
    let refused =
        |error: &dyn fmt::Display| ModelError(format!("weights do not make a safetensors file: {error}"));
    let metadata = Metadata::new(None, infos).map_err(|error| refused(&error))?;
    let mut header = vec![0; LENGTH];
    serde_json::to_writer(&mut header, &metadata).map_err(|error| refused(&error))?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let length = header.len() - LENGTH;
    if length > MAX_HEADER {
        return Err(too_long(length));
    }
    header[..LENGTH].copy_from_slice(&(length as u64).to_le_bytes());
    Ok(header.into())
}

fn dtype_of(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
        Dtype::U8 => DType::U8,
        Dtype::I32 => DType::I32,
        Dtype::I64 => DType::I64,
        _ => return None,
    })
}

fn dtype_to(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        DType::U8 => Dtype::U8,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
    }
}

#[cfg(test)]
mod tests;
