//! A tensor in the file: whether its data are what its dimensions say, and its values where they are few.

use crate::error::OnnxError;
use crate::proto::TensorProto;
use crate::proto::tensor_proto::DataLocation;
use crate::signature::{ElementType, MAX_RANK};

/// Values of a tensor that are kept, at most: sizes and axes are fewer.
pub(crate) const MAX_VALUES: usize = 1024;

/// A tensor that the file has.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    pub element: ElementType,
    pub shape: Vec<u64>,
    /// Row major, where there are at most [`MAX_VALUES`] and they are numbers.
    pub values: Option<Vec<f64>>,
    pub bytes: u64,
}

impl Constant {
    pub fn of(tensor: &TensorProto, what: &str) -> Result<Self, OnnxError> {
        let name = tensor.name.as_deref().filter(|name| !name.is_empty());
        let name = || match name {
            Some(name) => format!("{what} \"{name:.100}\""),
            None => what.to_owned(),
        };
        if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
            return Err(external(tensor, &name()));
        }
        if tensor.segment.is_some() {
            return Err(OnnxError::unsupported(format!("{} is only a segment of a tensor", name())));
        }
        let number = tensor.data_type.unwrap_or_default();
        let element = u64::try_from(number).ok().and_then(ElementType::from_number);
        let element = element.ok_or_else(|| OnnxError::malformed(format!("{} has no type", name())))?;
        if tensor.dims.len() > MAX_RANK {
            return Err(OnnxError::too_large(format!("{} has more than {MAX_RANK} dimensions", name())));
        }
        let shape = tensor.dims.iter().map(|&dim| u64::try_from(dim)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| {
            OnnxError::malformed(format!("{} has a negative dimension: {:?}", name(), tensor.dims))
        })?;
        let size = |shape: &[u64]| {
            // A dimension of zero does not excuse the others: engines multiply them too.
            let most = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim.max(1)))?;
            most.checked_mul(element.bits()).filter(|&bits| bits / 8 <= isize::MAX as u64)?;
            let count = shape.iter().product::<u64>();
            Some((count, (count * element.bits()).div_ceil(8)))
        };
        let (count, bytes) = size(&shape).ok_or_else(|| {
            OnnxError::too_large(format!(
                "{} is {}{shape:?}, which is larger than the address space",
                name(),
                element.name()
            ))
        })?;
        check_data(tensor, element, count, bytes).map_err(|found| {
            OnnxError::malformed(format!(
                "{} is {}{shape:?}, which takes {count} values or {bytes} bytes; the file has {found}",
                name(),
                element.name()
            ))
        })?;
        let few = count <= MAX_VALUES as u64;
        Ok(Self { values: few.then(|| values(tensor, element)).flatten(), element, shape, bytes })
    }

    /// Few numbers, from an attribute.
    pub fn vector(element: ElementType, values: Vec<f64>) -> Self {
        let count = values.len() as u64;
        let bytes = count * element.bits() / 8;
        let values = (values.len() <= MAX_VALUES).then_some(values);
        Self { element, shape: vec![count], values, bytes }
    }

    /// One number, from an attribute.
    pub fn scalar(element: ElementType, value: f64) -> Self {
        Self { element, shape: Vec::new(), values: Some(vec![value]), bytes: element.bits() / 8 }
    }
}

fn external(tensor: &TensorProto, name: &str) -> OnnxError {
    let location = tensor.external_data.iter().find(|entry| entry.key.as_deref() == Some("location"));
    let location = location.and_then(|entry| entry.value.as_deref()).unwrap_or("an unnamed one");
    OnnxError::forbidden(format!(
        "{name} keeps its data in another file ({location:.100}), and a graph is one file here: embed them with \
         `onnx.save_model(onnx.load(path), path, save_as_external_data=False)`, or make the weights inputs of the \
         graph and put them into a .safetensors file"
    ))
}

/// Err says what there is instead.
fn check_data(tensor: &TensorProto, element: ElementType, count: u64, bytes: u64) -> Result<(), String> {
    let lists = [
        (tensor.float_data.len(), "float_data"),
        (tensor.int32_data.len(), "int32_data"),
        (tensor.string_data.len(), "string_data"),
        (tensor.int64_data.len(), "int64_data"),
        (tensor.double_data.len(), "double_data"),
        (tensor.uint64_data.len(), "uint64_data"),
    ];
    let mut given = lists.iter().filter(|(len, _)| *len > 0);
    let raw = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty());
    let list = given.next();
    if given.next().is_some() || (raw.is_some() && list.is_some()) {
        return Err("its data twice, in different forms".to_owned());
    }
    match (raw, list) {
        (Some(raw), _) if element == ElementType::Other(8) => Err(format!("{} raw bytes of text", raw.len())),
        (Some(raw), _) if raw.len() as u64 == bytes => Ok(()),
        (Some(raw), _) => Err(format!("{} bytes", raw.len())),
        (None, None) if count == 0 => Ok(()),
        (None, None) => Err("none".to_owned()),
        (None, Some((len, list))) => {
            let (expected, per_value) = element.list();
            // Two values of four bits lie in one number, or one.
            let packed = element.bits() < 8 && *len as u64 == bytes;
            if *list == expected && (*len as u64 == count.saturating_mul(per_value) || packed) {
                Ok(())
            } else {
                Err(format!("{len} in {list}"))
            }
        }
    }
}

fn values(tensor: &TensorProto, element: ElementType) -> Option<Vec<f64>> {
    fn raw<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.as_chunks::<N>().0.iter().map(|&bytes| value(bytes)).collect()
    }
    if let Some(bytes) = tensor.raw_data.as_deref().filter(|bytes| !bytes.is_empty()) {
        return Some(match element {
            ElementType::F32 => raw(bytes, |bytes| f32::from_le_bytes(bytes).into()),
            ElementType::F64 => raw(bytes, f64::from_le_bytes),
            ElementType::I64 => raw(bytes, |bytes| i64::from_le_bytes(bytes) as f64),
            ElementType::I32 => raw(bytes, |bytes| i32::from_le_bytes(bytes).into()),
            ElementType::U8 | ElementType::Bool => raw(bytes, |[byte]| byte.into()),
            ElementType::Other(3) => raw(bytes, |bytes| i8::from_le_bytes(bytes).into()),
            ElementType::Other(4) => raw(bytes, |bytes| u16::from_le_bytes(bytes).into()),
            ElementType::Other(5) => raw(bytes, |bytes| i16::from_le_bytes(bytes).into()),
            ElementType::Other(12) => raw(bytes, |bytes| u32::from_le_bytes(bytes).into()),
            ElementType::Other(13) => raw(bytes, |bytes| u64::from_le_bytes(bytes) as f64),
            _ => return None,
        });
    }
    Some(match element {
        ElementType::F32 => tensor.float_data.iter().map(|&value| value.into()).collect(),
        ElementType::F64 => tensor.double_data.clone(),
        ElementType::I64 => tensor.int64_data.iter().map(|&value| value as f64).collect(),
        ElementType::I32 | ElementType::U8 | ElementType::Bool | ElementType::Other(3..=5) => {
            tensor.int32_data.iter().map(|&value| value.into()).collect()
        }
        ElementType::Other(12 | 13) => tensor.uint64_data.iter().map(|&value| value as f64).collect(),
        _ => return None,
    })
}
