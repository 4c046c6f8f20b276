//! The rules of an object's life that do not depend on its kind: identity, generation, the split between
//! spec and status, finalizers. Pure: time and random names come in from outside.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::metadata;
use super::status::{ApiError, Cause};

/// Which part of an object a request may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but the status, where the kind keeps that apart.
    Main,
    /// The status alone.
    Status,
}

/// What only the server may give to an object.
#[derive(Debug, Clone)]
pub struct Birth {
    /// Its identity.
    pub uid: String,
    /// When it was made, to the second.
    pub at: Time,
    /// What follows `generateName`.
    pub suffix: String,
}

/// The text at a JSON pointer; empty where there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Its name.
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Its identity.
pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// The version of its latest change.
pub fn resource_version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

/// Whether it has been deleted and waits for its finalizers.
pub fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Those who must agree before it goes.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The identities of its owners.
pub fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let references = object["metadata"]["ownerReferences"].as_array();
    references.into_iter().flatten().filter_map(|reference| reference["uid"].as_str())
}

/// The metadata of an object, typed; unknown fields and nulls are gone.
fn metadata_of(object: &Value) -> Result<ObjectMeta, ApiError> {
    match object.get("metadata") {
        None | Some(Value::Null) => Ok(ObjectMeta::default()),
        Some(metadata) => ObjectMeta::deserialize(metadata)
            .map_err(|error| ApiError::bad_request(format!("metadata cannot be read: {error}"))),
    }
}

fn set_metadata(object: &mut Value, metadata: &ObjectMeta) -> Result<(), ApiError> {
    let metadata = serde_json::to_value(metadata);
    object["metadata"] =
        metadata.map_err(|error| ApiError::internal("metadata could not be written", &error))?;
    Ok(())
}

/// An object of `kind` must be an object, and of that kind.
fn check_type(kind: &Kind, object: &mut Value) -> Result<(), ApiError> {
    let Some(fields) = object.as_object_mut() else {
        return Err(ApiError::bad_request("the body must be an object"));
    };
    for (field, expected) in [("apiVersion", kind.api_version()), ("kind", kind.kind.clone())] {
        match fields.get(field) {
            None | Some(Value::Null) => {
                fields.insert(field.to_owned(), expected.into());
            }
            Some(given) if *given == expected => {}
            Some(given) => {
                let message = format!("{field} is {given} in the body; this path takes \"{expected}\"");
                return Err(ApiError::bad_request(message));
            }
        }
    }
    Ok(())
}

fn check_namespace(kind: &Kind, metadata: &mut ObjectMeta, namespace: &str) -> Result<(), ApiError> {
    if !kind.namespaced {
        metadata.namespace = None;
        return Ok(());
    }
    match metadata.namespace.as_deref() {
        None | Some("") => metadata.namespace = Some(namespace.to_owned()),
        Some(given) if given == namespace => {}
        Some(given) => {
            return Err(ApiError::bad_request(format!(
                "the namespace of the object ({given}) does not match the namespace of the request ({namespace})"
            )));
        }
    }
    Ok(())
}

fn check_metadata(kind: &Kind, metadata: &ObjectMeta) -> Result<(), ApiError> {
    let causes = metadata::check(kind, metadata);
    let name = metadata.name.as_deref().unwrap_or_default();
    if causes.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, name, &causes)) }
}

/// What `body` becomes when it is made in `namespace`.
pub fn created(kind: &Kind, mut body: Value, namespace: &str, birth: Birth) -> Result<Value, ApiError> {
    check_type(kind, &mut body)?;
    let mut metadata = metadata_of(&body)?;
    if metadata.resource_version.as_deref().is_some_and(|version| !version.is_empty()) {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    if metadata.name.as_deref().unwrap_or_default().is_empty() {
        metadata.name = metadata.generate_name.as_deref().filter(|prefix| !prefix.is_empty()).map(|prefix| {
            let short: String = prefix.chars().take(metadata::MAX_GENERATED - birth.suffix.len()).collect();
            format!("{short}{}", birth.suffix)
        });
    }
    check_namespace(kind, &mut metadata, namespace)?;
    check_metadata(kind, &metadata)?;
    metadata.uid = Some(birth.uid);
    metadata.creation_timestamp = Some(birth.at);
    metadata.generation = kind.custom.then_some(1);
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.resource_version = None;
    metadata.managed_fields = None;
    metadata.self_link = None;
    set_metadata(&mut body, &metadata)?;
    if kind.has_status {
        body.as_object_mut().map(|fields| fields.remove("status"));
    }
    if kind.is_namespace() {
        body["status"] = json!({"phase": "Active"});
    }
    Ok(body)
}

/// What `old` becomes when a request wants `part` of it to be as in `body`. Its resourceVersion is that of
/// `old` still, so that an object that did not change compares equal.
pub fn updated(kind: &Kind, old: &Value, mut body: Value, part: Part) -> Result<Value, ApiError> {
    check_type(kind, &mut body)?;
    let given = metadata_of(&body)?;
    let before = metadata_of(old)?;
    check_identity(kind, &before, &given)?;
    if part == Part::Status {
        let mut new = old.clone();
        match body["status"].take() {
            Value::Null => drop(new.as_object_mut().map(|fields| fields.remove("status"))),
            status => new["status"] = status,
        }
        return Ok(new);
    }
    let mut metadata = given;
    check_namespace(kind, &mut metadata, before.namespace.as_deref().unwrap_or_default())?;
    check_metadata(kind, &metadata)?;
    if before.deletion_timestamp.is_some() {
        let known = before.finalizers.as_deref().unwrap_or_default();
        let added = metadata.finalizers.iter().flatten().find(|finalizer| !known.contains(finalizer));
        if let Some(added) = added {
            let rule = format!("no finalizer can be added to an object that is being deleted: {added}");
            return Err(ApiError::invalid(kind, name(old), &[Cause::forbidden("metadata.finalizers", rule)]));
        }
    }
    metadata.name = before.name;
    metadata.uid = before.uid;
    metadata.generate_name = before.generate_name;
    metadata.creation_timestamp = before.creation_timestamp;
    metadata.deletion_timestamp = before.deletion_timestamp;
    metadata.deletion_grace_period_seconds = before.deletion_grace_period_seconds;
    metadata.generation = before.generation;
    metadata.resource_version = before.resource_version;
    metadata.managed_fields = None;
    metadata.self_link = None;
    set_metadata(&mut body, &metadata)?;
    if kind.has_status
        && let Some(fields) = body.as_object_mut()
    {
        fields.remove("status");
        if let Some(status) = old.get("status") {
            fields.insert("status".to_owned(), status.clone());
        }
    }
    Ok(body)
}

fn check_identity(kind: &Kind, before: &ObjectMeta, given: &ObjectMeta) -> Result<(), ApiError> {
    let name = before.name.as_deref().unwrap_or_default();
    let differs = |given: &Option<String>, before: &Option<String>| {
        given.as_deref().is_some_and(|given| !given.is_empty() && Some(given) != before.as_deref())
    };
    if differs(&given.name, &before.name) {
        let given = given.name.as_deref().unwrap_or_default();
        let message = format!("the name of the object ({given}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(message));
    }
    if differs(&given.uid, &before.uid) {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            given.uid.as_deref().unwrap_or_default(),
            before.uid.as_deref().unwrap_or_default()
        );
        return Err(ApiError::conflict(kind, name, why));
    }
    Ok(())
}

/// Move the generation if anything but metadata and status differs.
pub fn settle_generation(kind: &Kind, old: &Value, new: &mut Value) {
    if kind.custom && !same_but(old, new, &["metadata", "status"]) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
        new["metadata"]["generation"] = generation.saturating_add(1).into();
    }
}

fn same_but(old: &Value, new: &Value, left_out: &[&str]) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old == new };
    let names = |fields: &serde_json::Map<String, Value>| {
        fields.keys().filter(|name| !left_out.contains(&name.as_str())).count()
    };
    names(old) == names(new)
        && old
            .iter()
            .filter(|(name, _)| !left_out.contains(&name.as_str()))
            .all(|(name, value)| new.get(name) == Some(value))
}

/// `object` marked as deleted at `at`; it goes when its last finalizer does.
pub fn marked_deleted(kind: &Kind, object: &Value, at: &Time) -> Result<Value, ApiError> {
    let mut object = object.clone();
    let mut metadata = metadata_of(&object)?;
    metadata.deletion_timestamp = Some(at.clone());
    metadata.deletion_grace_period_seconds = Some(0);
    set_metadata(&mut object, &metadata)?;
    if kind.is_namespace() {
        object["status"] = json!({"phase": "Terminating"});
    }
    Ok(object)
}

/// `object` without the owners that `is_dead` says are gone; whether any are left comes with it.
pub fn without_owners(object: &Value, is_dead: impl Fn(&str) -> bool) -> (Value, bool) {
    let mut object = object.clone();
    let mut left = false;
    if let Some(references) = object["metadata"]["ownerReferences"].as_array_mut() {
        references.retain(|reference| !is_dead(reference["uid"].as_str().unwrap_or_default()));
        left = !references.is_empty();
    }
    if !left && let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("ownerReferences");
    }
    (object, left)
}
