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
    /// The best that this machine could do, in the same unit, and what that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<(f64, String)>,
    /// What we want to stay below, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<f64>,
}

impl Rows {
    /// A figure by itself.
    pub fn add(&mut self, what: impl Into<String>, value: f64, unit: &'static str) -> &mut Self {
        self.0.push(Row { what: what.into(), value, unit, limit: None, aim: None });
        self
    }

    /// The best that could be, beside the last figure.
    pub fn limit(&mut self, value: f64, what: impl Into<String>) -> &mut Self {
        if let Some(row) = self.0.last_mut() {
            row.limit = Some((value, what.into()));
        }
        self
    }

    /// What we want, beside the last figure.
    pub fn aim(&mut self, value: f64) -> &mut Self {
        if let Some(row) = self.0.last_mut() {
            row.aim = Some(value);
        }
        self
    }

    /// Write all figures as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        writeln!(f, "{:<width$}  {:>10} {:<5} {:>8}  {:>7}  LIMIT", "WHAT", "MEDIAN", "", "AIM", "× LIMIT")?;
        for row in &self.0 {
            let aim = row.aim.map_or_else(|| "-".to_owned(), |aim| format!("≤ {}", short(aim)));
            let (ratio, limit) = match &row.limit {
                Some((value, what)) => {
                    (format!("{:.2}", row.value / value), format!("{} {}: {what}", short(*value), row.unit))
                }
                None => ("-".to_owned(), String::new()),
            };
            let line = format!(
                "{:<width$}  {:>10} {:<5} {aim:>8}  {ratio:>7}  {limit}",
                row.what,
                short(row.value),
                row.unit
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
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
            table.contains("no-op round         300 ms       ≤ 400     1.50  200 ms: loopback TCP\n"),
            "{table}"
        );
        assert!(table.contains("accuracy          0.967 "), "{table}");
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
