//! What an object must pass before it is stored: defaults, unknown fields, schema, its kind's own rules, size.

use sedge_api::resources::{GROUP, problems};
use serde_json::{Map, Value};

use crate::apiserver::kinds::Kind;
use crate::apiserver::object::{self, Part};
use crate::apiserver::patch::{MAX_DEPTH, depth};
use crate::apiserver::routes::MAX_BODY;
use crate::apiserver::schema::Schema;
use crate::apiserver::status::{ApiError, Cause};

/// What to do about fields that the schema does not name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Validation {
    /// Drop them.
    Ignore,
    /// Drop them and tell the client.
    #[default]
    Warn,
    /// Refuse the object.
    Strict,
}

/// Give `value` its full shape and check it. Only `part` of it is looked at: the other is as stored.
/// `unknown` are fields already found to be unknown. Returns warnings for the client.
pub fn admit(
    kind: &Kind,
    value: &mut Value,
    part: Part,
    validation: Validation,
    mut unknown: Vec<String>,
) -> Result<Vec<String>, ApiError> {
    let mut causes = Vec::new();
    if let Some(schema) = &kind.schema {
        let (more, broken) = match part {
            Part::Main => shape_main(kind, schema, value),
            Part::Status => shape_status(schema, value),
        };
        unknown.extend(more);
        causes = broken;
    }
    if causes.is_empty() && part == Part::Main && kind.group == GROUP {
        causes.extend(problems(&kind.kind, value).into_iter().map(Cause::from));
    }
    if validation == Validation::Strict {
        causes.extend(unknown.iter().map(|field| Cause::forbidden(field, "unknown field")));
    }
    if !causes.is_empty() {
        return Err(ApiError::invalid(kind, object::name(value), &causes));
    }
    if depth(value) > MAX_DEPTH {
        return Err(ApiError::bad_request(format!("an object nests at most {MAX_DEPTH} deep")));
    }
    let warn = validation == Validation::Warn;
    Ok(unknown.into_iter().filter(|_| warn).map(|field| format!("unknown field \"{field}\"")).collect())
}

/// An object takes at most what a request may carry.
pub fn check_size(object: &Value) -> Result<(), ApiError> {
    if object.to_string().len() > MAX_BODY { Err(ApiError::too_large(MAX_BODY)) } else { Ok(()) }
}

/// All but what every object has, and the status where that is apart.
fn shape_main(kind: &Kind, schema: &Schema, value: &mut Value) -> (Vec<String>, Vec<Cause>) {
    let mut aside = Map::new();
    for name in ["apiVersion", "kind", "metadata", "status"] {
        if (name != "status" || kind.has_status)
            && let Some(field) = value.as_object_mut().and_then(|fields| fields.remove(name))
        {
            aside.insert(name.to_owned(), field);
        }
    }
    schema.fill(value);
    let unknown = schema.prune(value, "");
    let status = aside.remove("status");
    if let Some(fields) = value.as_object_mut() {
        fields.extend(aside);
    }
    let causes = schema.validate(value, "");
    if let (Some(fields), Some(status)) = (value.as_object_mut(), status) {
        fields.insert("status".to_owned(), status);
    }
    (unknown, causes)
}

fn shape_status(schema: &Schema, value: &mut Value) -> (Vec<String>, Vec<Cause>) {
    let Some(schema) = schema.property("status") else {
        if !schema.keeps_unknown() {
            value.as_object_mut().map(|fields| fields.remove("status"));
        }
        return (Vec::new(), Vec::new());
    };
    let Some(status) = value.get_mut("status") else { return (Vec::new(), Vec::new()) };
    schema.fill(status);
    (schema.prune(status, "status"), schema.validate(status, "status"))
}
