//! A node's words as the statuses of resources, with every length bounded. Called by `reports`.

mod learning;
mod serving;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use sedge_api::node;
use sedge_api::resources::{
    ColumnStatistics, DatasetColumn, DatasetProblems, DatasetStatus, GraphEngine, Metric, RoundRecord,
    WorkerPhase, WorkerStatus, condition, engine_names, set_condition,
};

use super::register::cut;

const REASON: usize = 128;
const MESSAGE: usize = 4096;
const NAME: usize = 253;
const METRICS: usize = 64;
const ROUNDS: usize = 100;
const PARTICIPANTS: usize = 10_000;
const COLUMNS: usize = 1024;
const DIMENSIONS: usize = 16;
const STATISTICS: usize = 64;
const DISTINCT: usize = 64;
const PROBLEMS: usize = 32;
const PROBLEM: usize = 512;
const GRAPHS: usize = 64;
const ENGINES: usize = 8;
const ENGINE: usize = 40;
const PASSED_OVER: usize = 512;
/// The largest integer that every JSON reader takes exactly, and that fits the schemas' int64.
const INTEGER: u64 = (1 << 53) - 1;

/// Whether nothing more will come of this Worker.
pub(super) fn is_final(said: &node::WorkerStatus) -> bool {
    phase(said).is_some_and(WorkerPhase::is_final)
}

fn phase(said: &node::WorkerStatus) -> Option<WorkerPhase> {
    match said.phase() {
        node::WorkerPhase::Unspecified => None,
        node::WorkerPhase::Pending => Some(WorkerPhase::Pending),
        node::WorkerPhase::Running => Some(WorkerPhase::Running),
        node::WorkerPhase::Succeeded => Some(WorkerPhase::Succeeded),
        node::WorkerPhase::Failed => Some(WorkerPhase::Failed),
    }
}

/// The status of a Worker; none where the node names no phase.
pub(super) fn worker_status(said: &node::WorkerStatus) -> Option<WorkerStatus> {
    let latest = said.rounds.len().saturating_sub(ROUNDS);
    let engines: Vec<_> = said.engines.iter().take(GRAPHS).map(engine).collect();
    Some(WorkerStatus {
        phase: phase(said)?,
        reason: text(&said.reason, REASON),
        message: text(&said.message, MESSAGE),
        started_at: time(said.started_unix_millis),
        finished_at: time(said.finished_unix_millis),
        // Zero of none is said by a worker that has no units to count.
        done: Some(said.done.min(INTEGER)).filter(|done| *done > 0 || said.total > 0),
        total: Some(said.total.min(INTEGER)).filter(|total| *total > 0),
        metrics: metrics(&said.metrics),
        rounds: said.rounds[latest..].iter().map(round).collect(),
        participants: said.participants.iter().take(PARTICIPANTS).map(|p| cut(p.clone(), NAME)).collect(),
        result_digest: said.result_digest.parse().ok(),
        engine: engine_names(&engines),
        engines,
        serving: said.serving.as_ref().map(serving::report),
        learning: said.learning.as_ref().map(learning::report),
        assessment: said.assessment.as_ref().map(learning::assessment),
    })
}

fn engine(said: &node::GraphEngine) -> GraphEngine {
    GraphEngine {
        graph: cut(said.graph.clone(), NAME),
        engine: cut(said.engine.clone(), ENGINE),
        passed_over: said.passed_over.iter().take(ENGINES).map(|why| cut(why.clone(), PASSED_OVER)).collect(),
    }
}

fn round(said: &node::Round) -> RoundRecord {
    RoundRecord {
        round: said.number,
        updates: said.updates,
        refused: said.refused,
        missing: said.missing,
        samples: said.samples.min(INTEGER),
        metrics: metrics(&said.metrics),
        duration_millis: said.duration_millis.min(INTEGER),
        finished_at: time(said.finished_unix_millis).unwrap_or(Time(Timestamp::UNIX_EPOCH)),
    }
}

/// JSON has no word for what is not finite, so it is left out.
fn metrics(said: &[node::Metric]) -> Vec<Metric> {
    said.iter()
        .filter(|metric| metric.value.is_finite())
        .take(METRICS)
        .map(|metric| Metric { name: cut(metric.name.clone(), NAME), value: metric.value })
        .collect()
}

/// The status of a Dataset, with its other conditions kept.
pub(super) fn dataset_status(said: &node::DatasetStatus, mut conditions: Vec<Condition>) -> DatasetStatus {
    // Standard conditions have no empty reason.
    let silent = if said.ready { "Read" } else { "NotReady" };
    let reason = text(&said.reason, REASON).unwrap_or_else(|| silent.to_owned());
    let message = cut(said.message.clone(), MESSAGE);
    let observed = condition("Ready", said.ready, &reason, message, Some(said.generation), Timestamp::now());
    set_condition(&mut conditions, observed);
    let columns = said.columns.iter().take(COLUMNS).map(|column| DatasetColumn {
        name: cut(column.name.clone(), NAME),
        dtype: cut(column.dtype.clone(), 16),
        shape: column.shape.iter().take(DIMENSIONS).map(|size| (*size).min(INTEGER)).collect(),
    });
    let ready = |count: u64| said.ready.then_some(count.min(INTEGER));
    let mut statistics = Vec::new();
    if said.ready {
        statistics.extend(said.statistics.iter().take(STATISTICS).map(column_statistics));
    }
    let problems = DatasetProblems {
        count: said.problems.min(INTEGER),
        first: said.first_problems.iter().take(PROBLEMS).map(|text| cut(text.clone(), PROBLEM)).collect(),
    };
    DatasetStatus {
        conditions,
        samples: ready(said.samples),
        test_samples: ready(said.test_samples),
        files: ready(said.files),
        last_change: time(said.changed_unix_millis),
        columns: if said.ready { columns.collect() } else { Vec::new() },
        statistics,
        problems: (problems.count > 0).then_some(problems),
    }
}

fn column_statistics(said: &node::ColumnStatistics) -> ColumnStatistics {
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    ColumnStatistics {
        tensor: cut(said.tensor.clone(), NAME),
        column: cut(said.column.clone(), NAME),
        count: said.count.min(INTEGER),
        missing: said.missing.min(INTEGER),
        min: finite(said.min),
        max: finite(said.max),
        mean: finite(said.mean),
        std: finite(said.std),
        distinct: said
            .distinct
            .iter()
            .take(DISTINCT)
            .map(|distinct| (cut(distinct.value.clone(), NAME), distinct.count.min(INTEGER)))
            .collect(),
    }
}

fn text(said: &str, limit: usize) -> Option<String> {
    (!said.is_empty()).then(|| cut(said.to_owned(), limit))
}

/// Zero is "not yet"; so is what no calendar has.
fn time(unix_millis: u64) -> Option<Time> {
    let millis = i64::try_from(unix_millis).ok().filter(|millis| *millis > 0)?;
    Timestamp::from_millisecond(millis).ok().map(Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_left_out() {
        let metric = |name: &str, value| node::Metric { name: name.to_owned(), value };
        let said = node::WorkerStatus {
            phase: node::WorkerPhase::Running.into(),
            metrics: vec![metric("loss", f64::NAN), metric("accuracy", 0.5), metric("norm", f64::INFINITY)],
            ..Default::default()
        };
        let status = worker_status(&said).unwrap();
        assert_eq!(status.metrics, [Metric { name: "accuracy".to_owned(), value: 0.5 }]);
    }

    #[test]
    fn a_boundless_status_is_bounded() {
        let said = node::WorkerStatus {
            phase: node::WorkerPhase::Failed.into(),
            message: "é".repeat(100_000),
            done: u64::MAX,
            finished_unix_millis: u64::MAX,
            rounds: (0..1000).map(|number| node::Round { number, ..Default::default() }).collect(),
            ..Default::default()
        };
        let status = worker_status(&said).unwrap();
        assert_eq!(status.message.unwrap().chars().count(), MESSAGE);
        assert_eq!((status.rounds.len(), status.rounds[99].round), (ROUNDS, 999));
        assert_eq!((status.done, status.finished_at), (Some(INTEGER), None));
    }

    #[test]
    fn a_status_without_a_phase_says_nothing() {
        assert_eq!(worker_status(&node::WorkerStatus::default()), None);
    }
}
