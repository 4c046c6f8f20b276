//! The figures of one run, as a table and as JSON.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

/// All figures, in the order of measuring.
#[derive(Debug, Default, Serialize)]
pub struct Rows(Vec<Row>);

#[derive(Debug, Serialize)]
struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    /// What ninety-nine of a hundred calls stay below, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<f64>,
    /// The best that this machine could do, in the same unit, and what that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<(f64, String)>,
    /// What we want to stay below, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<f64>,
    /// What we want to reach, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    /// Bytes of tensors that one call copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    copied: Option<f64>,
    /// Bytes of memory that a process holds for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<f64>,
    /// How far outputs lie from another engine's, in parts of the largest element.
    #[serde(skip_serializing_if = "Option::is_none")]
    apart: Option<f64>,
}

impl Rows {
    /// A figure by itself.
    pub fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) -> &mut Self {
        let (p99, limit, aim, at_least, copied, held, apart) = Default::default();
        self.0.push(Row { what: what.into(), value, unit, p99, limit, aim, at_least, copied, held, apart });
        self
    }

    /// What ninety-nine of a hundred stay below, beside the last figure.
    pub fn p99(&mut self, value: f64) -> &mut Self {
        self.last(|row| row.p99 = Some(value))
    }

    /// The best that could be, beside the last figure.
    pub fn limit(&mut self, value: f64, what: impl Into<String>) -> &mut Self {
        self.last(|row| row.limit = Some((value, what.into())))
    }

    /// What we want to stay below, beside the last figure.
    pub fn aim(&mut self, value: f64) -> &mut Self {
        self.last(|row| row.aim = Some(value))
    }

    /// What we want to reach, beside the last figure.
    pub fn at_least(&mut self, value: f64) -> &mut Self {
        self.last(|row| row.at_least = Some(value))
    }

    /// Bytes that one call copies, beside the last figure.
    pub fn copied(&mut self, bytes: f64) -> &mut Self {
        self.last(|row| row.copied = Some(bytes))
    }

    /// Bytes that a process holds, beside the last figure.
    pub fn held(&mut self, bytes: f64) -> &mut Self {
        self.last(|row| row.held = Some(bytes))
    }

    /// How far outputs lie from another engine's, beside the last figure.
    pub fn apart(&mut self, parts: f64) -> &mut Self {
        self.last(|row| row.apart = Some(parts))
    }

    fn last(&mut self, set: impl FnOnce(&mut Row)) -> &mut Self {
        if let Some(row) = self.0.last_mut() {
            set(row);
        }
        self
    }

    /// Write all figures as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A column of the table that only some figures have.
struct Column {
    head: &'static str,
    width: usize,
    cell: fn(&Row) -> Option<String>,
}

const COLUMNS: [Column; 6] = [
    Column { head: "P99", width: 8, cell: |row| row.p99.map(short) },
    Column {
        head: "AIM",
        width: 8,
        cell: |row| {
            let aim = row.aim.map(|aim| format!("≤ {}", short(aim)));
            aim.or_else(|| row.at_least.map(|aim| format!("≥ {}", short(aim))))
        },
    },
    Column {
        head: "× LIMIT",
        width: 7,
        cell: |row| row.limit.as_ref().map(|(value, _)| format!("{:.2}", row.value / value)),
    },
    Column { head: "COPIED", width: 9, cell: |row| row.copied.map(bytes) },
    Column { head: "HELD", width: 9, cell: |row| row.held.map(bytes) },
    Column { head: "APART", width: 7, cell: |row| row.apart.map(|parts| format!("{parts:.0e}")) },
];

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let columns: Vec<_> =
            COLUMNS.iter().filter(|column| self.0.iter().any(|row| (column.cell)(row).is_some())).collect();
        write!(f, "{:<width$}  {:>10} {:<5}", "WHAT", "MEDIAN", "")?;
        for column in &columns {
            write!(f, " {:>1$}", column.head, column.width)?;
        }
        writeln!(f, "  LIMIT")?;
        for row in &self.0 {
            let mut line = format!("{:<width$}  {:>10} {:<5}", row.what, short(row.value), row.unit);
            for column in &columns {
                let cell = (column.cell)(row).unwrap_or_else(|| "-".to_owned());
                line += &format!(" {cell:>0$}", column.width);
            }
            if let Some((value, what)) = &row.limit {
                line += &format!("  {} {}: {what}", short(*value), row.unit);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `1.2 MB`.
fn bytes(value: f64) -> String {
    match value {
        1e6.. => format!("{} MB", short(value / 1e6)),
        1e3.. => format!("{} kB", short(value / 1e3)),
        _ => format!("{value:.0} B"),
    }
}

/// Three significant digits, or whole numbers where there are more.
fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = usize::try_from((2 - digits).clamp(0, 4)).unwrap_or(0);
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_how_far_from_the_limit_a_figure_is() {
        let mut rows = Rows::default();
        rows.add("no-op round", 300.0, "ms").limit(200.0, "loopback TCP").aim(400.0);
        rows.add("accuracy", 0.967, "");
        let table = rows.to_string();
        assert!(
            table.contains("no-op round         300 ms       ≤ 400    1.50  200 ms: loopback TCP\n"),
            "{table}"
        );
        assert!(table.contains("accuracy          0.967 "), "{table}");
    }

    #[test]
    fn columns_that_no_figure_has_are_left_out() {
        let mut rows = Rows::default();
        rows.add("step", 100.0, "µs").p99(250.0).copied(128.0).held(1.25e6);
        rows.add("two workers", 1.94, "×").at_least(1.8);
        assert_eq!(
            rows.to_string(),
            "WHAT             MEDIAN            P99      AIM    COPIED      HELD  LIMIT\n\
             step                100 µs         250        -     128 B   1.25 MB\n\
             two workers        1.94 ×            -   ≥ 1.80         -         -\n"
        );
    }

    #[test]
    fn three_digits_are_kept() {
        for (value, text) in
            [(0.0321, "0.0321"), (2.71, "2.71"), (54.32, "54.3"), (1234.5, "1234"), (0.0, "0.00")]
        {
            assert_eq!(short(value), text);
        }
    }
}
