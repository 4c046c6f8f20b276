//! What names, labels, annotations, finalizers and owner references may be. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sedge_api::{is_dns_label, is_resource_name};
use serde_json::Value;

use super::kinds::Kind;
use super::status::Cause;

/// Longest name that is made from `generateName`.
pub const MAX_GENERATED: usize = 63;
/// Most bytes in all annotations of an object.
const MAX_ANNOTATIONS: usize = 256 << 10;

const KNOWN: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// The fields of an object's metadata that no object has.
pub fn unknown(object: &Value) -> Vec<String> {
    let fields = object["metadata"].as_object().into_iter().flat_map(|fields| fields.keys());
    fields.filter(|name| !KNOWN.contains(&name.as_str())).map(|name| format!("metadata.{name}")).collect()
}

/// What is wrong with the metadata of an object of `kind`.
pub fn check(kind: &Kind, metadata: &ObjectMeta) -> Vec<Cause> {
    let mut causes = Vec::new();
    let invalid = |field: String, value: &str, rule: &str| Cause::invalid(field, &Value::from(value), rule);
    match metadata.name.as_deref() {
        None | Some("") => causes.push(Cause {
            message: "Required value: name or generateName is required".to_owned(),
            ..Cause::required("metadata.name")
        }),
        Some(name) if kind.is_namespace() && !is_dns_label(name) => causes.push(invalid(
            "metadata.name".to_owned(),
            name,
            "must be a DNS label: lower-case letters, digits and inner `-`, at most 63",
        )),
        Some(name) if !is_resource_name(name) => causes.push(invalid(
            "metadata.name".to_owned(),
            name,
            "must be DNS labels joined by dots: lower-case letters, digits, inner `-`, at most 253",
        )),
        Some(_) => {}
    }
    for (key, value) in metadata.labels.iter().flatten() {
        if !is_qualified(key) {
            causes.push(invalid("metadata.labels".to_owned(), key, QUALIFIED));
        }
        if !(value.is_empty() || is_label_part(value)) {
            let rule = "must be empty, or letters, digits and inner `-`, `_`, `.`, at most 63";
            causes.push(invalid(format!("metadata.labels.{key}"), value, rule));
        }
    }
    let mut annotated = 0;
    for (key, value) in metadata.annotations.iter().flatten() {
        annotated += key.len() + value.len();
        if !is_qualified(&key.to_lowercase()) {
            causes.push(invalid("metadata.annotations".to_owned(), key, QUALIFIED));
        }
    }
    if annotated > MAX_ANNOTATIONS {
        let message = format!("Too long: all annotations together take at most {MAX_ANNOTATIONS} bytes");
        causes.push(Cause { field: "metadata.annotations".to_owned(), message, reason: "FieldValueTooLong" });
    }
    for finalizer in metadata.finalizers.iter().flatten() {
        if !is_qualified(finalizer) {
            causes.push(invalid("metadata.finalizers".to_owned(), finalizer, QUALIFIED));
        }
    }
    check_owners(metadata, &mut causes);
    causes
}

fn check_owners(metadata: &ObjectMeta, causes: &mut Vec<Cause>) {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    for (index, owner) in owners.iter().enumerate() {
        let parts = [
            ("apiVersion", &owner.api_version),
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", &owner.uid),
        ];
        for (part, value) in parts {
            if value.is_empty() {
                causes.push(Cause::required(format!("metadata.ownerReferences[{index}].{part}")));
            }
        }
    }
    if owners.iter().filter(|owner| owner.controller == Some(true)).count() > 1 {
        let rule = "only one owner can be the controller";
        causes.push(Cause::forbidden("metadata.ownerReferences", rule));
    }
}

const QUALIFIED: &str =
    "must be letters, digits and inner `-`, `_`, `.`, at most 63, after an optional DNS name and `/`";

fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_resource_name(prefix) && is_label_part(name),
        None => is_label_part(key),
    }
}

fn is_label_part(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 63 && text.bytes().all(inner) && edge(text.bytes().next()) && edge(text.bytes().next_back())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::apiserver::kinds::Kinds;

    fn fields(metadata: Value) -> Vec<String> {
        let kinds = Kinds::new(Vec::new()).unwrap();
        let metadata: ObjectMeta = serde_json::from_value(metadata).unwrap();
        let causes = check(kinds.at("", "v1", "secrets").unwrap(), &metadata);
        causes.into_iter().map(|cause| cause.field).collect()
    }

    #[test]
    fn metadata_that_kubernetes_takes_is_taken() {
        let metadata = json!({
            "name": "a.b-c.1", "labels": {"task": "digits", "example.com/tier": "", "A_b.c": "X-1"},
            "annotations": {"Example.com/Note": "any text ☺"}, "finalizers": ["sedge.dev/cleanup"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "u", "controller": true}],
        });
        assert_eq!(fields(metadata), Vec::<String>::new());
    }

    #[test]
    fn metadata_that_breaks_a_rule_names_the_field() {
        for (metadata, field) in [
            (json!({}), "metadata.name"),
            (json!({"name": "A"}), "metadata.name"),
            (json!({"name": "../a"}), "metadata.name"),
            (json!({"name": "a", "labels": {"-x": "y"}}), "metadata.labels"),
            (json!({"name": "a", "labels": {"x": "a b"}}), "metadata.labels.x"),
            (json!({"name": "a", "annotations": {"a/b/c": ""}}), "metadata.annotations"),
            (json!({"name": "a", "annotations": {"a": "x".repeat(300 << 10)}}), "metadata.annotations"),
            (json!({"name": "a", "finalizers": [""]}), "metadata.finalizers"),
            (
                json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": ""}]}),
                "metadata.ownerReferences[0].uid",
            ),
        ] {
            assert_eq!(fields(metadata.clone()), [field], "{metadata}");
        }
    }
}
