//! Where a revision is served: the edges that are named or match, and the one node of the cloud's side. Called by
//! `decide`; a function of the nodes, so that nodes may come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};
use sedge_api::resources::{EdgeNode, JointInferenceServiceSpec, NodeRole, NodeSelection};

use super::Observed;
use crate::jobs::{in_touch, node_labels, spread};

/// A cloud node that is out of touch for longer is given up, if there is another.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// A node that is to serve as an edge.
pub(super) struct Edge<'a> {
    pub name: String,
    /// None: there is no node of this name.
    pub node: Option<&'a EdgeNode>,
}

/// The edges, sorted by name.
pub(super) fn edges<'a>(observed: &'a Observed, spec: &JointInferenceServiceSpec) -> Vec<Edge<'a>> {
    let nodes = &spec.edge.nodes;
    let mut edges: BTreeMap<String, Option<&EdgeNode>> =
        nodes.names.iter().map(|name| (name.clone(), None)).collect();
    let selector = selector(nodes);
    for node in observed.nodes.iter().map(AsRef::as_ref) {
        let name = node.name_any();
        if selects(selector.as_ref(), node) || edges.contains_key(&name) {
            edges.insert(name, Some(node));
        }
    }
    edges.into_iter().map(|(name, node)| Edge { name, node }).collect()
}

fn selector(nodes: &NodeSelection) -> Option<Selector> {
    Selector::try_from(nodes.selector.clone()?).ok()
}

fn selects(selector: Option<&Selector>, node: &EdgeNode) -> bool {
    selector.is_some_and(|selector| selector.matches(&node_labels(node)))
}

/// The node of the cloud's side: the one that it is on, while that may serve it; else one of those that may.
pub(super) struct Cloud {
    pub node: Option<String>,
    /// Look again after this: the node may have been lost for good by then.
    pub again_after: Option<Duration>,
}

pub(super) fn cloud(
    observed: &Observed,
    spec: &JointInferenceServiceSpec,
    held: Option<&str>,
    edges: &[Edge<'_>],
) -> Cloud {
    let Some(side) = &spec.cloud else { return Cloud { node: None, again_after: None } };
    let selector = selector(&side.nodes);
    // A node has one service of a name: it cannot be both sides.
    let may = |node: &&EdgeNode| {
        let matches = if side.nodes.is_empty() {
            node.spec.role == NodeRole::Cloud
        } else {
            side.nodes.names.contains(&node.name_any()) || selects(selector.as_ref(), node)
        };
        matches && !edges.iter().any(|edge| edge.name == node.name_any())
    };
    let nodes = || observed.nodes.iter().map(AsRef::as_ref).filter(may);
    let can = |node: &&EdgeNode| !node.spec.unschedulable && in_touch(node) && endpoint(node).is_some();
    let uid = observed.service.metadata.uid.clone().unwrap_or_default();
    let others = nodes().filter(can).map(|node| node.name_any());
    let chosen = spread(&uid, others);
    let Some(node) = held.and_then(|held| nodes().find(|node| node.name_any() == held)) else {
        return Cloud { node: chosen, again_after: None };
    };
    let stay = |again_after| Cloud { node: Some(node.name_any()), again_after };
    if in_touch(node) || chosen.is_none() {
        return stay(None);
    }
    let patience = LOST_AFTER.saturating_sub(silent(node, observed.now));
    if patience.is_zero() { Cloud { node: chosen, again_after: None } } else { stay(Some(patience)) }
}

/// Where its Open Inference Protocol is.
pub(super) fn endpoint(node: &EdgeNode) -> Option<&str> {
    node.status.as_ref()?.serving_endpoint.as_deref()
}

/// How long a node that is out of touch has been so.
fn silent(node: &EdgeNode, now: Timestamp) -> Duration {
    let conditions = node.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let since = conditions.iter().find(|condition| condition.type_ == "Ready");
    let since = since.map_or(Timestamp::MIN, |condition| condition.last_transition_time.0);
    now.duration_since(since).try_into().unwrap_or_default()
}
