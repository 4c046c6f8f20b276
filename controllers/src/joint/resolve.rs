//! What a spec's names mean now: in goes what is observed, out comes the revision to pin, or the first thing that
//! it has to wait for. Called by `rollout` when a spec is to be taken up.

use sedge_api::ArtifactRef;
use sedge_api::resources::{PinnedRevision, PinnedSide, Role};

use super::Observed;
use crate::jobs::{Unmet, find_model, find_plugin, parse_selector};

/// The spec of `observed`, pinned as `revision`.
pub(super) fn resolve(observed: &Observed, revision: u64) -> Result<PinnedRevision, Unmet> {
    let spec = &observed.service.spec;
    validate(observed)?;
    let edge = side(observed, &spec.edge.plugin, spec.edge.model.as_ref())?;
    let cloud = match &spec.cloud {
        Some(cloud) => Some(side(observed, &cloud.plugin, cloud.model.as_ref())?),
        None => None,
    };
    let miner = match spec.hard_example_mining.as_ref().and_then(|mining| mining.plugin.as_ref()) {
        Some(plugin) => Some(find_plugin(&observed.plugins, plugin, Role::Miner)?),
        None => None,
    };
    Ok(PinnedRevision { revision, edge, cloud, miner, spec: spec.clone() })
}

/// What the schema cannot say, or a cluster whose schema is older did not.
pub(super) fn validate(observed: &Observed) -> Result<(), Unmet> {
    let spec = &observed.service.spec;
    if let Some(problem) = spec.problems().first() {
        return Err(Unmet::new("InvalidSpec", problem.to_string()));
    }
    if let Some(selector) = &spec.edge.nodes.selector {
        parse_selector("edge.nodes.selector", selector)?;
    }
    if let Some(selector) = spec.cloud.as_ref().and_then(|cloud| cloud.nodes.selector.as_ref()) {
        parse_selector("cloud.nodes.selector", selector)?;
    }
    Ok(())
}

fn side(observed: &Observed, plugin: &ArtifactRef, model: Option<&ArtifactRef>) -> Result<PinnedSide, Unmet> {
    let plugin = find_plugin(&observed.plugins, plugin, Role::Inferencer)?;
    let (model, engines) = match model {
        Some(model) => {
            let (model, engines) = find_model(&observed.models, model)?;
            (Some(model), engines)
        }
        None => (None, Default::default()),
    };
    Ok(PinnedSide { plugin, model, engines })
}
