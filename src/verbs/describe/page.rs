//! The page that `describe` fills: sections of fields and tables.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};

use crate::age;
use crate::objects;
use crate::screen;
use crate::table::{Cell, Table};
use crate::wrap::wrapped;

/// Where the value of a field begins.
const FIELD: usize = 14;

/// A page as it grows.
pub struct Page {
    text: String,
    pub now: Timestamp,
    width: Option<usize>,
}

impl Page {
    pub fn new(now: Timestamp, width: Option<usize>) -> Self {
        Self { text: String::new(), now, width }
    }

    /// Columns of the terminal that it is shown on, if it is.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// What every resource has: name, labels, age.
    pub fn heading(&mut self, document: &Value) {
        let metadata = &document["metadata"];
        self.field("Name", screen::styled(objects::name(document), screen::BOLD));
        self.field("Namespace", objects::text(document, "/metadata/namespace"));
        self.field("Labels", pairs(metadata["labels"].as_object()));
        if let Ok(then) = objects::text(document, "/metadata/creationTimestamp").parse::<Timestamp>() {
            self.field("Created", format!("{} ago ({then})", age::since(then, self.now)));
        }
        if !objects::text(document, "/metadata/deletionTimestamp").is_empty() {
            self.field("Deleting", "waits for finalizers");
        }
    }

    /// `Name   value`, continued below where it does not fit; nothing where the value is empty.
    pub fn field(&mut self, name: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        if value.is_empty() {
            return;
        }
        let lines = match self.width {
            // What bears styles is short.
            Some(width) if !value.contains('\u{1b}') => {
                wrapped(value, width.saturating_sub(FIELD).max(FIELD))
            }
            _ => vec![value.to_owned()],
        };
        for (at, line) in lines.iter().enumerate() {
            let name = format!("{:<FIELD$}", if at == 0 { name } else { "" });
            self.text.push_str(&format!("{}{line}\n", screen::styled(&name, screen::DIM)));
        }
    }

    /// How long something has run, or ran.
    pub fn span(&mut self, started: Option<&Time>, finished: Option<&Time>) {
        let Some(started) = started else { return };
        match finished {
            Some(finished) => self.field("Ran for", age::since(started.0, finished.0)),
            None => self.field("Running for", age::since(started.0, self.now)),
        }
    }

    /// A field whose value is a state.
    pub fn state(&mut self, name: &str, word: &str, reason: Option<&str>) {
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        self.field(name, format!("{}{reason}", screen::styled(word, screen::style_of_state(word))));
    }

    /// The heading of a section.
    pub fn section(&mut self, title: &str) {
        self.text.push_str(&format!("\n{}\n", screen::styled(title, screen::BOLD)));
    }

    /// A table, indented, if it has rows.
    pub fn table(&mut self, title: &str, table: Table) {
        if table.is_empty() {
            return;
        }
        self.section(title);
        let text = table.wrapping().render(self.width.map(|width| width.saturating_sub(2)));
        for line in text.lines() {
            let _ = writeln!(self.text, "  {}", line.trim_end());
        }
    }

    /// A line of its own within a section.
    pub fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "  {text}");
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.text.push('\n');
    }

    pub fn conditions(&mut self, conditions: &[Condition]) {
        let mut table = Table::new(["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"]);
        for condition in conditions {
            table.row(vec![
                Cell::new(&condition.type_).style(screen::PLAIN),
                Cell::new(&condition.status).style(
                    match (condition.type_.as_str(), condition.status.as_str()) {
                        ("Failed", "True") => screen::BAD,
                        ("Failed" | "Running" | "Complete", "False") => screen::DIM,
                        (_, status) => screen::style_of_state(status),
                    },
                ),
                Cell::new(age::since(condition.last_transition_time.0, self.now)).style(screen::DIM),
                Cell::new(&condition.reason),
                Cell::new(&condition.message),
            ]);
        }
        self.table("Conditions", table);
    }

    pub fn events(&mut self, events: &[Value]) {
        let mut table = Table::new(["AGE", "TYPE", "REASON", "MESSAGE"]);
        for event in events {
            let times = ["/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"];
            let then = times.iter().find_map(|time| objects::text(event, time).parse::<Timestamp>().ok());
            let kind = objects::text(event, "/type");
            table.row(vec![
                Cell::new(then.map(|then| age::since(then, self.now)).unwrap_or_default()).style(screen::DIM),
                Cell::new(kind).style(if kind == "Warning" { screen::WAITING } else { screen::PLAIN }),
                Cell::new(objects::text(event, "/reason")),
                Cell::new(objects::text(event, "/message")),
            ]);
        }
        self.table("Events", table);
    }

    /// The rest of a document as indented names and values.
    pub fn document(&mut self, document: &Value) {
        let Some(fields) = document.as_object() else { return };
        let rest =
            fields.iter().filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        let rest: Map<String, Value> = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
        // Secrets are not for shoulders: names and sizes alone.
        let rest = if fields.get("kind").is_some_and(|kind| kind == "Secret") { hidden(rest) } else { rest };
        if let Ok(text) = serde_yaml_ng::to_string(&rest) {
            let _ = write!(self.text, "\n{text}");
        }
    }

    pub fn finish(self) -> String {
        self.text
    }
}

fn hidden(mut fields: Map<String, Value>) -> Map<String, Value> {
    for name in ["data", "stringData"] {
        for value in fields.get_mut(name).and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
        {
            *value = format!("({} characters)", value.as_str().unwrap_or_default().len()).into();
        }
    }
    fields
}

/// `a=b, c=d`
pub fn pairs(fields: Option<&Map<String, Value>>) -> String {
    let pair = |(name, value): (&String, &Value)| format!("{name}={}", crate::columns::written(value));
    fields.into_iter().flatten().map(pair).collect::<Vec<_>>().join(", ")
}
