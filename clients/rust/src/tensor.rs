//! Tensors: a type, a shape, and the elements as bytes.

use crate::Error;

/// Type of elements, as the Open Inference Protocol names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each says what it is")]
pub enum DType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

const NAMES: [(DType, &str, usize); 13] = [
    (DType::Bool, "BOOL", 1),
    (DType::U8, "UINT8", 1),
    (DType::U16, "UINT16", 2),
    (DType::U32, "UINT32", 4),
    (DType::U64, "UINT64", 8),
    (DType::I8, "INT8", 1),
    (DType::I16, "INT16", 2),
    (DType::I32, "INT32", 4),
    (DType::I64, "INT64", 8),
    (DType::F16, "FP16", 2),
    (DType::Bf16, "BF16", 2),
    (DType::F32, "FP32", 4),
    (DType::F64, "FP64", 8),
];

impl DType {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        // The table has every type, in the order of their declaration.
        NAMES[self as usize].1
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        NAMES[self as usize].2
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known, _)| *known == name).map(|(dtype, _, _)| *dtype)
    }
}

/// A tensor; its elements are in row-major order, little-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<u64>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// A tensor of those elements, in row-major order.
    ///
    /// # Errors
    /// A shape that does not hold as many.
    pub fn new<T: Element>(shape: &[u64], elements: &[T]) -> Result<Self, Error> {
        let mut bytes = Vec::with_capacity(size_of_val(elements));
        elements.iter().for_each(|&element| element.write(&mut bytes));
        Self::from_bytes(T::DTYPE, shape.to_vec(), bytes)
    }

    /// A tensor of elements that are bytes already.
    ///
    /// # Errors
    /// A shape that does not hold as many.
    pub fn from_bytes(dtype: DType, shape: Vec<u64>, bytes: Vec<u8>) -> Result<Self, Error> {
        if byte_len(dtype, &shape) != Some(bytes.len()) {
            let text =
                format!("{} bytes are not the elements of {} of shape {shape:?}", bytes.len(), dtype.name());
            return Err(Error::Tensor(text));
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// Type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its dimensions; the first counts samples.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Its elements, as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its elements.
    ///
    /// # Errors
    /// When they are of another type.
    pub fn elements<T: Element>(&self) -> Result<Vec<T>, Error> {
        if self.dtype != T::DTYPE {
            let text = format!("the tensor is {}, not {}", self.dtype.name(), T::DTYPE.name());
            return Err(Error::Tensor(text));
        }
        Ok(self.bytes.chunks_exact(self.dtype.size()).filter_map(T::read).collect())
    }
}

/// Bytes of a tensor; None: more than can be counted.
pub fn byte_len(dtype: DType, shape: &[u64]) -> Option<usize> {
    let product = shape.iter().try_fold(dtype.size() as u64, |product, &size| product.checked_mul(size))?;
    usize::try_from(product).ok()
}

/// A number that a tensor can have.
pub trait Element: Copy {
    /// Its type.
    const DTYPE: DType;

    #[doc(hidden)]
    fn write(self, bytes: &mut Vec<u8>);
    #[doc(hidden)]
    fn read(bytes: &[u8]) -> Option<Self>;
}

macro_rules! element {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}
element!(u8 => U8, u16 => U16, u32 => U32, u64 => U64, i8 => I8, i16 => I16, i32 => I32, i64 => I64, f32 => F32, f64 => F64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_types_is_in_their_order() {
        for (at, (dtype, name, _)) in NAMES.into_iter().enumerate() {
            assert_eq!((dtype as usize, dtype.name()), (at, name));
            assert_eq!(DType::named(name), Some(dtype));
        }
    }

    #[test]
    fn elements_come_back_as_what_they_were() {
        let tensor = Tensor::new(&[2, 2], &[1.5_f32, -2.0, 0.0, f32::MAX]).unwrap();
        assert_eq!(tensor.elements::<f32>().unwrap(), [1.5, -2.0, 0.0, f32::MAX]);
        assert_eq!(tensor.elements::<i64>().unwrap_err().to_string(), "the tensor is FP32, not INT64");
    }

    #[test]
    fn a_shape_must_hold_the_elements() {
        assert!(Tensor::new(&[3], &[1_u8, 2]).is_err());
        assert!(Tensor::new(&[u64::MAX, 2], &[1_u8, 2]).is_err());
        assert!(Tensor::new(&[], &[16_000_i64]).is_ok(), "a shape without dimensions holds one element");
    }
}
