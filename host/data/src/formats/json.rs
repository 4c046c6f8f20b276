//! JSON lines: an object a line, <https://jsonlines.org>. The first object's keys are the columns; a key that a later one
//! lacks is a missing cell, one that it has more is passed over.

mod keys;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::keys::Keys;
use super::text::{Cursor, Quotes, Text};
use crate::description::Description;
use crate::draft::{Draft, Schema};
use crate::error::{DataError, Place, Problem, shown};
use crate::plan::{Header, Plan};
use crate::rows::{Cell, Rows, Wrong};
use crate::source::Blob;
use crate::split::Divider;

/// The rows that are new since the cursor.
pub fn read(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    cursor: &mut Cursor,
    draft: &mut Draft,
) -> Result<(), DataError> {
    let file = blob.name();
    let mut plan = cursor.plan.clone();
    let mut number = cursor.rows;
    let mut text = Text::new(blob, cursor, Quotes::None, description.last_row, description.limits.row_bytes)?;
    // Until there is a first object, there are no columns.
    let mut first: Option<(Vec<u8>, u64)> = None;
    while plan.is_none() {
        let Some(row) = text.next()? else { break };
        if row.bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Keys>(row.bytes) {
            Ok(keys) => {
                let header = Header { names: Some(keys.names), widths: keys.widths };
                first = Some((row.bytes.to_vec(), row.line));
                plan = Some(Arc::new(Plan::new(file, header, description)?));
            }
            Err(error) => {
                let problem = Problem::of_row(file, Place::Line(row.line), said(row.bytes, &error));
                draft.bad(problem)?;
                number += 1;
            }
        }
    }
    let Some(plan) = plan else {
        text.cursor().rows = number;
        return Ok(());
    };
    text.cursor().plan = Some(Arc::clone(&plan));
    draft.agree(file, Schema::of_plan(&plan, description))?;
    let mut rows = Rows::new(draft, Arc::clone(&plan), file, divider, number);
    let mut objects = Objects::new(&plan);
    if let Some((bytes, line)) = first {
        objects.take(&mut rows, file, &bytes, line)?;
    }
    while let Some(row) = text.next()? {
        if !row.bytes.trim_ascii().is_empty() {
            objects.take(&mut rows, file, row.bytes, row.line)?;
        }
    }
    rows.flush()?;
    let end = rows.row();
    text.cursor().rows = end;
    Ok(())
}

fn said(line: &[u8], error: &serde_json::Error) -> String {
    format!("not a JSON object of numbers, text and lists of numbers: {error}; it begins \"{}\"", shown(line))
}

/// Reads objects of the same keys.
struct Objects<'p> {
    plan: &'p Plan,
    names: &'p [String],
    columns: HashMap<&'p str, usize>,
    /// For each column, the object in which it was seen last.
    seen: Vec<u64>,
    object: u64,
    wrong: Option<Wrong>,
}

impl<'p> Objects<'p> {
    fn new(plan: &'p Plan) -> Self {
        let names = plan.header.names.as_deref().unwrap_or_default();
        // Of columns of the same name, the first.
        let columns = names.iter().enumerate().rev().map(|(column, name)| (name.as_str(), column)).collect();
        Self { plan, names, columns, seen: vec![0; names.len()], object: 0, wrong: None }
    }

    fn take(&mut self, rows: &mut Rows<'_>, file: &str, line: &[u8], number: u64) -> Result<(), DataError> {
        self.object += 1;
        self.wrong = None;
        rows.begin();
        let mut json = serde_json::Deserializer::from_slice(line);
        let read = (&mut json).deserialize_map(Object { objects: self, rows }).and_then(|()| json.end());
        let done = match (read, self.wrong.take()) {
            (_, Some(wrong)) => Err(wrong),
            (Err(error), None) => {
                let problem = Problem::of_row(file, Place::Line(number), said(line, &error));
                return rows.fail_row(problem);
            }
            (Ok(()), None) => self.fill(rows),
        };
        match done {
            Ok(()) => rows.end(),
            Err(wrong) => rows.fail(Place::Line(number), wrong),
        }
    }

    /// Columns that the object did not have.
    fn fill(&self, rows: &mut Rows<'_>) -> Result<(), Wrong> {
        for (column, &seen) in self.seen.iter().enumerate() {
            if seen != self.object && !rows.skips(column) {
                for offset in 0..self.plan.header.widths[column] {
                    rows.value(column, offset, Cell::Missing)?;
                }
            }
        }
        Ok(())
    }

    /// The column of a key, which mostly is the one after the last.
    fn find(&self, key: &str, expected: usize) -> Option<usize> {
        if self.names.get(expected).is_some_and(|name| name == key) {
            return Some(expected);
        }
        self.columns.get(key).copied()
    }
}

struct Object<'o, 'p, 'r, 'd> {
    objects: &'o mut Objects<'p>,
    rows: &'r mut Rows<'d>,
}

impl<'de> Visitor<'de> for Object<'_, '_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { objects, rows } = self;
        let mut expected = 0;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let found = objects.find(&key, expected).filter(|&column| !rows.skips(column));
            expected = found.map_or(expected, |column| column) + 1;
            let Some(column) = found else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            objects.seen[column] = objects.object;
            let width = objects.plan.header.widths[column];
            let wrong = &mut objects.wrong;
            map.next_value_seed(Value { rows, column, width, offset: None, wrong })?;
        }
        Ok(())
    }
}

/// A value, or with an offset, one of a list.
struct Value<'v, 'd> {
    rows: &'v mut Rows<'d>,
    column: usize,
    width: usize,
    offset: Option<usize>,
    wrong: &'v mut Option<Wrong>,
}

impl Value<'_, '_> {
    fn put<E: serde::de::Error>(self, cell: Cell<'_>) -> Result<(), E> {
        let Self { rows, column, width, offset, wrong } = self;
        if offset.is_none() && width != 1 {
            // No list at all is a list of nothing.
            if cell == Cell::Missing {
                for offset in 0..width {
                    rows.value(column, offset, cell).map_err(|found| fail(wrong, found))?;
                }
                return Ok(());
            }
            let what = format!("a single value, where the first row has a list of {width}");
            return Err(fail(wrong, Wrong { column, what }));
        }
        rows.value(column, offset.unwrap_or(0), cell).map_err(|found| fail(wrong, found))
    }
}

fn fail<E: serde::de::Error>(place: &mut Option<Wrong>, wrong: Wrong) -> E {
    *place = Some(wrong);
    E::custom("a value")
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, text, true, false, null or a list of numbers")
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.put(Cell::Int(i64::from(value)))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.put(Cell::Int(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Int))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.put(Cell::Float(value))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.put(Cell::Text(value))
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.put(Cell::Missing)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { rows, column, width, offset, wrong } = self;
        if offset.is_some() {
            return Err(fail(wrong, Wrong { column, what: "a list in a list; write it as one".to_owned() }));
        }
        let mut len = 0;
        while len < width {
            let value = Value { rows, column, width, offset: Some(len), wrong };
            if list.next_element_seed(value)?.is_none() {
                break;
            }
            len += 1;
        }
        if len < width || list.next_element::<IgnoredAny>()?.is_some() {
            let what = format!("a list of another length than the {width} of the first row");
            return Err(fail(wrong, Wrong { column, what }));
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        let what = "an object in an object; give its values keys of their own".to_owned();
        *self.wrong = Some(Wrong { column: self.column, what });
        Err(A::Error::custom("an object"))
    }
}
