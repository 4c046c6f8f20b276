//! A graph whose inputs of given names have become initializers: constants that an engine may fold and pack.
//!
//! The file is written in one go, and what is frozen is copied into it once. Who calls it: the host, when
//! weights are bound to a graph that answers requests.

use std::collections::{BTreeMap, HashSet};

use bytes::{BufMut, Bytes};
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::error::OnnxError;
use super::file::read;
use super::proto::TensorProto;
use super::signature::ElementType;

/// Bytes of a protobuf message, at most.
const MAX_FILE: usize = i32::MAX as usize;

/// The first version of the format whose initializers need not be inputs as well.
const CONSTANT_INITIALIZERS: i64 = 4;

/// A tensor to be frozen.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// As the graph calls it.
    pub name: &'a str,
    /// Its elements' type, which must be one with a name in [`ElementType`].
    pub element: ElementType,
    /// Its shape.
    pub shape: &'a [usize],
    /// Little endian, row major.
    pub bytes: &'a [u8],
}

/// The fields that this module writes itself.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

/// `file` with the inputs that bear a weight's name fixed to it; weights that are neither inputs nor initializers
/// are left aside, and an initializer of that name is replaced.
///
/// # Errors
/// What [`read`] refuses; *Malformed* where a weight has not the type that the graph declares, or its bytes are
/// not as many as its shape says; *TooLarge* where the whole would be larger than the two gigabytes at which
/// protobuf messages end: then the weights have to stay inputs.
pub fn freeze(file: Bytes, weights: &[Weight<'_>]) -> Result<Bytes, OnnxError> {
    let mut model = read(file)?;
    let mut graph = model.graph.take().ok_or_else(|| OnnxError::malformed("the file has no ONNX graph"))?;
    let given: BTreeMap<&str, Weight<'_>> = weights.iter().map(|weight| (weight.name, *weight)).collect();

    let mut taken = HashSet::new();
    for input in &graph.input {
        let name = input.name.as_deref().unwrap_or_default();
        let Some(weight) = given.get(name) else { continue };
        let declared = super::outline::declared_element(input);
        if declared.is_some_and(|declared| declared != weight.element) {
            return Err(OnnxError::malformed(format!(
                "\"{name:.100}\" is {} in the graph and {} among the weights",
                declared.map(ElementType::name).unwrap_or_default(),
                weight.element.name()
            )));
        }
        taken.insert(name.to_owned());
    }
    for tensor in &graph.initializer {
        let name = tensor.name.as_deref().unwrap_or_default();
        if given.contains_key(name) {
            taken.insert(name.to_owned());
        }
    }
    let is_taken = |name: &Option<String>| name.as_ref().is_some_and(|name| taken.contains(name));
    graph.initializer.retain(|tensor| !is_taken(&tensor.name));
    // An initializer that is an input as well is only a default in newer versions of the format.
    let version = model.ir_version.unwrap_or(CONSTANT_INITIALIZERS).max(CONSTANT_INITIALIZERS);
    let initialized: HashSet<_> = graph.initializer.iter().map(|tensor| tensor.name.clone()).collect();
    graph.input.retain(|input| !is_taken(&input.name) && !initialized.contains(&input.name));
    model.ir_version = Some(version);

    let frozen = taken.iter().map(|name| Frozen::new(given[name.as_str()])).collect::<Result<Vec<_>, _>>()?;
    let graph_len = graph.encoded_len() + frozen.iter().map(Frozen::field_len).sum::<usize>();
    let len = model.encoded_len() + key_len(GRAPH) + encoded_len_varint(graph_len as u64) + graph_len;
    if len > MAX_FILE {
        return Err(OnnxError::too_large(format!(
            "the graph and its weights are {len} bytes together, and an ONNX file ends at {MAX_FILE}"
        )));
    }
    let mut out = Vec::new();
    out.try_reserve_exact(len).map_err(|_| {
        OnnxError::too_large(format!("{len} bytes for the graph and its weights are not to be had"))
    })?;
    // Fields that are set twice are merged, so the order of fields does not matter.
    model.encode_raw(&mut out);
    encode_key(GRAPH, WireType::LengthDelimited, &mut out);
    encode_varint(graph_len as u64, &mut out);
    graph.encode_raw(&mut out);
    frozen.iter().for_each(|weight| weight.write(&mut out));
    Ok(out.into())
}

/// An initializer: a tensor's message without its bytes, and the bytes.
struct Frozen<'a> {
    head: TensorProto,
    bytes: &'a [u8],
}

impl<'a> Frozen<'a> {
    fn new(weight: Weight<'a>) -> Result<Self, OnnxError> {
        let wrong = || {
            OnnxError::malformed(format!(
                "the weight \"{:.100}\" is {}{:?}, which does not take {} bytes",
                weight.name,
                weight.element.name(),
                weight.shape,
                weight.bytes.len()
            ))
        };
        let dims = weight.shape.iter().map(|&dim| i64::try_from(dim)).collect::<Result<Vec<_>, _>>();
        let width = (weight.element.bits() / 8) as usize;
        let len = weight.shape.iter().try_fold(width, |len, &dim| len.checked_mul(dim));
        if len != Some(weight.bytes.len()) {
            return Err(wrong());
        }
        let head = TensorProto {
            dims: dims.map_err(|_| wrong())?,
            data_type: Some(weight.element.number().ok_or_else(wrong)?),
            name: Some(weight.name.to_owned()),
            ..TensorProto::default()
        };
        Ok(Self { head, bytes: weight.bytes })
    }

    fn len(&self) -> usize {
        let len = self.bytes.len();
        self.head.encoded_len() + key_len(RAW_DATA) + encoded_len_varint(len as u64) + len
    }

    fn field_len(&self) -> usize {
        key_len(INITIALIZER) + encoded_len_varint(self.len() as u64) + self.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        encode_key(INITIALIZER, WireType::LengthDelimited, out);
        encode_varint(self.len() as u64, out);
        self.head.encode_raw(out);
        encode_key(RAW_DATA, WireType::LengthDelimited, out);
        encode_varint(self.bytes.len() as u64, out);
        out.put_slice(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outline;
    use crate::error::ErrorKind;
    use crate::file;
    use crate::outline::tests::{f32s, graph, model, node};
    use crate::signature::signature;

    fn dense() -> crate::proto::GraphProto {
        let nodes = [node("MatMul", &["x", "w"], &["p"], &[]), node("Add", &["p", "b"], &["y"], &[])];
        let inputs = [("x", &[-1, 2][..]), ("w", &[2, 1]), ("b", &[1])];
        graph(&inputs, &[f32s("b", &[1], &[5.0])], &nodes, &["y"])
    }

    const W: &[u8] = &[0, 0, 128, 63, 0, 0, 0, 64];

    fn weight<'a>(name: &'a str, shape: &'a [usize], bytes: &'a [u8]) -> Weight<'a> {
        Weight { name, element: ElementType::F32, shape, bytes }
    }

    #[test]
    fn inputs_become_initializers_and_defaults_are_replaced() {
        let weights = [weight("w", &[2, 1], W), weight("b", &[1], &W[..4]), weight("elsewhere", &[0], &[])];
        for version in [3, 8] {
            let whole = crate::proto::ModelProto { ir_version: Some(version), ..model(dense()) };
            let frozen = freeze(file::write(&whole), &weights).unwrap();
            let names: Vec<_> =
                signature(&frozen).unwrap().inputs.into_iter().map(|input| input.name).collect();
            assert_eq!(names, ["x"]);
            assert_eq!(Outline::of(&frozen).unwrap().constant_bytes(), 12);
            let frozen = read(frozen).unwrap();
            assert_eq!(frozen.ir_version, Some(version.max(4)));
            let frozen = frozen.graph.unwrap();
            assert_eq!(frozen.input.len(), 1);
            assert_eq!(frozen.node, dense().node);
            let mut tensors: Vec<_> = frozen
                .initializer
                .iter()
                .map(|t| (t.name.clone().unwrap(), t.raw_data.clone().unwrap()))
                .collect();
            tensors.sort();
            assert_eq!(
                tensors,
                [("b".to_owned(), Bytes::from(&W[..4])), ("w".to_owned(), Bytes::from_static(W))]
            );
        }
    }

    #[test]
    fn what_is_not_given_stays_as_it_is() {
        let frozen = freeze(file::write(&model(dense())), &[]).unwrap();
        let names: Vec<_> = signature(&frozen).unwrap().inputs.into_iter().map(|input| input.name).collect();
        assert_eq!(names, ["x", "w"]);
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let file = || file::write(&model(dense()));
        let short = freeze(file(), &[weight("w", &[2, 2], W)]).unwrap_err();
        assert_eq!(short.message, "the weight \"w\" is float32[2, 2], which does not take 8 bytes");
        let integers = Weight { element: ElementType::I64, ..weight("w", &[1], W) };
        let other = freeze(file(), &[integers]).unwrap_err();
        assert_eq!(other.message, "\"w\" is float32 in the graph and int64 among the weights");
    }

    #[test]
    fn a_file_ends_at_two_gigabytes() {
        // Zeroed pages that nobody touches.
        let bytes = vec![0; MAX_FILE];
        let shape = [MAX_FILE / 4, 1];
        let error = freeze(file::write(&model(dense())), &[weight("w", &shape, &bytes[..MAX_FILE / 4 * 4])]);
        let error = error.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TooLarge);
        assert!(error.message.contains("an ONNX file ends at 2147483647"), "{error}");
    }
}
