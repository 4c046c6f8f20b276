//! What a spec's names mean: in goes what is observed, out comes what is pinned, or the first thing that the job has to
//! wait for. Called by `decide` as long as the spec is not what was taken up last.

use kube::ResourceExt as _;
use sedge_api::resources::{DriftSubject, PinnedLearning, Role, ServingSide};

use super::Observed;
use crate::jobs::{Unmet, find_dataset, find_model, find_plugin, parse_selector};

/// The spec of `observed`, pinned; `before` is what was pinned of an earlier one.
pub(super) fn resolve(observed: &Observed, before: Option<&PinnedLearning>) -> Result<PinnedLearning, Unmet> {
    let spec = &observed.job.spec;
    if let Some(problem) = spec.problems().first() {
        return Err(Unmet::new("InvalidSpec", problem.to_string()));
    }
    let trainer = find_plugin(&observed.plugins, &spec.train.plugin, Role::Trainer)?;
    let evaluator = find_plugin(&observed.plugins, &spec.evaluate.plugin, Role::Evaluator)?;
    let measured_on = spec.evaluate.dataset.as_ref().unwrap_or(&spec.dataset);
    let (model, engines, train, evaluate) = match before {
        Some(before) => {
            let stays = [
                ("model", before.spec.model.to_string(), spec.model.to_string()),
                ("dataset", before.spec.dataset.clone(), spec.dataset.clone()),
                ("evaluate.dataset", before.evaluate.dataset.clone(), measured_on.clone()),
            ];
            if let Some((field, was, is)) = stays.into_iter().find(|(_, was, is)| was != is) {
                let message = format!(
                    "spec.{field} was `{was}` when the job began, and stays so: for `{is}`, make a job of another name"
                );
                return Err(Unmet::new("CannotChange", message));
            }
            (before.model.clone(), before.engines.clone(), before.train.clone(), before.evaluate.clone())
        }
        None => {
            let (model, engines) = find_model(&observed.models, &spec.model)?;
            let dataset = |name: &str| find_dataset(&observed.datasets, &observed.nodes, name);
            (model, engines, dataset(&spec.dataset)?, dataset(measured_on)?)
        }
    };
    if train.node != evaluate.node
        && spec.train.drift.as_ref().is_some_and(|drift| drift.on == DriftSubject::Errors)
    {
        let message = format!(
            "drift on errors is measured on node `{}`, which trains, and what measures is on node `{}`, where dataset `{}` \
             is: leave out spec.evaluate.dataset, or detect drift on features",
            train.node, evaluate.node, evaluate.dataset
        );
        return Err(Unmet::new("DriftNotMeasurable", message));
    }
    deployment(observed)?;
    Ok(PinnedLearning { model, engines, trainer, evaluator, train, evaluate, spec: spec.clone() })
}

/// Whether there is what versions are deployed to.
fn deployment(observed: &Observed) -> Result<(), Unmet> {
    let deploy = &observed.job.spec.deploy;
    if let Some(own) = &deploy.inferencer {
        find_plugin(&observed.plugins, &own.plugin, Role::Inferencer)?;
        if let Some(plugin) = own.hard_example_mining.as_ref().and_then(|mining| mining.plugin.as_ref()) {
            find_plugin(&observed.plugins, plugin, Role::Miner)?;
        }
        if let Some(selector) = &own.nodes.selector {
            parse_selector("deploy.inferencer.nodes.selector", selector)?;
        }
    }
    if let Some(target) = &deploy.service {
        let service = observed.services.iter().find(|service| service.name_any() == target.name);
        let service = service.ok_or_else(|| {
            Unmet::new("ServiceNotFound", format!("service `{}` is not there", target.name))
        })?;
        if target.side == ServingSide::Cloud && service.spec.cloud.is_none() {
            let message = format!("service `{}` has no cloud, whose model is to be changed", target.name);
            return Err(Unmet::new("ServiceHasNoCloud", message));
        }
    }
    Ok(())
}
