//! The header of a safetensors file: what a file of weights holds, without reading the weights.
//!
//! The format (<https://github.com/huggingface/safetensors>): eight bytes, little-endian, with the length of a
//! JSON object; that object, from tensor names to `{dtype, shape, data_offsets}`; then the data. Offsets count
//! from the end of the header; tensors neither overlap nor leave holes.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;
use thiserror::Error;

/// Largest header that is read: room for more than a hundred thousand tensors (the format allows 100 MB).
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// What is wrong with a file of weights.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// It ends too early for what it says.
    #[error("it is truncated: it has {has} bytes, and its header tells of {needs}")]
    Truncated {
        /// Its size.
        has: u64,
        /// What it should be.
        needs: u64,
    },
    /// It does not begin as the format does.
    #[error("it is not safetensors: {0}")]
    Header(String),
    /// A tensor does not lie as the format asks.
    #[error("its tensor `{tensor}` {why}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is data that belongs to no tensor.
    #[error("it has {0} bytes after its last tensor")]
    Trailing(u64),
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightsHeader {
    /// Number of tensors.
    pub tensors: u64,
    /// Number of elements in all of them.
    pub parameters: u64,
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    _metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// Read the header of weights that have `size` bytes in all, and check that every byte is accounted for.
pub fn read_header(mut content: impl Read, size: u64) -> Result<WeightsHeader, WeightsError> {
    let mut length = [0; 8];
    if size < 8 {
        return Err(WeightsError::Truncated { has: size, needs: 8 });
    }
    content.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES {
        let why = format!("its first eight bytes tell of a header of {length} bytes");
        return Err(WeightsError::Header(why));
    }
    if length > size - 8 {
        return Err(WeightsError::Truncated { has: size, needs: length + 8 });
    }
    let mut header = Vec::new();
    content.take(length).read_to_end(&mut header)?;
    let header: Header = serde_json::from_slice(&header)
        .map_err(|error| WeightsError::Header(format!("its header: {error}")))?;
    check_layout(&header.tensors, size - 8 - length)
}

fn check_layout(tensors: &BTreeMap<String, Entry>, data: u64) -> Result<WeightsHeader, WeightsError> {
    let mut parameters = 0_u64;
    for (name, entry) in tensors {
        let wrong = |why| WeightsError::Tensor { tensor: name.clone(), why };
        let bits = bits(&entry.dtype).ok_or_else(|| wrong("has a dtype that is not known"))?;
        let elements = entry
            .shape
            .iter()
            .try_fold(1_u64, |n, d| n.checked_mul(*d))
            .ok_or_else(|| wrong("has a shape that overflows"))?;
        let bytes = elements
            .checked_mul(bits)
            .filter(|bits| bits.is_multiple_of(8))
            .map(|bits| bits / 8)
            .ok_or_else(|| wrong("has a shape that does not come to whole bytes"))?;
        if entry.data_offsets.0.checked_add(bytes) != Some(entry.data_offsets.1) {
            return Err(wrong("has offsets that do not fit its dtype and shape"));
        }
        parameters = parameters.checked_add(elements).ok_or_else(|| wrong("has a shape that overflows"))?;
    }
    let mut in_order: Vec<_> = tensors.iter().map(|(name, entry)| (entry.data_offsets, name)).collect();
    in_order.sort_unstable();
    let mut end = 0;
    for ((begins, ends), name) in in_order {
        if begins != end {
            let why = "overlaps another, or leaves a hole before it";
            return Err(WeightsError::Tensor { tensor: name.clone(), why });
        }
        end = ends;
    }
    if end > data {
        return Err(WeightsError::Truncated { has: data, needs: end });
    }
    if end < data {
        return Err(WeightsError::Trailing(data - end));
    }
    Ok(WeightsHeader { tensors: tensors.len() as u64, parameters })
}

/// Bits of one element.
fn bits(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E5M2FNUZ" | "F8_E4M3FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "C64" | "F64" | "I64" | "U64" => 64,
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A file with that header and so much data.
    pub(crate) fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<WeightsHeader, String> {
        read_header(bytes, bytes.len() as u64).map_err(|error| error.to_string())
    }

    #[test]
    fn a_header_tells_tensors_and_parameters() {
        let header = r#"{"__metadata__":{"a":"b"},
            "w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},
            "b":{"dtype":"F16","shape":[],"data_offsets":[24,26]},
            "none":{"dtype":"I64","shape":[0],"data_offsets":[26,26]}}"#;
        assert_eq!(read(&file(header, 26)), Ok(WeightsHeader { tensors: 3, parameters: 7 }));
        assert_eq!(read(&file("{}", 0)), Ok(WeightsHeader { tensors: 0, parameters: 0 }));
    }

    #[test]
    fn every_lie_in_a_header_is_told() {
        let one = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
        };
        let short = file("{}", 0);
        for (bytes, told) in [
            (b"abc".to_vec(), "truncated: it has 3 bytes"),
            (short[..9].to_vec(), "truncated: it has 9 bytes, and its header tells of 10"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(), "header of 18446744073709551615 bytes"),
            (file("[1]", 0), "its header"),
            (file(&one("F32", "[2]", "[0,8]"), 4), "truncated: it has 4 bytes, and its header tells of 8"),
            (file(&one("F32", "[2]", "[0,8]"), 9), "1 bytes after its last tensor"),
            (file(&one("F32", "[2]", "[4,12]"), 12), "leaves a hole"),
            (file(&one("F32", "[2]", "[0,4]"), 4), "do not fit its dtype and shape"),
            (file(&one("F99", "[2]", "[0,4]"), 4), "dtype that is not known"),
            (file(&one("F32", "[4294967296,4294967296]", "[0,0]"), 0), "overflows"),
            (file(&one("F32", "[-1]", "[0,0]"), 0), "its header"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(told), "{told}: {error}");
        }
    }
}
