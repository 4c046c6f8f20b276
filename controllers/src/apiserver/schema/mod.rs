//! OpenAPI v3 schemas, as definitions carry them: compiled once, then applied to every object written.
//!
//! ```text
//!  JSONSchemaProps ──compile──▶ Schema ──fill (defaults)──▶ prune (unknown fields) ──▶ validate (causes)
//! ```
//!
//! Pure. CEL rules (`x-kubernetes-validations`) are not evaluated.

mod shape;
mod validate;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;
use thiserror::Error;

/// Why a schema cannot be checked.
#[derive(Debug, Error)]
pub enum InvalidSchema {
    /// A pattern is no regular expression.
    #[error("`{path}` has a pattern that cannot be read: {source}")]
    Pattern {
        /// Where in the schema.
        path: String,
        /// Why.
        source: Box<regex::Error>,
    },
    /// It uses a word that structural schemas do not have.
    #[error("`{path}` uses `{word}`, which structural schemas do not have")]
    Word {
        /// Where in the schema.
        path: String,
        /// The word.
        word: &'static str,
    },
    /// A type that does not exist.
    #[error("`{path}` has the type `{name}`; it is one of object, array, string, integer, number, boolean")]
    Type {
        /// Where in the schema.
        path: String,
        /// The type.
        name: String,
    },
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What an object's keys may be beyond those named.
#[derive(Debug, Clone, Default)]
enum Additional {
    /// Nothing.
    #[default]
    None,
    /// Anything.
    Any,
    /// Values of this form.
    Of(Box<Schema>),
}

/// A bound of a number.
#[derive(Debug, Clone, Copy)]
struct Bound {
    value: f64,
    exclusive: bool,
}

/// What a value must look like.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    kind: Option<Type>,
    nullable: bool,
    int_or_string: bool,
    preserve_unknown: bool,
    embedded_resource: bool,
    default: Option<Value>,

    properties: BTreeMap<String, Schema>,
    additional: Additional,
    required: Vec<String>,
    properties_count: (Option<usize>, Option<usize>),

    items: Option<Box<Schema>>,
    items_count: (Option<usize>, Option<usize>),
    unique_items: bool,
    /// Of a list that is a map: the keys that tell its items apart.
    map_keys: Vec<String>,

    allowed: Vec<Value>,
    pattern: Option<Regex>,
    format: Option<String>,
    length: (Option<usize>, Option<usize>),
    minimum: Option<Bound>,
    maximum: Option<Bound>,
    multiple_of: Option<f64>,

    all_of: Vec<Schema>,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    not: Option<Box<Schema>>,
}

impl Schema {
    /// From a definition.
    pub fn compile(from: &JSONSchemaProps) -> Result<Self, InvalidSchema> {
        compile(from, "")
    }

    /// The schema of one property.
    pub fn property(&self, name: &str) -> Option<&Self> {
        self.properties.get(name)
    }
}

fn compile(from: &JSONSchemaProps, path: &str) -> Result<Schema, InvalidSchema> {
    let word = |word| Err(InvalidSchema::Word { path: path.to_owned(), word });
    if from.ref_path.is_some() {
        return word("$ref");
    }
    if from.pattern_properties.is_some() {
        return word("patternProperties");
    }
    if from.dependencies.is_some() {
        return word("dependencies");
    }
    let kind = match from.type_.as_deref() {
        None | Some("") => None,
        Some("object") => Some(Type::Object),
        Some("array") => Some(Type::Array),
        Some("string") => Some(Type::String),
        Some("integer") => Some(Type::Integer),
        Some("number") => Some(Type::Number),
        Some("boolean") => Some(Type::Boolean),
        Some(name) => return Err(InvalidSchema::Type { path: path.to_owned(), name: name.to_owned() }),
    };
    let pattern = from.pattern.as_deref().map(Regex::new).transpose();
    let pattern = pattern
        .map_err(|source| InvalidSchema::Pattern { path: path.to_owned(), source: Box::new(source) })?;
    let mut properties = BTreeMap::new();
    for (name, property) in from.properties.iter().flatten() {
        properties.insert(name.clone(), compile(property, &child(path, name))?);
    }
    let additional = match &from.additional_properties {
        None | Some(JSONSchemaPropsOrBool::Bool(false)) => Additional::None,
        Some(JSONSchemaPropsOrBool::Bool(true)) => Additional::Any,
        Some(JSONSchemaPropsOrBool::Schema(schema)) => {
            Additional::Of(Box::new(compile(schema, &child(path, "*"))?))
        }
    };
    let items = match &from.items {
        None => None,
        Some(JSONSchemaPropsOrArray::Schema(schema)) => {
            Some(Box::new(compile(schema, &format!("{path}[*]"))?))
        }
        Some(JSONSchemaPropsOrArray::Schemas(_)) => return word("items as an array"),
    };
    let list = |schemas: &Option<Vec<JSONSchemaProps>>| -> Result<Vec<Schema>, InvalidSchema> {
        schemas.iter().flatten().map(|schema| compile(schema, path)).collect()
    };
    let count = |value: Option<i64>| value.map(|value| usize::try_from(value).unwrap_or(0));
    let bound = |value: Option<f64>, exclusive: Option<bool>| {
        value.map(|value| Bound { value, exclusive: exclusive == Some(true) })
    };
    Ok(Schema {
        kind,
        nullable: from.nullable == Some(true),
        int_or_string: from.x_kubernetes_int_or_string == Some(true),
        preserve_unknown: from.x_kubernetes_preserve_unknown_fields == Some(true),
        embedded_resource: from.x_kubernetes_embedded_resource == Some(true),
        default: from.default.as_ref().map(|default| default.0.clone()),
        properties,
        additional,
        required: from.required.clone().unwrap_or_default(),
        properties_count: (count(from.min_properties), count(from.max_properties)),
        items,
        items_count: (count(from.min_items), count(from.max_items)),
        unique_items: from.unique_items == Some(true)
            || from.x_kubernetes_list_type.as_deref() == Some("set"),
        map_keys: from.x_kubernetes_list_map_keys.clone().unwrap_or_default(),
        allowed: from.enum_.iter().flatten().map(|value| value.0.clone()).collect(),
        pattern,
        format: from.format.clone(),
        length: (count(from.min_length), count(from.max_length)),
        minimum: bound(from.minimum, from.exclusive_minimum),
        maximum: bound(from.maximum, from.exclusive_maximum),
        multiple_of: from.multiple_of.filter(|step| *step > 0.0),
        all_of: list(&from.all_of)?,
        any_of: list(&from.any_of)?,
        one_of: list(&from.one_of)?,
        not: from.not.as_ref().map(|schema| compile(schema, path)).transpose()?.map(Box::new),
    })
}

/// The path of a field in the object at `path`.
fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A schema as a definition would carry it.
    pub fn schema(form: Value) -> Schema {
        Schema::compile(&serde_json::from_value(form).unwrap()).unwrap()
    }

    #[test]
    fn a_schema_that_cannot_be_checked_says_where() {
        for (form, message) in [
            (json!({"properties": {"a": {"type": "string", "pattern": "("}}}), "`a` has a pattern"),
            (json!({"properties": {"a": {"items": {"$ref": "#/x"}}}}), "`a[*]` uses `$ref`"),
            (json!({"type": "date"}), "`` has the type `date`"),
        ] {
            let error = Schema::compile(&serde_json::from_value(form).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
