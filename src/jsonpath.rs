//! The part of JSONPath that printer columns and `wait --for jsonpath=` use:
//! `.a.b`, `['a.b']`, `[0]`, `[-1]`, `[1:3]`, `[-1:]`, `[*]`, `[?(@.type=="Ready")]`, in braces or not.

use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

/// Why a path was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{path}` is not a JSONPath that sedge knows: {why}")]
pub struct InvalidPath {
    path: String,
    why: String,
}

/// A parsed path; it selects any number of values of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Every,
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Where { path: Vec<Step>, equal: bool, value: Value },
}

impl JsonPath {
    /// The values that the path selects, in the document's order.
    pub fn select<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        walk(&self.0, document)
    }
}

fn walk<'a>(steps: &[Step], document: &'a Value) -> Vec<&'a Value> {
    steps.iter().fold(vec![document], |values, step| {
        values.into_iter().flat_map(|value| step.select(value)).collect()
    })
}

impl Step {
    fn select<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Self::Every, Value::Object(fields)) => fields.values().collect(),
            (Self::Every, Value::Array(items)) => items.iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                let place = usize::try_from(*index)
                    .ok()
                    .or_else(|| items.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?));
                place.and_then(|place| items.get(place)).into_iter().collect()
            }
            (Self::Slice(from, to), Value::Array(items)) => {
                let from = bound(*from, 0, items.len());
                let to = bound(*to, items.len(), items.len());
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            (Self::Where { path, equal, value: wanted }, Value::Array(items)) => {
                let holds = |item: &&Value| walk(path, item).contains(&wanted) == *equal;
                items.iter().filter(holds).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// An end of a slice; one below zero counts from the back.
fn bound(end: Option<i64>, absent: usize, length: usize) -> usize {
    match end {
        None => absent,
        Some(end) if end < 0 => {
            length.saturating_sub(usize::try_from(end.unsigned_abs()).unwrap_or(usize::MAX))
        }
        Some(end) => usize::try_from(end).unwrap_or(usize::MAX).min(length),
    }
}

impl FromStr for JsonPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let error = |why: String| InvalidPath { path: text.chars().take(200).collect(), why };
        let inner = match text.trim().strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or_else(|| error("the brace is not closed".into()))?,
            None => text.trim(),
        };
        steps(inner.strip_prefix('$').unwrap_or(inner)).map(Self).map_err(error)
    }
}

fn steps(mut rest: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    if !rest.is_empty() && !rest.starts_with(['.', '[']) {
        return Err("it must begin with `.` or `[`".into());
    }
    while !rest.is_empty() {
        if let Some(bracketed) = rest.strip_prefix('[') {
            let end = closing(bracketed).ok_or("a `[` is not closed")?;
            steps.push(in_brackets(bracketed[..end].trim())?);
            rest = &bracketed[end + 1..];
        } else {
            let after = rest.strip_prefix('.').ok_or_else(|| format!("`{rest}` follows no `.`"))?;
            if after.is_empty() && steps.is_empty() {
                break;
            }
            let (name, remainder) = field(after);
            match name.as_str() {
                "" if after.starts_with('[') => {}
                "" => return Err("a name is missing after `.`".into()),
                "*" => steps.push(Step::Every),
                _ => steps.push(Step::Field(name)),
            }
            rest = remainder;
        }
    }
    Ok(steps)
}

/// A name up to the next `.` or `[`; a backslash takes the sign after it as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut signs = text.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '.' | '[' => return (name, &text[at..]),
            '\\' => name.extend(signs.next().map(|(_, escaped)| escaped)),
            _ => name.push(sign),
        }
    }
    (name, "")
}

/// The place of the `]` that ends what begins here, outside quotes and inner brackets.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, sign) in text.char_indices() {
        match (quote, sign) {
            (Some(open), _) if sign == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(sign),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn in_brackets(text: &str) -> Result<Step, String> {
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| format!("`{text}` is no number"));
    let end = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
    if text == "*" {
        return Ok(Step::Every);
    }
    if let Some(name) = quoted(text) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(condition) = text.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return filter(condition);
    }
    match text.split_once(':') {
        Some((from, to)) => Ok(Step::Slice(end(from)?, end(to)?)),
        None => Ok(Step::Index(number(text)?)),
    }
}

fn filter(condition: &str) -> Result<Step, String> {
    let (left, right, equal) = condition
        .split_once("==")
        .map(|(left, right)| (left, right, true))
        .or_else(|| condition.split_once("!=").map(|(left, right)| (left, right, false)))
        .ok_or("a filter compares with `==` or `!=`")?;
    let path = left.trim().strip_prefix('@').ok_or("a filter begins with `@`")?;
    let right = right.trim();
    let value = match quoted(right) {
        Some(text) => Value::from(text),
        None => serde_json::from_str(right).map_err(|_| format!("`{right}` is no value"))?,
    };
    Ok(Step::Where { path: steps(path)?, equal, value })
}

fn quoted(text: &str) -> Option<&str> {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_select_what_kubectl_selects() {
        let document = json!({
            "spec": {"node": "edge-1"},
            "metadata": {"labels": {"sedge.dev/job": "digits"}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}],
                "history": [
                    {"round": 1, "metrics": [{"name": "accuracy", "value": 0.5}]},
                    {"round": 2, "metrics": [{"name": "loss", "value": 0.2}, {"name": "accuracy", "value": 0.9}]},
                ],
            },
        });
        for (path, wanted) in [
            (".spec.node", json!(["edge-1"])),
            ("{.spec.node}", json!(["edge-1"])),
            ("$.spec['node']", json!(["edge-1"])),
            (".metadata.labels.sedge\\.dev/job", json!(["digits"])),
            (".metadata.labels['sedge.dev/job']", json!(["digits"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (".status.conditions[?(@.type != 'Ready')].status", json!(["False"])),
            (r#".status.history[-1:].metrics[?(@.name=="accuracy")].value"#, json!([0.9])),
            (".status.history[?(@.round==1)].metrics[0].value", json!([0.5])),
            (".status.history[-2].round", json!([1])),
            (".status.history[-3].round", json!([])),
            (".status.history[9].round", json!([])),
            (".status.history[:1].round", json!([1])),
            (".status.history[2:1].round", json!([])),
            (".status.history[*].round", json!([1, 2])),
            (".status.history.*.round", json!([1, 2])),
            (".status.absent.round", json!([])),
            (".spec.node.deeper", json!([])),
        ] {
            let parsed: JsonPath = path.parse().unwrap();
            let found: Vec<Value> = parsed.select(&document).into_iter().cloned().collect();
            assert_eq!(json!(found), wanted, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        for (path, why) in [
            ("spec", "it must begin with `.` or `[`"),
            ("{.spec", "the brace is not closed"),
            (".a[", "a `[` is not closed"),
            (".a[x]", "`x` is no number"),
            (".a..b", "a name is missing after `.`"),
            (".a[0]b", "`b` follows no `.`"),
            (".a[?(@.b>1)]", "a filter compares with `==` or `!=`"),
            (".a[?(b==1)]", "a filter begins with `@`"),
            (".a[?(@.b==c)]", "`c` is no value"),
        ] {
            assert_eq!(path.parse::<JsonPath>().unwrap_err().why, why, "{path}");
        }
    }

    #[test]
    fn every_printer_column_of_ours_is_understood() {
        for definition in sedge_api::resources::definitions() {
            for column in definition.spec.versions[0].additional_printer_columns.iter().flatten() {
                column.json_path.parse::<JsonPath>().unwrap();
            }
        }
    }
}
