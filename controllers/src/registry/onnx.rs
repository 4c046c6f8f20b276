//! Whether a file is an ONNX model that a node will take: protobuf whose outermost fields are those of
//! `ModelProto`, with a graph among them, and a graph that is whole (see [`sedge_onnx::Outline`]): so that a push
//! of the wrong file, of half of one, or of one whose weights lie elsewhere is refused with a reason at once.
//!
//! The outermost fields are walked by their lengths; what they hold is read where that is not too large to be
//! held here for a moment. Nodes look into larger ones when they load them.

use std::io::{self, Read, Seek, SeekFrom};

use sedge_onnx::{OnnxError, Outline};
use thiserror::Error;

/// `ModelProto.graph` (onnx/onnx.proto).
const GRAPH: u64 = 7;
/// The highest field of `ModelProto` is 26 today; leave room for later ones.
const MAX_FIELD: u64 = 100;
/// Files up to this size are read whole.
const MAX_READ: u64 = 256 << 20;
/// More outermost fields than exporters write (opset imports, metadata, functions).
const MAX_FIELDS: usize = 100_000;

/// Why it is no graph.
#[derive(Debug, Error)]
pub enum GraphError {
    /// No bytes.
    #[error("it is empty")]
    Empty,
    /// Not the fields of an ONNX model.
    #[error("it is not an ONNX model: {why} at byte {offset}")]
    NotOnnx {
        /// Where.
        offset: u64,
        /// What.
        why: &'static str,
    },
    /// All fields are right, but there is none with a graph.
    #[error("it is an ONNX model without a graph")]
    NoGraph,
    /// Not what engines take for granted, or reaching for other files.
    #[error(transparent)]
    Refused(#[from] OnnxError),
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Look into a file of `size` bytes.
pub fn check(mut content: impl Read + Seek, size: u64) -> Result<(), GraphError> {
    walk(&mut content, size)?;
    if size <= MAX_READ {
        content.seek(SeekFrom::Start(0))?;
        let mut file = Vec::with_capacity(size as usize);
        content.take(size).read_to_end(&mut file)?;
        Outline::of(&file.into())?;
    }
    Ok(())
}

/// Walk the outermost fields.
fn walk(content: impl Read + Seek, size: u64) -> Result<(), GraphError> {
    if size == 0 {
        return Err(GraphError::Empty);
    }
    let mut walk = Walk { content, at: 0, size };
    let mut has_graph = false;
    for _ in 0..MAX_FIELDS {
        if walk.at == size {
            return if has_graph { Ok(()) } else { Err(GraphError::NoGraph) };
        }
        let start = walk.at;
        let not = |why| GraphError::NotOnnx { offset: start, why };
        let key = walk.varint()?;
        let (field, wire_type) = (key >> 3, key & 7);
        if field == 0 || field > MAX_FIELD {
            return Err(not("there is a field that ONNX models do not have"));
        }
        let length = match wire_type {
            0 => {
                walk.varint()?;
                0
            }
            1 => 8,
            2 => walk.varint()?,
            5 => 4,
            _ => return Err(not("there is a field of no type that protobuf knows")),
        };
        if length > size - walk.at {
            return Err(not("a field runs past the file's end (is the file truncated?), begun"));
        }
        has_graph |= field == GRAPH && wire_type == 2 && length > 0;
        walk.at += length;
    }
    Err(GraphError::NotOnnx { offset: walk.at, why: "there are too many fields" })
}

struct Walk<R> {
    content: R,
    at: u64,
    size: u64,
}

impl<R: Read + Seek> Walk<R> {
    fn varint(&mut self) -> Result<u64, GraphError> {
        let start = self.at;
        let not = |why| GraphError::NotOnnx { offset: start, why };
        let mut bytes = [0; 10];
        let available = (self.size - self.at).min(10) as usize;
        self.content.seek(SeekFrom::Start(self.at))?;
        self.content.read_exact(&mut bytes[..available])?;
        let mut value = 0_u64;
        for (i, byte) in bytes[..available].iter().enumerate() {
            // The tenth byte has room for one bit.
            if i == 9 && *byte > 1 {
                return Err(not("there is a number that is too large"));
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i as u64 + 1;
                return Ok(value);
            }
        }
        Err(not("a number is cut off"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    /// The least that passes for a model: `ir_version = 8`, a graph with a name, and operators of version 17.
    pub(crate) const MODEL: &[u8] = b"\x08\x08\x3a\x03\x12\x01g\x42\x02\x10\x11";

    fn look(bytes: &[u8]) -> Result<(), String> {
        check(Cursor::new(bytes), bytes.len() as u64).map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_has_a_graph() {
        assert_eq!(look(MODEL), Ok(()));
        assert_eq!(look(b"\x08\x08"), Err("it is an ONNX model without a graph".to_owned()));
    }

    #[test]
    fn other_files_and_halves_are_not_models() {
        for (bytes, told) in [
            (&b""[..], "empty"),
            (&MODEL[..5], "runs past the file's end"),
            (b"\x08", "cut off at byte 1"),
            (b"{\"json\": true}", "no type that protobuf knows"),
            (b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f", "too large"),
        ] {
            let error = look(bytes).unwrap_err();
            assert!(error.contains(told), "{told}: {error}");
        }
    }

    #[test]
    fn what_a_node_would_refuse_is_refused_at_once() {
        // A graph whose initializer `w` says that its data are elsewhere (`data_location = EXTERNAL`).
        let external = b"\x08\x08\x3a\x0a\x12\x01g\x2a\x05\x42\x01w\x70\x01\x42\x02\x10\x11";
        let error = look(external).unwrap_err();
        assert!(error.contains("initializer \"w\" keeps its data in another file"), "{error}");
        let error = look(&MODEL[..7]).unwrap_err();
        assert!(error.contains("does not say which version of the operators"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = look(&bytes);
        }
    }
}
