//! Measuring two versions of a model on the same data, and on what earlier measurements saw; or one on parts of a dataset. Called
//! by learners, and by assessors where that is another node's part.

use std::collections::BTreeMap;
use std::sync::Arc;

use sedge_learning::{Evaluated, MOST_SOURCES, Metrics, Rows};
use tokio_util::sync::CancellationToken;

use super::definition::Definition;
use super::run::datasets;
use super::{Context, Ended, Reporter, fetch};
use crate::artifacts::{Artifact, ArtifactError};
use crate::data::{Dataset, Split};
use crate::learning::{EvaluatorTask, Sources};
use crate::model::{Model, Weights};
use crate::runtime::{Component, Evaluator, Grants, Report};

/// Who measures.
pub(super) struct Measure<'a> {
    pub context: &'a Context,
    /// Of the Worker: how the model's graphs are computed.
    pub definition: Definition,
    pub evaluator: EvaluatorTask,
    /// The model whose graphs all versions have.
    pub model: Arc<Model>,
    pub reporter: Reporter,
    pub cancel: CancellationToken,
}

/// Prefix of metrics on rows that no measurement before had.
const RECENT: &str = "recent.";

type Datasets = BTreeMap<String, Arc<Dataset>>;

impl Measure<'_> {
    /// Both versions on all of the data, on the rows before `earlier`, and on those since: their metrics have the prefix
    /// `recent.` among the others, so that a trigger may look at what the world is like now.
    pub async fn both(
        &self,
        candidate: &Artifact,
        deployed: &Artifact,
        earlier: &Rows,
    ) -> Result<Evaluated, Ended> {
        let found = self.datasets().await?;
        let component = fetch::component(self.context, &self.evaluator.plugin, &|_, _| {}).await?;
        let weights = [
            weights_of(self.context, &self.definition, candidate).await?,
            weights_of(self.context, &self.definition, deployed).await?,
        ];
        let on = |datasets: Datasets| self.on(&component, &weights, datasets);
        let Cut { rows, old, recent } = Cut::of(&found, earlier);
        let [candidate, deployed] = on(found).await?;
        let mut measured = Evaluated {
            samples: candidate.samples,
            candidate: metrics(candidate),
            deployed: metrics(deployed),
            rows,
            evaluator: self.evaluator.plugin.digest.to_string().parse().ok(),
            ..Evaluated::default()
        };
        // Where the split holds none of them out there is nothing to measure, which is no failure.
        let has_any = |datasets: &Datasets| {
            !datasets.is_empty() && datasets.values().all(|dataset| dataset.size(Split::Test) > 0)
        };
        if has_any(&old) {
            let [candidate, deployed] = on(old).await?;
            (measured.candidate_earlier, measured.deployed_earlier) = (metrics(candidate), metrics(deployed));
        }
        if has_any(&recent) {
            let [candidate, deployed] = on(recent).await?;
            measured.candidate = with_recent(measured.candidate, candidate);
            measured.deployed = with_recent(measured.deployed, deployed);
        }
        Ok(measured)
    }

    /// Once they are there: after a start they are read anew, which is no failure of the round.
    async fn datasets(&self) -> Result<Datasets, Ended> {
        let mut changes = self.context.shelf.watch();
        let mut said = String::new();
        loop {
            changes.mark_unchanged();
            match datasets(self.context, &self.evaluator.datasets) {
                Ok(found) => return Ok(found),
                Err((reason, message)) => {
                    let why = format!("the measurement waits: {reason}: {message}");
                    if why != said {
                        self.reporter.line(&why);
                        said = why;
                    }
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => return Err(Ended::Cancelled),
                changed = changes.changed() => if changed.is_err() { return Err(Ended::Cancelled) },
            }
        }
    }

    /// A version on each of these, in place of what the evaluator is granted.
    pub async fn each(&self, version: &Artifact, parts: Vec<Arc<Dataset>>) -> Result<Vec<Report>, Ended> {
        let component = fetch::component(self.context, &self.evaluator.plugin, &|_, _| {}).await?;
        let weights = weights_of(self.context, &self.definition, version).await?;
        let mut reports = Vec::new();
        for part in parts {
            let names = self.evaluator.datasets.keys();
            let datasets = names.map(|name| (name.clone(), Arc::clone(&part))).collect();
            reports.push(self.evaluator(&component, datasets)?.evaluate(weights.clone()).await?);
        }
        Ok(reports)
    }

    async fn on(
        &self,
        component: &Component,
        [candidate, deployed]: &[Weights; 2],
        datasets: Datasets,
    ) -> Result<[Report; 2], Ended> {
        let evaluator = self.evaluator(component, datasets)?;
        Ok([evaluator.evaluate(candidate.clone()).await?, evaluator.evaluate(deployed.clone()).await?])
    }

    fn evaluator(&self, component: &Component, datasets: Datasets) -> Result<Evaluator, Ended> {
        let grants = Grants {
            parameters: self.evaluator.parameters.clone(),
            datasets,
            model: Some(Arc::clone(&self.model)),
            memory_bytes: self.evaluator.memory_bytes,
            call: self.evaluator.call,
            observer: Arc::new(self.reporter.clone()),
            cancel: self.cancel.clone(),
        };
        Ok(Evaluator::new(&self.context.runtime, component, grants)?)
    }
}

fn metrics(report: Report) -> Metrics {
    report.metrics.into_iter().map(|metric| (metric.name, metric.value)).collect()
}

/// What was measured on all rows, and beside it what was on recent ones.
fn with_recent(all: Metrics, recent: Report) -> Metrics {
    let all = all.iter().map(|(name, value)| (name.to_owned(), value));
    let recent = recent.metrics.into_iter().map(|metric| (format!("{RECENT}{}", metric.name), metric.value));
    all.chain(recent).collect()
}

/// Datasets, cut where earlier measurements ended.
struct Cut {
    /// How many rows each source has. Where there are several datasets, a source is named by its dataset too.
    rows: Rows,
    /// The rows before.
    old: Datasets,
    /// Those since.
    recent: Datasets,
}

impl Cut {
    fn of(datasets: &Datasets, earlier: &Rows) -> Self {
        let several = datasets.len() > 1;
        let named = |dataset: &str, source: &str| match (several, source) {
            (false, _) => source.to_owned(),
            (true, "") => dataset.to_owned(),
            (true, _) => format!("{dataset}/{source}"),
        };
        let mut rows = BTreeMap::new();
        let (mut old, mut recent) = (Datasets::new(), Datasets::new());
        for (name, dataset) in datasets {
            let sources = Sources::of(dataset, MOST_SOURCES / datasets.len());
            let now = sources.rows();
            rows.extend(now.iter().map(|(source, rows)| (named(name, source), rows)));
            let ends = now.iter().map(|(source, _)| (source, 0..earlier.of(&named(name, source))));
            let mut before = sources.select(ends);
            before.sort_unstable();
            let part = |is_old: bool| {
                let of = |split| {
                    let rows = dataset.rows(split);
                    rows.iter().copied().filter(|row| before.binary_search(row).is_ok() == is_old).collect()
                };
                dataset.part(of(Split::Train), of(Split::Test))
            };
            old.insert(name.clone(), part(true));
            recent.insert(name.clone(), part(false));
        }
        // Names too long to be kept: there is nothing that later measurements could tell apart.
        Self { rows: Rows::try_from(rows).unwrap_or_default(), old, recent }
    }
}

/// The weights of a version.
pub(super) async fn weights_of(
    context: &Context,
    definition: &Definition,
    model: &Artifact,
) -> Result<Weights, Ended> {
    let silent = |_: &ArtifactError| {};
    let loaded = context.artifacts.model(model, context.runtime.graphs(), &definition.options, &silent).await;
    let loaded = loaded.map_err(|error| Ended::failed(error.reason(), error.to_string()))?;
    loaded
        .weights
        .ok_or_else(|| Ended::failed("ModelWithoutWeights", format!("{} has no weights", model.repository)))
}
