//! The page of an IncrementalLearningJob: how it does, what it waits for, its rounds and its versions.

use sedge_api::resources::{
    IncrementalLearningJob, IncrementalLearningJobStatus, LearningReport, LearningRound, PinnedArtifact,
};
use sedge_triggers::TriggerSpec;

use super::page::{Page, pairs};
use super::{Surroundings, job};
use crate::age;
use crate::columns::{counted, decimal, measured};
use crate::lineage;
use crate::screen;
use crate::table::{Cell, Table};

/// Rounds that the table shows.
const ROUNDS: usize = 10;

pub fn describe(page: &mut Page, job: &IncrementalLearningJob, around: &Surroundings) {
    let status = job.status.clone().unwrap_or_default();
    page.state("Phase", status.phase.word(), status.reason.as_deref());
    page.field("Message", obstacle(&status).unwrap_or_default());
    if let Some(report) = &status.learning {
        summary(page, report);
    }
    page.field("Service", status.service.as_deref().unwrap_or_default());
    spec(page, job);
    page.conditions(&status.conditions);
    if let Some(report) = &status.learning {
        stages(page, report);
        rounds(page, report);
        page.table(&format!("Versions ({})", report.versions.len()), lineage::table(report, page.now));
    }
    job::workers(page, &around.workers);
}

/// What the reason means.
fn obstacle(status: &IncrementalLearningJobStatus) -> Option<String> {
    let reason = status.reason.as_ref()?;
    if reason == "RoundFailed" {
        let round = status.learning.as_ref()?.rounds.last()?;
        let stages = [&round.train, &round.evaluate, &round.deploy];
        let failed = stages.into_iter().find(|stage| stage.state.word() == "Failed")?;
        return Some(format!("round {}: {}", round.number, failed.reason));
    }
    status.conditions.iter().find(|condition| &condition.reason == reason).map(|found| found.message.clone())
}

fn summary(page: &mut Page, report: &LearningReport) {
    page.field("Round", report.round.to_string());
    page.field("Waiting for", if report.current.is_none() { report.waiting.as_str() } else { "" });
    page.field("Deployed", format!("version {}", report.deployed));
    if let (Some(name), Some(latest)) = (lineage::main_metric(report), &report.measured) {
        let value = |metrics| lineage::value(metrics, &name).map(measured);
        if let (Some(candidate), Some(deployed)) = (value(&latest.candidate), value(&latest.deployed)) {
            page.field(
                "Measured",
                format!("{name} {candidate}, and {deployed} of version {}", latest.against),
            );
        }
    }
    let figures = &report.figures;
    page.field("Samples", format!("{}, {} new", counted(figures.samples), counted(figures.new_samples)));
    page.field("Drift", figures.drift.map(decimal).unwrap_or_default());
    page.field(
        "Hard",
        figures.hard_share.map(|share| format!("{} of samples", percent(share))).unwrap_or_default(),
    );
    if let Some(rollback) = &report.rollback {
        let version = rollback.version.map(|version| format!("to version {version}: ")).unwrap_or_default();
        let reason =
            if rollback.reason.is_empty() { String::new() } else { format!(" ({})", rollback.reason) };
        page.field("Rollback", format!("{version}{}{reason}", rollback.state.word()));
    }
}

fn spec(page: &mut Page, job: &IncrementalLearningJob) {
    let spec = &job.spec;
    let pins = job.status.as_ref().and_then(|status| status.pinned.as_ref());
    let digest = |pin: Option<&PinnedArtifact>| {
        let short = |pin: &PinnedArtifact| screen::styled(&format!(" ({})", pin.digest.short()), screen::DIM);
        pin.map(short).unwrap_or_default()
    };
    let place = |dataset: &str, node: Option<&str>| match node {
        Some(node) => format!("{dataset} on node {node}"),
        None => dataset.to_owned(),
    };
    page.section("Job");
    page.field("  Model", format!("{}{}", spec.model, digest(pins.map(|pins| &pins.model))));
    page.field("  Training", format!("{}{}", spec.train.plugin, digest(pins.map(|pins| &pins.trainer))));
    page.field("    with", pairs(Some(&spec.train.parameters)));
    page.field("    on", place(&spec.dataset, pins.map(|pins| pins.train.node.as_str())));
    page.field("    when", trigger(&spec.train.trigger));
    if let Some(replay) = spec.train.replay {
        let most = counted(replay.reservoir.into());
        page.field("    replays", format!("{} of its rows, at most {most}", percent(replay.share)));
    }
    if let Some(drift) = &spec.train.drift {
        page.field("    drift", [drift.detector.word(), &pairs(Some(&drift.parameters))].join(" ").trim());
    }
    page.field(
        "  Evaluation",
        format!("{}{}", spec.evaluate.plugin, digest(pins.map(|pins| &pins.evaluator))),
    );
    page.field("    with", pairs(Some(&spec.evaluate.parameters)));
    if let Some(dataset) = &spec.evaluate.dataset {
        page.field("    on", place(dataset, pins.map(|pins| pins.evaluate.node.as_str())));
    }
    page.field("  Deploys", trigger(&spec.evaluate.trigger));
    page.field("  Keeps", format!("{} versions", spec.keep.versions));
}

/// A trigger in a line.
fn trigger(trigger: &TriggerSpec) -> String {
    let test = match (&trigger.expression, &trigger.condition) {
        (Some(expression), _) => expression.clone(),
        (None, Some(condition)) => {
            let operator = serde_json::to_value(condition.operator).ok();
            let operator = operator.as_ref().and_then(|operator| operator.as_str()).unwrap_or_default();
            format!("{} {operator} {}", condition.metric, decimal(condition.threshold))
        }
        (None, None) => String::new(),
    };
    let window = trigger.window.as_ref().map(|w| format!("from {} to {} {}", w.from, w.to, w.time_zone));
    let cool_down = trigger.cool_down.map(|cool_down| format!("not within {cool_down}"));
    [Some(test), window, cool_down].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The stages of the round in progress.
fn stages(page: &mut Page, report: &LearningReport) {
    let Some(round) = &report.current else { return };
    let mut table = Table::new(["STAGE", "STATE", "SINCE", "FAILED", "WHY"]);
    for (name, stage) in [("train", &round.train), ("evaluate", &round.evaluate), ("deploy", &round.deploy)] {
        let since = stage.since.as_ref().map(|since| age::since(since.0, page.now)).unwrap_or_default();
        let failures = if stage.failures > 0 { stage.failures.to_string() } else { String::new() };
        table.row(vec![
            Cell::new(name).style(screen::PLAIN),
            Cell::new(stage.state.word()),
            Cell::new(since).style(screen::DIM),
            Cell::number(failures),
            Cell::new(&stage.reason),
        ]);
    }
    let data = lineage::data(&round.data);
    page.table(&format!("Round {} ({}; {data})", round.number, round.why), table);
}

fn rounds(page: &mut Page, report: &LearningReport) {
    let mut table =
        Table::new(["ROUND", "OUTCOME", "VERSION", "DATA", "ENDED", "WHY IT BEGAN", "WHY IT ENDED SO"]);
    for round in report.rounds.iter().rev().take(ROUNDS) {
        let ended = round.ended_at.as_ref().map(|at| age::since(at.0, page.now)).unwrap_or_default();
        table.row(vec![
            Cell::number(round.number.to_string()),
            Cell::new(round.outcome.map(|outcome| outcome.word()).unwrap_or_default()),
            Cell::number(round.candidate.map(|candidate| candidate.to_string()).unwrap_or_default()),
            Cell::new(lineage::data(&round.data)),
            Cell::new(ended).style(screen::DIM),
            Cell::new(&round.why),
            Cell::new(end(round)),
        ]);
    }
    page.table("Rounds", table);
}

/// Why a round ended as it did: the words of the stage that it ended in.
fn end(round: &LearningRound) -> &str {
    let stages = [&round.train, &round.evaluate, &round.deploy];
    let last = stages.into_iter().find(|stage| stage.state.word() != "Completed").unwrap_or(&round.deploy);
    &last.reason
}

fn percent(share: f64) -> String {
    format!("{} %", decimal(share * 100.0))
}
