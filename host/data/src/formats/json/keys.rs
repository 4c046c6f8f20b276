//! The columns of a JSON object.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Names of an object's columns, and how many values each has.
pub struct Keys {
    /// In order.
    pub names: Vec<String>,
    /// As many.
    pub widths: Vec<usize>,
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Keys { names: Vec::new(), widths: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    let Width(width) = map.next_value()?;
                    keys.widths.push(width);
                    keys.names.push(name);
                }
                Ok(keys)
            }
        }
        deserializer.deserialize_map(Seen)
    }
}

/// Values of a cell, which are counted and not kept.
struct Width(usize);

impl<'de> Deserialize<'de> for Width {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seen;
        impl<'de> Visitor<'de> for Seen {
            type Value = Width;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Width, E> {
                Ok(Width(1))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Width, E> {
                Ok(Width(1))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Width, E> {
                Ok(Width(1))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Width, E> {
                Ok(Width(1))
            }
            fn visit_str<E>(self, _: &str) -> Result<Width, E> {
                Ok(Width(1))
            }
            fn visit_unit<E>(self) -> Result<Width, E> {
                Ok(Width(1))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Width, A::Error> {
                let mut len = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    len += 1;
                }
                Ok(Width(len))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Width, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Width(1))
            }
        }
        deserializer.deserialize_any(Seen)
    }
}
