//! Giving an object its full shape: defaults for what is absent, whole numbers written as such, and without
//! what the schema does not name.

use serde_json::{Map, Value};

use super::{Additional, Schema, Type, child};

impl Schema {
    /// Put defaults where fields are absent, or null though they may not be. An integer that came as `20.0`
    /// becomes `20`: no typed client reads the former.
    pub fn fill(&self, value: &mut Value) {
        match value {
            Value::Number(number) if self.kind == Some(Type::Integer) => {
                if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                    *value = whole.into();
                }
            }
            Value::Object(object) => self.fill_object(object),
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    items.iter_mut().for_each(|item| schema.fill(item));
                }
            }
            _ => {}
        }
    }

    fn fill_object(&self, object: &mut Map<String, Value>) {
        for (name, schema) in &self.properties {
            if let Some(default) = &schema.default {
                let present = object.get(name).is_some_and(|value| schema.nullable || !value.is_null());
                if !present {
                    object.insert(name.clone(), default.clone());
                }
            }
            if let Some(value) = object.get_mut(name) {
                schema.fill(value);
            }
        }
        if let Additional::Of(schema) = &self.additional {
            let others = object.iter_mut().filter(|(name, _)| !self.properties.contains_key(*name));
            others.for_each(|(_, value)| schema.fill(value));
        }
    }

    /// Take out the fields that the schema does not name, and return their paths.
    pub fn prune(&self, value: &mut Value, path: &str) -> Vec<String> {
        let mut unknown = Vec::new();
        self.prune_into(value, path, &mut unknown);
        unknown
    }

    fn prune_into(&self, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                if !self.preserve_unknown && matches!(self.additional, Additional::None) {
                    object.retain(|name, _| {
                        let known = self.properties.contains_key(name)
                            || self.embedded_resource
                                && matches!(&name[..], "apiVersion" | "kind" | "metadata");
                        if !known {
                            unknown.push(child(path, name));
                        }
                        known
                    });
                }
                for (name, value) in object.iter_mut() {
                    match (self.properties.get(name), &self.additional) {
                        (Some(schema), _) => schema.prune_into(value, &child(path, name), unknown),
                        (None, Additional::Of(schema)) => {
                            schema.prune_into(value, &child(path, name), unknown)
                        }
                        (None, _) => {}
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    for (index, item) in items.iter_mut().enumerate() {
                        schema.prune_into(item, &format!("{path}[{index}]"), unknown);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether unknown fields are kept at the top of a value of this form.
    pub fn keeps_unknown(&self) -> bool {
        self.preserve_unknown || !matches!(self.additional, Additional::None)
    }
}

/// A float without a fraction as the integer that it is, where floats are exact.
pub(super) fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::schema;

    #[test]
    fn defaults_are_put_in_down_to_the_leaves() {
        let schema = schema(json!({
            "type": "object",
            "properties": {
                "limits": {"type": "object", "default": {}, "properties": {"memory": {"type": "string", "default": "1Gi"}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": {"type": "boolean", "default": true}}}},
                "gone": {"type": "object", "properties": {"n": {"type": "integer", "default": 3}}},
                "none": {"type": "string", "nullable": true, "default": "x"},
                "some": {"type": "string", "default": "x"},
            },
        }));
        let mut value = json!({"list": [{}, {"n": 1.0}], "map": {"k": {}}, "none": null, "some": null});
        schema.fill(&mut value);
        let expected = json!({
            "limits": {"memory": "1Gi"}, "list": [{"n": 3}, {"n": 1}], "map": {"k": {"b": true}},
            "none": null, "some": "x",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_not_named_goes_and_is_told() {
        let schema = schema(json!({
            "type": "object",
            "properties": {
                "a": {"type": "string"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
            },
        }));
        let mut value = json!({"a": "1", "b": 2, "free": {"x": {"y": 1}}, "labels": {"l": "v"}, "list": [{"n": 1, "m": 2}]});
        assert_eq!(schema.prune(&mut value, "spec"), ["spec.b", "spec.list[0].m"]);
        assert_eq!(
            value,
            json!({"a": "1", "free": {"x": {"y": 1}}, "labels": {"l": "v"}, "list": [{"n": 1}]})
        );
    }
}
