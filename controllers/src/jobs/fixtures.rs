//! Resources for the tests of what is decided, each as it is when all is well.

use sedge_api::resources::{Model, Plugin};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Any resource, of the namespace `default` where its kind has namespaces, labelled `task: digits` and `site: a`.
pub(crate) fn resource<K: DeserializeOwned>(kind: &str, name: &str, spec: Value, status: Value) -> K {
    let namespace = (kind != "EdgeNode").then_some("default");
    serde_json::from_value(json!({
        "apiVersion": "sedge.dev/v1alpha1", "kind": kind,
        "metadata": {
            "name": name, "namespace": namespace, "generation": 1, "uid": format!("{name}-uid"),
            "labels": {"task": "digits", "site": "a"},
        },
        "spec": spec, "status": status,
    }))
    .unwrap()
}

/// A status that says `Ready`, and `extra`.
pub(crate) fn ready(extra: Value) -> Value {
    let mut status = json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "Ok", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    status.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    status
}

pub(crate) fn digest(text: &str) -> String {
    sedge_api::Digest::of(text.as_bytes()).to_string()
}

/// The plugin `NAME:1`.
pub(crate) fn plugin(name: &str, role: &str) -> Plugin {
    let status = ready(json!({"digest": digest(name), "roles": [role]}));
    resource("Plugin", &format!("{name}.1"), json!({"reference": format!("{name}:1")}), status)
}

/// The model `NAME:1`.
pub(crate) fn model(name: &str) -> Model {
    let status = ready(json!({"digest": digest(name)}));
    resource("Model", &format!("{name}.1"), json!({"reference": format!("{name}:1")}), status)
}
