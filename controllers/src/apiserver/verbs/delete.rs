//! Delete, and what follows from it: finalizers, dependents, the contents of namespaces.
//!
//! All of it happens in the transaction of the request. `Foreground` is served as `Background`: as
//! dependents go in the same transaction, only those with finalizers can be seen after their owner.

use std::collections::VecDeque;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::apiserver::kinds::{Kind, Kinds};
use crate::apiserver::object;
use crate::apiserver::status::ApiError;
use crate::apiserver::store::{Key, Tx};

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go too.
    #[default]
    Background,
    /// They stay, without their owner.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Only the object with this identity.
    pub uid: Option<String>,
    /// Only the object at this version.
    pub resource_version: Option<String>,
    /// What becomes of its dependents.
    pub propagation: Propagation,
}

/// What a deletion came to.
#[derive(Debug)]
pub struct Deleted {
    /// The object as it was last, or as it waits for its finalizers.
    pub object: Value,
    /// Whether it is gone.
    pub is_gone: bool,
}

/// Delete the object at `key`.
pub fn delete(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    kind: &Kind,
    key: &Key,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let old = tx.get(key)?.ok_or_else(|| ApiError::not_found(kind, &key.name))?;
    for (what, expected, actual) in [
        ("UID", &options.uid, object::uid(&old)),
        ("ResourceVersion", &options.resource_version, object::resource_version(&old)),
    ] {
        if let Some(expected) = expected.as_deref().filter(|expected| *expected != actual) {
            let why = format!(
                "Precondition failed: {what} in precondition: {expected}, {what} in object meta: {actual}"
            );
            return Err(ApiError::conflict(kind, &key.name, why));
        }
    }
    if kind.is_namespace() && key.name == "default" {
        return Err(ApiError::forbidden(kind, &key.name, "this namespace may not be deleted"));
    }
    let has_finalizers = object::finalizers(&old).next().is_some();
    if !kind.is_namespace() && !has_finalizers {
        return Ok(Deleted { object: remove(tx, kinds, key, old, options.propagation)?, is_gone: true });
    }
    let old = if object::is_deleting(&old) { old } else { mark(tx, kind, key, old)? };
    if !kind.is_namespace() {
        return Ok(Deleted { object: old, is_gone: false });
    }
    let mut removed = VecDeque::new();
    for content in tx.in_namespace(&key.name)? {
        expel(tx, kinds, content, &mut removed)?;
    }
    follow(tx, kinds, removed)?;
    // The last of its contents, or nothing in it at all, may have let it go already.
    match tx.get(key)? {
        None => Ok(Deleted { object: old, is_gone: true }),
        Some(object) if has_finalizers || !tx.is_empty(&key.name)? => Ok(Deleted { object, is_gone: false }),
        Some(object) => {
            Ok(Deleted { object: remove(tx, kinds, key, object, options.propagation)?, is_gone: true })
        }
    }
}

/// Delete all objects of a kind that `wanted` picks, in one namespace or in all.
pub fn delete_collection(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    kind: &Kind,
    namespace: Option<&str>,
    wanted: impl Fn(&Value) -> bool,
    options: &DeleteOptions,
) -> Result<Vec<Value>, ApiError> {
    let mut deleted = Vec::new();
    for key in tx.of_resource(&kind.resource, namespace)? {
        // One may have gone with another that owned it.
        let Some(object) = tx.get(&key)? else { continue };
        let is_protected = kind.is_namespace() && key.name == "default";
        if !is_protected && wanted(&object) {
            deleted.push(delete(tx, kinds, kind, &key, options)?.object);
        }
    }
    Ok(deleted)
}

/// Take out an object that nothing holds any longer, and see to all that follows.
pub fn remove(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    key: &Key,
    object: Value,
    propagation: Propagation,
) -> Result<Value, ApiError> {
    let last = tx.remove(key, object)?;
    let gone = Gone { key: key.clone(), uid: object::uid(&last).to_owned(), propagation };
    follow(tx, kinds, VecDeque::from([gone]))?;
    Ok(last)
}

/// Delete an object that was just written if none of the owners that it names is there: one may have gone
/// between a controller's look and its write, and nobody would delete its dependent later.
pub fn collect(tx: &mut Tx<'_>, kinds: &Kinds, key: &Key, object: &Value) -> Result<(), ApiError> {
    let mut owners = object::owners(object).peekable();
    if owners.peek().is_none() {
        return Ok(());
    }
    for owner in owners {
        if tx.is_alive(owner)? {
            return Ok(());
        }
    }
    let mut removed = VecDeque::new();
    expel(tx, kinds, key.clone(), &mut removed)?;
    follow(tx, kinds, removed)
}

/// An object that was taken out.
struct Gone {
    key: Key,
    uid: String,
    propagation: Propagation,
}

/// See to the dependents of `removed` and to namespaces that wait to be empty, until nothing follows any
/// more. A queue rather than recursion: chains of owners may be long.
fn follow(tx: &mut Tx<'_>, kinds: &Kinds, mut removed: VecDeque<Gone>) -> Result<(), ApiError> {
    while let Some(gone) = removed.pop_front() {
        for key in tx.dependents(&gone.uid)? {
            let Some(dependent) = tx.get(&key)? else { continue };
            let mut dead = Vec::new();
            for owner in object::owners(&dependent) {
                if owner == gone.uid || !tx.is_alive(owner)? {
                    dead.push(owner.to_owned());
                }
            }
            let (without, has_owners) =
                object::without_owners(&dependent, |owner| dead.iter().any(|dead| dead == owner));
            if has_owners || gone.propagation == Propagation::Orphan {
                tx.update(&key, dependent, without)?;
            } else {
                expel(tx, kinds, key, &mut removed)?;
            }
        }
        release_namespace(tx, kinds, &gone.key.namespace, &mut removed)?;
    }
    Ok(())
}

/// Delete an object as a consequence: at once, or as soon as its finalizers agree.
fn expel(tx: &mut Tx<'_>, kinds: &Kinds, key: Key, removed: &mut VecDeque<Gone>) -> Result<(), ApiError> {
    let Some(object) = tx.get(&key)? else { return Ok(()) };
    let namespaces = kinds.namespaces();
    if key.resource == namespaces.resource && !tx.is_empty(&key.name)? {
        if !object::is_deleting(&object) {
            mark(tx, namespaces, &key, object)?;
        }
        // Its contents are no namespaces, so this goes one level down at most.
        for content in tx.in_namespace(&key.name)? {
            expel(tx, kinds, content, removed)?;
        }
        return Ok(());
    }
    if object::finalizers(&object).next().is_none() {
        let last = tx.remove(&key, object)?;
        let uid = object::uid(&last).to_owned();
        removed.push_back(Gone { key, uid, propagation: Propagation::Background });
    } else if !object::is_deleting(&object)
        && let Some(kind) = kinds.by_resource(&key.resource)
    {
        mark(tx, kind, &key, object)?;
    }
    Ok(())
}

/// A namespace that is being terminated goes with the last of its contents.
fn release_namespace(
    tx: &mut Tx<'_>,
    kinds: &Kinds,
    namespace: &str,
    removed: &mut VecDeque<Gone>,
) -> Result<(), ApiError> {
    if namespace.is_empty() {
        return Ok(());
    }
    let key = Key::new(&kinds.namespaces().resource, "", namespace);
    let Some(object) = tx.get(&key)? else { return Ok(()) };
    let may_go = object::is_deleting(&object) && object::finalizers(&object).next().is_none();
    if may_go && tx.is_empty(namespace)? {
        let last = tx.remove(&key, object)?;
        let uid = object::uid(&last).to_owned();
        removed.push_back(Gone { key, uid, propagation: Propagation::Background });
    }
    Ok(())
}

fn mark(tx: &mut Tx<'_>, kind: &Kind, key: &Key, old: Value) -> Result<Value, ApiError> {
    let marked = object::marked_deleted(kind, &old, &Time(Timestamp::now()))?;
    Ok(tx.update(key, old, marked)?)
}
