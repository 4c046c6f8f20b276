//! Create, replace, patch.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::admission::{self, Validation};
use super::check_namespace;
use super::delete::{DeleteOptions, Propagation, collect, delete, remove};
use crate::apiserver::kinds::{Kind, Kinds};
use crate::apiserver::metadata;
use crate::apiserver::object::{self, Birth, Part};
use crate::apiserver::patch::{Patch, PatchError};
use crate::apiserver::status::{ApiError, Cause};
use crate::apiserver::store::{Key, Tx};

/// How often a generated name is tried anew.
const ATTEMPTS: usize = 8;

/// What a write came to.
#[derive(Debug)]
pub struct Written {
    /// The object as it is now.
    pub object: Value,
    /// Whether it was not there before.
    pub is_new: bool,
    /// For the client.
    pub warnings: Vec<String>,
}

fn birth() -> Birth {
    // No vowels and no digits that look like letters, as Kubernetes has it.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let bytes: [u8; 5] = rand::random();
    let suffix = bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    Birth { uid: uuid::Uuid::new_v4().to_string(), at: Time(Timestamp::now()), suffix }
}

/// Make an object in `namespace` (empty for none).
pub fn create(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    seen: &Arc<Kind>,
    namespace: &str,
    body: Value,
    validation: Validation,
) -> Result<Written, ApiError> {
    let (kind, body) = (seen.stored(), &seen.to_stored(body)?);
    let mut attempt = 1;
    loop {
        let mut object = object::created(kind, body.clone(), namespace, birth())?;
        let key = Key::new(&kind.resource, namespace, object::name(&object));
        check_namespace(tx, kinds.namespaces(), kind, &key)?;
        if tx.get(&key)?.is_some() {
            let is_generated = object::text(body, "/metadata/name").is_empty();
            if is_generated && attempt < ATTEMPTS {
                attempt += 1;
                continue;
            }
            return Err(ApiError::already_exists(kind, &key.name));
        }
        let warnings = admission::admit(kind, &mut object, Part::Main, validation, metadata::unknown(body))?;
        admission::check_size(&object)?;
        let object = tx.insert(&key, object)?;
        collect(tx, kinds, &key, &object)?;
        if let Some(most) = kind.at_most {
            for oldest in tx.oldest_beyond(&kind.resource, most)? {
                delete(tx, kinds, kind, &oldest, &DeleteOptions::default())?;
            }
        }
        return Ok(Written { object, is_new: true, warnings });
    }
}

/// Put `body` in the place of the object at `key`.
pub fn replace(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    seen: &Arc<Kind>,
    key: &Key,
    part: Part,
    body: Value,
    validation: Validation,
) -> Result<Written, ApiError> {
    let (kind, body) = (seen.stored(), seen.to_stored(body)?);
    let old = tx.get(key)?.ok_or_else(|| ApiError::not_found(kind, &key.name))?;
    if kind.custom && object::resource_version(&body).is_empty() {
        let cause = Cause::invalid("metadata.resourceVersion", &0.into(), "must be specified for an update");
        return Err(ApiError::invalid(kind, &key.name, &[cause]));
    }
    save(tx, kinds, kind, key, old, body, part, validation)
}

/// Change the object at `key`; an apply makes it where it is not there.
pub fn patch(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    seen: &Arc<Kind>,
    key: &Key,
    part: Part,
    patch: &Patch,
    validation: Validation,
) -> Result<Written, ApiError> {
    let kind = seen.stored();
    let Some(old) = tx.get(key)? else {
        return match patch {
            Patch::Apply(body) if part == Part::Main => {
                create(tx, kinds, seen, &key.namespace, named(body.clone(), &key.name)?, validation)
            }
            _ => Err(ApiError::not_found(kind, &key.name)),
        };
    };
    let mut body = seen.to_seen(old.clone());
    patch.to(&mut body).map_err(|error| match error {
        PatchError::TooLarge => ApiError::too_large(crate::apiserver::routes::MAX_BODY),
        PatchError::Operation { .. } => {
            let cause =
                Cause { field: "patch".to_owned(), message: error.to_string(), reason: "FieldValueInvalid" };
            ApiError::invalid(kind, &key.name, &[cause])
        }
        other => ApiError::bad_request(other.to_string()),
    })?;
    let body = seen.to_stored(body)?;
    save(tx, kinds, kind, key, old, body, part, validation)
}

/// A configuration to apply, with the name that its path has.
fn named(mut body: Value, name: &str) -> Result<Value, ApiError> {
    let given = object::name(&body);
    if !given.is_empty() && given != name {
        let message = format!("the name of the object ({given}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(message));
    }
    let metadata = body.as_object_mut().map(|fields| fields.entry("metadata").or_insert_with(|| json!({})));
    // Metadata that is no object is refused where it is read.
    if let Some(Value::Object(metadata)) = metadata {
        metadata.insert("name".to_owned(), name.into());
    }
    Ok(body)
}

#[expect(clippy::too_many_arguments, reason = "each is one fact of the request, and no two belong together")]
fn save(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    kind: &Kind,
    key: &Key,
    old: Value,
    body: Value,
    part: Part,
    validation: Validation,
) -> Result<Written, ApiError> {
    let expected = object::resource_version(&body);
    if !expected.is_empty() && expected != object::resource_version(&old) {
        return Err(ApiError::stale(kind, &key.name));
    }
    let unknown = if part == Part::Main { metadata::unknown(&body) } else { Vec::new() };
    let mut new = object::updated(kind, &old, body, part)?;
    let warnings = admission::admit(kind, &mut new, part, validation, unknown)?;
    object::settle_generation(kind, &old, &mut new);
    if new == old {
        return Ok(Written { object: old, is_new: false, warnings });
    }
    admission::check_size(&new)?;
    let may_go = object::is_deleting(&new) && object::finalizers(&new).next().is_none();
    let object = if may_go && (!kind.is_namespace() || tx.is_empty(&key.name)?) {
        let last = tx.update(key, old, new)?;
        remove(tx, kinds, key, last, Propagation::Background)?
    } else {
        let names_others = !object::owners(&new).eq(object::owners(&old));
        let object = tx.update(key, old, new)?;
        if names_others {
            collect(tx, kinds, key, &object)?;
        }
        object
    };
    Ok(Written { object, is_new: false, warnings })
}
