//! Tensors: handles to buffers on the host. Making one copies its elements out of the guest and reading them copies
//! them in; passing a handle to a graph and getting one back copies nothing.

use std::fmt;

use half::{bf16, f16};

use crate::Error;
pub use crate::bindings::capabilities::wasi::nn::tensor::{Tensor, TensorType};

/// A tensor and the name that it has as a graph's input or output, a weight, or a dataset's column.
pub type NamedTensor = (String, Tensor);

impl Tensor {
    /// A tensor of those elements in row-major order; `shape` must multiply to their number.
    ///
    /// ```no_run
    /// # use sedge_sdk::{Error, Tensor, half::f16};
    /// let tensor = Tensor::from_elements(&[2], &[1.5, 2.5].map(f16::from_f32))?;
    /// assert_eq!(tensor.elements::<f16>()?[1].to_f32(), 2.5);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_elements<T: Element>(shape: &[u32], elements: &[T]) -> Result<Self, Error> {
        fits(shape, elements.len())?;
        Ok(Self::new(shape, T::TYPE, &T::to_bytes(elements)))
    }

    /// The elements in row-major order, if they are of that type.
    pub fn elements<T: Element>(&self) -> Result<Vec<T>, Error> {
        let found = self.ty();
        if found != T::TYPE {
            let message = format!("is {found}, not {}", T::TYPE);
            return Err(Error::Tensor { shape: self.dimensions(), message });
        }
        Ok(T::from_bytes(&self.data()))
    }

    /// The one element of a tensor of that type.
    pub fn item<T: Element>(&self) -> Result<T, Error> {
        match self.elements()?.as_slice() {
            [element] => Ok(*element),
            elements => Err(Error::Tensor {
                shape: self.dimensions(),
                message: format!("has {} elements, not one", elements.len()),
            }),
        }
    }

    /// One f32, shape `[1]`: the form that `wasi:nn` gives to single values.
    pub fn scalar(value: f32) -> Self {
        Self::new(&[1], TensorType::Fp32, &value.to_le_bytes())
    }

    /// [`from_elements`](Self::from_elements) of f32.
    pub fn from_f32(shape: &[u32], elements: &[f32]) -> Result<Self, Error> {
        Self::from_elements(shape, elements)
    }

    /// [`from_elements`](Self::from_elements) of i64.
    pub fn from_i64(shape: &[u32], elements: &[i64]) -> Result<Self, Error> {
        Self::from_elements(shape, elements)
    }

    /// [`elements`](Self::elements), if they are f32.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        self.elements()
    }

    /// [`elements`](Self::elements), if they are i64.
    pub fn to_i64(&self) -> Result<Vec<i64>, Error> {
        self.elements()
    }

    /// The elements as f32, of whatever floating point they are.
    pub fn to_floats(&self) -> Result<Vec<f32>, Error> {
        Ok(match self.ty() {
            TensorType::Fp16 => self.elements::<f16>()?.into_iter().map(f16::to_f32).collect(),
            TensorType::Bf16 => self.elements::<bf16>()?.into_iter().map(bf16::to_f32).collect(),
            TensorType::Fp64 => self.elements::<f64>()?.into_iter().map(|value| value as f32).collect(),
            _ => self.to_f32()?,
        })
    }

    /// How many samples it has, by its first dimension, and how many elements each.
    pub fn samples(&self) -> (usize, usize) {
        samples(&self.dimensions())
    }

    /// The one element of an f32 tensor.
    pub fn item_f32(&self) -> Result<f32, Error> {
        self.item()
    }

    /// The one element of an i64 tensor.
    pub fn item_i64(&self) -> Result<i64, Error> {
        self.item()
    }
}

/// What a tensor is made of: `f32`, `f64`, [`half::f16`], [`half::bf16`], `u8`, `i32` or `i64`.
pub trait Element: encoding::Bytes {
    /// Its name in `wasi:nn`.
    const TYPE: TensorType;
}

mod encoding {
    /// A value of a fixed number of bytes, in tensors little-endian.
    pub trait Bytes: Copy {
        fn to_bytes(elements: &[Self]) -> Vec<u8>;
        fn from_bytes(bytes: &[u8]) -> Vec<Self>;
    }
}

macro_rules! element {
    ($($rust:ty => $wasi:ident),*) => {$(
        impl Element for $rust {
            const TYPE: TensorType = TensorType::$wasi;
        }
        impl encoding::Bytes for $rust {
            fn to_bytes(elements: &[Self]) -> Vec<u8> {
                // Into memory that is there already: element by element it would be a loop that no compiler shortens.
                let mut bytes = vec![0; size_of_val(elements)];
                for (chunk, element) in bytes.as_chunks_mut().0.iter_mut().zip(elements) {
                    *chunk = element.to_le_bytes();
                }
                bytes
            }
            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|&chunk| Self::from_le_bytes(chunk)).collect()
            }
        }
    )*};
}
element!(f16 => Fp16, f32 => Fp32, f64 => Fp64, bf16 => Bf16, u8 => U8, i32 => I32, i64 => I64);

fn samples(shape: &[u32]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [samples, rest @ ..] => (*samples as usize, rest.iter().map(|&size| size as usize).product()),
    }
}

impl TensorType {
    /// Whether its values are of floating point.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16 | Self::Fp32 | Self::Fp64)
    }
}

/// As the host's messages have it: `f32`.
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fp16 => "f16",
            Self::Fp32 => "f32",
            Self::Fp64 => "f64",
            Self::Bf16 => "bf16",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

/// The tensor called `name`, or without a name the first of floating point.
pub fn find<'a>(tensors: &'a [NamedTensor], name: Option<&str>) -> Result<(&'a str, &'a Tensor), Error> {
    let found = match name {
        Some(name) => tensors.iter().find(|(present, _)| present == name),
        None => tensors.iter().find(|(_, tensor)| tensor.ty().is_float()),
    };
    found.map(|(name, tensor)| (name.as_str(), tensor)).ok_or_else(|| {
        let present: Vec<_> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        let name = name.unwrap_or("tensor of floating point").to_owned();
        Error::Missing { name, present: present.join(", ") }
    })
}

/// Takes the tensor called `name` out of `tensors`.
pub fn take(tensors: &mut Vec<NamedTensor>, name: &str) -> Result<Tensor, Error> {
    match tensors.iter().position(|(present, _)| present == name) {
        Some(at) => Ok(tensors.swap_remove(at).1),
        None => {
            let names: Vec<_> = tensors.iter().map(|(name, _)| name.as_str()).collect();
            let present = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            Err(Error::Missing { name: name.to_owned(), present })
        }
    }
}

fn fits(shape: &[u32], elements: usize) -> Result<(), Error> {
    let product = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::from(size)));
    if product == Some(elements as u64) {
        return Ok(());
    }
    Err(Error::Tensor { shape: shape.to_vec(), message: format!("does not hold {elements} elements") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_must_hold_the_elements_it_is_given() {
        assert!(fits(&[2, 3], 6).is_ok());
        assert!(fits(&[], 1).is_ok(), "a shape without dimensions holds one element");
        assert_eq!(
            fits(&[2, 3], 5).unwrap_err().to_string(),
            "tensor of shape [2, 3]: does not hold 5 elements"
        );
        assert!(fits(&[u32::MAX, u32::MAX, u32::MAX], 1).is_err(), "a product beyond u64 holds nothing");
    }

    #[test]
    fn the_first_dimension_counts_samples() {
        assert_eq!(samples(&[3, 2, 5]), (3, 10));
        assert_eq!(samples(&[4]), (4, 1));
        assert_eq!(samples(&[]), (1, 1));
    }

    #[test]
    fn elements_of_every_type_come_back_from_their_bytes() {
        fn goes_round<T: Element + PartialEq + std::fmt::Debug>(elements: [T; 3], bytes: &[u8]) {
            let encoded = T::to_bytes(&elements);
            assert_eq!(encoded[..bytes.len()], *bytes, "{}", T::TYPE);
            assert_eq!(T::from_bytes(&encoded), elements);
        }
        goes_round([1.0_f32, -1.5, f32::INFINITY], &[0, 0, 0x80, 0x3f]);
        goes_round([1.0_f64, -1.5, f64::MIN_POSITIVE], &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]);
        goes_round([1.0, -1.5, 65504.0].map(f16::from_f32), &[0, 0x3c]);
        goes_round([1.0, -1.5, 3e38].map(bf16::from_f32), &[0x80, 0x3f]);
        goes_round([1_u8, 0, 255], &[1, 0, 255]);
        goes_round([1_i32, i32::MIN, i32::MAX], &[1, 0, 0, 0]);
        goes_round([1_i64, i64::MIN, i64::MAX], &[1, 0, 0, 0, 0, 0, 0, 0]);
    }
}
