//! Label and field selectors: parsed once for each request, then asked of every object. Pure.

use serde_json::Value;

use super::kinds::Kind;
use super::status::ApiError;

/// At most this many requirements in one selector.
const MAX_REQUIREMENTS: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Test {
    /// As Kubernetes has it: an absent label is not in any set.
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |set: &Vec<String>| value.is_some_and(|value| set.iter().any(|member| member == value));
        match self {
            Self::In(set) => among(set),
            Self::NotIn(set) => !among(set),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

/// Which objects a list or a watch wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

impl Selector {
    /// From `labelSelector` and `fieldSelector`.
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let selector = Self { labels: parse_labels(labels)?, fields: parse_fields(kind, fields)? };
        if selector.labels.len() + selector.fields.len() > MAX_REQUIREMENTS {
            return Err(ApiError::bad_request(format!("more than {MAX_REQUIREMENTS} selector requirements")));
        }
        Ok(selector)
    }

    /// Whether every object matches.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether `object` is wanted.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|(key, test)| test.holds(labels[key.as_str()].as_str()))
            && self.fields.iter().all(|(path, test)| test.holds(Some(&field(object, path))))
    }

    /// The one name that can match, where the selector names one.
    pub fn name(&self) -> Option<&str> {
        self.fields.iter().find_map(|(path, test)| match test {
            Test::In(set) if path == "metadata.name" => set.first().map(String::as_str),
            _ => None,
        })
    }
}

/// The text of a field; an absent field is the empty text.
fn field(object: &Value, path: &str) -> String {
    match path.split('.').fold(object, |value, key| &value[key]) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn parse_fields(kind: &Kind, text: &str) -> Result<Vec<(String, Test)>, ApiError> {
    let mut fields = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (path, test) = if let Some((path, value)) = part.split_once("!=") {
            (path, Test::NotIn(vec![value.to_owned()]))
        } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
            (path, Test::In(vec![value.to_owned()]))
        } else {
            return Err(ApiError::bad_request(format!(
                "invalid field selector: `{part}`; write FIELD=VALUE"
            )));
        };
        let known = matches!(path, "metadata.name" | "metadata.namespace");
        if !known && !kind.selectable.iter().any(|field| field == path) {
            return Err(ApiError::bad_request(format!("field label not supported: {path}")));
        }
        let path = kind.view.as_ref().map_or_else(|| path.to_owned(), |view| view.stored_path(path));
        fields.push((path, test));
    }
    Ok(fields)
}

fn parse_labels(text: &str) -> Result<Vec<(String, Test)>, ApiError> {
    split_outside_parentheses(text)
        .into_iter()
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            parse_label(part).ok_or_else(|| {
                let message = format!(
                    "unable to parse requirement `{part}`: write KEY, !KEY, KEY=VALUE, KEY!=VALUE, \
                     KEY in (A,B) or KEY notin (A,B)"
                );
                ApiError::bad_request(message)
            })
        })
        .collect()
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|c: char| {
        inside = match c {
            '(' => true,
            ')' => false,
            _ => inside,
        };
        c == ',' && !inside
    })
    .collect()
}

fn parse_label(part: &str) -> Option<(String, Test)> {
    let is_word = |text: &str| !text.contains(|c: char| c.is_whitespace() || "=!(),".contains(c));
    let (key, test) = if let Some(key) = part.strip_prefix('!') {
        (key, Test::Absent)
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Test::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Test::In(vec![value.trim().to_owned()]))
    } else if let Some((head, set)) = part.split_once('(') {
        let (key, operator) = head.trim().split_once(char::is_whitespace)?;
        let set: Vec<String> = set.strip_suffix(')')?.split(',').map(|v| v.trim().to_owned()).collect();
        match operator.trim() {
            "in" => (key, Test::In(set)),
            "notin" => (key, Test::NotIn(set)),
            _ => return None,
        }
    } else {
        (part, Test::Exists)
    };
    let values_are_words = match &test {
        Test::In(set) | Test::NotIn(set) => set.iter().all(|value| is_word(value)),
        Test::Exists | Test::Absent => true,
    };
    let key = key.trim();
    (!key.is_empty() && is_word(key) && values_are_words).then(|| (key.to_owned(), test))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::apiserver::kinds::Kinds;

    fn parse(labels: &str, fields: &str) -> Result<Selector, ApiError> {
        Selector::parse(Kinds::new(Vec::new()).unwrap().at("", "v1", "events").unwrap(), labels, fields)
    }

    #[test]
    fn labels_match_as_kubernetes_has_it() {
        let object = json!({"metadata": {"labels": {"task": "digits", "example.com/tier": "edge"}}});
        for (selector, matches) in [
            ("", true),
            ("task=digits", true),
            ("task==digits", true),
            ("task = digits , example.com/tier", true),
            ("task!=digits", false),
            ("absent!=digits", true),
            ("task in (faces, digits)", true),
            ("task notin (faces,digits)", false),
            ("absent notin (a),!gone", true),
            ("!task", false),
            ("gone", false),
            ("task in (faces),task", false),
        ] {
            assert_eq!(parse(selector, "").unwrap().matches(&object), matches, "{selector}");
        }
    }

    #[test]
    fn fields_match_where_they_are_known() {
        let object =
            json!({"metadata": {"name": "a", "namespace": "x"}, "involvedObject": {"kind": "Worker"}});
        for (selector, matches) in [
            ("metadata.name=a,metadata.namespace=x", true),
            ("metadata.name!=a", false),
            ("involvedObject.kind=Worker,involvedObject.name=", true),
        ] {
            assert_eq!(parse("", selector).unwrap().matches(&object), matches, "{selector}");
        }
        assert_eq!(parse("", "spec.node=a").unwrap_err().to_string(), "field label not supported: spec.node");
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for selector in ["=a", "a in", "a in (b", "a in b", "a b", "a like (b)", "a==b=c", "!", "a!=b!=c"] {
            assert!(parse(selector, "").is_err(), "{selector}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_the_parser(labels in ".{0,60}", fields in ".{0,60}") {
            let _ = parse(&labels, &fields).map(|selector| selector.matches(&json!({})));
        }
    }
}
