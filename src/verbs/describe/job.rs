//! The page of a FederatedLearningJob: what it does, how far it is, who works for it, what each round came to.

use sedge_api::resources::{
    DatasetSelection, FederatedLearningJob, FederatedLearningJobStatus, JobPhase, Operator, PinnedArtifact,
};
use serde_json::Value;

use super::page::{Page, pairs};
use super::{Surroundings, rounds};
use crate::columns::decimal;
use crate::objects;
use crate::screen;
use crate::table::{Cell, Table};

pub fn describe(page: &mut Page, job: &FederatedLearningJob, around: &Surroundings) {
    let status = job.status.clone().unwrap_or_default();
    // `Succeeded (Complete)` would say one thing twice.
    let reason = status.reason.as_deref().filter(|reason| *reason != "Complete");
    page.state("Phase", phase(status.phase), reason);
    page.field("Message", obstacle(&status).unwrap_or_default());
    page.field("Round", format!("{} of {}", status.round.unwrap_or(0), job.spec.aggregation.rounds));
    rounds::fields(page, &status.history);
    page.field("Participants", status.participants.map(|count| count.to_string()).unwrap_or_default());
    page.span(status.started_at.as_ref(), status.finished_at.as_ref());
    if let Some(result) = &status.result {
        page.field("Result", pinned(result));
    }
    spec(page, job);
    page.conditions(&status.conditions);
    workers(page, &around.workers);
    rounds::table(page, &status.history);
}

/// What the job waits for, what ended it, or what keeps it from going well.
fn obstacle(status: &FederatedLearningJobStatus) -> Option<&str> {
    let kind = match status.phase {
        JobPhase::Pending => "Accepted",
        JobPhase::Running => "Running",
        JobPhase::Failed => "Failed",
        JobPhase::Succeeded => return None,
    };
    status.reason.as_ref()?;
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind)?;
    Some(condition.message.as_str())
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

pub fn workers(page: &mut Page, workers: &[Value]) {
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
