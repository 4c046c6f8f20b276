//! What names and selectors mean now: in goes what is observed, out comes what is to be pinned, or what is
//! missing. Called by each kind's own `resolve`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::core::Selector;
use kube::{Resource, ResourceExt as _};
use sedge_api::resources::{
    Dataset, EdgeNode, Model, ModelEngines, PinnedArtifact, PinnedDataset, Plugin, Role, is_true,
};
use sedge_api::{ArtifactRef, Digest};

/// What a job waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unmet {
    /// One CamelCase word, the reason of the condition `Accepted`.
    pub reason: &'static str,
    /// What is missing, by name.
    pub message: String,
}

impl Unmet {
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The model called `reference` and how its graphs are computed.
pub(crate) fn find_model(
    models: &[Model],
    reference: &ArtifactRef,
) -> Result<(PinnedArtifact, ModelEngines), Unmet> {
    let found = models.iter().filter(|model| &model.spec.reference == reference);
    let model = canonical(found, reference).ok_or_else(|| {
        Unmet::new(
            "ModelNotFound",
            format!("model `{reference}` is not there: push it with `sedge model push`"),
        )
    })?;
    let status = model.status.clone().unwrap_or_default();
    let digest = ready(&model.metadata.generation, &status.conditions)
        .and_then(|()| known(status.digest))
        .map_err(|why| Unmet::new("ModelNotReady", format!("model `{reference}` is not ready: {why}")))?;
    Ok((PinnedArtifact { reference: reference.clone(), digest }, model.spec.engines()))
}

/// The plugin called `reference`, which must have `role`.
pub(crate) fn find_plugin(
    plugins: &[Plugin],
    reference: &ArtifactRef,
    role: Role,
) -> Result<PinnedArtifact, Unmet> {
    let found = plugins.iter().filter(|plugin| &plugin.spec.reference == reference);
    let plugin = canonical(found, reference).ok_or_else(|| {
        Unmet::new(
            "PluginNotFound",
            format!("plugin `{reference}` ({role}) is not there: push it with `sedge plugin push`"),
        )
    })?;
    let status = plugin.status.clone().unwrap_or_default();
    let digest =
        ready(&plugin.metadata.generation, &status.conditions).and_then(|()| known(status.digest)).map_err(
            |why| Unmet::new("PluginNotReady", format!("plugin `{reference}` is not ready: {why}")),
        )?;
    if !status.roles.contains(&role) {
        let roles: Vec<&str> = status.roles.iter().map(|role| role.word()).collect();
        return Err(Unmet::new(
            "PluginWrongRole",
            format!("plugin `{reference}` is no {role}: its roles are [{}]", roles.join(", ")),
        ));
    }
    Ok(PinnedArtifact { reference: reference.clone(), digest })
}

/// The Dataset called `name`, which its node must have read, and that node.
pub(crate) fn find_dataset(
    datasets: &[Dataset],
    nodes: &[EdgeNode],
    name: &str,
) -> Result<PinnedDataset, Unmet> {
    let found = datasets.iter().find(|dataset| dataset.metadata.name.as_deref() == Some(name));
    let dataset =
        found.ok_or_else(|| Unmet::new("DatasetNotFound", format!("dataset `{name}` is not there")))?;
    let node = dataset.spec.node.clone();
    let conditions = dataset.status.as_ref().map_or(&[][..], |status| &status.conditions);
    ready(&dataset.metadata.generation, conditions).map_err(|why| {
        Unmet::new("DatasetNotReady", format!("dataset `{name}` on node `{node}` is not ready: {why}"))
    })?;
    let closed = |found: &&EdgeNode| found.name_any() == node && found.spec.unschedulable;
    if nodes.iter().find(closed).is_some() {
        let message = format!("node `{node}`, which holds dataset `{name}`, is marked unschedulable");
        return Err(Unmet::new("NodeUnschedulable", message));
    }
    Ok(PinnedDataset { dataset: name.to_owned(), node })
}

/// Whether a node's session is up.
pub(crate) fn in_touch(node: &EdgeNode) -> bool {
    node.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Ready"))
}

/// Of `candidates`, the one for the job with this uid: jobs spread over the nodes that may.
pub(crate) fn spread(uid: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    candidates.max_by_key(|node| Digest::of(format!("{uid}/{node}").as_bytes()))
}

/// The labels of a node: its own, and below them those that it registered with.
pub(crate) fn node_labels(node: &EdgeNode) -> BTreeMap<String, String> {
    let mut labels = node.status.as_ref().map(|status| status.labels.clone()).unwrap_or_default();
    labels.extend(node.labels().clone());
    labels
}

/// The selector at `spec.FIELD`.
pub(crate) fn parse_selector(field: &str, selector: &LabelSelector) -> Result<Selector, Unmet> {
    Selector::try_from(selector.clone())
        .map_err(|error| Unmet::new("InvalidSpec", format!("spec.{field} is not a label selector: {error}")))
}

/// Of several resources with one reference, the one that is named after it, else the first by name.
fn canonical<'a, K: Resource>(found: impl Iterator<Item = &'a K>, reference: &ArtifactRef) -> Option<&'a K> {
    let name = reference.resource_name();
    found.min_by_key(|resource| (resource.name_any() != name, resource.name_any()))
}

/// Whether `Ready` holds, of the present generation; else why not.
fn ready(generation: &Option<i64>, conditions: &[Condition]) -> Result<(), String> {
    match conditions.iter().find(|condition| condition.type_ == "Ready") {
        None => Err("it has not been looked at yet".to_owned()),
        Some(old) if old.observed_generation.is_some() && old.observed_generation < *generation => {
            Err("it was changed and has not been looked at again yet".to_owned())
        }
        Some(condition) if condition.status != "True" => {
            Err(format!("{}: {}", condition.reason, condition.message))
        }
        Some(_) => Ok(()),
    }
}

fn known(digest: Option<Digest>) -> Result<Digest, String> {
    digest.ok_or_else(|| "its digest is not known yet".to_owned())
}
