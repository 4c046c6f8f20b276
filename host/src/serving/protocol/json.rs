//! An inference request in JSON, read in one pass: its numbers go straight into tensors.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::endpoint::ServeError;
use super::datatypes::{self, invalid};
use super::numbers;
use crate::nn::{DType, MAX_RANK, Tensor};

/// Tensors that a request may have, and outputs it may ask for.
pub(super) const MAX_TENSORS: usize = 1024;

/// As it is written, binary tensors not yet looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Written {
    pub id: Option<String>,
    #[serde(default)]
    pub parameters: Parameters,
    pub inputs: Bounded<Input>,
    #[serde(default)]
    pub outputs: Bounded<Wanted>,
}

/// Those of a request that mean something here; others are let pass.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    /// Microseconds.
    pub timeout: Option<u64>,
    /// Outputs that say nothing else are given as binary.
    #[serde(default)]
    pub binary_data_output: bool,
}

/// An output that is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    pub name: String,
    #[serde(default)]
    pub parameters: WantedParameters,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct WantedParameters {
    pub binary_data: Option<bool>,
}

/// A tensor that comes.
#[derive(Debug)]
pub(super) struct Input {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub content: Content,
}

/// Where its elements are.
#[derive(Debug)]
pub(super) enum Content {
    /// Here.
    Here(Tensor),
    /// So many bytes, behind the JSON.
    Behind(usize),
}

/// At most [`MAX_TENSORS`] of them.
#[derive(Debug)]
pub(super) struct Bounded<T>(pub Vec<T>);

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Read a request.
pub(super) fn parse(json: &[u8]) -> Result<Written, ServeError> {
    serde_json::from_slice(json)
        .map_err(|error| invalid(format!("the request is not as it must be: {error}")))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {MAX_TENSORS} tensors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::with_capacity(1);
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("there are more than {MAX_TENSORS} tensors")));
                    }
                    items.push(item);
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(Items(std::marker::PhantomData)).map(Self)
    }
}

/// Dimensions, bounded while they are read.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Vec<usize>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<usize>, A::Error> {
                let mut shape = Vec::with_capacity(4);
                while let Some(dimension) = seq.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(A::Error::custom(format!("a tensor has at most {MAX_RANK} dimensions")));
                    }
                    shape.push(dimension);
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_seq(Dimensions).map(Self)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Name,
    Shape,
    Datatype,
    Parameters,
    Data,
    #[serde(other)]
    Other,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    binary_data_size: Option<usize>,
    shared_memory_region: Option<IgnoredAny>,
}

/// A tensor's data, or its text where it came before what is needed to read it.
enum Data<'de> {
    Read(numbers::Data),
    Text(&'de RawValue),
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor with name, shape, datatype and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Input, A::Error> {
        let mut name: Option<String> = None;
        let mut shape: Option<Shape> = None;
        let mut dtype: Option<(String, DType)> = None;
        let mut parameters: Option<InputParameters> = None;
        let mut data: Option<Data<'de>> = None;
        let called = |name: &Option<String>| format!("{:.100}", name.as_deref().unwrap_or("?"));
        let twice = |what: &str, name: &Option<String>| {
            A::Error::custom(format!("tensor `{}` has two of `{what}`", called(name)))
        };
        while let Some(key) = map.next_key()? {
            match key {
                Key::Name if name.is_some() => return Err(twice("name", &name)),
                Key::Name => name = Some(map.next_value()?),
                Key::Shape if shape.is_some() => return Err(twice("shape", &name)),
                Key::Shape => shape = Some(map.next_value()?),
                Key::Datatype if dtype.is_some() => return Err(twice("datatype", &name)),
                Key::Datatype => {
                    let text: String = map.next_value()?;
                    let parsed = datatypes::parse(&text, &called(&name));
                    dtype = Some((text, parsed.map_err(|error| A::Error::custom(error.message))?));
                }
                Key::Parameters if parameters.is_some() => return Err(twice("parameters", &name)),
                Key::Parameters => parameters = Some(map.next_value()?),
                Key::Data if data.is_some() => return Err(twice("data", &name)),
                Key::Data => {
                    data = Some(match &dtype {
                        Some((_, dtype)) => {
                            let about = shape.as_ref().map_or(0, |shape| numbers::about(&shape.0));
                            let read = map.next_value_seed(numbers::Seed { dtype: *dtype, about });
                            Data::Read(read.map_err(|error| {
                                A::Error::custom(format!("tensor `{}`: {error}", called(&name)))
                            })?)
                        }
                        None => Data::Text(map.next_value()?),
                    });
                }
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let missing = |what: &str| A::Error::custom(format!("tensor `{}` has no `{what}`", called(&name)));
        let (_, dtype) = dtype.ok_or_else(|| missing("datatype"))?;
        let Shape(shape) = shape.ok_or_else(|| missing("shape"))?;
        let parameters = parameters.unwrap_or_default();
        if parameters.shared_memory_region.is_some() {
            return Err(A::Error::custom(format!("tensor `{}`: no shared memory is served", called(&name))));
        }
        let content = match (data, parameters.binary_data_size) {
            (None, Some(size)) => Content::Behind(size),
            (Some(_), Some(_)) => {
                let text = format!("tensor `{}` has both data and binary_data_size", called(&name));
                return Err(A::Error::custom(text));
            }
            (None, None) => return Err(missing("data")),
            (Some(data), None) => {
                let data = match data {
                    Data::Read(data) => data,
                    Data::Text(text) => numbers::parse(text.get(), dtype, numbers::about(&shape))
                        .map_err(|error| A::Error::custom(format!("tensor `{}`: {error}", called(&name))))?,
                };
                let made = data.tensor(&called(&name), &shape);
                Content::Here(made.map_err(|error| A::Error::custom(error.message))?)
            }
        };
        let name = name.ok_or_else(|| A::Error::custom("a tensor has no `name`"))?;
        Ok(Input { name, dtype, shape, content })
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InputVisitor)
    }
}
