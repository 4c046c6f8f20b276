//! Each situation of a job, and what is decided in it.

use k8s_openapi::jiff::SignedDuration;
use sedge_api::resources::{
    AssessmentReport, JointInferenceServiceStatus, LearningTask, Role, WorkerStatus, is_true,
};
use serde_json::{Value, json};

use super::*;
use crate::jobs::RESTART_AFTER;
use crate::jobs::fixtures::{digest, model, plugin, ready, resource};

fn node(name: &str) -> EdgeNode {
    let status = ready(json!({"servingEndpoint": format!("http://{name}:7500")}));
    resource("EdgeNode", name, json!({"role": "edge"}), status)
}

fn dataset(name: &str, node: &str) -> Dataset {
    resource(
        "Dataset",
        name,
        json!({"node": node, "path": "x.csv", "format": "csv"}),
        ready(json!({"samples": 5})),
    )
}

/// A job with everything that it names: it trains on n1, and deploys to a service of its own there.
fn observed() -> Observed {
    let job = resource(
        "IncrementalLearningJob",
        "digits",
        json!({
            "dataset": "stream", "model": "mlp:1",
            "train": {"plugin": "sgd:1", "parameters": {"epochs": 2}, "trigger": {"expression": "newSamples >= 100"}},
            "evaluate": {"plugin": "evaluator:1", "trigger": {"expression": "difference.accuracy > 0.1"}},
            "deploy": {"inferencer": {"plugin": "onnx:1", "queue": 7}},
        }),
        Value::Null,
    );
    Observed {
        job,
        plugins: vec![
            plugin("sgd", "trainer"),
            plugin("evaluator", "evaluator"),
            plugin("onnx", "inferencer"),
        ],
        models: vec![model("mlp")],
        datasets: vec![dataset("stream", "n1"), dataset("held-out", "n2")],
        nodes: vec![node("n1"), node("n2")],
        workers: Vec::new(),
        services: Vec::new(),
        now: Timestamp::from_second(1_800_000_000).unwrap(),
    }
}

/// The same, where n2 evaluates.
fn assessed_elsewhere() -> Observed {
    let mut observed = observed();
    observed.job.spec.evaluate.dataset = Some("held-out".to_owned());
    observed
}

/// The same, where the model of a service on n1 and n2 is changed.
fn deployed_elsewhere() -> Observed {
    let mut observed = observed();
    observed.job.spec.deploy = serde_json::from_value(json!({"service": {"name": "front"}})).unwrap();
    let spec = json!({"edge": {"plugin": "onnx:1", "model": "old:1", "nodes": {"names": ["n1", "n2"]}}});
    observed.services.push(Arc::new(resource("JointInferenceService", "front", spec, Value::Null)));
    serve(&mut observed, "front", "old:1", "Complete");
    observed
}

/// What an API server would make of an action.
fn apply(observed: &mut Observed, action: Action) {
    match action {
        Action::DeclareWorker(mut worker) => {
            worker.metadata.uid = Some(format!("{}-uid", worker.name_any()));
            assert!(!observed.workers.iter().any(|w| w.name_any() == worker.name_any()), "declared twice");
            observed.workers.push(*worker);
        }
        Action::RewriteWorker(rewritten) => {
            let name = rewritten.name_any();
            *worker(observed, &name) = *rewritten;
        }
        Action::DeleteWorker { name, .. } => observed.workers.retain(|worker| worker.name_any() != name),
        Action::DeclareModel(model) => observed.models.push(*model),
        Action::DeleteModel { name, .. } => observed.models.retain(|model| model.name_any() != name),
        Action::DeclareService(mut service) => {
            (service.metadata.uid, service.metadata.generation) = (Some("own-uid".to_owned()), Some(1));
            observed.services.push(Arc::new(*service));
        }
        Action::RewriteService(mut rewritten) => {
            *rewritten.metadata.generation.as_mut().unwrap() += 1;
            let at = observed.services.iter().position(|s| s.name_any() == rewritten.name_any()).unwrap();
            observed.services[at] = Arc::new(*rewritten);
        }
        Action::WriteStatus { status, .. } => observed.job.status = Some(*status),
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

fn status(observed: &Observed) -> IncrementalLearningJobStatus {
    observed.job.status.clone().unwrap()
}

fn worker<'a>(observed: &'a mut Observed, name: &str) -> &'a mut Worker {
    observed.workers.iter_mut().find(|worker| worker.name_any() == name).unwrap()
}

fn task(observed: &mut Observed) -> LearningTask {
    worker(observed, "digits-learner").spec.learning.clone().unwrap()
}

fn service<'a>(observed: &'a mut Observed, name: &str) -> &'a mut JointInferenceService {
    let found = observed.services.iter_mut().find(|service| service.name_any() == name).unwrap();
    Arc::make_mut(found)
}

fn served_model(observed: &mut Observed, name: &str) -> String {
    service(observed, name).spec.edge.model.clone().unwrap().to_string()
}

/// The service says that it serves `model`, after it took up its spec with that outcome.
fn serve(observed: &mut Observed, name: &str, model: &str, state: &str) {
    let service = service(observed, name);
    let revision = service.metadata.generation.unwrap();
    let current = revision - i64::from(state == "Undone");
    let digest = digest(model.split(':').next().unwrap());
    let digest = if model.contains("-v") { self::digest(model) } else { digest };
    let mut spec = serde_json::to_value(&service.spec).unwrap();
    spec["edge"]["model"] = json!(model);
    let pinned = json!({"reference": "onnx:1", "digest": self::digest("onnx")});
    let status = json!({
        "phase": "Ready", "observedGeneration": revision, "revision": current, "hardShare": 0.4321,
        "current": {"revision": current, "spec": spec,
                    "edge": {"plugin": pinned, "model": {"reference": model, "digest": digest}}},
        "rollout": {"revision": revision, "state": state, "message": "node `n2`: it trapped", "at": "2026-01-01T00:00:00Z"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    service.status = Some(serde_json::from_value::<JointInferenceServiceStatus>(status).unwrap());
}

const V1: &str = "digits:digitsui-v1";
const V2: &str = "digits:digitsui-v2";

fn version(number: u32, state: &str, uploaded: bool) -> Value {
    let name = format!("digits:digitsui-v{number}");
    json!({"number": number, "model": digest(&name), "uploaded": uploaded, "state": state})
}

/// The learner says how it does: what it deployed under which number, and more.
fn say(observed: &mut Observed, (serial, deployed): (u64, u32), more: Value) {
    let mut report = json!({
        "round": 1, "deployed": deployed, "serial": serial, "waiting": "newSamples is 3, not at least 100",
        "versions": [version(1, "Deployed", true), version(2, "Candidate", true)],
        "figures": {"samples": 103, "newSamples": 3},
    });
    report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let said = json!({"phase": "Running", "learning": report});
    worker(observed, "digits-learner").status = Some(serde_json::from_value::<WorkerStatus>(said).unwrap());
    settle(observed);
}

fn at(stage: &str) -> Value {
    let state = |name: &str| {
        let order = ["train", "evaluate", "deploy"];
        let place = |name: &str| order.iter().position(|other| *other == name);
        match place(name).cmp(&place(stage)) {
            std::cmp::Ordering::Less => "Completed",
            std::cmp::Ordering::Equal => "Running",
            std::cmp::Ordering::Greater => "Waiting",
        }
    };
    json!({"number": 2, "why": "newSamples is 100, at least 100", "start": 1, "train": {"state": state("train")},
           "evaluate": {"state": state("evaluate")}, "deploy": {"state": state("deploy")}})
}

fn condition<'a>(status: &'a IncrementalLearningJobStatus, kind: &str) -> (bool, &'a str, &'a str) {
    let found = status.conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    (is_true(&status.conditions, kind), &found.reason, &found.message)
}

fn lose(observed: &mut Observed, name: &str) {
    let node = observed.nodes.iter_mut().find(|node| node.name_any() == name).unwrap();
    node.status.as_mut().unwrap().conditions[0].status = "False".to_owned();
}

#[test]
fn a_job_waits_for_whatever_is_missing_and_names_it() {
    type Spoil = fn(&mut Observed);
    let cases: [(&str, &str, Spoil); 9] = [
        ("PluginNotFound", "`sgd:1`", |o| drop(o.plugins.remove(0))),
        ("PluginWrongRole", "is no evaluator", |o| o.plugins[1].status.as_mut().unwrap().roles.clear()),
        ("PluginNotFound", "`onnx:1`", |o| drop(o.plugins.remove(2))),
        ("ModelNotReady", "`mlp:1`", |o| o.models[0].status = None),
        ("DatasetNotFound", "`stream`", |o| drop(o.datasets.remove(0))),
        ("DatasetNotReady", "`n1`", |o| o.datasets[0].status = None),
        ("NodeUnschedulable", "`n1`", |o| o.nodes[0].spec.unschedulable = true),
        ("ServiceNotFound", "`front`", |o| {
            o.job.spec.deploy = serde_json::from_value(json!({"service": {"name": "front"}})).unwrap();
        }),
        ("InvalidSpec", "spec.keep.versions", |o| o.job.spec.keep.versions = 0),
    ];
    for (reason, named, spoil) in cases {
        let mut observed = observed();
        spoil(&mut observed);
        settle(&mut observed);
        let status = status(&observed);
        assert_eq!((status.phase, status.reason.as_deref()), (LearningPhase::Pending, Some(reason)));
        let (accepted, _, message) = condition(&status, "Accepted");
        assert!(!accepted && message.contains(named), "{reason}: {message}");
        assert!(status.pinned.is_none() && observed.workers.is_empty() && observed.services.is_empty());
    }
    let mut no_cloud = deployed_elsewhere();
    no_cloud.job.spec.deploy.service.as_mut().unwrap().side = sedge_api::resources::ServingSide::Cloud;
    settle(&mut no_cloud);
    assert_eq!(status(&no_cloud).reason.as_deref(), Some("ServiceHasNoCloud"));
}

#[test]
fn what_is_pinned_is_written_before_anybody_hears_of_it() {
    let actions = decide(&observed()).actions;
    let [Action::WriteStatus { status, at_once: true }] = actions.as_slice() else { panic!("{actions:#?}") };
    let pinned = status.pinned.as_ref().unwrap();
    assert_eq!((pinned.trainer.digest.to_string(), pinned.train.node.as_str()), (digest("sgd"), "n1"));
    assert_eq!(pinned.evaluate, pinned.train, "it is measured on what the split holds out");
}

#[test]
fn on_one_node_the_learner_needs_nobody_once_it_is_declared() {
    let mut observed = observed();
    settle(&mut observed);
    assert_eq!(observed.workers.len(), 1);
    let learner = worker(&mut observed, "digits-learner").clone();
    assert_eq!((learner.spec.node.as_str(), learner.spec.role), ("n1", Role::Trainer));
    assert_eq!(learner.spec.datasets[0].name, "train");
    assert_eq!(learner.metadata.owner_references.unwrap()[0].uid, "digits-uid");
    let task = task(&mut observed);
    let evaluator = task.evaluator.unwrap();
    assert_eq!(
        (evaluator.plugin.digest.to_string(), evaluator.datasets[0].name.as_str()),
        (digest("evaluator"), "test")
    );
    assert_eq!((task.name.as_str(), task.tag_prefix.as_str()), ("digits", "digitsui-v"));
    assert_eq!(task.serves.as_deref(), Some("digits-edge-n1"), "which its own service has there");
    assert_eq!(task.train.expression.as_deref(), Some("newSamples >= 100"));

    let own = service(&mut observed, "digits").clone();
    assert_eq!(own.spec.edge.model.unwrap().to_string(), "mlp:1");
    assert_eq!((own.spec.edge.nodes.names, own.spec.edge.queue), (vec!["n1".to_owned()], 7));
    assert_eq!(own.metadata.owner_references.unwrap()[0].uid, "digits-uid");
    let status = status(&observed);
    assert_eq!((status.phase, status.reason.as_deref()), (LearningPhase::Pending, Some("Starting")));
}

#[test]
fn the_word_follows_the_learner() {
    let mut observed = observed();
    settle(&mut observed);
    serve(&mut observed, "digits", "mlp:1", "Complete");
    say(&mut observed, (0, 0), json!({"round": 0, "versions": []}));
    let before = status(&observed);
    assert_eq!((before.phase, before.reason.clone()), (LearningPhase::Waiting, None), "{before:#?}");
    let waiting = "the next round waits: newSamples is 3, not at least 100";
    assert_eq!(condition(&before, "Learning"), (true, "Leading", waiting));
    assert_eq!(condition(&before, "Deployed"), (true, "Serving", "version 0 serves as `digits`"));
    for (stage, phase) in [
        ("train", LearningPhase::Training),
        ("evaluate", LearningPhase::Evaluating),
        ("deploy", LearningPhase::Deploying),
    ] {
        say(&mut observed, (0, 0), json!({"current": at(stage)}));
        assert_eq!(status(&observed).phase, phase);
    }
    say(&mut observed, (0, 0), json!({"rollback": {"request": 1, "state": "Asked"}}));
    assert_eq!(status(&observed).phase, LearningPhase::Deploying);
    let mut failed = at("deploy");
    failed["outcome"] = json!("Failed");
    say(&mut observed, (0, 0), json!({"rounds": [failed]}));
    let after = status(&observed);
    assert_eq!((after.phase, after.reason.as_deref()), (LearningPhase::Waiting, Some("RoundFailed")));
}

#[test]
fn what_the_learner_deployed_by_itself_the_service_is_told_once_it_is_uploaded() {
    let mut observed = observed();
    settle(&mut observed);
    say(&mut observed, (1, 1), json!({"versions": [version(1, "Deployed", false)]}));
    assert_eq!(served_model(&mut observed, "digits"), "mlp:1");
    say(&mut observed, (1, 1), json!({}));
    assert_eq!(served_model(&mut observed, "digits"), V1);
    let made = observed.models.iter().find(|model| model.spec.reference.to_string() == V1).unwrap();
    assert_eq!(
        (made.name_any().as_str(), made.spec.digest.unwrap().to_string()),
        ("digits.digitsui-v1", digest(V1))
    );
    assert_eq!(task(&mut observed).deployment, None, "nothing was asked for");
    // A rollback by the learner is another deployment.
    say(&mut observed, (3, 0), json!({}));
    assert_eq!(served_model(&mut observed, "digits"), "mlp:1");
}

#[test]
fn an_evaluation_elsewhere_is_made_by_an_assessor_and_told_to_the_learner() {
    let mut observed = assessed_elsewhere();
    settle(&mut observed);
    serve(&mut observed, "digits", "mlp:1", "Complete");
    assert_eq!((observed.workers.len(), task(&mut observed).evaluator), (1, None));
    let wants = |attempt: u32| {
        json!({"current": at("evaluate"), "wantsAssessment": {"round": 2, "attempt": attempt, "candidate": 2,
               "deployed": 1, "earlier": {"": 40}}})
    };
    say(&mut observed, (1, 1), wants(0));
    let assessor = worker(&mut observed, "digits-assessor").clone();
    assert_eq!((assessor.spec.node.as_str(), assessor.spec.role), ("n2", Role::Evaluator));
    assert_eq!(assessor.spec.datasets[0].dataset, "held-out");
    let asked = assessor.spec.assessment.unwrap();
    assert_eq!(
        (asked.candidate.reference.to_string(), asked.deployed.digest.to_string()),
        (V2.into(), digest(V1))
    );
    assert_eq!((asked.round, asked.attempt, asked.earlier[""]), (2, 0, 40));
    assert_eq!(status(&observed).reason, None);

    // One that fails is told so, and begun again for the next try alone.
    let failed = json!({"phase": "Failed", "reason": "Trapped", "message": "unreachable",
                        "finishedAt": observed.now.to_string()});
    worker(&mut observed, "digits-assessor").status = serde_json::from_value(failed).unwrap();
    settle(&mut observed);
    let told = task(&mut observed).assessment.unwrap();
    assert_eq!(told.failure.as_deref(), Some("on node `n2`: Trapped: unreachable"));
    assert_eq!(status(&observed).reason.as_deref(), Some("EvaluatorFailed"));
    say(&mut observed, (1, 1), wants(1));
    let report = json!({"round": 2, "attempt": 1, "candidate": [{"name": "accuracy", "value": 0.9}],
                        "deployed": [{"name": "accuracy", "value": 0.5}], "rows": {"": 50}});
    let said = json!({"phase": "Running", "assessment": report});
    worker(&mut observed, "digits-assessor").status = serde_json::from_value(said).unwrap();
    settle(&mut observed);
    let expected: AssessmentReport = serde_json::from_value(report).unwrap();
    assert_eq!(task(&mut observed).assessment, Some(expected));

    // It stays for the next round.
    say(&mut observed, (2, 2), json!({}));
    assert_eq!(observed.workers.len(), 2);
    let mut next = wants(0);
    next["wantsAssessment"]["round"] = json!(3);
    say(&mut observed, (2, 2), next);
    assert_eq!(worker(&mut observed, "digits-assessor").spec.assessment.as_ref().unwrap().round, 3);
    assert_eq!(task(&mut observed).assessment, None, "what it said is of another round");
}

#[test]
fn a_candidate_that_is_not_uploaded_is_not_measured_yet() {
    let mut observed = assessed_elsewhere();
    settle(&mut observed);
    let wants = json!({"wantsAssessment": {"round": 1, "attempt": 0, "candidate": 1, "deployed": 0},
                       "versions": [version(1, "Candidate", false)]});
    say(&mut observed, (0, 0), wants);
    assert_eq!(observed.workers.len(), 1);
}

#[test]
fn a_deployment_elsewhere_is_written_into_the_service_and_its_outcome_told() {
    let mut observed = deployed_elsewhere();
    settle(&mut observed);
    let learner = task(&mut observed);
    assert_eq!((learner.serves, learner.hard_share), (None, Some(0.43)), "n2 serves too");
    say(&mut observed, (0, 0), json!({"round": 0, "versions": []}));
    assert_eq!(served_model(&mut observed, "front"), "old:1", "until a first candidate is better");
    assert_eq!(condition(&status(&observed), "Deployed").1, "NothingYet");

    say(
        &mut observed,
        (0, 0),
        json!({"current": at("deploy"), "wantsDeployment": {"serial": 1, "version": 1}}),
    );
    assert_eq!(served_model(&mut observed, "front"), V1);
    assert_eq!(task(&mut observed).deployment, None);
    assert_eq!(condition(&status(&observed), "Deployed").1, "RollingOut");
    serve(&mut observed, "front", V1, "Progressing");
    settle(&mut observed);
    assert_eq!(task(&mut observed).deployment, None, "one node is trying");
    serve(&mut observed, "front", V1, "Complete");
    settle(&mut observed);
    let outcome = task(&mut observed).deployment.unwrap();
    assert_eq!((outcome.serial, outcome.kept), (1, true));
    say(&mut observed, (1, 1), json!({}));
    assert_eq!(condition(&status(&observed), "Deployed"), (true, "Serving", "version 1 serves as `front`"));

    // Whoever changes its model later has the last word, until there is something new.
    service(&mut observed, "front").spec.edge.model = Some("other:1".parse().unwrap());
    settle(&mut observed);
    assert_eq!(served_model(&mut observed, "front"), "other:1");
    say(&mut observed, (1, 1), json!({"wantsDeployment": {"serial": 2, "version": 2}}));
    assert_eq!(served_model(&mut observed, "front"), V2);
}

#[test]
fn a_version_that_a_node_undoes_is_refused_and_the_service_put_back() {
    for (serial, deployed, back) in [(0, 0, "old:1"), (1, 1, V1)] {
        let mut observed = deployed_elsewhere();
        settle(&mut observed);
        if serial > 0 {
            say(&mut observed, (0, 0), json!({"wantsDeployment": {"serial": 1, "version": 1}}));
            serve(&mut observed, "front", V1, "Complete");
            say(&mut observed, (1, 1), json!({}));
        }
        let wanted = json!({"wantsDeployment": {"serial": serial + 1, "version": 2}});
        say(&mut observed, (serial, deployed), wanted.clone());
        assert_eq!(served_model(&mut observed, "front"), V2);
        serve(&mut observed, "front", back, "Undone");
        settle(&mut observed);
        let outcome = task(&mut observed).deployment.unwrap();
        assert_eq!(
            (outcome.serial, outcome.kept, outcome.reason.as_str()),
            (serial + 1, false, "node `n2`: it trapped")
        );
        assert_eq!(
            served_model(&mut observed, "front"),
            back,
            "although the learner has not heard of it yet"
        );
        serve(&mut observed, "front", back, "Complete");
        say(&mut observed, (serial, deployed), wanted);
        assert!(!task(&mut observed).deployment.unwrap().kept, "it is not tried again");
        assert_eq!(served_model(&mut observed, "front"), back);
        say(
            &mut observed,
            (serial, deployed),
            json!({"wantsDeployment": {"serial": serial + 2, "version": 2}}),
        );
        assert_eq!(served_model(&mut observed, "front"), V2, "unless somebody asks for it");
    }
}

#[test]
fn a_service_of_the_jobs_own_on_several_nodes_is_deployed_by_the_manager() {
    let mut observed = observed();
    let own = observed.job.spec.deploy.inferencer.as_mut().unwrap();
    own.nodes = serde_json::from_value(json!({"selector": {"matchLabels": {"site": "a"}}})).unwrap();
    settle(&mut observed);
    assert_eq!(task(&mut observed).serves, None);
    say(&mut observed, (0, 0), json!({"wantsDeployment": {"serial": 1, "version": 1}}));
    assert_eq!(served_model(&mut observed, "digits"), V1);
    serve(&mut observed, "digits", "mlp:1", "Undone");
    settle(&mut observed);
    assert!(!task(&mut observed).deployment.unwrap().kept);
    assert_eq!(served_model(&mut observed, "digits"), "mlp:1");
    // A model that somebody writes into it is put right: it is the job's.
    service(&mut observed, "digits").spec.edge.model = Some("other:1".parse().unwrap());
    settle(&mut observed);
    assert_eq!(served_model(&mut observed, "digits"), "mlp:1");
}

#[test]
fn a_service_of_that_name_that_is_anothers_is_left_alone() {
    let mut observed = observed();
    let spec = json!({"edge": {"plugin": "p:1", "nodes": {"names": ["n2"]}}});
    observed.services.push(Arc::new(resource("JointInferenceService", "digits", spec, Value::Null)));
    settle(&mut observed);
    say(&mut observed, (0, 0), json!({}));
    let status = status(&observed);
    assert_eq!(status.reason.as_deref(), Some("ServiceNameTaken"));
    assert_eq!(service(&mut observed, "digits").spec.edge.nodes.names, ["n2"]);
    assert!(decide(&observed).again_after.is_some());
}

#[test]
fn a_change_of_the_spec_is_taken_up_while_the_learner_goes_on() {
    let mut observed = observed();
    settle(&mut observed);
    say(&mut observed, (1, 1), json!({}));
    observed.job.spec.train.trigger.expression = Some("newSamples >= 7".to_owned());
    observed.job.spec.deploy.inferencer.as_mut().unwrap().queue = 9;
    observed.job.spec.rollback = serde_json::from_value(json!({"request": 1})).unwrap();
    observed.job.metadata.generation = Some(2);
    settle(&mut observed);
    let task = task(&mut observed);
    assert_eq!(task.train.expression.as_deref(), Some("newSamples >= 7"));
    assert_eq!(task.rollback.unwrap().request, 1);
    let own = service(&mut observed, "digits");
    assert_eq!((own.spec.edge.queue, own.spec.edge.model.as_ref().unwrap().to_string()), (9, V1.to_owned()));
    assert!(worker(&mut observed, "digits-learner").status.is_some(), "it is the same Worker");
}

#[test]
fn what_a_job_began_with_stays() {
    type Change = fn(&mut Observed);
    let cases: [(&str, Change); 3] = [
        ("spec.model was `mlp:1`", |o| o.job.spec.model = "other:1".parse().unwrap()),
        ("spec.dataset was `stream`", |o| o.job.spec.dataset = "held-out".to_owned()),
        ("spec.evaluate.dataset was `stream`", |o| o.job.spec.evaluate.dataset = Some("held-out".to_owned())),
    ];
    for (why, change) in cases {
        let mut observed = observed();
        settle(&mut observed);
        say(&mut observed, (1, 1), json!({}));
        let before = task(&mut observed);
        change(&mut observed);
        observed.job.metadata.generation = Some(2);
        settle(&mut observed);
        let status = status(&observed);
        assert_eq!((status.phase, status.reason.as_deref()), (LearningPhase::Waiting, Some("CannotChange")));
        let (accepted, _, message) = condition(&status, "Accepted");
        assert!(!accepted && message.contains(why), "{message}");
        assert_eq!(task(&mut observed), before);
    }
}

#[test]
fn drift_on_errors_is_measured_where_rows_arrive() {
    let on_errors = |mut observed: Observed| {
        let drift = json!({"detector": "adwin", "on": "errors"});
        observed.job.spec.train.drift = Some(serde_json::from_value(drift).unwrap());
        settle(&mut observed);
        observed
    };
    let mut beside = on_errors(observed());
    assert!(task(&mut beside).drift.is_some());
    let apart = status(&on_errors(assessed_elsewhere()));
    assert_eq!(apart.reason.as_deref(), Some("DriftNotMeasurable"));
    let (accepted, _, message) = condition(&apart, "Accepted");
    assert!(!accepted && message.contains("node `n2`, where dataset `held-out` is"), "{message}");
}

#[test]
fn a_learner_that_ends_is_begun_again_and_what_it_said_still_holds() {
    let mut observed = observed();
    settle(&mut observed);
    say(&mut observed, (1, 1), json!({}));
    let failed = json!({"phase": "Failed", "reason": "InvalidState", "message": "the state of the rounds contradicts itself",
                        "finishedAt": observed.now.to_string()});
    worker(&mut observed, "digits-learner").status = serde_json::from_value(failed).unwrap();
    settle(&mut observed);
    let before = status(&observed);
    assert_eq!((before.phase, before.reason.as_deref()), (LearningPhase::Failed, Some("LearnerFailed")));
    assert!(condition(&before, "Learning").2.contains("contradicts itself"));
    assert_eq!(decide(&observed).again_after, Some(RESTART_AFTER));
    observed.now += SignedDuration::from_secs(31);
    settle(&mut observed);
    assert_eq!(worker(&mut observed, "digits-learner").status, None, "it is another Worker");
    let after = status(&observed);
    assert_eq!((after.learning.unwrap().deployed, after.phase), (1, LearningPhase::Pending));
    assert_eq!(served_model(&mut observed, "digits"), V1);
}

#[test]
fn nodes_that_are_lost_are_named_and_nothing_is_moved() {
    let mut observed = assessed_elsewhere();
    settle(&mut observed);
    serve(&mut observed, "digits", "mlp:1", "Complete");
    say(
        &mut observed,
        (0, 0),
        json!({"current": at("evaluate"), "wantsAssessment":
        {"round": 2, "attempt": 0, "candidate": 2, "deployed": 1}}),
    );
    lose(&mut observed, "n2");
    settle(&mut observed);
    let at_two = status(&observed);
    assert_eq!(
        (at_two.phase, at_two.reason.as_deref()),
        (LearningPhase::Evaluating, Some("EvaluatorNodeLost"))
    );
    lose(&mut observed, "n1");
    settle(&mut observed);
    let at_one = status(&observed);
    assert_eq!((at_one.phase, at_one.reason.as_deref()), (LearningPhase::Evaluating, Some("NodeLost")));
    assert!(condition(&at_one, "Learning").2.contains("it goes on by itself"));
    assert_eq!(observed.workers.len(), 2);
}

#[test]
fn models_of_versions_that_are_forgotten_go() {
    let mut observed = observed();
    settle(&mut observed);
    say(&mut observed, (1, 1), json!({}));
    say(&mut observed, (2, 2), json!({}));
    assert_eq!(observed.models.len(), 3);
    let mut gone = version(1, "Superseded", true);
    gone["forgotten"] = json!(true);
    say(&mut observed, (2, 2), json!({"versions": [gone, version(2, "Deployed", true)]}));
    let left: Vec<String> = observed.models.iter().map(|model| model.spec.reference.to_string()).collect();
    assert_eq!(left, ["mlp:1", V2]);
}

#[test]
fn figures_alone_may_wait_and_what_says_nothing_new_is_not_written() {
    let mut observed = observed();
    settle(&mut observed);
    say(&mut observed, (0, 0), json!({}));
    assert!(decide(&observed).actions.is_empty());
    let said = worker(&mut observed, "digits-learner").status.as_mut().unwrap().learning.as_mut().unwrap();
    said.figures.new_samples += 1;
    said.waiting = "newSamples is 4, not at least 100".to_owned();
    let actions = decide(&observed).actions;
    assert!(matches!(actions.as_slice(), [Action::WriteStatus { at_once: false, .. }]), "{actions:#?}");
    let said = worker(&mut observed, "digits-learner").status.as_mut().unwrap().learning.as_mut().unwrap();
    said.current = serde_json::from_value(at("train")).unwrap();
    let actions = decide(&observed).actions;
    assert!(matches!(actions.as_slice(), [Action::WriteStatus { at_once: true, .. }]), "{actions:#?}");
}

#[test]
fn a_job_that_is_being_deleted_is_left_to_its_owner_references() {
    let mut observed = observed();
    settle(&mut observed);
    observed.job.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(observed.now));
    assert_eq!(decide(&observed), Decision::default());
}
