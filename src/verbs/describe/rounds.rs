//! The rounds of a job: their table, and the course of what was measured. The pages of jobs and of
//! aggregating workers have it.

use sedge_api::resources::{Metric, RoundRecord};

use super::page::Page;
use crate::age;
use crate::columns::{counted, measured};
use crate::screen;
use crate::table::{Cell, Table};

/// Rounds that the table shows; the bars have all that the status keeps, as far as there is room.
const ROUNDS: usize = 20;
/// What the names of metrics of the training begin with.
const TRAINING: &str = "train.";
/// Characters of a value beside the bars.
const VALUE: usize = 7;

/// The table of rounds, and below it their course.
pub fn table(page: &mut Page, history: &[RoundRecord]) {
    let metrics = metric_names(history);
    let heading = ["ROUND", "UPDATES", "REFUSED", "MISSING", "SAMPLES"].map(str::to_owned);
    let named = metrics.iter().map(|name| name.to_uppercase());
    let mut table = Table::new(heading.into_iter().chain(named).chain(["TIME".to_owned()]));
    for record in history.iter().skip(history.len().saturating_sub(ROUNDS)) {
        let trouble = |count: u32| {
            let style = if count > 0 { screen::WAITING } else { screen::DIM };
            Cell::number(count.to_string()).style(style)
        };
        let values = metrics
            .iter()
            .map(|name| Cell::number(value(&record.metrics, name).map(measured).unwrap_or_default()));
        let counts = [
            Cell::number(record.round.to_string()),
            Cell::number(record.updates.to_string()),
            trouble(record.refused),
            trouble(record.missing),
            Cell::number(counted(record.samples)),
        ];
        let time = Cell::number(age::worked(record.duration_millis));
        table.row(counts.into_iter().chain(values).chain([time]).collect());
    }
    let title = match history.len() {
        count if count > ROUNDS => format!("Rounds (the last {ROUNDS})"),
        _ => "Rounds".to_owned(),
    };
    page.table(&title, table);
    courses(page, history);
}

/// The latest accuracy, and how long a round takes.
pub fn fields(page: &mut Page, history: &[RoundRecord]) {
    let latest = history.last().and_then(|record| value(&record.metrics, "accuracy"));
    page.field("Accuracy", latest.map(measured).unwrap_or_default());
    let mut times: Vec<u64> = history.iter().map(|record| record.duration_millis).collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).map(|millis| format!("{} (median)", age::worked(*millis)));
    page.field("Round time", median.unwrap_or_default());
}

/// On a terminal, the course of the first two metrics, as a line of bars with the first and last value.
fn courses(page: &mut Page, history: &[RoundRecord]) {
    let Some(width) = page.width() else { return };
    let metrics = metric_names(history);
    let shown = metrics.iter().filter(|name| !name.starts_with(TRAINING)).take(2);
    let named = shown.clone().map(|name| name.chars().count()).max().unwrap_or(0);
    // Beside the bars: the indent, the name and two values.
    let room = width.saturating_sub(named + 2 * VALUE + 5).max(1);
    let mut first_line = true;
    for name in shown {
        let values: Vec<f64> = history.iter().filter_map(|record| value(&record.metrics, name)).collect();
        let values = &values[values.len().saturating_sub(room)..];
        let [first, _, .., last] = values else { continue };
        if std::mem::take(&mut first_line) {
            page.gap();
        }
        let bars = screen::styled(&sparkline(values), screen::GOOD);
        let name = screen::styled(&format!("{name:<named$}"), screen::DIM);
        page.line(&format!("{name} {:>VALUE$} {bars} {}", measured(*first), measured(*last)));
    }
}

/// The metrics of any round: accuracy and loss first, those of training last.
fn metric_names(history: &[RoundRecord]) -> Vec<String> {
    let mut names: Vec<String> = history.iter().flat_map(|r| &r.metrics).map(|m| m.name.clone()).collect();
    let rank = |name: &str| match name {
        "accuracy" => 0,
        "loss" => 1,
        name if name.starts_with(TRAINING) => 3,
        _ => 2,
    };
    names.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    names.dedup();
    names
}

fn value(metrics: &[Metric], name: &str) -> Option<f64> {
    metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
}

/// The course of `values` in eighths of a line's height.
fn sparkline(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let range = if high > low { high - low } else { 1.0 };
    // The quotient is within 0 and 1, or NaN, which becomes 0.
    values.iter().map(|value| BARS[(((value - low) / range * 7.0).round() as usize).min(7)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_spans_its_values() {
        assert_eq!(sparkline(&[0.0, 0.5, 1.0]), "▁▅█");
        assert_eq!(sparkline(&[3.0, 3.0]), "▁▁");
    }
}
