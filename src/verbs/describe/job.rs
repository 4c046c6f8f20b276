//! The page of a FederatedLearningJob: what it does, how far it is, who works for it, what each round came to.

use sedge_api::resources::{
    DatasetSelection, FederatedLearningJob, JobPhase, Metric, Operator, PinnedArtifact, RoundRecord,
};
use serde_json::Value;

use super::Surroundings;
use super::page::{Page, pairs};
use crate::age;
use crate::columns::decimal;
use crate::objects;
use crate::screen;
use crate::table::{Cell, Table};

/// Rounds that the table shows; the sparkline has all that the status keeps.
const ROUNDS: usize = 20;

pub fn describe(page: &mut Page, job: &FederatedLearningJob, around: &Surroundings) {
    let status = job.status.clone().unwrap_or_default();
    let rounds = job.spec.aggregation.rounds;
    page.state("Phase", phase(status.phase), status.reason.as_deref());
    page.field("Round", format!("{} of {rounds}", status.round.unwrap_or(0)));
    page.field("Participants", status.participants.map(|count| count.to_string()).unwrap_or_default());
    if let Some(started) = &status.started_at {
        let end = status.finished_at.as_ref().map_or(page.now, |finished| finished.0);
        page.field("Running for", age::since(started.0, end));
    }
    if let Some(result) = &status.result {
        page.field("Result", pinned(result));
    }
    spec(page, job);
    page.conditions(&status.conditions);
    workers(page, &around.workers);
    history(page, &status.history);
}

fn spec(page: &mut Page, job: &FederatedLearningJob) {
    let spec = &job.spec;
    let pins = job.status.as_ref().and_then(|status| status.pinned.as_ref());
    let digest = |pin: Option<&PinnedArtifact>| {
        let short = |pin: &PinnedArtifact| screen::styled(&format!(" ({})", pin.digest.short()), screen::DIM);
        pin.map(short).unwrap_or_default()
    };
    page.section("Job");
    page.field("  Model", format!("{}{}", spec.model, digest(pins.map(|p| &p.model))));
    page.field("  Training", format!("{}{}", spec.training.plugin, digest(pins.map(|p| &p.training))));
    page.field("    with", pairs(Some(&spec.training.parameters)));
    page.field("    on", datasets(&spec.training.datasets));
    let resources = &spec.training.resources;
    page.field("    up to", format!("{} memory, {} a round", resources.memory, resources.timeout));
    page.field(
        "  Aggregation",
        format!("{}{}", spec.aggregation.plugin, digest(pins.map(|p| &p.aggregation))),
    );
    page.field("    with", pairs(Some(&spec.aggregation.parameters)));
    let participants = &spec.aggregation.participants;
    page.field(
        "    closes at",
        format!(
            "{} of those invited, at least {}; after {} at the latest",
            percent(participants.fraction),
            participants.minimum,
            spec.aggregation.round_deadline
        ),
    );
    if let Some(evaluation) = &spec.evaluation {
        let digest = digest(pins.and_then(|p| p.evaluation.as_ref()));
        page.field("  Evaluation", format!("{}{digest}", evaluation.plugin));
        page.field("    with", pairs(Some(&evaluation.parameters)));
        page.field("    on", &evaluation.dataset);
    }
    if let Some(stop) = &spec.stop {
        let sign = match stop.operator {
            Operator::AtLeast => ">=",
            Operator::AtMost => "<=",
        };
        page.field("  Stops when", format!("{} {sign} {}", stop.metric, decimal(stop.threshold)));
    }
}

fn workers(page: &mut Page, workers: &[Value]) {
    let mut table = Table::new(["NAME", "ROLE", "NODE", "PHASE", "DONE", "REASON", "MESSAGE"]);
    for worker in workers {
        let text = |pointer| Cell::new(objects::text(worker, pointer));
        let count = |pointer| worker.pointer(pointer).map(crate::columns::written);
        let done = match (count("/status/done"), count("/status/total")) {
            (Some(done), Some(total)) => format!("{done}/{total}"),
            (done, _) => done.unwrap_or_default(),
        };
        let phase = match objects::text(worker, "/status/phase") {
            "" => "Pending",
            phase => phase,
        };
        table.row(vec![
            Cell::new(objects::name(worker)),
            text("/spec/role"),
            text("/spec/node"),
            Cell::new(phase),
            Cell::number(done),
            text("/status/reason"),
            text("/status/message"),
        ]);
    }
    page.table(&format!("Workers ({})", workers.len()), table);
}

fn history(page: &mut Page, history: &[RoundRecord]) {
    let metrics = metric_names(history);
    let heading = ["ROUND", "UPDATES", "REFUSED", "MISSING", "SAMPLES"].map(str::to_owned);
    let named = metrics.iter().map(|name| name.to_uppercase());
    let mut table = Table::new(heading.into_iter().chain(named).chain(["TIME".to_owned()]));
    for record in history.iter().skip(history.len().saturating_sub(ROUNDS)) {
        let trouble = |count: u32| {
            let style = if count > 0 { screen::WAITING } else { screen::DIM };
            Cell::number(count.to_string()).style(style)
        };
        let measured = metrics
            .iter()
            .map(|name| Cell::number(value(&record.metrics, name).map(decimal).unwrap_or_default()));
        let counts = [
            Cell::number(record.round.to_string()),
            Cell::number(record.updates.to_string()),
            trouble(record.refused),
            trouble(record.missing),
            Cell::number(record.samples.to_string()),
        ];
        let time = Cell::number(age::worked(record.duration_millis));
        table.row(counts.into_iter().chain(measured).chain([time]).collect());
    }
    let title = match history.len() {
        count if count > ROUNDS => format!("Rounds (the last {ROUNDS})"),
        _ => "Rounds".to_owned(),
    };
    page.table(&title, table);
    let Some(main) = metrics.first().filter(|_| page.is_terminal()) else { return };
    let values: Vec<f64> = history.iter().filter_map(|record| value(&record.metrics, main)).collect();
    if let (true, [first, .., last]) = (values.len() > 2, values.as_slice()) {
        let line = screen::styled(&sparkline(&values), screen::GOOD);
        let name = screen::styled(main, screen::DIM);
        page.gap();
        page.line(&format!("{name} {} {line} {}", decimal(*first), decimal(*last)));
    }
}

/// The metrics of any round: accuracy and loss first, those of training last.
fn metric_names(history: &[RoundRecord]) -> Vec<String> {
    let mut names: Vec<String> = history.iter().flat_map(|r| &r.metrics).map(|m| m.name.clone()).collect();
    let rank = |name: &str| match name {
        "accuracy" => 0,
        "loss" => 1,
        name if name.starts_with("train.") => 3,
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

fn datasets(selection: &DatasetSelection) -> String {
    let names = selection.names.iter().cloned();
    let selector = selection.selector.as_ref().and_then(|selector| serde_json::to_value(selector).ok());
    let labels =
        selector.as_ref().map(|selector| pairs(selector["matchLabels"].as_object())).unwrap_or_default();
    let expressions = selector.as_ref().and_then(|s| s["matchExpressions"].as_array()).into_iter().flatten();
    let expressions = expressions.map(|e| {
        let text = |field: &str| crate::columns::written(&e[field]);
        format!("{} {} ({})", text("key"), text("operator"), text("values")).replace(" ()", "")
    });
    let parts = names.chain((!labels.is_empty()).then_some(labels)).chain(expressions);
    parts.collect::<Vec<_>>().join(", ")
}

fn pinned(artifact: &PinnedArtifact) -> String {
    format!("{} ({})", artifact.reference, artifact.digest)
}

fn percent(share: f64) -> String {
    format!("{} %", decimal(share * 100.0))
}

const fn phase(phase: JobPhase) -> &'static str {
    match phase {
        JobPhase::Pending => "Pending",
        JobPhase::Running => "Running",
        JobPhase::Succeeded => "Succeeded",
        JobPhase::Failed => "Failed",
    }
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
