//! A cell of a printed table: the value at a column's JSONPath, and ages as Kubernetes prints them.
//!
//! Of JSONPath this reads what printer columns use: `.a.b`, `['a']`, `[3]`, `[-1:]`, `[*]` and
//! `[?(@.type=="Ready")]`.

use jiff::Timestamp;
use serde_json::Value;

use crate::apiserver::kinds::Column;

/// The cell of `column` in the row of `object`; null where there is no value.
pub fn of(object: &Value, column: &Column, now: Timestamp) -> Value {
    let Some(value) = find(object, &column.path) else { return Value::Null };
    match (&column.kind[..], value) {
        (_, Value::Null) => Value::Null,
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(then) => age(now.as_second() - then.as_second()).into(),
            Err(_) => "<invalid>".into(),
        },
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => other.to_string().into(),
        _ => value.clone(),
    }
}

/// The first value at `path`.
fn find<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut values = vec![object];
    let mut rest = path;
    while !rest.is_empty() {
        let (step, after) = next_step(rest)?;
        values = values.into_iter().flat_map(|value| step.of(value)).collect();
        rest = after;
    }
    values.into_iter().next()
}

enum Step<'p> {
    Field(&'p str),
    Index(i64),
    From(i64),
    All,
    Where(&'p str, &'p str),
}

impl Step<'_> {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let place = |index: i64| {
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            usize::try_from(if index < 0 { length.saturating_add(index) } else { index }).ok()
        };
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::Index(index) => place(*index).and_then(|place| items.get(place)).into_iter().collect(),
            Self::From(index) => items.iter().skip(place(*index).unwrap_or(0)).collect(),
            Self::All => items.iter().collect(),
            Self::Where(path, expected) => items
                .iter()
                .filter(|item| match find(item, path) {
                    Some(Value::String(text)) => text == expected,
                    Some(other) => {
                        let text = other.to_string();
                        text == *expected
                    }
                    None => false,
                })
                .collect(),
        }
    }
}

/// The first step of a path, and the rest.
fn next_step(path: &str) -> Option<(Step<'_>, &str)> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return (end > 0).then(|| (Step::Field(&rest[..end]), &rest[end..]));
    }
    let rest = path.strip_prefix('[')?;
    if let Some(filter) = rest.strip_prefix("?(@") {
        let (filter, rest) = filter.split_once(")]")?;
        let (path, expected) = filter.split_once("==")?;
        return Some((Step::Where(path.trim(), expected.trim().trim_matches(['"', '\''])), rest));
    }
    let (inside, rest) = rest.split_once(']')?;
    let step = if inside == "*" {
        Step::All
    } else if let Some(name) = inside.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')) {
        Step::Field(name)
    } else if let Some(from) = inside.strip_suffix(':') {
        Step::From(from.parse().ok()?)
    } else {
        Step::Index(inside.parse().ok()?)
    };
    Some((step, rest))
}

/// Seconds as Kubernetes prints ages: two units at most, and only while both matter.
fn age(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: &str, small: i64, less: &str| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{less}"),
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..=0 => "0s".to_owned(),
        1..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if days < 8 => two(days, "d", hours % 24, "h"),
        _ if days < 730 => format!("{days}d"),
        _ if days < 8 * 365 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_paths_of_printer_columns_are_read() {
        let object = json!({
            "spec": {"n": 3},
            "status": {
                "conditions": [{"type": "Accepted", "status": "True"}, {"type": "Ready", "status": "False"}],
                "history": [{"metrics": [{"name": "accuracy", "value": 0.5}]}, {"metrics": [{"name": "loss", "value": 2.0}, {"name": "accuracy", "value": 0.9}]}],
            },
        });
        for (path, value) in [
            (".spec.n", Some(json!(3))),
            (".spec['n']", Some(json!(3))),
            (r#".status.conditions[?(@.type=="Ready")].status"#, Some(json!("False"))),
            (r#".status.history[-1:].metrics[?(@.name=="accuracy")].value"#, Some(json!(0.9))),
            (".status.history[0].metrics[*].name", Some(json!("accuracy"))),
            (".status.conditions[9]", None),
            (".status.conditions[-9]", None),
            (".absent.n", None),
        ] {
            assert_eq!(find(&object, path).cloned(), value, "{path}");
        }
    }

    #[test]
    fn ages_read_as_kubernetes_prints_them() {
        for (seconds, text) in [
            (-5, "<invalid>"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (185, "3m5s"),
            (3600, "60m"),
            (4 * 3600 + 60, "4h1m"),
            (30 * 3600, "30h"),
            (3 * 86_400, "3d"),
            (3 * 86_400 + 3600, "3d1h"),
            (400 * 86_400, "400d"),
            (800 * 86_400, "2y70d"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    proptest! {
        #[test]
        fn no_path_panics_the_reader(path in "[.\\[\\]?()@=\"':*a-c0-9-]{0,20}") {
            find(&json!({"a": [{"b": 1}]}), &path);
        }
    }
}
