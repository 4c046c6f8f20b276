//! The pages of the kinds that are no jobs.

use std::collections::BTreeMap;

use sedge_api::resources::{
    ColumnStatistics, Dataset, EdgeNode, GraphEngine, Model, Plugin, Worker, WorkerPhase,
};

use super::page::{Page, pairs};
use crate::columns::{bytes, counted, decimal, measured, written};
use crate::screen;
use crate::table::{Cell, Table};

pub fn worker(page: &mut Page, worker: &Worker) {
    let (spec, status) = (&worker.spec, worker.status.clone().unwrap_or_default());
    let phase = match status.phase {
        WorkerPhase::Pending => "Pending",
        WorkerPhase::Running => "Running",
        WorkerPhase::Succeeded => "Succeeded",
        WorkerPhase::Failed => "Failed",
    };
    page.state("Phase", phase, status.reason.as_deref());
    page.field("Message", status.message.unwrap_or_default());
    page.span(status.started_at.as_ref(), status.finished_at.as_ref());
    if let Some(done) = status.done {
        page.field("Done", status.total.map_or(done.to_string(), |total| format!("{done} of {total}")));
    }
    let metrics = status.metrics.iter().map(|metric| format!("{}={}", metric.name, measured(metric.value)));
    page.field("Metrics", metrics.collect::<Vec<_>>().join(", "));
    page.section("Work");
    page.field("  Job", format!("{}/{}", spec.job.kind, spec.job.name));
    page.field("  Role", spec.role.word());
    page.field("  Node", &spec.node);
    page.field("  Plugin", format!("{} ({})", spec.plugin.reference, spec.plugin.digest.short()));
    if let Some(model) = &spec.model {
        page.field("  Model", format!("{} ({})", model.reference, model.digest.short()));
    }
    page.field("  Parameters", pairs(Some(&spec.parameters)));
    let datasets = spec.datasets.iter().map(|grant| format!("{} as {}", grant.dataset, grant.name));
    page.field("  Datasets", datasets.collect::<Vec<_>>().join(", "));
    page.field("  Up to", format!("{} memory, {} a call", spec.resources.memory, spec.resources.timeout));
    page.field("  Joins", spec.joins.as_deref().unwrap_or_default());
    if let Some(task) = &spec.aggregation {
        let of = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let parts = [
            of(task.rounds as usize, "round"),
            of(task.trainers.len(), "trainer"),
            of(task.evaluators.len(), "evaluator"),
        ];
        page.field("  Leads", parts.join(", "));
    }
    page.field("  Connected", status.participants.join(", "));
    page.field("  Result", status.result_digest.map(|digest| digest.to_string()).unwrap_or_default());
    engines(page, &status.engines);
    super::rounds::table(page, &status.rounds);
}

pub fn edge_node(page: &mut Page, node: &EdgeNode) {
    let status = node.status.clone().unwrap_or_default();
    page.field("Role", written(&serde_json::json!(node.spec.role)));
    if node.spec.unschedulable {
        page.field("Schedulable", screen::styled("no: new workers are not placed here", screen::WAITING));
    }
    page.field("Version", status.version.unwrap_or_default());
    page.field("Processors", status.cpus.map(|cpus| cpus.to_string()).unwrap_or_default());
    page.field("Memory", status.memory_bytes.map(bytes).unwrap_or_default());
    page.field("Engines", status.engines.join(", "));
    page.field("Federation", status.federation_endpoint.unwrap_or_default());
    page.field("Node labels", labels(&status.labels));
    page.conditions(&status.conditions);
}

pub fn dataset(page: &mut Page, dataset: &Dataset) {
    let (spec, status) = (&dataset.spec, dataset.status.clone().unwrap_or_default());
    page.field("Node", &spec.node);
    page.field("Path", spec.path.as_deref().unwrap_or_default());
    if let Some(s3) = &spec.s3 {
        let at = s3.endpoint.as_deref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
        page.field("S3", format!("{}/{}{at}", s3.bucket, s3.prefix.as_deref().unwrap_or_default()));
        page.field("Credentials", s3.credentials.as_deref().unwrap_or_default());
    }
    if let Some(http) = &spec.http {
        page.field("URL", &http.url);
        page.field("Credentials", http.credentials.as_deref().unwrap_or_default());
    }
    page.field("Format", written(&serde_json::json!(spec.format)));
    page.field("Label", spec.label.as_deref().unwrap_or_default());
    if spec.split.test > 0.0 {
        let share = decimal(spec.split.test * 100.0);
        page.field("Test share", format!("{share} % (seed {})", spec.split.seed));
    }
    if let Some(column) = &spec.split.column {
        page.field("Test rows", format!("{} is {}", column.column, column.test.join(" or ")));
    }
    if let Some(time) = &spec.split.time {
        page.field("Test rows", format!("{} from {} on", time.column, time.from));
    }
    let held_out = status.test_samples.filter(|count| *count > 0);
    let held_out = held_out.map(|count| format!(" ({} held out)", counted(count))).unwrap_or_default();
    page.field("Samples", status.samples.map(|count| counted(count) + &held_out).unwrap_or_default());
    page.field("Files", status.files.map(counted).unwrap_or_default());
    page.field("Last change", status.last_change.map(|time| time.0.to_string()).unwrap_or_default());
    page.conditions(&status.conditions);
    let mut table = Table::new(["NAME", "TYPE", "SHAPE OF A SAMPLE"]);
    for column in &status.columns {
        table.row(vec![Cell::new(&column.name), Cell::new(&column.dtype), Cell::new(shape(&column.shape))]);
    }
    page.table("Tensors", table);
    statistics(page, &status.statistics);
    if let Some(problems) = &status.problems {
        page.section("Problems");
        page.field("  Left out", counted(problems.count));
        problems.first.iter().for_each(|problem| page.line(problem));
    }
}

fn statistics(page: &mut Page, statistics: &[ColumnStatistics]) {
    let mut table =
        Table::new(["COLUMN", "VALUES", "MISSING", "MINIMUM", "MEAN", "STD", "MAXIMUM", "LABELS"]);
    for column in statistics {
        let name = if column.column.is_empty() { &column.tensor } else { &column.column };
        let value = |value: Option<f64>| Cell::new(value.map(measured).unwrap_or_default());
        let labels = column.distinct.iter().take(10).map(|(label, count)| format!("{label}: {count}"));
        table.row(vec![
            Cell::new(name),
            Cell::new(counted(column.count)),
            Cell::new(counted(column.missing)),
            value(column.min),
            value(column.mean),
            value(column.std),
            value(column.max),
            Cell::new(labels.collect::<Vec<_>>().join(", ")),
        ]);
    }
    page.table("Statistics", table);
}

pub fn plugin(page: &mut Page, plugin: &Plugin) {
    let status = plugin.status.clone().unwrap_or_default();
    page.field("Reference", plugin.spec.reference.to_string());
    let digest = status.digest.or(plugin.spec.digest);
    page.field("Digest", digest.map(|digest| digest.to_string()).unwrap_or_default());
    page.field("Roles", status.roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(", "));
    page.field("Size", status.bytes.map(bytes).unwrap_or_default());
    page.conditions(&status.conditions);
    if !status.imports.is_empty() {
        page.section("Imports");
        status.imports.iter().for_each(|import| page.line(import));
    }
}

pub fn model(page: &mut Page, model: &Model) {
    let status = model.status.clone().unwrap_or_default();
    page.field("Reference", model.spec.reference.to_string());
    let digest = status.digest.or(model.spec.digest);
    page.field("Digest", digest.map(|digest| digest.to_string()).unwrap_or_default());
    page.field("Graphs", status.graphs.join(", "));
    page.field("Parameters", status.parameters.map(counted).unwrap_or_default());
    page.field("Weights", status.weights_bytes.map(bytes).unwrap_or_default());
    page.conditions(&status.conditions);
    engines(page, &status.engines);
}

/// Which engine computes which graph.
fn engines(page: &mut Page, engines: &[GraphEngine]) {
    let mut table = Table::new(["GRAPH", "ENGINE", "PASSED OVER"]);
    for engine in engines {
        let passed_over = engine.passed_over.join("; ");
        table.row(vec![Cell::new(&engine.graph), Cell::new(&engine.engine), Cell::new(passed_over)]);
    }
    page.table("Engines", table);
}

/// `[64, 10]`; a single value has no dimensions.
pub fn shape(dimensions: &[u64]) -> String {
    if dimensions.is_empty() {
        return "a number".to_owned();
    }
    let texts: Vec<String> = dimensions.iter().map(ToString::to_string).collect();
    format!("[{}]", texts.join(", "))
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_one_value_has_no_shape_to_show() {
        assert_eq!([shape(&[64, 10]), shape(&[])], ["[64, 10]", "a number"]);
    }
}
