//! A resource as a row: its kind's printer columns, worked out here as the server does for kubectl.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::age;
use crate::kinds::{Column, Content, Kind};
use crate::objects;
use crate::screen;
use crate::table::{Cell, Table};

/// How the rows of one kind look.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Of these resources.
    pub kind: Kind,
    /// Show the columns of `-o wide` too.
    pub wide: bool,
    /// Show the namespace.
    pub namespaces: bool,
    /// Show the kind with the name, where several kinds stand below one another.
    pub prefix: bool,
}

impl Layout {
    /// The plain layout of `kind`.
    pub fn new(kind: &Kind) -> Self {
        Self { kind: kind.clone(), wide: false, namespaces: false, prefix: false }
    }

    /// An empty table.
    pub fn table(&self) -> Table {
        let namespace = self.shows_namespace().then_some("NAMESPACE".to_owned());
        let columns = self.columns().map(|column| column.name.to_uppercase());
        Table::new(namespace.into_iter().chain(["NAME".to_owned()]).chain(columns))
    }

    /// The row of one resource.
    pub fn row(&self, document: &Value, now: Timestamp) -> Vec<Cell> {
        let namespace = self.shows_namespace().then(|| objects::text(document, "/metadata/namespace"));
        let name = match self.prefix {
            true => format!("{}/{}", self.kind.singular(), objects::name(document)),
            false => objects::name(document).to_owned(),
        };
        let name = Cell::new(name).style(screen::BOLD);
        namespace
            .map(Cell::new)
            .into_iter()
            .chain([name])
            .chain(self.columns().map(|column| cell(column, document, now)))
            .collect()
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        self.kind.columns.iter().filter(|column| self.wide || !column.wide)
    }

    fn shows_namespace(&self) -> bool {
        self.namespaces && self.kind.namespaced
    }
}

fn cell(column: &Column, document: &Value, now: Timestamp) -> Cell {
    let values = column.path.select(document);
    let write = |value: &Value| match (column.content, value.as_f64(), value.as_u64()) {
        (Content::Number, Some(number), None) => measured(number),
        (Content::Bytes, _, Some(count)) => bytes(count),
        _ => written(value),
    };
    let texts: Vec<String> = values.into_iter().map(write).filter(|text| !text.is_empty()).collect();
    let text = texts.join(",");
    match column.content {
        Content::Text => Cell::new(text),
        Content::Number | Content::Bytes => Cell::number(text),
        Content::Age => match text.parse::<Timestamp>() {
            Ok(then) => Cell::new(age::since(then, now)).style(screen::DIM),
            Err(_) => Cell::new("<unknown>").style(screen::DIM),
        },
    }
}

/// A value in a line: lists joined by commas, numbers with at most four decimals.
pub fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => decimal(float),
            None => number.to_string(),
        },
        Value::Array(items) => items.iter().map(written).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A value as it is, for programs: texts bare, all else as JSON.
pub fn exact(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A measured value with four decimals, so that a column of them aligns at the point.
pub fn measured(number: f64) -> String {
    match is_for_exponents(number) {
        true => format!("{number:.2e}"),
        false => format!("{number:.4}"),
    }
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn counted(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of bytes with three digits or so: `57.6 KiB`.
pub fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    format!("{size:.1} {unit}")
}

/// A number with four decimals where that says enough, else in scientific notation.
pub fn decimal(number: f64) -> String {
    if is_for_exponents(number) {
        return format!("{number:.2e}");
    }
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether four decimals would not say enough of it, or its digits be too many.
fn is_for_exponents(number: f64) -> bool {
    number != 0.0 && (number.abs() < 0.001 || number.abs() >= 1e9)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(word: &str, wide: bool, documents: &[Value]) -> String {
        let kind = &Kind::named(word).unwrap()[0];
        let layout = Layout { wide, ..Layout::new(kind) };
        let mut table = layout.table();
        for document in documents {
            table.row(layout.row(document, "2026-11-24T12:10:00Z".parse().unwrap()));
        }
        screen::plain(&table.render(None))
    }

    fn job() -> Value {
        json!({
            "metadata": {"name": "digits", "creationTimestamp": "2026-11-24T12:04:48Z"},
            "spec": {"aggregation": {"rounds": 20}},
            "status": {
                "phase": "Running", "round": 2, "participants": 10,
                "history": [{"metrics": [{"name": "accuracy", "value": 0.5}]},
                            {"metrics": [{"name": "accuracy", "value": 0.912_345_6}]}],
            },
        })
    }

    #[test]
    fn a_job_shows_how_far_it_is() {
        insta::assert_snapshot!(render("jobs", false, &[job()]), @"
        NAME     PHASE     ROUND   ROUNDS   PARTICIPANTS   ACCURACY   REASON   AGE
        digits   Running       2       20             10     0.9123            5m12s
        ");
    }

    #[test]
    fn wide_shows_more_and_lists_are_joined() {
        let plugin = json!({
            "metadata": {"name": "fedavg.0.1.0", "creationTimestamp": "2026-11-21T12:10:00Z"},
            "spec": {"reference": "fedavg:0.1.0"},
            "status": {"roles": ["aggregator", "trainer"], "bytes": 4096, "digest": "sha256:ab",
                       "conditions": [{"type": "Ready", "status": "True"}]},
        });
        insta::assert_snapshot!(render("plugins", true, &[plugin]), @"
        NAME           REFERENCE      ROLES                   SIZE   READY   DIGEST      AGE
        fedavg.0.1.0   fedavg:0.1.0   aggregator,trainer   4.0 KiB   True    sha256:ab   3d
        ");
    }

    #[test]
    fn a_resource_without_status_has_empty_cells() {
        insta::assert_snapshot!(render("nodes", false, &[json!({"metadata": {"name": "edge-1"}})]), @"
        NAME     ROLE   READY   VERSION   AGE
        edge-1                            <unknown>
        ");
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.967, 0.123_456, 1e-7, 12.0, 3e12];
        assert_eq!(numbers.map(decimal), ["0", "0.967", "0.1235", "1.00e-7", "12", "3.00e12"]);
    }

    #[test]
    fn measured_values_align_and_counts_are_read_at_a_glance() {
        assert_eq!([0.971, 0.0, 2e-5].map(measured), ["0.9710", "0.0000", "2.00e-5"]);
        assert_eq!([7, 4_810, 1_234_567].map(counted), ["7", "4,810", "1,234,567"]);
        assert_eq!([900, 58_982, 5 << 30].map(bytes), ["900 B", "57.6 KiB", "5.0 GiB"]);
    }

    #[test]
    fn programs_get_values_whole() {
        let values = [json!(0.971_046_7), json!("a"), json!(["a", "b"])];
        assert_eq!(values.each_ref().map(exact), ["0.9710467", "a", r#"["a","b"]"#]);
    }
}
