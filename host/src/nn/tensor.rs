//! Tensors: dtype, shape, and shared memory that is never copied on its way between a guest's handles, an
//! engine and a file.
//!
//! A tensor lies in one of four places: a range of an aligned buffer, a range of a mapped file, the vector
//! that an engine put its output in, or memory that stays an engine's own ([`EngineMemory`]). Cloning copies the handle. Who holds the only handle may write
//! ([`Tensor::as_mut_slice`]) or take the vector ([`Tensor::into_vec`]), which is how weights go round a
//! training loop in place.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::buffer::{Buffer, Region};
use super::dtype::{self, DType, Element};
use super::error::NnError;

/// Dimensions that a tensor may have, at most.
pub const MAX_RANK: usize = 32;

/// Reference-counted tensor; clone copies the handle.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Arc<[usize]>,
    byte_len: usize,
    storage: Storage,
}

/// Where the elements lie.
#[derive(Clone)]
pub enum Storage {
    /// Some of a region, from that byte on.
    Region(Arc<Region>, usize),
    /// An engine's output, or what a reader gathered.
    F32(Arc<Vec<f32>>),
    /// As above.
    F64(Arc<Vec<f64>>),
    /// As above.
    U8(Arc<Vec<u8>>),
    /// As above.
    I32(Arc<Vec<i32>>),
    /// As above.
    I64(Arc<Vec<i64>>),
    /// An engine's output, where the engine put it; read only.
    Engine(Arc<dyn EngineMemory>),
}

/// Memory of an engine that holds a tensor's elements, row major and little endian. An engine that is given
/// such a tensor knows its own by its type ([`Tensor::engine_memory`]) and takes it as it is.
pub trait EngineMemory: Any + Send + Sync {
    /// The elements' bytes, the same ones at every call.
    fn bytes(&self) -> &[u8];
}

/// Elements of a tensor of that shape; `TooLarge` where they or their bytes exceed the address space, or
/// there are more than [`MAX_RANK`] dimensions.
pub fn element_count(dtype: DType, shape: &[usize]) -> Result<usize, NnError> {
    if shape.len() > MAX_RANK {
        return Err(NnError::too_large(format!(
            "a tensor has at most {MAX_RANK} dimensions, this one has {}",
            shape.len()
        )));
    }
    // A dimension of zero does not excuse the others: engines multiply them too.
    let bytes = shape.iter().try_fold(dtype.size(), |product, &dim| product.checked_mul(dim.max(1)));
    match bytes {
        Some(bytes) if bytes <= isize::MAX as usize => Ok(shape.iter().product()),
        _ => Err(NnError::too_large(format!("{} is larger than the address space", describe(dtype, shape)))),
    }
}

/// `f32[32, 64]`.
pub fn describe(dtype: DType, shape: &[usize]) -> String {
    format!("{dtype}{shape:?}")
}

impl Tensor {
    /// Copies `bytes` (little endian) into an aligned buffer; checks bytes = elements × size without overflow.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Self, NnError> {
        // Before anything is allocated.
        check_len(dtype, shape, bytes.len())?;
        Self::from_buffer(dtype, shape, Buffer::copy_of(bytes)?)
    }

    /// All of `buffer`, not copied.
    pub fn from_buffer(dtype: DType, shape: &[usize], buffer: Buffer) -> Result<Self, NnError> {
        check_len(dtype, shape, buffer.len())?;
        Self::in_region(dtype, shape, &Arc::new(Region::Buffer(buffer)), 0)
    }

    /// All of `values`, not copied.
    pub fn from_vec<T: Element>(shape: &[usize], values: Vec<T>) -> Result<Self, NnError> {
        let byte_len = check_len(T::DTYPE, shape, size_of_val(values.as_slice()))?;
        Ok(Self { dtype: T::DTYPE, shape: shape.into(), byte_len, storage: T::wrap(Arc::new(values)) })
    }

    /// What an engine put out, not copied; its bytes must be just those of the shape.
    pub fn from_engine(
        dtype: DType,
        shape: &[usize],
        memory: Arc<dyn EngineMemory>,
    ) -> Result<Self, NnError> {
        let byte_len = check_len(dtype, shape, memory.bytes().len())?;
        Ok(Self { dtype, shape: shape.into(), byte_len, storage: Storage::Engine(memory) })
    }

    /// The engine's own value, where the elements lie in one of that type.
    pub fn engine_memory<T: EngineMemory>(&self) -> Option<&T> {
        match &self.storage {
            Storage::Engine(memory) => (&**memory as &dyn Any).downcast_ref(),
            _ => None,
        }
    }

    /// A view of `region` from byte `start` on, which must be a multiple of the element's size.
    pub(crate) fn in_region(
        dtype: DType,
        shape: &[usize],
        region: &Arc<Region>,
        start: usize,
    ) -> Result<Self, NnError> {
        let byte_len = element_count(dtype, shape)? * dtype.size();
        let fits = start.checked_add(byte_len).is_some_and(|end| end <= region.as_slice().len());
        if !fits || !start.is_multiple_of(dtype.size()) {
            return Err(NnError::invalid(format!(
                "{} does not fit at byte {start} of {}",
                describe(dtype, shape),
                region.as_slice().len()
            )));
        }
        Ok(Self { dtype, shape: shape.into(), byte_len, storage: Storage::Region(region.clone(), start) })
    }

    /// The same elements in another shape, not copied.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self, NnError> {
        check_len(self.dtype, shape, self.byte_len)?;
        Ok(Self { shape: shape.into(), ..self })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.byte_len / self.dtype.size()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.byte_len == 0
    }

    /// Little endian, row major.
    pub fn bytes(&self) -> &[u8] {
        match &self.storage {
            Storage::Region(region, start) => &region.as_slice()[*start..*start + self.byte_len],
            Storage::F32(values) => dtype::as_bytes(values),
            Storage::F64(values) => dtype::as_bytes(values),
            Storage::U8(values) => values,
            Storage::I32(values) => dtype::as_bytes(values),
            Storage::I64(values) => dtype::as_bytes(values),
            Storage::Engine(memory) => memory.bytes(),
        }
    }

    /// Bytes.
    pub fn byte_len(&self) -> usize {
        self.byte_len
    }

    /// The elements; an error where they are of another type.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], NnError> {
        let values = (self.dtype == T::DTYPE).then(|| dtype::from_bytes(self.bytes())).flatten();
        values.ok_or_else(|| NnError::invalid(format!("expected elements of {}, got {self:?}", T::DTYPE)))
    }

    /// The elements, to write; `None` where another handle shares them, they lie in a mapped file or in an
    /// engine's own memory, or are of another type.
    pub fn as_mut_slice<T: Element>(&mut self) -> Option<&mut [T]> {
        if self.dtype != T::DTYPE {
            return None;
        }
        match &mut self.storage {
            Storage::Region(region, start) => match Arc::get_mut(region)? {
                Region::Buffer(buffer) => {
                    dtype::from_bytes_mut(&mut buffer.as_mut_slice()[*start..*start + self.byte_len])
                }
                Region::Mapped(_) => None,
            },
            vector => T::values_mut(vector),
        }
    }

    /// The vector, where this is the only handle to one of that type; else the tensor back.
    pub fn into_vec<T: Element>(self) -> Result<Vec<T>, Self> {
        let Self { dtype, shape, byte_len, storage } = self;
        let storage = match T::unwrap(storage).map(Arc::try_unwrap) {
            Ok(Ok(values)) => return Ok(values),
            Ok(Err(shared)) => T::wrap(shared),
            Err(other) => other,
        };
        Err(Self { dtype, shape, byte_len, storage })
    }

    /// Whether both are views of the same memory.
    pub fn same_storage(&self, other: &Self) -> bool {
        self.byte_len == other.byte_len && self.bytes().as_ptr() == other.bytes().as_ptr()
    }
}

/// Bytes of a tensor of that shape, if `given` is just that.
fn check_len(dtype: DType, shape: &[usize], given: usize) -> Result<usize, NnError> {
    let needed = element_count(dtype, shape)? * dtype.size();
    if needed != given {
        return Err(NnError::invalid(format!(
            "{} takes {needed} bytes, got {given}",
            describe(dtype, shape)
        )));
    }
    Ok(needed)
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::nn::ErrorCode;

    #[test]
    fn bytes_must_be_what_the_shape_says() {
        for (shape, bytes) in [(&[2, 3][..], 23), (&[2, 3], 25), (&[], 0), (&[0], 4)] {
            let error = Tensor::from_bytes(DType::F32, shape, &vec![0; bytes]).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidArgument, "{shape:?}");
        }
        let error = Tensor::from_bytes(DType::F32, &[2, 3], &[0; 23]).unwrap_err();
        assert_eq!(error.message, "f32[2, 3] takes 24 bytes, got 23");
    }

    #[test]
    fn a_size_that_overflows_is_too_large() {
        for shape in [&[usize::MAX, 2][..], &[1 << 32, 1 << 32], &[0, usize::MAX, 2], &[usize::MAX / 4 + 1]] {
            assert_eq!(element_count(DType::F32, shape).unwrap_err().code, ErrorCode::TooLarge, "{shape:?}");
        }
        assert_eq!(element_count(DType::U8, &[1; MAX_RANK + 1]).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn the_only_holder_of_a_vector_gets_it_back() {
        let values = vec![1.0f32, 2.0];
        let start = values.as_ptr();
        let tensor = Tensor::from_vec(&[2], values).unwrap();
        let other = tensor.clone();
        assert!(tensor.same_storage(&other));

        let tensor = tensor.into_vec::<f32>().unwrap_err();
        drop(other);
        let tensor = tensor.into_vec::<i32>().unwrap_err();
        let values = tensor.into_vec::<f32>().unwrap();
        assert_eq!(values.as_ptr(), start);
    }

    #[test]
    fn the_only_holder_writes() {
        let in_buffer = Tensor::from_bytes(DType::I32, &[2], &[1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
        for mut tensor in [in_buffer, Tensor::from_vec(&[2], vec![1i32, 2]).unwrap()] {
            let other = tensor.clone();
            assert!(tensor.as_mut_slice::<i32>().is_none());
            drop(other);
            assert!(tensor.as_mut_slice::<f32>().is_none());
            tensor.as_mut_slice::<i32>().unwrap()[1] = 7;
            assert_eq!(tensor.as_slice::<i32>().unwrap(), [1, 7]);
        }
    }

    #[test]
    fn an_engines_own_memory_is_known_by_its_type_and_read_only() {
        struct Ours(Vec<u8>);
        struct Others;
        impl EngineMemory for Ours {
            fn bytes(&self) -> &[u8] {
                &self.0
            }
        }
        impl EngineMemory for Others {
            fn bytes(&self) -> &[u8] {
                &[]
            }
        }
        let error = Tensor::from_engine(DType::U8, &[3], Arc::new(Ours(vec![1, 2]))).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        let mut tensor = Tensor::from_engine(DType::U8, &[2], Arc::new(Ours(vec![1, 2]))).unwrap();
        assert!(tensor.engine_memory::<Ours>().is_some() && tensor.engine_memory::<Others>().is_none());
        assert!(tensor.as_mut_slice::<u8>().is_none());
        assert_eq!(tensor.into_vec::<u8>().unwrap_err().as_slice::<u8>().unwrap(), [1, 2]);
    }

    #[test]
    fn debug_says_dtype_and_shape_alone() {
        let tensor = Tensor::from_vec(&[1, 2], vec![3.5f32, 4.5]).unwrap();
        assert_eq!(format!("{tensor:?}"), "f32[1, 2]");
    }

    proptest! {
        #[test]
        fn any_shape_is_counted_or_refused(
            shape in proptest::collection::vec(prop_oneof![0usize..5, any::<usize>()], 0..6),
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            if let Ok(tensor) = Tensor::from_bytes(DType::I64, &shape, &bytes) {
                prop_assert_eq!(tensor.bytes(), &bytes[..]);
                prop_assert_eq!(tensor.len() * 8, bytes.len());
                prop_assert_eq!(tensor.as_slice::<i64>().unwrap().len(), tensor.len());
            }
        }
    }
}
