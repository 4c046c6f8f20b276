//! What a safetensors file holds, told from its header: names, types and shapes of the tensors.

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Bytes before the header: its length, little-endian.
pub const PREFIX: usize = 8;
/// Largest header that is read, in bytes.
const MAX_HEADER: u64 = 16 << 20;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tensor {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// Type of its elements, in the format's words: `F32`.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<u64>,
}

impl Tensor {
    /// Number of its elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |product: u64, size| product.saturating_mul(*size))
    }
}

/// The header's length in bytes, from the first eight of the file.
pub fn header_length(prefix: [u8; PREFIX]) -> anyhow::Result<usize> {
    let length = u64::from_le_bytes(prefix);
    anyhow::ensure!(length <= MAX_HEADER, "it is no safetensors file: its header would have {length} bytes");
    Ok(usize::try_from(length)?)
}

/// The tensors that a header names, in the order of their names.
pub fn tensors(header: &[u8]) -> anyhow::Result<Vec<Tensor>> {
    let fields: Map<String, Value> =
        serde_json::from_slice(header).context("it is no safetensors file: its header is no JSON object")?;
    let mut tensors = Vec::new();
    for (name, entry) in fields {
        if name != "__metadata__" {
            let tensor: Tensor =
                serde_json::from_value(entry).with_context(|| format!("its tensor `{name}` is malformed"))?;
            tensors.push(Tensor { name, ..tensor });
        }
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_its_tensors() {
        let header = br#"{"__metadata__": {"by": "hand"},
            "w2": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]},
            "w1": {"dtype": "F32", "shape": [64, 10], "data_offsets": [40, 2600]}}"#;
        let tensors = tensors(header).unwrap();
        let read: Vec<(&str, u64)> = tensors.iter().map(|t| (t.name.as_str(), t.elements())).collect();
        assert_eq!(read, [("w1", 640), ("w2", 10)]);
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert!(header_length(*b"\x89PNG\r\n\x1a\n").is_err());
        assert!(tensors(b"[]").is_err());
        assert!(tensors(br#"{"w": 1}"#).is_err());
    }
}
