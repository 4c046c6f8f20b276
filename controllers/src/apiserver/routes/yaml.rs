//! YAML as a JSON value, with a bound on what its aliases may become.
//!
//! An alias stands for a copy of something before it, so a few kilobytes can tell of gigabytes. A document
//! without aliases is never larger as a value than the count here says it may be. Pure.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The value that `text` tells of, if it could be written in `most` bytes.
pub fn parse(text: &[u8], most: usize) -> Result<Value, serde_yaml_ng::Error> {
    Bounded { left: &Cell::new(most) }.deserialize(serde_yaml_ng::Deserializer::from_slice(text))
}

#[derive(Clone, Copy)]
struct Bounded<'a> {
    /// Bytes that may still be told of.
    left: &'a Cell<usize>,
}

impl Bounded<'_> {
    /// A value of so many bytes, and what parts it from the next.
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(bytes + 1);
        self.left.set(left.ok_or_else(|| E::custom("its aliases make it too large"))?);
        Ok(())
    }

    fn one<E: Error>(self, value: impl Into<Value>) -> Result<Value, E> {
        self.take(0)?;
        Ok(value.into())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what JSON can tell too")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.one(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.one(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.one(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.one(value)
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.one(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.take(text.len())?;
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.take(name.len())?;
            object.insert(name, fields.next_value_seed(self)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_alias_is_a_copy() {
        let text = "{a: &it {n: 1, t: x, e: !!str 2}, b: *it, c: [1.5, true, ~, -1]}";
        let it = json!({"n": 1, "t": "x", "e": "2"});
        assert_eq!(
            parse(text.as_bytes(), 100).unwrap(),
            json!({"a": it, "b": it, "c": [1.5, true, null, -1]})
        );
    }

    #[test]
    fn aliases_cannot_grow_a_document_without_bound() {
        let laughs = (1..30).map(|n| format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1));
        let nested = format!("a0: &a0 ha\n{}", laughs.collect::<String>());
        let wide = format!("a: &a [{}1]\nb: [{}*a]", "1,".repeat(10_000), "*a,".repeat(10_000));
        // The parser itself counts how often aliases are followed, in proportion to the document.
        for (text, told) in [(nested, "repetition limit"), (wide, "aliases make it too large")] {
            let error = parse(text.as_bytes(), 3 << 20).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn what_is_no_yaml_is_refused() {
        for text in ["[", "a: b: c", "? [1]: 2", "a: 1\n---\nb: 2", "*none", &"[".repeat(10_000)] {
            assert!(parse(text.as_bytes(), 3 << 20).is_err(), "{text:.20}");
        }
    }

    proptest! {
        #[test]
        fn json_is_yaml_and_is_never_too_large(list in prop::collection::vec("[a-z]{0,3}", 0..9), n: i32) {
            let text = json!({"list": list, "n": n}).to_string();
            prop_assert_eq!(parse(text.as_bytes(), text.len()).unwrap(), json!({"list": list, "n": n}));
        }
    }
}
