//! One store, two kinds: `Event` of `events.k8s.io` is `Event` of the core group with fields renamed.
//!
//! Clients write the one and people read the other, so a kind may be a view of the kind that is stored. Pure.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::kinds::Kind;
use super::status::ApiError;

/// How a kind that is not stored differs from one that is.
#[derive(Debug)]
pub struct View {
    /// The kind that is stored.
    pub stored: Arc<Kind>,
    /// Names of fields, as stored and as seen.
    pub renamed: &'static [(&'static str, &'static str)],
}

/// Fields of events, in the core group and in `events.k8s.io`.
pub const EVENTS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

impl View {
    /// The path of a field as stored, from its path as seen.
    pub fn stored_path(&self, path: &str) -> String {
        let (head, rest) = path.split_at(path.find('.').unwrap_or(path.len()));
        format!("{}{rest}", self.stored_name(head))
    }

    fn stored_name<'n>(&self, name: &'n str) -> &'n str {
        self.renamed.iter().find(|(_, seen)| *seen == name).map_or(name, |(stored, _)| stored)
    }

    fn seen_name<'n>(&self, name: &'n str) -> &'n str {
        self.renamed.iter().find(|(stored, _)| *stored == name).map_or(name, |(_, seen)| seen)
    }
}

impl Kind {
    /// The kind whose objects are stored for this one.
    pub fn stored(self: &Arc<Self>) -> &Arc<Self> {
        self.view.as_ref().map_or(self, |view| &view.stored)
    }

    /// A body of this kind as an object of the stored kind.
    pub fn to_stored(&self, body: Value) -> Result<Value, ApiError> {
        let (Some(view), Value::Object(fields)) = (&self.view, &body) else { return Ok(body) };
        let expected = Value::from(self.api_version());
        if let Some(given) = fields.get("apiVersion").filter(|given| !given.is_null() && **given != expected)
        {
            let message = format!("apiVersion is {given} in the body; this path takes {expected}");
            return Err(ApiError::bad_request(message));
        }
        Ok(renamed(body, |name| view.stored_name(name), view.stored.api_version()))
    }

    /// A stored object as one of this kind.
    pub fn to_seen(&self, object: Value) -> Value {
        match &self.view {
            None => object,
            Some(view) => renamed(object, |name| view.seen_name(name), self.api_version()),
        }
    }
}

fn renamed(object: Value, name: impl Fn(&str) -> &str, api_version: String) -> Value {
    let Value::Object(fields) = object else { return object };
    let mut object: Map<String, Value> =
        fields.into_iter().map(|(field, value)| (name(&field).to_owned(), value)).collect();
    object.insert("apiVersion".to_owned(), api_version.into());
    Value::Object(object)
}
