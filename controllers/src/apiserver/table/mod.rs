//! Objects in the form that a client asked for: as they are, their metadata alone, or rows to print. Pure,
//! but for the present time, from which ages are counted.

mod cell;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::{Column, Kind};
use super::object;
use super::routes::Form;
use super::status::ApiError;

fn parse(text: &str) -> Result<Value, ApiError> {
    serde_json::from_str(text).map_err(|error| ApiError::internal("a stored object cannot be read", &error))
}

/// One object; `text` is its JSON.
pub fn object(kind: &Kind, form: Form, text: String) -> Result<String, ApiError> {
    match form {
        Form::Whole if kind.view.is_none() => Ok(text),
        Form::Whole => Ok(kind.to_seen(parse(&text)?).to_string()),
        Form::Metadata => Ok(partial(&parse(&text)?).to_string()),
        Form::Table => {
            let object = parse(&text)?;
            let metadata = json!({"resourceVersion": object::resource_version(&object)});
            Ok(table(kind, &metadata, &[object], Timestamp::now()).to_string())
        }
    }
}

/// A list of objects at `version`; `next` is where it goes on, or empty.
pub fn list(
    kind: &Kind,
    form: Form,
    items: Vec<String>,
    version: u64,
    next: &str,
) -> Result<String, ApiError> {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if !next.is_empty() {
        metadata["continue"] = next.into();
    }
    let (api_version, list_kind, items) = match form {
        Form::Whole => {
            let items =
                items.into_iter().map(|text| object(kind, form, text)).collect::<Result<Vec<_>, _>>()?;
            (kind.api_version(), kind.list_kind.clone(), items)
        }
        Form::Metadata => {
            let items = items.iter().map(|text| Ok(partial(&parse(text)?).to_string()));
            let items = items.collect::<Result<_, ApiError>>()?;
            ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned(), items)
        }
        Form::Table => {
            let objects = items.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
            return Ok(table(kind, &metadata, &objects, Timestamp::now()).to_string());
        }
    };
    // The items are JSON already.
    let length = items.iter().map(|item| item.len() + 1).sum::<usize>() + 256;
    let mut text = String::with_capacity(length);
    text.push_str("{\"apiVersion\":");
    text.push_str(&Value::from(api_version).to_string());
    text.push_str(",\"kind\":");
    text.push_str(&Value::from(list_kind).to_string());
    text.push_str(",\"metadata\":");
    text.push_str(&metadata.to_string());
    text.push_str(",\"items\":[");
    text.push_str(&items.join(","));
    text.push_str("]}");
    Ok(text)
}

/// A bookmark, which has a kind and a version and nothing else.
pub fn bookmark(form: Form, mut object: Value) -> Value {
    match form {
        Form::Whole => object,
        Form::Metadata => {
            object["apiVersion"] = "meta.k8s.io/v1".into();
            object["kind"] = "PartialObjectMetadata".into();
            object
        }
        Form::Table => json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": object["metadata"],
            "columnDefinitions": [], "rows": [],
        }),
    }
}

fn partial(object: &Value) -> Value {
    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
}

fn table(kind: &Kind, metadata: &Value, objects: &[Value], now: Timestamp) -> Value {
    let age = Column {
        name: "Age".to_owned(),
        kind: "date".to_owned(),
        format: String::new(),
        description: String::new(),
        priority: 0,
        path: ".metadata.creationTimestamp".to_owned(),
    };
    let columns = if kind.columns.is_empty() { std::slice::from_ref(&age) } else { &kind.columns[..] };
    let mut definitions =
        vec![json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})];
    definitions.extend(columns.iter().map(|column| {
        // A date is printed as an age, which is text.
        let kind = if column.kind == "date" { "string" } else { &column.kind };
        json!({
            "name": column.name, "type": kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    }));
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut cells = vec![Value::from(object::name(object))];
            cells.extend(columns.iter().map(|column| cell::of(object, column, now)));
            json!({"cells": cells, "object": partial(object)})
        })
        .collect();
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": metadata,
        "columnDefinitions": definitions, "rows": rows,
    })
}
