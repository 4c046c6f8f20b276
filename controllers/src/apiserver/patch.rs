//! Patches: JSON merge patch (RFC 7386), JSON patch (RFC 6902), and apply as a merge of the fields given.
//!
//! Pure. A JSON patch may come from anyone, so its copies and its depth are bounded as it is applied.

use json_patch::{PatchOperation, merge, patch};
use serde_json::Value;
use thiserror::Error;

/// Most operations in one JSON patch; Kubernetes has the same.
const MAX_OPERATIONS: usize = 10_000;
/// Most bytes that the `copy` and `move` operations of one JSON patch may carry together.
const MAX_COPIED: usize = 3 << 20;
/// Deepest nesting of an object.
pub const MAX_DEPTH: usize = 100;

/// Why a patch cannot be applied.
#[derive(Debug, Error)]
pub enum PatchError {
    /// It is not a JSON patch.
    #[error("this is not a JSON patch: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A merge patch is an object.
    #[error("a merge patch must be a JSON object")]
    NotAnObject,
    /// Too long, or it copies too much.
    #[error("a JSON patch has at most {MAX_OPERATIONS} operations, which copy at most {MAX_COPIED} bytes")]
    TooLarge,
    /// It would nest too deep.
    #[error("an object nests at most {MAX_DEPTH} deep")]
    TooDeep,
    /// One operation does not fit the object.
    #[error("operation {index} of the JSON patch: {source}")]
    Operation {
        /// From zero.
        index: usize,
        /// Why.
        source: json_patch::PatchError,
    },
}

/// What a client wants changed.
#[derive(Debug, Clone)]
pub enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// RFC 6902.
    Json(Vec<PatchOperation>),
    /// The fields given are set; makes the object where it is not there.
    Apply(Value),
}

impl Patch {
    /// A merge patch.
    pub fn merge(body: Value) -> Result<Self, PatchError> {
        if body.is_object() { Ok(Self::Merge(body)) } else { Err(PatchError::NotAnObject) }
    }

    /// A JSON patch.
    pub fn json(body: Value) -> Result<Self, PatchError> {
        let operations: Vec<PatchOperation> = serde_json::from_value(body)?;
        if operations.len() > MAX_OPERATIONS { Err(PatchError::TooLarge) } else { Ok(Self::Json(operations)) }
    }

    /// A configuration to apply.
    pub fn apply(body: Value) -> Result<Self, PatchError> {
        if body.is_object() { Ok(Self::Apply(body)) } else { Err(PatchError::NotAnObject) }
    }

    /// Change `object`.
    pub fn to(&self, object: &mut Value) -> Result<(), PatchError> {
        match self {
            Self::Merge(body) | Self::Apply(body) => merge(object, body),
            Self::Json(operations) => apply_operations(object, operations)?,
        }
        if depth(object) > MAX_DEPTH { Err(PatchError::TooDeep) } else { Ok(()) }
    }
}

fn apply_operations(object: &mut Value, operations: &[PatchOperation]) -> Result<(), PatchError> {
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        let target = operation.path().as_str();
        let added = match operation {
            // Kubernetes takes a missing value for null here, and finalizers rely on it.
            PatchOperation::Test(test) if test.value.is_null() && object.pointer(target).is_none() => {
                continue;
            }
            PatchOperation::Add(add) => depth(&add.value),
            PatchOperation::Replace(replace) => depth(&replace.value),
            PatchOperation::Copy(copy) => carried(object, copy.from.as_str(), &mut copied)?,
            PatchOperation::Move(from) => carried(object, from.from.as_str(), &mut copied)?,
            PatchOperation::Test(_) | PatchOperation::Remove(_) => 0,
        };
        if added > 0 && added + target.matches('/').count() > MAX_DEPTH {
            return Err(PatchError::TooDeep);
        }
        patch(object, std::slice::from_ref(operation))
            .map_err(|source| PatchError::Operation { index, source })?;
    }
    Ok(())
}

/// The depth of what lies at `from`, whose size is added to `copied`.
fn carried(object: &Value, from: &str, copied: &mut usize) -> Result<usize, PatchError> {
    let Some(value) = object.pointer(from) else { return Ok(0) };
    *copied += size(value);
    if *copied > MAX_COPIED { Err(PatchError::TooLarge) } else { Ok(depth(value)) }
}

/// How deep `value` nests; it is already bounded, by the parser or by [`MAX_DEPTH`], so that recursion is safe.
pub fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 1,
    }
}

/// About the bytes that `value` takes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => 8 + text.len(),
        Value::Array(items) => 8 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => 8 + fields.iter().map(|(key, value)| key.len() + size(value)).sum::<usize>(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(mut object: Value, operations: Value) -> Result<Value, PatchError> {
        Patch::json(operations)?.to(&mut object).map(|()| object)
    }

    #[test]
    fn the_patch_of_a_finalizer_finds_no_finalizers_to_be_null() {
        let operations = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["a"]},
        ]);
        let object = patched(json!({"metadata": {}}), operations.clone()).unwrap();
        assert_eq!(object, json!({"metadata": {"finalizers": ["a"]}}));
        assert!(matches!(patched(object, operations), Err(PatchError::Operation { index: 0, .. })));
    }

    #[test]
    fn copies_cannot_grow_an_object_without_bound() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/x"});
        let operations = Value::from(vec![double; 5_000]);
        assert!(matches!(
            patched(json!({"a": {"b": 1}}), operations),
            Err(PatchError::TooLarge | PatchError::TooDeep)
        ));
        let wide = (0..200).map(|i| json!({"op": "copy", "from": "/a", "path": format!("/b{i}")}));
        let object = json!({"a": "x".repeat(100_000)});
        assert!(matches!(patched(object, wide.collect()), Err(PatchError::TooLarge)));
    }

    #[test]
    fn moves_cannot_nest_an_object_without_bound() {
        let mut operations = Vec::new();
        for _ in 0..200 {
            operations.push(json!({"op": "add", "path": "/b", "value": {}}));
            operations.push(json!({"op": "move", "from": "/a", "path": "/b/x"}));
            operations.push(json!({"op": "move", "from": "/b", "path": "/a"}));
        }
        assert!(matches!(patched(json!({"a": {}}), operations.into()), Err(PatchError::TooDeep)));
    }

    #[test]
    fn a_merge_patch_removes_by_null() {
        let mut object = json!({"spec": {"a": 1, "b": 2}});
        Patch::merge(json!({"spec": {"a": null, "c": 3}})).unwrap().to(&mut object).unwrap();
        assert_eq!(object, json!({"spec": {"b": 2, "c": 3}}));
        assert!(Patch::merge(json!([])).is_err());
    }
}
