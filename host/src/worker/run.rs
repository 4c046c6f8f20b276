//! One worker from its definition to its end: fetch, load, grant, then play its part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cap_std::fs::Dir;
use tokio_util::sync::CancellationToken;

use super::definition::{Definition, Part, Participation};
use super::shelf::Copy;
use super::{Ended, Reporter, Shelf, fetch};
use crate::artifacts::Artifacts;
use crate::data::Dataset;
use crate::federation::aggregation::{Aggregation, Task};
use crate::federation::participant::{Participant, Work};
use crate::federation::{Door, Federation, Seats};
use crate::learning::Deployments;
use crate::model::Model;
use crate::runtime::{Aggregator, Component, Evaluator, Grants, Runtime, Trainer};
use crate::serving::Services;

/// What all workers of a node share.
pub(crate) struct Context {
    pub(crate) node: String,
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) runtime: Runtime,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) federation: Federation,
    pub(crate) services: Services,
    pub(crate) deployments: Arc<Deployments>,
    /// The node's data directory, below which records of rounds are.
    pub(crate) records: Arc<Dir>,
}

/// What a worker that ended well leaves behind.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Success {
    /// Of an aggregator: the resulting model's manifest.
    pub(super) result_digest: String,
}

/// Run a worker to its end.
pub(super) async fn run(
    context: &Context,
    definition: &Definition,
    folder: Arc<Dir>,
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Success, Ended> {
    let prepared = tokio::select! {
        () = cancel.cancelled() => return Err(Ended::Cancelled),
        prepared = prepare(context, definition, &reporter) => prepared?,
    };
    let grants = Grants {
        parameters: definition.parameters.clone(),
        datasets: prepared.datasets,
        model: prepared.model.clone(),
        memory_bytes: definition.memory_bytes,
        call: definition.call,
        observer: Arc::new(reporter.clone()),
        cancel: cancel.clone(),
    };
    let (runtime, component) = (&context.runtime, &prepared.component);
    match &definition.part {
        Part::Train(task) => {
            let work = Work::Train(Trainer::new(runtime, component, grants)?);
            participate(context, definition, task, work, reporter, cancel).await
        }
        Part::Evaluate(task) => {
            let work = Work::Evaluate(Evaluator::new(runtime, component, grants)?);
            participate(context, definition, task, work, reporter, cancel).await
        }
        Part::Serve(_) | Part::Learn(_) | Part::Assess(_) => {
            Err(Ended::failed("HostError", "a worker that takes up definitions is not run to an end"))
        }
        Part::Aggregate(task) => {
            let aggregator = Aggregator::new(runtime, component, grants)?;
            aggregate(context, definition, task, aggregator, prepared.model, folder, reporter, cancel).await
        }
    }
}

struct Prepared {
    component: Component,
    model: Option<Arc<Model>>,
    datasets: BTreeMap<String, Arc<Dataset>>,
}

async fn prepare(context: &Context, definition: &Definition, reporter: &Reporter) -> Result<Prepared, Ended> {
    let pending = |reason: &str, message: &str| reporter.pending(reason, message);
    let (component, model) = fetch::all(context, definition, reporter, &pending).await?;
    let mut changes = context.shelf.watch();
    let datasets = loop {
        changes.mark_unchanged();
        match datasets(context, &definition.datasets) {
            Ok(datasets) => break datasets,
            Err((reason, message)) => reporter.pending(reason, &message),
        }
        if changes.changed().await.is_err() {
            return Err(Ended::Cancelled);
        }
    };
    Ok(Prepared { component, model, datasets })
}

/// All datasets granted, or why one is not there.
pub(super) fn datasets(
    context: &Context,
    granted: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Arc<Dataset>>, (&'static str, String)> {
    let mut found = BTreeMap::new();
    for (name, key) in granted {
        match context.shelf.find(key) {
            Some(Copy::Ready(dataset)) => {
                found.insert(name.clone(), dataset);
            }
            Some(Copy::Opening) => return Err(("OpeningDataset", key.clone())),
            Some(Copy::Failed("NotFound", message)) => {
                return Err(("DatasetNotFound", format!("{key}: {message}")));
            }
            Some(Copy::Failed(_, message)) => return Err(("DatasetNotReady", format!("{key}: {message}"))),
            None => return Err(("DatasetNotFound", format!("{key} is not a dataset of this node"))),
        }
    }
    Ok(found)
}

async fn participate(
    context: &Context,
    definition: &Definition,
    task: &Participation,
    work: Work,
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Success, Ended> {
    reporter.running();
    if task.endpoint.is_empty() {
        reporter.update(|status| {
            status.reason = "WaitingForAggregator".to_owned();
            status.message = "the aggregating node is not known yet".to_owned();
        });
        // Once it is known the definition is another, and this worker is begun anew.
        cancel.cancelled().await;
        return Err(Ended::Cancelled);
    }
    let participant = Participant {
        work,
        endpoint: task.endpoint.clone(),
        token: task.token.clone(),
        job_uid: definition.job_uid.clone(),
        worker: definition.name.clone(),
        node: context.node.clone(),
        memory_bytes: definition.memory_bytes,
        reporter,
        cancel,
    };
    participant.run().await.map(|()| Success::default())
}

#[allow(clippy::too_many_arguments, reason = "called once, and each has a name of its own")]
async fn aggregate(
    context: &Context,
    definition: &Definition,
    task: &Task,
    aggregator: Aggregator,
    model: Option<Arc<Model>>,
    folder: Arc<Dir>,
    reporter: Reporter,
    cancel: CancellationToken,
) -> Result<Success, Ended> {
    let weights = model.and_then(|model| model.weights.clone());
    let (Some(weights), Some(base)) = (weights, definition.model.clone()) else {
        return Err(Ended::failed("ModelWithoutWeights", "the job's model has no weights to begin with"));
    };
    reporter.running();
    let (door, guests) = Door::open();
    let set = |door| context.federation.set(&definition.job_uid, &definition.uid, &task.token, door);
    set(door);
    let aggregation = Aggregation {
        task: task.clone(),
        aggregator,
        folder,
        reporter,
        artifacts: Arc::clone(&context.artifacts),
        base,
        cancel,
        seats: Seats::new(guests, task.trainers.clone(), task.evaluators.clone()),
        absent: BTreeSet::new(),
    };
    let led = aggregation.lead(weights).await;
    match &led {
        Ok((rounds, _)) => set(Door::Finished { rounds: *rounds }),
        Err(Ended::Failed { message, .. }) => set(Door::Failed(message.clone())),
        Err(Ended::Cancelled) => context.federation.close(&definition.job_uid, &definition.uid),
    }
    led.map(|(_, result_digest)| Success { result_digest })
}
