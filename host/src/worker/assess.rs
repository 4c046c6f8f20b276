//! The assessor of an incremental learning job whose data to measure on lies on another node than its learner: it measures
//! what each new definition says, once, until it is no longer wanted.

use sedge_api::node;
use sedge_learning::{Evaluated, Metrics};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::definition::{Definition, Part};
use super::measure::Measure;
use super::run::{Success, datasets};
use super::{Context, Ended, Reporter, fetch};
use crate::learning::{AssessTask, EvaluatorTask};

/// Measure what `wanted` says until `cancel`.
pub(super) async fn assess(
    context: &Context,
    mut wanted: watch::Receiver<node::Worker>,
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Success, Ended> {
    let mut done = None;
    loop {
        let worker = wanted.borrow_and_update().clone();
        let definition = Definition::parse(&worker).map_err(|why| Ended::failed("InvalidDefinition", why))?;
        let Part::Assess(task) = &definition.part else {
            return Err(Ended::failed("InvalidDefinition", "it is not the definition of an assessor"));
        };
        let task = (**task).clone();
        let which = (task.round, task.attempt);
        if done != Some(which) {
            tokio::select! {
                () = cancel.cancelled() => return Err(Ended::Cancelled),
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return Err(Ended::Cancelled);
                    }
                    continue;
                }
                measured = measure(context, definition, &task, &reporter, cancel.child_token()) => {
                    let said = said(&task, measured?);
                    reporter.update(|status| status.assessment = Some(said));
                    done = Some(which);
                }
            }
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(Ended::Cancelled),
            changed = wanted.changed() => if changed.is_err() { return Err(Ended::Cancelled) },
        }
    }
}

/// Err: it is ended, or can do nothing at all. The inner one is why this assessment failed, which the learner is told.
async fn measure(
    context: &Context,
    definition: Definition,
    task: &AssessTask,
    reporter: &Reporter,
    cancel: CancellationToken,
) -> Result<Result<Evaluated, String>, Ended> {
    // Dropped, it ends the call that is under way.
    let _guard = cancel.clone().drop_guard();
    let pending = |reason: &str, message: &str| reporter.pending(reason, message);
    let (_, model) = fetch::all(context, &definition, reporter, &pending).await?;
    let Some(model) = model else {
        return Err(Ended::failed(
            "InvalidDefinition",
            "an assessor needs the model that the job began with",
        ));
    };
    let mut changes = context.shelf.watch();
    loop {
        changes.mark_unchanged();
        match datasets(context, &definition.datasets) {
            Ok(_) => break,
            Err((reason, message)) => reporter.pending(reason, &message),
        }
        if changes.changed().await.is_err() {
            return Err(Ended::Cancelled);
        }
    }
    reporter.running();
    let evaluator = EvaluatorTask {
        plugin: definition.plugin.clone(),
        parameters: definition.parameters.clone(),
        datasets: definition.datasets.clone(),
        memory_bytes: definition.memory_bytes,
        call: definition.call,
    };
    let measure = Measure { context, definition, evaluator, model, reporter: reporter.clone(), cancel };
    match measure.both(&task.candidate, &task.deployed, &task.earlier).await {
        Ok(measured) => Ok(Ok(measured)),
        Err(Ended::Cancelled) => Err(Ended::Cancelled),
        Err(Ended::Failed { reason, message }) => Ok(Err(format!("{reason}: {message}"))),
    }
}

fn said(task: &AssessTask, measured: Result<Evaluated, String>) -> node::AssessmentStatus {
    let (round, attempt) = (task.round, task.attempt);
    let measured = match measured {
        Ok(measured) => measured,
        Err(failure) => return node::AssessmentStatus { round, attempt, failure, ..Default::default() },
    };
    let metrics = |metrics: &Metrics| -> Vec<node::Metric> {
        metrics.iter().map(|(name, value)| node::Metric { name: name.to_owned(), value }).collect()
    };
    node::AssessmentStatus {
        round,
        attempt,
        failure: String::new(),
        candidate: metrics(&measured.candidate),
        deployed: metrics(&measured.deployed),
        candidate_earlier: metrics(&measured.candidate_earlier),
        deployed_earlier: metrics(&measured.deployed_earlier),
        samples: measured.samples,
        rows: measured.rows.iter().map(|(source, rows)| (source.to_owned(), rows)).collect(),
        evaluator_digest: measured.evaluator.map(|digest| digest.to_string()).unwrap_or_default(),
    }
}
