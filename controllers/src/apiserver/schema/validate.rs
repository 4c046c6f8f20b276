//! What breaks a schema, field by field, as causes of a `Status`.
//!
//! What passes here, a typed client must be able to read: one object that it cannot read would stop its watch
//! of all others.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::shape::whole;
use super::{Additional, Schema, Type, child};
use crate::apiserver::status::Cause;

/// No more causes than this are gathered: enough for a person, and a bound for a hostile object.
const ENOUGH: usize = 50;

impl Schema {
    /// All that is wrong with `value`, which lies at `path`.
    pub fn validate(&self, value: &Value, path: &str) -> Vec<Cause> {
        let mut causes = Vec::new();
        self.check(value, path, &mut causes);
        causes
    }

    fn accepts(&self, value: &Value) -> bool {
        self.validate(value, "").is_empty()
    }

    fn check(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        if causes.len() >= ENOUGH || value.is_null() && self.nullable {
            return;
        }
        if !self.has_type(value) {
            let rule = match self.kind {
                Some(kind) if !self.int_or_string => format!("must be of type {}", kind.name()),
                _ => "must be an integer or a string".to_owned(),
            };
            causes.push(Cause::invalid(path, value, rule));
            return;
        }
        if !self.allowed.is_empty() && !self.allowed.contains(value) {
            causes.push(Cause::unsupported(path, value, &self.allowed));
        }
        match value {
            Value::Object(object) => self.check_object(object, value, path, causes),
            Value::Array(items) => self.check_array(items, value, path, causes),
            Value::String(text) => self.check_string(text, value, path, causes),
            Value::Number(number) => {
                self.check_number(number.as_f64().unwrap_or(f64::NAN), value, path, causes)
            }
            Value::Bool(_) | Value::Null => {}
        }
        self.check_alternatives(value, path, causes);
    }

    fn has_type(&self, value: &Value) -> bool {
        if self.int_or_string {
            return value.is_string() || is_integer(value);
        }
        match self.kind {
            None => true,
            Some(Type::Object) => value.is_object(),
            Some(Type::Array) => value.is_array(),
            Some(Type::String) => value.is_string(),
            Some(Type::Integer) => is_integer(value),
            Some(Type::Number) => value.is_number(),
            Some(Type::Boolean) => value.is_boolean(),
        }
    }

    fn check_object(&self, object: &Map<String, Value>, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        for name in self.required.iter().filter(|name| !object.contains_key(*name)) {
            causes.push(Cause::required(child(path, name)));
        }
        check_count(object.len(), self.properties_count, "properties", value, path, causes);
        for (name, value) in object {
            match (self.properties.get(name), &self.additional) {
                (Some(schema), _) => schema.check(value, &child(path, name), causes),
                (None, Additional::Of(schema)) => schema.check(value, &child(path, name), causes),
                (None, _) => {}
            }
        }
    }

    fn check_array(&self, items: &[Value], value: &Value, path: &str, causes: &mut Vec<Cause>) {
        check_count(items.len(), self.items_count, "items", value, path, causes);
        if let Some(schema) = &self.items {
            for (index, item) in items.iter().enumerate() {
                schema.check(item, &format!("{path}[{index}]"), causes);
            }
        }
        if !self.unique_items && self.map_keys.is_empty() {
            return;
        }
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let identity = match &self.map_keys[..] {
                [] => item.to_string(),
                keys => Value::from_iter(keys.iter().map(|key| item[key].clone())).to_string(),
            };
            if !seen.insert(identity) {
                let message = "Duplicate value".to_owned();
                let field = format!("{path}[{index}]");
                causes.push(Cause { field, message, reason: "FieldValueDuplicate" });
            }
        }
    }

    fn check_string(&self, text: &str, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        check_count(text.chars().count(), self.length, "characters", value, path, causes);
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text)
        {
            causes.push(Cause::invalid(path, value, format!("must match `{}`", pattern.as_str())));
        }
        if self.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
            causes.push(Cause::invalid(path, value, "must be a date and time as in RFC 3339"));
        }
    }

    fn check_number(&self, number: f64, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        if self.kind == Some(Type::Integer)
            && let Some((least, most)) = self.format.as_deref().and_then(range)
            && as_integer(value).is_some_and(|number| number < least || number > most)
        {
            causes.push(Cause::invalid(path, value, format!("must be from {least} to {most}")));
            return;
        }
        if let Some(minimum) = self.minimum
            && (number < minimum.value || minimum.exclusive && number <= minimum.value)
        {
            let word = if minimum.exclusive { "more than" } else { "at least" };
            causes.push(Cause::invalid(path, value, format!("must be {word} {}", minimum.value)));
        }
        if let Some(maximum) = self.maximum
            && (number > maximum.value || maximum.exclusive && number >= maximum.value)
        {
            let word = if maximum.exclusive { "less than" } else { "at most" };
            causes.push(Cause::invalid(path, value, format!("must be {word} {}", maximum.value)));
        }
        if let Some(step) = self.multiple_of
            && (number / step).fract().abs() > 1e-9
        {
            causes.push(Cause::invalid(path, value, format!("must be a multiple of {step}")));
        }
    }

    fn check_alternatives(&self, value: &Value, path: &str, causes: &mut Vec<Cause>) {
        self.all_of.iter().for_each(|schema| schema.check(value, path, causes));
        if !self.any_of.is_empty() && !self.any_of.iter().any(|schema| schema.accepts(value)) {
            // What is most often meant is that one of some fields must be there.
            let required = |form: &Self| (!form.required.is_empty()).then(|| form.required.join(" and "));
            let rule = match self.any_of.iter().map(required).collect::<Option<Vec<_>>>() {
                Some(fields) => format!("must have {}", fields.join(" or ")),
                None => "must match at least one of the forms in anyOf".to_owned(),
            };
            causes.push(Cause::invalid(path, value, rule));
        }
        let matching = self.one_of.iter().filter(|schema| schema.accepts(value)).count();
        if !self.one_of.is_empty() && matching != 1 {
            let rule = format!("must match exactly one of the forms in oneOf, and matches {matching}");
            causes.push(Cause::invalid(path, value, rule));
        }
        if self.not.as_ref().is_some_and(|schema| schema.accepts(value)) {
            causes.push(Cause::invalid(path, value, "must not match the form in not"));
        }
    }
}

/// JSON has one kind of number: `1.0` is an integer as well.
fn is_integer(value: &Value) -> bool {
    as_integer(value).is_some()
}

fn as_integer(value: &Value) -> Option<i128> {
    let integer = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    integer.or_else(|| value.as_f64().and_then(whole).map(i128::from))
}

/// The integers that a format holds.
fn range(format: &str) -> Option<(i128, i128)> {
    Some(match format {
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" => (i64::MIN.into(), i64::MAX.into()),
        "uint32" => (0, u32::MAX.into()),
        "uint64" => (0, u64::MAX.into()),
        _ => return None,
    })
}

fn check_count(
    count: usize,
    (least, most): (Option<usize>, Option<usize>),
    what: &str,
    value: &Value,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    if least.is_some_and(|least| count < least) {
        causes.push(Cause::invalid(path, value, format!("must have at least {} {what}", least.unwrap_or(0))));
    }
    if let Some(most) = most.filter(|most| count > *most) {
        causes.push(Cause::invalid(path, value, format!("must have at most {most} {what}")));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::tests::schema;
    use super::*;

    fn told(form: Value, value: Value) -> Vec<String> {
        let causes = schema(form).validate(&value, "spec");
        causes.into_iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
    }

    #[test]
    fn a_rule_that_is_broken_is_told_with_field_and_value() {
        for (form, value, message) in [
            (
                json!({"type": "integer", "minimum": 1}),
                json!(0),
                "spec: Invalid value: 0: must be at least 1",
            ),
            (
                json!({"type": "integer", "maximum": 9}),
                json!(10),
                "spec: Invalid value: 10: must be at most 9",
            ),
            (
                json!({"type": "number", "minimum": 0, "exclusiveMinimum": true}),
                json!(0.0),
                "spec: Invalid value: 0.0: must be more than 0",
            ),
            (
                json!({"type": "number", "multipleOf": 0.5}),
                json!(0.7),
                "spec: Invalid value: 0.7: must be a multiple of 0.5",
            ),
            (
                json!({"type": "integer", "format": "uint32"}),
                json!(1_u64 << 32),
                "spec: Invalid value: 4294967296: must be from 0 to 4294967295",
            ),
            (
                json!({"type": "integer", "format": "int64"}),
                json!(1_u64 << 63),
                "spec: Invalid value: 9223372036854775808: must be from -9223372036854775808 to 9223372036854775807",
            ),
            (json!({"type": "integer"}), json!("1"), "spec: Invalid value: \"1\": must be of type integer"),
            (json!({"type": "integer"}), json!(1.5), "spec: Invalid value: 1.5: must be of type integer"),
            (json!({"type": "string"}), json!(null), "spec: Invalid value: null: must be of type string"),
            (
                json!({"type": "string", "minLength": 2}),
                json!("é"),
                "spec: Invalid value: \"é\": must have at least 2 characters",
            ),
            (
                json!({"type": "string", "pattern": "^a+$"}),
                json!("b"),
                "spec: Invalid value: \"b\": must match `^a+$`",
            ),
            (
                json!({"type": "string", "format": "date-time"}),
                json!("today"),
                "spec: Invalid value: \"today\": must be a date and time as in RFC 3339",
            ),
            (
                json!({"type": "string", "enum": ["edge", "cloud"]}),
                json!("sky"),
                "spec: Unsupported value: \"sky\": supported values: \"edge\", \"cloud\"",
            ),
            (json!({"type": "object", "required": ["a"]}), json!({}), "spec.a: Required value"),
            (
                json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
                json!(["a", "b"]),
                "spec: Invalid value: [\"a\",\"b\"]: must have at most 1 items",
            ),
            (
                json!({"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
                json!([{"n": "a"}, {"n": 1}]),
                "spec[1].n: Invalid value: 1: must be of type string",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                json!({"k": 1}),
                "spec.k: Invalid value: 1: must be of type string",
            ),
            (
                json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
                json!([{"type": "Ready"}, {"type": "Ready"}]),
                "spec[1]: Duplicate value",
            ),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!([]),
                "spec: Invalid value: []: must be an integer or a string",
            ),
            (
                json!({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({}),
                "spec: Invalid value: {}: must have a or b",
            ),
            (
                json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({"a": 1, "b": 1}),
                "spec: Invalid value: {\"a\":1,\"b\":1}: must match exactly one of the forms in oneOf, and matches 2",
            ),
        ] {
            assert_eq!(told(form.clone(), value), [message], "{form}");
        }
    }

    #[test]
    fn what_keeps_the_rules_has_no_causes() {
        for (form, value) in [
            (json!({"type": "string", "nullable": true}), json!(null)),
            (json!({"type": "integer"}), json!(2.0)),
            (json!({"x-kubernetes-int-or-string": true}), json!("50%")),
            (json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}), json!({"a": [1]})),
            (json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}), json!(1)),
            (json!({"not": {"type": "string"}}), json!(1)),
        ] {
            assert!(told(form.clone(), value).is_empty(), "{form}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]|spec|status", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// The schemas of our own kinds.
    static SERVED: LazyLock<Vec<Schema>> = LazyLock::new(|| {
        let versions = sedge_api::resources::definitions().into_iter().map(|mut d| d.spec.versions.remove(0));
        let forms = versions.filter_map(|version| version.schema?.open_api_v3_schema);
        forms.map(|form| Schema::compile(&form).unwrap()).collect()
    });

    /// Whether the schema of a job or plugin takes `text` at `path` below its spec.
    fn takes(kind: &str, path: &[&str], text: &str) -> bool {
        static FORMS: LazyLock<BTreeMap<String, Schema>> = LazyLock::new(|| {
            let forms = sedge_api::resources::definitions().into_iter().map(|mut definition| {
                let form = definition.spec.versions.remove(0).schema.unwrap().open_api_v3_schema.unwrap();
                (definition.spec.names.kind, Schema::compile(&form).unwrap())
            });
            forms.collect()
        });
        let spec = FORMS[kind].property("spec").unwrap();
        path.iter().fold(spec, |schema, name| schema.property(name).unwrap()).accepts(&text.into())
    }

    proptest! {
        #[test]
        fn a_reference_is_taken_where_it_can_be_read(
            text in "[a-z0-9][a-z0-9-]{0,70}(:[A-Za-z0-9._-]{0,70}){0,2}",
        ) {
            let is_read = text.parse::<sedge_api::ArtifactRef>().is_ok();
            prop_assert_eq!(takes("FederatedLearningJob", &["model"], &text), is_read);
            prop_assert_eq!(takes("Plugin", &["reference"], &text), is_read);
        }

        #[test]
        fn amounts_are_taken_only_where_they_can_be_read(
            memory in "[0-9]{0,21}(k|Ki|M|Mi|G|Gi|T|Ti|m)?", period in "[0-9]{0,12}(us|ms|s|m|h|d|w)?",
        ) {
            let taken = |name, text: &str| {
                takes("FederatedLearningJob", &["training", "resources", name], text)
            };
            if taken("memory", &memory) {
                memory.parse::<sedge_api::MemorySize>().unwrap();
            }
            if taken("timeout", &period) {
                let read: sedge_api::Period = period.parse().unwrap();
                prop_assert!(taken("timeout", &read.to_string()), "{} is written {}", period, read);
            }
        }

        #[test]
        fn shaping_settles_at_once_and_no_value_panics(value in any_json()) {
            for schema in SERVED.iter() {
                let mut once = value.clone();
                schema.fill(&mut once);
                schema.prune(&mut once, "");
                let mut twice = once.clone();
                schema.fill(&mut twice);
                prop_assert!(schema.prune(&mut twice, "").is_empty());
                prop_assert_eq!(&once, &twice);
                schema.validate(&once, "");
            }
        }
    }
}
