//! Element types, and the Rust types that hold them.

use std::fmt;
use std::sync::Arc;

use half::{bf16, f16};

use super::tensor::Storage;

#[cfg(target_endian = "big")]
compile_error!("tensors are little endian in files and on the wire, and are used as they lie in memory");

/// Element type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
    /// The upper half of an `F32`.
    BF16,
    /// Byte.
    U8,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
}

impl DType {
    /// Bytes of one element; also its alignment.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 | Self::BF16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::BF16 => "bf16",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

/// A Rust type that is the element of some [`DType`]: plain old data for which every bit pattern is valid.
///
/// Sealed: the casts between bytes and elements below rest on what is implemented here.
pub trait Element: sealed::Stored + Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Its name at run time.
    const DTYPE: DType;
}

pub(super) mod sealed {
    use super::{Arc, Storage};

    /// How a vector of this element lies in a tensor's storage.
    pub trait Stored: Sized {
        fn wrap(values: Arc<Vec<Self>>) -> Storage;
        fn unwrap(storage: Storage) -> Result<Arc<Vec<Self>>, Storage>;
        /// Where they are of this element and no one else holds them.
        fn values_mut(storage: &mut Storage) -> Option<&mut [Self]>;
    }
}

macro_rules! element {
    ($($rust:ty => $variant:ident),*) => {$(
        impl Element for $rust {
            const DTYPE: DType = DType::$variant;
        }
        impl sealed::Stored for $rust {
            fn wrap(values: Arc<Vec<Self>>) -> Storage {
                Storage::$variant(values)
            }
            fn unwrap(storage: Storage) -> Result<Arc<Vec<Self>>, Storage> {
                match storage {
                    Storage::$variant(values) => Ok(values),
                    other => Err(other),
                }
            }
            fn values_mut(storage: &mut Storage) -> Option<&mut [Self]> {
                match storage {
                    Storage::$variant(values) => Arc::get_mut(values).map(Vec::as_mut_slice),
                    _ => None,
                }
            }
        }
    )*};
}
element!(f16 => F16, f32 => F32, f64 => F64, bf16 => BF16, u8 => U8, i32 => I32, i64 => I64);

/// The bytes of elements, as they lie.
#[allow(unsafe_code)]
pub(super) fn as_bytes<T: Element>(values: &[T]) -> &[u8] {
    // SAFETY: `Element` is sealed and implemented for primitive numbers and `half`'s transparent wrappers of
    // `u16` alone, which have no padding, so every byte is initialised; `u8` has alignment one; length and
    // lifetime are those of `values`.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// Bytes as elements; `None` where they are not aligned for `T` or not a whole number of elements.
#[allow(unsafe_code)]
pub(super) fn from_bytes<T: Element>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: every bit pattern is a valid `T`, for `Element` is sealed over numbers, as above.
    let (head, values, tail) = unsafe { bytes.align_to::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(values)
}

/// As [`from_bytes`], to write.
#[allow(unsafe_code)]
pub(super) fn from_bytes_mut<T: Element>(bytes: &mut [u8]) -> Option<&mut [T]> {
    // SAFETY: as in `from_bytes`, and every `T` that is written is valid bytes.
    let (head, values, tail) = unsafe { bytes.align_to_mut::<T>() };
    (head.is_empty() && tail.is_empty()).then_some(values)
}
