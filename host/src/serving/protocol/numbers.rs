//! A tensor's elements in JSON: arrays of numbers, flat or nested as the shape says, in row-major order.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};

use super::super::endpoint::ServeError;
use super::datatypes::{invalid, wrong};
use crate::nn::{DType, Element, MAX_RANK, NnError, Tensor, bf16, f16};

/// Elements for which room is made before they have come, at most.
const ROOM: usize = 1 << 16;

/// Elements that are likely to come for that shape, within bounds.
pub(super) fn about(shape: &[usize]) -> usize {
    shape.iter().fold(1usize, |product, &dimension| product.saturating_mul(dimension)).min(ROOM)
}

/// An element as JSON writes it; None: it is no such element.
trait Number: Element {
    fn of_u64(value: u64) -> Option<Self>;
    fn of_i64(value: i64) -> Option<Self>;
    fn of_f64(value: f64) -> Option<Self>;
}

macro_rules! floats {
    ($($type:ty: $of:expr;)*) => {$(
        impl Number for $type {
            fn of_u64(value: u64) -> Option<Self> {
                Self::of_f64(value as f64)
            }
            fn of_i64(value: i64) -> Option<Self> {
                Self::of_f64(value as f64)
            }
            fn of_f64(value: f64) -> Option<Self> {
                let of: fn(f64) -> Self = $of;
                Some(of(value)).filter(|value| value.is_finite())
            }
        }
    )*};
}
floats! {
    f64: |value| value;
    f32: |value| value as f32;
    f16: f16::from_f64;
    bf16: bf16::from_f64;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn of_u64(value: u64) -> Option<Self> {
                value.try_into().ok()
            }
            fn of_i64(value: i64) -> Option<Self> {
                value.try_into().ok()
            }
            fn of_f64(_: f64) -> Option<Self> {
                None
            }
        }
    )*};
}
integers!(i64, i32, u8);

/// Elements as they came, not yet held against a shape.
pub(super) struct Data {
    values: Values,
    /// Lengths of the nested arrays, outermost first.
    nested: Vec<usize>,
}

macro_rules! by_dtype {
    ($($variant:ident: $type:ty),*) => {
        enum Values {
            $($variant(Vec<$type>),)*
        }

        impl Values {
            fn tensor(self, shape: &[usize]) -> Result<Tensor, NnError> {
                match self {
                    $(Self::$variant(values) => Tensor::from_vec(shape, values),)*
                }
            }

            fn len(&self) -> usize {
                match self {
                    $(Self::$variant(values) => values.len(),)*
                }
            }
        }

        impl<'de> DeserializeSeed<'de> for Seed {
            type Value = Data;

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
                match self.dtype {
                    $(DType::$variant => {
                        let mut sink = Sink::<$type>::new(self.about);
                        Node { sink: &mut sink, depth: 0 }.deserialize(deserializer)?;
                        let nested = sink.lengths[..sink.leaves.unwrap_or(1)].to_vec();
                        Ok(Data { values: Values::$variant(sink.values), nested })
                    })*
                }
            }
        }
    };
}
by_dtype!(F16: f16, F32: f32, F64: f64, BF16: bf16, I64: i64, I32: i32, U8: u8);

impl Data {
    /// The tensor of that shape.
    pub fn tensor(self, name: &str, shape: &[usize]) -> Result<Tensor, ServeError> {
        if self.nested.len() > 1 && self.nested != shape {
            let text = format!("its data is nested as {:?}, its shape is {shape:?}", self.nested);
            return Err(invalid(format!("tensor `{name}`: {text}")));
        }
        let elements = super::datatypes::byte_len(name, DType::U8, shape)?;
        if self.values.len() != elements {
            let given = self.values.len();
            let text = format!("shape {shape:?} has {elements} elements, data has {given}");
            return Err(invalid(format!("tensor `{name}`: {text}")));
        }
        self.values.tensor(shape).map_err(|error| wrong(name, &error))
    }
}

/// Reads data whose type is known.
pub(super) struct Seed {
    pub dtype: DType,
    /// Elements to make room for.
    pub about: usize,
}

/// Read data that stands alone.
pub(super) fn parse(text: &str, dtype: DType, about: usize) -> Result<Data, serde_json::Error> {
    // The text is one value: it was read as such.
    Seed { dtype, about }.deserialize(&mut serde_json::Deserializer::from_str(text))
}

struct Sink<T> {
    values: Vec<T>,
    /// Of the arrays at each depth; all at one depth are of one length.
    lengths: [usize; MAX_RANK],
    /// How deep numbers lie.
    leaves: Option<usize>,
}

const UNKNOWN: usize = usize::MAX;

impl<T: Number> Sink<T> {
    fn new(about: usize) -> Self {
        Self { values: Vec::with_capacity(about), lengths: [UNKNOWN; MAX_RANK], leaves: None }
    }

    fn put<E: serde::de::Error>(
        &mut self,
        depth: usize,
        value: Option<T>,
        written: impl fmt::Debug,
    ) -> Result<(), E> {
        if *self.leaves.get_or_insert(depth) != depth {
            return Err(E::custom("its data is nested unevenly"));
        }
        let Some(value) = value else {
            let text = format!("{written:?} is no {}", super::datatypes::name(T::DTYPE));
            return Err(E::custom(text));
        };
        self.values.push(value);
        Ok(())
    }
}

/// A number, or an array of what is one deeper.
struct Node<'a, T> {
    sink: &'a mut Sink<T>,
    depth: usize,
}

impl<'de, T: Number> DeserializeSeed<'de> for Node<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth == 0 { deserializer.deserialize_seq(self) } else { deserializer.deserialize_any(self) }
    }
}

impl<'de, T: Number> Visitor<'de> for Node<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers in arrays")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.sink.put(self.depth, T::of_u64(value), value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.sink.put(self.depth, T::of_i64(value), value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.sink.put(self.depth, T::of_f64(value), value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if self.depth == MAX_RANK {
            return Err(A::Error::custom(format!("its data is nested more than {MAX_RANK} deep")));
        }
        let (sink, depth) = (self.sink, self.depth);
        let mut length = 0;
        while seq.next_element_seed(Node { sink: &mut *sink, depth: depth + 1 })?.is_some() {
            length += 1;
        }
        match &mut sink.lengths[depth] {
            known if *known == UNKNOWN => *known = length,
            known if *known != length => return Err(A::Error::custom("its data is nested unevenly")),
            _ => {}
        }
        Ok(())
    }
}
