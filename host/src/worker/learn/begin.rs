//! The beginning of a learner: what it needs is fetched and waited for, and what the job has come to is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use cap_std::fs::Dir;
use jiff::Timestamp;
use sedge_api::node;
use sedge_learning::{Figures, MOST_SOURCES, Rounds};
use tokio_util::sync::CancellationToken;

use super::{HOST_ERROR, Learner, TRAIN, parse, work};
use crate::learning::{Record, Sources};
use crate::model::Model;
use crate::worker::definition::{Definition, is_uid};
use crate::worker::run::datasets;
use crate::worker::{Context, Ended, Reporter, fetch};

impl<'a> Learner<'a> {
    /// Fetch, wait for the dataset, and read what the job has come to.
    pub(super) async fn begin(
        context: &'a Context,
        worker: node::Worker,
        reporter: &Reporter,
        cancel: &CancellationToken,
    ) -> Result<Self, Ended> {
        let (definition, task) = parse(&worker)?;
        let pending = |reason: &str, message: &str| reporter.pending(reason, message);
        let (component, model) = fetch::all(context, &definition, reporter, &pending).await?;
        let (Some(model), Some(first)) = (model, definition.model.clone()) else {
            return Err(Ended::failed("InvalidDefinition", "a learner needs a model to begin with"));
        };
        let mut changes = context.shelf.watch();
        let dataset = loop {
            changes.mark_unchanged();
            match datasets(context, &definition.datasets).map(|mut found| found.remove(TRAIN)) {
                Ok(Some(dataset)) => break dataset,
                Ok(None) => {
                    let message = format!("a learner is granted one dataset as `{TRAIN}`");
                    return Err(Ended::failed("InvalidDefinition", message));
                }
                Err((reason, message)) => reporter.pending(reason, &message),
            }
            if changes.changed().await.is_err() || cancel.is_cancelled() {
                return Err(Ended::Cancelled);
            }
        };
        let (folder, record) = read(context, &definition, &model).await?;
        let plugin = definition.plugin.digest;
        let mut learner = Self {
            context,
            reporter: reporter.clone(),
            folder,
            record,
            written: 0,
            worker,
            definition,
            task,
            component,
            plugin,
            first,
            model,
            sources: Arc::new(Sources::of(&dataset, MOST_SOURCES)),
            dataset,
            drift: None,
            errors: None,
            figures: Figures::default(),
            said: None,
        };
        learner.recognise().await;
        learner.interrupted();
        Ok(learner)
    }
}

/// What the job has come to; of a job that has not begun, its beginning.
async fn read(
    context: &Context,
    definition: &Definition,
    model: &Arc<Model>,
) -> Result<(Arc<Dir>, Record), Ended> {
    let (records, job, model) = (Arc::clone(&context.records), definition.job_uid.clone(), Arc::clone(model));
    let read = tokio::task::spawn_blocking(move || {
        if !is_uid(&job) {
            return Err(Ended::failed("InvalidDefinition", "its job's uid is not one"));
        }
        let failed = |error: crate::learning::RecordError| Ended::failed("InvalidState", error.to_string());
        let folder = Record::folder(&records, &job).map_err(failed)?;
        let record = match Record::read(&folder, &job).map_err(failed)? {
            Some(record) => record,
            None => {
                let weights = model.weights.as_ref().ok_or_else(|| {
                    Ended::failed("ModelWithoutWeights", "the job's model has no weights to begin with")
                })?;
                let digest = work::digest_of(weights);
                // The same job draws the same earlier rows, on any node.
                let seed = job.bytes().fold(0_u64, |seed, byte| {
                    seed.rotate_left(8).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(byte)
                });
                Record { rounds: Rounds::begin(digest, seed, Timestamp::now()), models: BTreeMap::new() }
            }
        };
        Ok((Arc::new(folder), record))
    });
    read.await.unwrap_or_else(|error| Err(Ended::failed(HOST_ERROR, error.to_string())))
}
