//! The patch that makes a live resource what a file says, as `kubectl apply` works it out: what the file says
//! is set, what an earlier file said and this one does not is removed, and what others set stays.

use serde_json::{Map, Value};

/// Annotation with what was last applied, by us or by kubectl.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// `document` with itself, as JSON, in the annotation.
pub fn annotated(document: &Value) -> Value {
    let mut bare = document.clone();
    if let Some(annotations) = bare.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    let text = format!("{bare}\n");
    let metadata = bare.as_object_mut().map(|fields| fields.entry("metadata").or_insert_with(empty));
    if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(empty);
        if annotations.is_null() {
            *annotations = empty();
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(LAST_APPLIED.to_owned(), text.into());
        }
    }
    bare
}

/// What the live resource says was last applied to it.
pub fn last_applied(live: &Value) -> Option<Value> {
    let text = live.get("metadata")?.get("annotations")?.get(LAST_APPLIED)?.as_str()?;
    serde_json::from_str(text).ok()
}

/// The JSON merge patch from `live` to `wanted`, given what was applied before; empty if there is nothing to do.
pub fn patch(last: Option<&Value>, wanted: &Value, live: &Value) -> Map<String, Value> {
    let none = Map::new();
    let fields = |value: Option<&'_ Value>| value.and_then(Value::as_object).cloned();
    let (last, wanted) = (fields(last).unwrap_or_default(), wanted.as_object().unwrap_or(&none));
    let live = live.as_object().unwrap_or(&none);
    let mut patch = Map::new();
    for (name, value) in wanted {
        match (value, live.get(name)) {
            // A null in a file means: not there.
            (Value::Null, None) => {}
            (Value::Object(_), Some(there @ Value::Object(_))) => {
                let inner = self::patch(last.get(name), value, there);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (_, Some(there)) if there == value => {}
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    let removed = last.keys().filter(|name| !wanted.contains_key(*name) && live.contains_key(*name));
    patch.extend(removed.map(|name| (name.clone(), Value::Null)));
    patch
}

fn empty() -> Value {
    Value::Object(Map::new())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(last: Option<Value>, wanted: Value, live: Value, expected: Value) {
        assert_eq!(Value::Object(patch(last.as_ref(), &wanted, &live)), expected);
    }

    #[test]
    fn what_the_file_says_is_set_and_defaults_stay() {
        check(
            Some(json!({"spec": {"rounds": 10}})),
            json!({"spec": {"rounds": 20}}),
            json!({"spec": {"rounds": 10, "deadline": "10m"}, "status": {"round": 3}}),
            json!({"spec": {"rounds": 20}}),
        );
    }

    #[test]
    fn what_the_file_said_before_and_no_longer_says_goes() {
        check(
            Some(
                json!({"spec": {"rounds": 10, "stop": {"metric": "loss"}}, "metadata": {"labels": {"a": "1"}}}),
            ),
            json!({"spec": {"rounds": 10}, "metadata": {}}),
            json!({"spec": {"rounds": 10, "stop": {"metric": "loss"}}, "metadata": {"labels": {"a": "1"}}}),
            json!({"spec": {"stop": null}, "metadata": {"labels": null}}),
        );
    }

    #[test]
    fn what_someone_else_set_stays() {
        check(
            Some(json!({"metadata": {"labels": {"ours": "1"}}})),
            json!({"metadata": {"labels": {}}}),
            json!({"metadata": {"labels": {"ours": "1", "theirs": "2"}}}),
            json!({"metadata": {"labels": {"ours": null}}}),
        );
    }

    #[test]
    fn nothing_to_do_is_an_empty_patch() {
        let document = json!({"spec": {"names": ["a", "b"], "absent": null}});
        check(Some(document.clone()), document, json!({"spec": {"names": ["a", "b"]}}), json!({}));
    }

    #[test]
    fn lists_are_replaced_whole() {
        check(None, json!({"names": ["a"]}), json!({"names": ["a", "b"]}), json!({"names": ["a"]}));
    }

    #[test]
    fn what_is_gone_already_is_not_removed_again() {
        check(Some(json!({"a": 1})), json!({}), json!({}), json!({}));
    }

    #[test]
    fn the_annotation_holds_the_document_without_itself() {
        let once = annotated(&json!({"kind": "X", "metadata": {"name": "x", "annotations": {"a": "b"}}}));
        let twice = annotated(&once);
        assert_eq!(once, twice);
        let bare = json!({"kind": "X", "metadata": {"name": "x", "annotations": {"a": "b"}}});
        assert_eq!(last_applied(&once), Some(bare));
    }
}
