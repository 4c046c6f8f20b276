//! Tensors: handles to buffers on the host. Making one copies its elements out of the guest and `to_…` copies
//! them in; passing a handle to a graph and getting one back copies nothing.

use std::fmt;

use crate::Error;
pub use crate::bindings::capabilities::wasi::nn::tensor::{Tensor, TensorType};

/// A tensor and the name that it has as a graph's input or output, a weight, or a dataset's column.
pub type NamedTensor = (String, Tensor);

impl Tensor {
    /// A tensor of f32 elements in row-major order; `shape` must multiply to their number.
    pub fn from_f32(shape: &[u32], elements: &[f32]) -> Result<Self, Error> {
        fits(shape, elements.len())?;
        Ok(Self::new(shape, TensorType::Fp32, &bytes_of(elements, f32::to_le_bytes)))
    }

    /// A tensor of i64 elements in row-major order; `shape` must multiply to their number.
    pub fn from_i64(shape: &[u32], elements: &[i64]) -> Result<Self, Error> {
        fits(shape, elements.len())?;
        Ok(Self::new(shape, TensorType::I64, &bytes_of(elements, i64::to_le_bytes)))
    }

    /// One f32, shape `[1]`: the form that `wasi:nn` gives to single values.
    pub fn scalar(value: f32) -> Self {
        Self::new(&[1], TensorType::Fp32, &value.to_le_bytes())
    }

    /// The elements in row-major order, if they are f32.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        self.of_type(TensorType::Fp32)?;
        Ok(elements_of(&self.data(), f32::from_le_bytes))
    }

    /// The elements in row-major order, if they are i64.
    pub fn to_i64(&self) -> Result<Vec<i64>, Error> {
        self.of_type(TensorType::I64)?;
        Ok(elements_of(&self.data(), i64::from_le_bytes))
    }

    /// The one element of an f32 tensor.
    pub fn item_f32(&self) -> Result<f32, Error> {
        self.single(&self.to_f32()?)
    }

    /// The one element of an i64 tensor.
    pub fn item_i64(&self) -> Result<i64, Error> {
        self.single(&self.to_i64()?)
    }

    fn of_type(&self, wanted: TensorType) -> Result<(), Error> {
        let found = self.ty();
        if found == wanted {
            return Ok(());
        }
        Err(Error::Tensor { shape: self.dimensions(), message: format!("is {found}, not {wanted}") })
    }

    fn single<T: Copy>(&self, elements: &[T]) -> Result<T, Error> {
        match elements {
            [element] => Ok(*element),
            _ => Err(Error::Tensor {
                shape: self.dimensions(),
                message: format!("has {} elements, not one", elements.len()),
            }),
        }
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

fn bytes_of<T: Copy, const SIZE: usize>(elements: &[T], encode: fn(T) -> [u8; SIZE]) -> Vec<u8> {
    elements.iter().flat_map(|&element| encode(element)).collect()
}

fn elements_of<T, const SIZE: usize>(bytes: &[u8], decode: fn([u8; SIZE]) -> T) -> Vec<T> {
    bytes.as_chunks::<SIZE>().0.iter().map(|&chunk| decode(chunk)).collect()
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
    fn elements_come_back_from_their_bytes() {
        let elements = [0.0_f32, -1.5, f32::INFINITY];
        assert_eq!(elements_of(&bytes_of(&elements, f32::to_le_bytes), f32::from_le_bytes), elements);
    }
}
