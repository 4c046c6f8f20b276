//! Named tensors as batches have them: a shape and a vector of elements, which a consumer takes without a copy.

use std::fmt;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Type of a tensor's elements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum DType {
    #[default]
    F32,
    F64,
    F16,
    BF16,
    I64,
    I32,
    U8,
}

impl DType {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::U8 => 1,
        }
    }

    /// Whether it has fractions, and a value for what is missing.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::U8 => "u8",
        })
    }
}

/// Elements, row-major.
#[derive(Clone, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
}

/// The same expression for elements of every type.
macro_rules! each {
    ($values:expr, $v:ident => $body:expr) => {
        match $values {
            $crate::tensor::Values::F32($v) => $body,
            $crate::tensor::Values::F64($v) => $body,
            $crate::tensor::Values::F16($v) => $body,
            $crate::tensor::Values::BF16($v) => $body,
            $crate::tensor::Values::I64($v) => $body,
            $crate::tensor::Values::I32($v) => $body,
            $crate::tensor::Values::U8($v) => $body,
        }
    };
}
pub(crate) use each;

impl Values {
    /// None yet.
    pub fn empty(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32(Vec::new()),
            DType::F64 => Self::F64(Vec::new()),
            DType::F16 => Self::F16(Vec::new()),
            DType::BF16 => Self::BF16(Vec::new()),
            DType::I64 => Self::I64(Vec::new()),
            DType::I32 => Self::I32(Vec::new()),
            DType::U8 => Self::U8(Vec::new()),
        }
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
            Self::F16(_) => DType::F16,
            Self::BF16(_) => DType::BF16,
            Self::I64(_) => DType::I64,
            Self::I32(_) => DType::I32,
            Self::U8(_) => DType::U8,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        each!(self, v => v.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Zeros, or cut off.
    #[inline]
    pub(crate) fn resize(&mut self, len: usize) {
        each!(self, v => v.resize(len, Default::default()));
    }

    /// So many zeros; None: memory for them is not to be had.
    pub(crate) fn zeros(dtype: DType, len: usize) -> Option<Self> {
        /// Elements for which nobody asks first: memory comes as zeros then, mostly.
        const FEW: usize = 1 << 20;
        if len <= FEW {
            return Some(match dtype {
                DType::F32 => Self::F32(vec![0.0; len]),
                DType::F64 => Self::F64(vec![0.0; len]),
                DType::I64 => Self::I64(vec![0; len]),
                DType::I32 => Self::I32(vec![0; len]),
                DType::U8 => Self::U8(vec![0; len]),
                DType::F16 => Self::F16(vec![f16::ZERO; len]),
                DType::BF16 => Self::BF16(vec![bf16::ZERO; len]),
            });
        }
        let mut values = Self::empty(dtype);
        values.try_reserve(len).then_some(())?;
        values.resize(len);
        Some(values)
    }

    /// Whether memory for that many more is to be had.
    pub(crate) fn try_reserve(&mut self, more: usize) -> bool {
        each!(self, v => v.try_reserve_exact(more).is_ok())
    }

    /// Append `from[range]`, of the same type.
    pub(crate) fn extend(&mut self, from: &Self, range: std::ops::Range<usize>) {
        match (self, from) {
            (Self::F32(to), Self::F32(v)) => to.extend_from_slice(&v[range]),
            (Self::F64(to), Self::F64(v)) => to.extend_from_slice(&v[range]),
            (Self::F16(to), Self::F16(v)) => to.extend_from_slice(&v[range]),
            (Self::BF16(to), Self::BF16(v)) => to.extend_from_slice(&v[range]),
            (Self::I64(to), Self::I64(v)) => to.extend_from_slice(&v[range]),
            (Self::I32(to), Self::I32(v)) => to.extend_from_slice(&v[range]),
            (Self::U8(to), Self::U8(v)) => to.extend_from_slice(&v[range]),
            // Chunks of a dataset have the types of its schema, which one plan gave them all.
            (to, from) => unreachable!("{} into {}", from.dtype(), to.dtype()),
        }
    }

    /// Of another type, each value exactly or, between floating-point types, rounded. Err: the position of the first
    /// value that the type does not have.
    pub fn cast(self, dtype: DType) -> Result<Self, usize> {
        fn to<T: Element>(values: &Values) -> Result<Vec<T>, usize> {
            match values {
                Values::I64(v) => v.iter().enumerate().map(|(i, &x)| T::from_i64(x).ok_or(i)).collect(),
                other => each!(other, v => v
                    .iter()
                    .enumerate()
                    .map(|(i, x)| T::from_f64(x.to_f64()).ok_or(i))
                    .collect()),
            }
        }
        if self.dtype() == dtype {
            return Ok(self);
        }
        Ok(match dtype {
            DType::F32 => Self::F32(to(&self)?),
            DType::F64 => Self::F64(to(&self)?),
            DType::F16 => Self::F16(to(&self)?),
            DType::BF16 => Self::BF16(to(&self)?),
            DType::I64 => Self::I64(to(&self)?),
            DType::I32 => Self::I32(to(&self)?),
            DType::U8 => Self::U8(to(&self)?),
        })
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.dtype(), self.len())
    }
}

/// What a tensor's elements may be.
pub trait Element: Copy + Default + PartialOrd + fmt::Debug + Send + Sync + 'static {
    /// Its name.
    const DTYPE: DType;
    /// As values of no static type.
    fn wrap(values: Vec<Self>) -> Values;
    /// The elements, where they are of this type.
    fn slice(values: &Values) -> Option<&[Self]>;
    /// As above, to add to.
    fn slice_mut(values: &mut Values) -> Option<&mut Vec<Self>>;
    /// The value, where the type has it; floating-point types round, and have no value that is too large for them.
    fn from_f64(value: f64) -> Option<Self>;
    /// As above.
    fn from_f32(value: f32) -> Option<Self> {
        Self::from_f64(f64::from(value))
    }
    /// As above.
    fn from_i64(value: i64) -> Option<Self>;
    /// The nearest value of 64 bits.
    fn to_f64(self) -> f64;
}

macro_rules! float {
    ($type:ty, $name:ident, $from:expr, $from32:expr, $to:expr) => {
        impl Element for $type {
            const DTYPE: DType = DType::$name;
            fn wrap(values: Vec<Self>) -> Values {
                Values::$name(values)
            }
            fn slice(values: &Values) -> Option<&[Self]> {
                if let Values::$name(values) = values { Some(values) } else { None }
            }
            fn slice_mut(values: &mut Values) -> Option<&mut Vec<Self>> {
                if let Values::$name(values) = values { Some(values) } else { None }
            }
            #[inline]
            fn from_f64(value: f64) -> Option<Self> {
                let narrow: Self = $from(value);
                (narrow.is_finite() || !value.is_finite()).then_some(narrow)
            }
            #[inline]
            fn from_f32(value: f32) -> Option<Self> {
                let narrow: Self = $from32(value);
                (narrow.is_finite() || !value.is_finite()).then_some(narrow)
            }
            #[inline]
            fn from_i64(value: i64) -> Option<Self> {
                <Self as Element>::from_f64(value as f64)
            }
            #[inline]
            fn to_f64(self) -> f64 {
                $to(self)
            }
        }
    };
}
float!(f32, F32, |value: f64| value as f32, |value: f32| value, f64::from);
float!(f64, F64, |value: f64| value, |value: f32| f64::from(value), |value: f64| value);
float!(f16, F16, f16::from_f64, f16::from_f32, f16::to_f64);
float!(bf16, BF16, bf16::from_f64, bf16::from_f32, bf16::to_f64);

macro_rules! integer {
    ($type:ty, $name:ident) => {
        impl Element for $type {
            const DTYPE: DType = DType::$name;
            fn wrap(values: Vec<Self>) -> Values {
                Values::$name(values)
            }
            fn slice(values: &Values) -> Option<&[Self]> {
                if let Values::$name(values) = values { Some(values) } else { None }
            }
            fn slice_mut(values: &mut Values) -> Option<&mut Vec<Self>> {
                if let Values::$name(values) = values { Some(values) } else { None }
            }
            fn from_f64(value: f64) -> Option<Self> {
                /// Above, not every integer is a double.
                const EXACT: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
                let whole = value.fract() == 0.0 && value.abs() < EXACT;
                whole.then_some(value as i64).and_then(Self::from_i64)
            }
            #[inline]
            fn from_i64(value: i64) -> Option<Self> {
                Self::try_from(value).ok()
            }
            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    };
}
integer!(i64, I64);
integer!(i32, I32);
integer!(u8, U8);

/// A tensor of a batch.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    /// Its sizes; the first counts samples.
    pub shape: Vec<usize>,
    /// As many as the sizes multiplied.
    pub values: Values,
}

impl Tensor {
    /// The elements, where they are of that type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        T::slice(&self.values)
    }

    /// Bytes of all elements.
    pub fn byte_len(&self) -> usize {
        self.values.len() * self.values.dtype().size()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.values.dtype(), self.shape)
    }
}
