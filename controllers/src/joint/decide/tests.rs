//! Each situation of a service, and what is decided in it.

use k8s_openapi::jiff::SignedDuration;
use sedge_api::resources::{RolloutState, WorkerStatus, is_true};
use serde_json::{Value, json};

use super::*;
use crate::jobs::RESTART_AFTER;
use crate::jobs::fixtures::{digest, model, plugin, ready, resource};

fn node(name: &str, role: &str) -> Arc<EdgeNode> {
    let status = ready(json!({"servingEndpoint": format!("http://{name}:7500")}));
    Arc::new(resource("EdgeNode", name, json!({"role": role}), status))
}

/// A service with everything that it names: three edges and two nodes that may be the cloud.
fn observed() -> Observed {
    let service = resource(
        "JointInferenceService",
        "svc",
        json!({
            "edge": {"plugin": "onnx:1", "model": "small:1", "nodes": {"names": ["e1", "e2", "e3"]}},
            "cloud": {"plugin": "onnx:1", "model": "large:1"},
            "hardExampleMining": {"plugin": "miner:1", "parameters": {"threshold": 0.5}},
        }),
        Value::Null,
    );
    Observed {
        service,
        plugins: vec![plugin("onnx", "inferencer"), plugin("miner", "miner")],
        models: vec![model("small"), model("large"), model("other")],
        nodes: ["e1", "e2", "e3"]
            .map(|name| node(name, "edge"))
            .into_iter()
            .chain(["c1", "c2"].map(|name| node(name, "cloud")))
            .collect(),
        workers: Vec::new(),
        now: Timestamp::from_second(1_800_000_000).unwrap(),
    }
}

/// What an API server would make of an action.
fn apply(observed: &mut Observed, action: Action) {
    match action {
        Action::DeclareWorker(worker) => {
            let mut worker = *worker;
            worker.metadata.uid = Some(format!("{}-uid", worker.name_any()));
            assert!(!observed.workers.iter().any(|w| w.name_any() == worker.name_any()), "declared twice");
            observed.workers.push(Arc::new(worker));
        }
        Action::RewriteWorker(rewritten) => {
            let at = observed.workers.iter().position(|w| w.name_any() == rewritten.name_any()).unwrap();
            observed.workers[at] = Arc::new(*rewritten);
        }
        Action::DeleteWorker { name, .. } => observed.workers.retain(|worker| worker.name_any() != name),
        Action::WriteStatus { status, .. } => observed.service.status = Some(*status),
    }
}

/// Decide and apply until there is nothing more to do.
fn settle(observed: &mut Observed) {
    for _ in 0..10 {
        let actions = decide(observed).actions;
        if actions.is_empty() {
            return;
        }
        actions.into_iter().for_each(|action| apply(observed, action));
    }
    panic!("never settles: {:#?}", decide(observed));
}

fn status(observed: &Observed) -> JointInferenceServiceStatus {
    observed.service.status.clone().unwrap()
}

fn names(observed: &Observed) -> Vec<String> {
    observed.workers.iter().map(|worker| worker.name_any()).collect()
}

fn worker<'a>(observed: &'a mut Observed, name: &str) -> &'a mut Worker {
    let found = observed.workers.iter_mut().find(|worker| worker.name_any() == name).unwrap();
    Arc::make_mut(found)
}

fn told(observed: &Observed) -> Vec<(String, u64)> {
    let mut told: Vec<_> = observed
        .workers
        .iter()
        .map(|worker| (worker.spec.node.clone(), workers::told(worker).unwrap()))
        .collect();
    told.sort();
    told
}

/// The node of `name` says how it took up what it was told.
fn say(observed: &mut Observed, name: &str, phase: &str, serves: u64) {
    let worker = worker(observed, name);
    let revision = workers::told(worker).unwrap();
    let said = json!({"phase": "Running", "serving": {
        "revision": serves, "instances": 1, "requests": 10, "failed": 0, "refused": 0, "samples": 10, "hard": 4,
        "offloaded": 4, "offloadFailures": 0, "p50Micros": 60, "p90Micros": 90, "p99Micros": 200,
        "requestsPerSecond": 1.0, "breaker": "Closed",
        "rollout": {"revision": revision, "phase": phase, "reason": "ProbeFailed", "message": "it trapped"},
    }});
    worker.status = Some(serde_json::from_value::<WorkerStatus>(said).unwrap());
}

fn all_keep(observed: &mut Observed) {
    for name in names(observed) {
        let revision = workers::told(worker(observed, &name)).unwrap();
        say(observed, &name, "Kept", revision);
    }
    settle(observed);
}

/// A service whose first revision is kept on all nodes.
fn serving() -> Observed {
    let mut observed = observed();
    settle(&mut observed);
    all_keep(&mut observed);
    assert_eq!(status(&observed).phase, ServicePhase::Ready, "{:#?}", status(&observed));
    observed
}

/// The spec is changed: a new revision, taken up as far as it goes without a word of the nodes.
fn change(observed: &mut Observed) {
    observed.service.spec.edge.model = Some("other:1".parse().unwrap());
    *observed.service.metadata.generation.as_mut().unwrap() += 1;
    settle(observed);
}

fn lose(observed: &mut Observed, name: &str, seconds: i64) {
    let since = observed.now - SignedDuration::from_secs(seconds);
    let node = observed.nodes.iter_mut().find(|node| node.name_any() == name).unwrap();
    let condition = &mut Arc::make_mut(node).status.as_mut().unwrap().conditions[0];
    condition.status = "False".to_owned();
    condition.last_transition_time.0 = since;
}

#[test]
fn a_service_waits_for_whatever_is_missing_and_names_it() {
    type Spoil = fn(&mut Observed);
    let cases: [(&str, &str, Spoil); 7] = [
        ("PluginNotFound", "`onnx:1`", |o| drop(o.plugins.remove(0))),
        ("PluginWrongRole", "is no miner", |o| o.plugins[1].status.as_mut().unwrap().roles.clear()),
        ("ModelNotFound", "`large:1`", |o| drop(o.models.remove(1))),
        ("ModelNotReady", "`small:1`", |o| o.models[0].status = None),
        ("InvalidSpec", "spec.edge.nodes", |o| o.service.spec.edge.nodes.names.clear()),
        ("InvalidSpec", "spec.offload.share", |o| o.service.spec.offload.share = Some(f64::NAN)),
        ("InvalidSpec", "spec.edge.instances.maximum", |o| o.service.spec.edge.instances.minimum = 9),
    ];
    for (reason, named, spoil) in cases {
        let mut observed = observed();
        spoil(&mut observed);
        let Some(Action::WriteStatus { status, .. }) = decide(&observed).actions.pop() else {
            panic!("{reason}")
        };
        assert_eq!((status.phase, status.reason.as_deref()), (ServicePhase::Pending, Some(reason)));
        let accepted = &status.conditions[0];
        assert_eq!((accepted.type_.as_str(), accepted.status.as_str()), ("Accepted", "False"));
        assert!(accepted.message.contains(named), "{reason}: {}", accepted.message);
        assert!(status.current.is_none());
    }
}

#[test]
fn a_revision_is_pinned_before_any_worker_hears_of_it() {
    let actions = decide(&observed()).actions;
    let [Action::WriteStatus { status, at_once: true }] = actions.as_slice() else { panic!("{actions:#?}") };
    let current = status.current.as_ref().unwrap();
    assert_eq!((current.revision, current.miner.as_ref().unwrap().digest.to_string()), (1, digest("miner")));
}

#[test]
fn a_first_revision_goes_to_every_node_at_once() {
    let mut observed = observed();
    settle(&mut observed);
    let mut declared = names(&observed);
    declared.sort();
    assert_eq!(declared, ["svc-cloud", "svc-edge-e1", "svc-edge-e2", "svc-edge-e3"]);
    let edge = worker(&mut observed, "svc-edge-e2").clone();
    let task = edge.spec.serving.unwrap();
    assert_eq!(
        (task.service.as_str(), task.revision, task.offload.unwrap().asks.as_str()),
        ("svc", 1, "svc-cloud")
    );
    assert_eq!(edge.metadata.owner_references.unwrap()[0].uid, "svc-uid");
    assert_eq!(status(&observed).phase, ServicePhase::Pending);
    all_keep(&mut observed);
    let status = status(&observed);
    assert!(is_true(&status.conditions, "Ready") && is_true(&status.conditions, "RolledOut"));
    assert_eq!(status.edges.unwrap().summary, "3/3");
    assert_eq!(
        (status.requests, status.hard_share),
        (Some(30), Some(0.4)),
        "the cloud's requests are not counted"
    );
    assert_eq!((status.endpoints.len(), status.endpoints[0].role), (4, ServingSide::Cloud));
}

#[test]
fn a_new_revision_is_tried_on_one_edge_and_the_cloud_first() {
    let mut observed = serving();
    let cloud = status(&observed).cloud_node.unwrap();
    change(&mut observed);
    let at = |node: &str, revision| (node.to_owned(), revision);
    assert_eq!(told(&observed), [at(&cloud, 2), at("e1", 2), at("e2", 1), at("e3", 1)]);
    assert!(!is_true(&status(&observed).conditions, "RolledOut"));

    say(&mut observed, "svc-edge-e1", "Probation", 2);
    say(&mut observed, "svc-cloud", "Kept", 2);
    settle(&mut observed);
    assert_eq!(told(&observed)[2], at("e2", 1), "probation is not yet kept");
    say(&mut observed, "svc-edge-e1", "Kept", 2);
    settle(&mut observed);
    assert_eq!(told(&observed), [at(&cloud, 2), at("e1", 2), at("e2", 2), at("e3", 2)]);
    all_keep(&mut observed);
    let status = status(&observed);
    assert_eq!(status.rollout.unwrap().state, RolloutState::Complete);
    assert_eq!((status.revision, status.previous.unwrap().revision), (Some(2), 1));
}

#[test]
fn a_revision_that_one_node_undoes_is_undone_on_all_and_not_tried_again() {
    let mut observed = serving();
    change(&mut observed);
    say(&mut observed, "svc-cloud", "Kept", 2);
    say(&mut observed, "svc-edge-e1", "Undone", 1);
    settle(&mut observed);
    assert!(told(&observed).iter().all(|(_, revision)| *revision == 1), "{:?}", told(&observed));
    let first = status(&observed);
    let rollout = first.rollout.clone().unwrap();
    assert_eq!(
        (rollout.revision, rollout.state, rollout.node.as_deref()),
        (2, RolloutState::Undone, Some("e1"))
    );
    assert_eq!(rollout.reason.as_deref(), Some("ProbeFailed"));
    assert!(rollout.message.unwrap().contains("revision 1 serves again"));
    all_keep(&mut observed);
    let status = status(&observed);
    assert_eq!((status.phase, status.reason.as_deref()), (ServicePhase::Ready, Some("RolloutUndone")));
    assert!(!is_true(&status.conditions, "RolledOut"));
    assert_eq!(
        told(&observed).iter().map(|told| told.1).max(),
        Some(1),
        "the spec stays, and is not tried again"
    );

    // Another spec is another revision, with a number of its own, and what is gone back to is what was kept.
    observed.service.spec.edge.queue = 7;
    change(&mut observed);
    let status = observed.service.status.clone().unwrap();
    assert_eq!((status.revision, status.previous.unwrap().revision), (Some(3), 1));
}

#[test]
fn what_is_late_is_undone_by_the_first_nodes_and_waited_for_of_the_others() {
    let late = |observed: &mut Observed, name: &str| {
        say(observed, name, "Undone", 1);
        let report = worker(observed, name).status.as_mut().unwrap().serving.as_mut().unwrap();
        report.rollout.as_mut().unwrap().reason = Some(PROGRESS_DEADLINE_EXCEEDED.to_owned());
        settle(observed);
    };
    let mut observed = serving();
    change(&mut observed);
    late(&mut observed, "svc-edge-e1");
    assert_eq!(status(&observed).rollout.unwrap().state, RolloutState::Undone);

    let mut observed = serving();
    change(&mut observed);
    for name in ["svc-cloud", "svc-edge-e1"] {
        say(&mut observed, name, "Kept", 2);
    }
    settle(&mut observed);
    say(&mut observed, "svc-edge-e2", "Kept", 2);
    late(&mut observed, "svc-edge-e3");
    let waits = status(&observed);
    assert_eq!(waits.rollout.unwrap().state, RolloutState::Progressing);
    let edge = waits.endpoints.iter().find(|endpoint| endpoint.node == "e3").unwrap();
    assert_eq!((edge.ready, edge.reason.as_deref()), (true, Some(PROGRESS_DEADLINE_EXCEEDED)));
    assert!(told(&observed).iter().all(|(_, revision)| *revision == 2), "{:?}", told(&observed));
    all_keep(&mut observed);
    assert_eq!(status(&observed).rollout.unwrap().state, RolloutState::Complete);
}

#[test]
fn putting_the_spec_back_after_it_was_undone_is_no_new_revision() {
    let mut observed = serving();
    let before = observed.service.spec.clone();
    change(&mut observed);
    say(&mut observed, "svc-edge-e1", "Undone", 1);
    settle(&mut observed);
    observed.service.spec = before;
    observed.service.metadata.generation = Some(9);
    settle(&mut observed);
    all_keep(&mut observed);
    let status = status(&observed);
    assert!(is_true(&status.conditions, "RolledOut"), "{status:#?}");
    assert_eq!((status.revision, status.observed_generation), (Some(1), Some(9)));
}

#[test]
fn a_spec_that_cannot_be_taken_up_leaves_what_serves_alone() {
    let mut observed = serving();
    observed.models.clear();
    change(&mut observed);
    let status = status(&observed);
    assert_eq!((status.phase, status.reason.as_deref()), (ServicePhase::Ready, Some("ModelNotFound")));
    assert!(!is_true(&status.conditions, "Accepted") && status.observed_generation == Some(1));
    assert!(told(&observed).iter().all(|(_, revision)| *revision == 1));
}

#[test]
fn without_a_cloud_node_the_edges_serve_and_one_that_comes_is_filled_in() {
    let mut observed = observed();
    observed.nodes.retain(|node| !node.name_any().starts_with('c'));
    settle(&mut observed);
    all_keep(&mut observed);
    let before = status(&observed);
    assert_eq!((before.phase, before.reason.as_deref()), (ServicePhase::Degraded, Some("CloudAbsent")));
    assert!(before.endpoints.iter().all(|endpoint| endpoint.ready));
    observed.nodes.push(node("c9", "cloud"));
    settle(&mut observed);
    all_keep(&mut observed);
    assert_eq!(
        (status(&observed).phase, status(&observed).cloud_node.as_deref()),
        (ServicePhase::Ready, Some("c9"))
    );
}

#[test]
fn the_clouds_side_is_where_it_is_named_or_selected() {
    let at = |nodes: Value| {
        let mut observed = observed();
        observed.nodes.push(node("e9", "edge"));
        observed.service.spec.cloud.as_mut().unwrap().nodes = serde_json::from_value(nodes).unwrap();
        settle(&mut observed);
        status(&observed).cloud_node
    };
    assert_eq!(at(json!({"names": ["c2"]})).as_deref(), Some("c2"));
    assert_eq!(at(json!({"names": ["e9"]})).as_deref(), Some("e9"), "whatever its role");
    assert_eq!(at(json!({"names": ["e1"]})), None, "it is an edge of this service");
    assert_eq!(at(json!({"selector": {"matchLabels": {"site": "elsewhere"}}})), None);
}

#[test]
fn a_cloud_node_that_is_lost_is_replaced_after_a_while() {
    let mut observed = serving();
    let cloud = status(&observed).cloud_node.unwrap();
    lose(&mut observed, &cloud, 1);
    settle(&mut observed);
    assert_eq!(status(&observed).cloud_node, Some(cloud.clone()), "it may be about to dial again");
    assert!(decide(&observed).again_after.is_some());
    lose(&mut observed, &cloud, 60);
    settle(&mut observed);
    let other = status(&observed).cloud_node.unwrap();
    assert_ne!(other, cloud);
    assert_eq!(worker(&mut observed, "svc-cloud").spec.node, other);
    assert_eq!(worker(&mut observed, "svc-cloud").status, None, "it is another Worker");
}

#[test]
fn the_only_cloud_node_stays_however_long_it_is_lost() {
    let mut observed = serving();
    let cloud = status(&observed).cloud_node.unwrap();
    observed.nodes.retain(|node| !node.name_any().starts_with('c') || node.name_any() == cloud);
    lose(&mut observed, &cloud, 3600);
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!((status.cloud_node, status.reason.as_deref()), (Some(cloud), Some("CloudNotReady")));
}

#[test]
fn nodes_come_and_go_without_a_new_revision() {
    let mut observed = observed();
    observed.service.spec.edge.nodes.names.clear();
    let selector = json!({"matchLabels": {"site": "a"}});
    observed.service.spec.edge.nodes.selector = serde_json::from_value(selector).unwrap();
    observed.service.spec.cloud = None;
    settle(&mut observed);
    all_keep(&mut observed);
    assert_eq!(observed.workers.len(), 5);
    observed.nodes.push(node("e4", "edge"));
    settle(&mut observed);
    all_keep(&mut observed);
    observed.nodes.retain(|node| node.name_any() != "e1");
    settle(&mut observed);
    let nodes: Vec<String> = told(&observed).into_iter().map(|told| told.0).collect();
    assert_eq!(nodes, ["c1", "c2", "e2", "e3", "e4"]);
    assert_eq!((status(&observed).phase, status(&observed).revision), (ServicePhase::Ready, Some(1)));
}

#[test]
fn a_node_that_is_closed_keeps_what_it_has_and_gets_nothing_new() {
    let mut observed = observed();
    let close = |observed: &mut Observed, at: usize| {
        Arc::make_mut(&mut observed.nodes[at]).spec.unschedulable = true;
    };
    close(&mut observed, 0);
    settle(&mut observed);
    assert!(!names(&observed).contains(&"svc-edge-e1".to_owned()));
    close(&mut observed, 1);
    settle(&mut observed);
    assert!(names(&observed).contains(&"svc-edge-e2".to_owned()));
    let reason = |at: usize| status(&observed).endpoints[at].reason.clone();
    assert_eq!(reason(1).as_deref(), Some("NodeUnschedulable"));
}

#[test]
fn an_edge_that_is_out_of_touch_holds_up_no_rollout() {
    let mut observed = serving();
    lose(&mut observed, "e1", 60);
    change(&mut observed);
    assert_eq!(worker(&mut observed, "svc-edge-e2").spec.serving.as_ref().unwrap().revision, 2);
    for name in ["svc-cloud", "svc-edge-e2"] {
        say(&mut observed, name, "Kept", 2);
    }
    settle(&mut observed);
    say(&mut observed, "svc-edge-e3", "Kept", 2);
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!(status.rollout.unwrap().state, RolloutState::Complete);
    assert_eq!((status.phase, status.reason.as_deref()), (ServicePhase::Degraded, Some("EdgesNotReady")));
}

#[test]
fn a_first_revision_that_fails_says_why_and_is_begun_again_later() {
    let mut observed = observed();
    settle(&mut observed);
    for name in names(&observed) {
        let failed = json!({"phase": "Failed", "reason": "Trapped", "message": "unreachable",
                            "finishedAt": observed.now.to_string()});
        worker(&mut observed, &name).status = serde_json::from_value(failed).unwrap();
    }
    settle(&mut observed);
    let failed = status(&observed);
    assert_eq!((failed.phase, failed.reason.as_deref()), (ServicePhase::Failed, Some("NoEdgeServes")));
    assert_eq!(failed.rollout.unwrap().reason.as_deref(), Some("Trapped"));
    assert_eq!(decide(&observed).again_after, Some(RESTART_AFTER));

    observed.now += SignedDuration::from_secs(31);
    settle(&mut observed);
    assert!(observed.workers.iter().all(|worker| worker.status.is_none()), "they are other Workers");
    all_keep(&mut observed);
    assert!(is_true(&status(&observed).conditions, "RolledOut"));
}

#[test]
fn a_new_spec_replaces_workers_that_have_ended() {
    let mut observed = observed();
    observed.service.spec.cloud = None;
    settle(&mut observed);
    for name in names(&observed) {
        let failed = json!({"phase": "Failed", "reason": "Trapped", "finishedAt": observed.now.to_string()});
        worker(&mut observed, &name).status = serde_json::from_value(failed).unwrap();
    }
    settle(&mut observed);
    change(&mut observed);
    assert_eq!(told(&observed).iter().map(|told| told.1).collect::<Vec<_>>(), [2, 2, 2]);
    assert!(observed.workers.iter().all(|worker| worker.status.is_none()));
    assert_eq!(status(&observed).previous, None, "what never served is not gone back to");
}

#[test]
fn a_worker_of_another_owner_is_left_alone() {
    let mut observed = serving();
    let foreign = worker(&mut observed, "svc-edge-e1");
    foreign.metadata.owner_references.as_mut().unwrap()[0].uid = "other".to_owned();
    foreign.spec.node = "elsewhere".to_owned();
    settle(&mut observed);
    assert_eq!(worker(&mut observed, "svc-edge-e1").spec.node, "elsewhere");
    assert!(decide(&observed).again_after.is_some());
}

#[test]
fn counts_alone_may_wait_and_what_says_nothing_new_is_not_written() {
    let mut observed = serving();
    assert!(decide(&observed).actions.is_empty());
    let report = worker(&mut observed, "svc-edge-e1").status.as_mut().unwrap().serving.as_mut().unwrap();
    report.requests += 1;
    report.p50_micros = 61;
    let actions = decide(&observed).actions;
    assert!(matches!(actions.as_slice(), [Action::WriteStatus { at_once: false, .. }]), "{actions:#?}");
    let report = worker(&mut observed, "svc-edge-e1").status.as_mut().unwrap().serving.as_mut().unwrap();
    report.breaker = Some(sedge_api::resources::Breaker::Open);
    let actions = decide(&observed).actions;
    assert!(matches!(actions.as_slice(), [Action::WriteStatus { at_once: true, .. }]), "{actions:#?}");
}

#[test]
fn a_service_that_is_being_deleted_is_left_to_its_owner_references() {
    let mut observed = serving();
    observed.service.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(observed.now));
    assert_eq!(decide(&observed), Decision::default());
}

#[test]
fn a_status_is_bounded_however_many_nodes_there_are() {
    let mut observed = observed();
    let many: Vec<String> = (0..150).map(|at| format!("n{at:03}")).collect();
    observed.nodes.extend(many.iter().map(|name| node(name, "edge")));
    observed.service.spec.edge.nodes.names = many;
    settle(&mut observed);
    all_keep(&mut observed);
    let status = status(&observed);
    assert_eq!((status.endpoints.len(), status.requests), (100, Some(1500)));
    assert_eq!(status.edges.unwrap().summary, "150/150");
}
