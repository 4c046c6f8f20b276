//! What a job's names and selectors mean now: in goes what is observed, out comes what the job is to pin,
//! or the first thing that it has to wait for. Called by `decide` until the job has begun.

use std::collections::BTreeSet;

use kube::ResourceExt as _;
use kube::core::SelectorExt as _;
use sedge_api::resources::{EdgeNode, NodeRole, PinnedDataset, PinnedInputs, Role};

use super::Observed;
use crate::jobs::{
    Unmet, find_dataset, find_model, find_plugin, in_touch, node_labels, parse_selector, spread,
};

/// Everything that the job of `observed` names, pinned.
pub(super) fn resolve(observed: &Observed) -> Result<PinnedInputs, Unmet> {
    let spec = &observed.job.spec;
    validate(observed)?;
    let (model, engines) = find_model(&observed.models, &spec.model)?;
    let aggregation = find_plugin(&observed.plugins, &spec.aggregation.plugin, Role::Aggregator)?;
    let training = find_plugin(&observed.plugins, &spec.training.plugin, Role::Trainer)?;
    let trainers = training_datasets(observed)?;
    let (evaluation, evaluator) = match &spec.evaluation {
        Some(evaluation) => (
            Some(find_plugin(&observed.plugins, &evaluation.plugin, Role::Evaluator)?),
            Some(dataset(observed, &evaluation.dataset)?),
        ),
        None => (None, None),
    };
    let aggregator = aggregating_node(observed)?;
    Ok(PinnedInputs {
        model,
        engines,
        aggregation,
        training,
        evaluation,
        aggregator,
        trainers,
        evaluator,
        spec: spec.clone(),
    })
}

/// What the schema cannot say, or a cluster whose schema is older did not.
fn validate(observed: &Observed) -> Result<(), Unmet> {
    let spec = &observed.job.spec;
    let invalid = |field: &str, why: &str| Err(Unmet::new("InvalidSpec", format!("spec.{field} {why}")));
    let participants = spec.aggregation.participants;
    // Written so that NaN is refused too.
    if !(participants.fraction > 0.0 && participants.fraction <= 1.0) {
        return invalid("aggregation.participants.fraction", "must be above 0 and at most 1");
    }
    if participants.minimum == 0 {
        return invalid("aggregation.participants.minimum", "must be at least 1");
    }
    if spec.aggregation.rounds == 0 {
        return invalid("aggregation.rounds", "must be at least 1");
    }
    if spec.stop.as_ref().is_some_and(|stop| !stop.threshold.is_finite()) {
        return invalid("stop.threshold", "must be a finite number");
    }
    let datasets = &spec.training.datasets;
    if datasets.names.is_empty() && datasets.selector.is_none() {
        return invalid("training.datasets", "must have `names` or a `selector`");
    }
    Ok(())
}

fn training_datasets(observed: &Observed) -> Result<Vec<PinnedDataset>, Unmet> {
    let selection = &observed.job.spec.training.datasets;
    let mut names: BTreeSet<String> = selection.names.iter().cloned().collect();
    if let Some(selector) = &selection.selector {
        let selector = parse_selector("training.datasets.selector", selector)?;
        let matching = observed.datasets.iter().filter(|dataset| selector.matches(dataset.labels()));
        names.extend(matching.map(|dataset| dataset.name_any()));
        if names.is_empty() {
            return Err(Unmet::new(
                "NoDatasetMatches",
                "no Dataset has the labels of spec.training.datasets.selector",
            ));
        }
    }
    let places = names.iter().map(|name| dataset(observed, name)).collect::<Result<Vec<_>, _>>()?;
    let minimum = observed.job.spec.aggregation.participants.minimum;
    if places.len() < minimum as usize {
        return Err(Unmet::new(
            "TooFewDatasets",
            format!(
                "{} datasets to train on, and at least {minimum} participants are asked for",
                places.len()
            ),
        ));
    }
    Ok(places)
}

fn dataset(observed: &Observed, name: &str) -> Result<PinnedDataset, Unmet> {
    find_dataset(&observed.datasets, &observed.nodes, name)
}

/// The node to aggregate on. Jobs spread over the nodes that may: each goes where its uid hashes highest.
fn aggregating_node(observed: &Observed) -> Result<String, Unmet> {
    let selector = match &observed.job.spec.aggregation.node_selector {
        Some(selector) => Some(parse_selector("aggregation.nodeSelector", selector)?),
        None => None,
    };
    let uid = observed.job.metadata.uid.clone().unwrap_or_default();
    let may = |node: &&EdgeNode| match &selector {
        Some(selector) => selector.matches(&node_labels(node)),
        None => node.spec.role == NodeRole::Cloud,
    };
    let can = |node: &&EdgeNode| {
        let status = node.status.clone().unwrap_or_default();
        !node.spec.unschedulable && in_touch(node) && status.federation_endpoint.is_some()
    };
    let candidates = observed.nodes.iter().filter(may).filter(can).map(|node| node.name_any());
    spread(&uid, candidates).ok_or_else(|| match &selector {
        None => Unmet::new("NoCloudNode", "no node of role cloud is ready to aggregate"),
        Some(_) => Unmet::new(
            "NoNodeMatches",
            "no node that spec.aggregation.nodeSelector matches is ready to aggregate",
        ),
    })
}
