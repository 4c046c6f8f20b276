//! Each situation of a job, and what is decided in it.

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use sedge_api::resources::{
    Dataset, EdgeNode, FederatedLearningJob, JobPhase, Worker, WorkerStatus, is_true,
};
use serde_json::{Value, json};

use super::*;
use crate::jobs::fixtures::{digest, model, plugin, ready, resource};

fn dataset(name: &str, node: &str) -> Dataset {
    let spec = json!({"node": node, "path": "digits.csv", "format": "csv"});
    resource("Dataset", name, spec, ready(json!({"samples": 100})))
}

fn cloud(name: &str) -> EdgeNode {
    let status = ready(json!({"federationEndpoint": "http://10.0.0.1:7003"}));
    resource("EdgeNode", name, json!({"role": "cloud"}), status)
}

/// A job with everything that it names: two datasets to train on, one to evaluate.
fn observed() -> Observed {
    let job: FederatedLearningJob = resource(
        "FederatedLearningJob",
        "job",
        json!({
            "model": "mlp:1",
            "aggregation": {"plugin": "fedavg:1", "rounds": 3, "participants": {"minimum": 2}},
            "training": {
                "plugin": "sgd:1", "parameters": {"epochs": 5, "schedule": null},
                "datasets": {"names": ["a", "b"]},
            },
            "evaluation": {"plugin": "evaluator:1", "dataset": "held-out"},
        }),
        Value::Null,
    );
    Observed {
        job,
        plugins: vec![
            plugin("fedavg", "aggregator"),
            plugin("sgd", "trainer"),
            plugin("evaluator", "evaluator"),
        ],
        models: vec![model("mlp")],
        datasets: vec![dataset("a", "edge-a"), dataset("b", "edge-b"), dataset("held-out", "cloud-1")],
        nodes: vec![cloud("cloud-1"), cloud("cloud-2")],
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
            observed.workers.push(worker);
        }
        Action::DeleteWorker { name, .. } => observed.workers.retain(|worker| worker.name_any() != name),
        Action::EndWorker { name, status, .. } => worker(observed, &name).status = Some(*status),
        Action::DeclareModel(model) => observed.models.push(*model),
        Action::WriteStatus(status) => observed.job.status = Some(*status),
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

fn running() -> Observed {
    let mut observed = observed();
    settle(&mut observed);
    assert_eq!(status(&observed).phase, JobPhase::Running, "{:#?}", status(&observed));
    observed
}

fn status(observed: &Observed) -> FederatedLearningJobStatus {
    observed.job.status.clone().unwrap()
}

fn worker<'a>(observed: &'a mut Observed, name: &str) -> &'a mut Worker {
    observed.workers.iter_mut().find(|worker| worker.name_any() == name).unwrap()
}

fn report(observed: &mut Observed, name: &str, said: Value) {
    worker(observed, name).status = Some(serde_json::from_value::<WorkerStatus>(said).unwrap());
}

fn rounds(count: u32) -> Value {
    let round = |round| {
        json!({
            "round": round, "updates": 2, "samples": 200, "durationMillis": 5, "finishedAt": "2026-01-01T00:00:00Z",
            "metrics": [{"name": "accuracy", "value": 0.5}],
        })
    };
    (1..=count).map(round).collect()
}

#[test]
fn a_job_waits_for_whatever_is_missing_and_names_it() {
    type Spoil = fn(&mut Observed);
    let cases: [(&str, &str, Spoil); 15] = [
        ("PluginNotFound", "`sgd:1`", |o| o.plugins.retain(|p| p.name_any() != "sgd.1")),
        ("PluginNotReady", "`sgd:1`", |o| o.plugins[1].status = None),
        ("PluginWrongRole", "is no trainer", |o| {
            o.plugins[1].status.as_mut().unwrap().roles = vec![Role::Miner];
        }),
        ("ModelNotFound", "`mlp:1`", |o| o.models.clear()),
        ("ModelNotReady", "not known", |o| o.models[0].status.as_mut().unwrap().digest = None),
        ("DatasetNotFound", "`b`", |o| o.datasets.retain(|d| d.name_any() != "b")),
        ("DatasetNotReady", "edge-b", |o| o.datasets[1].status = None),
        ("DatasetNotReady", "changed", |o| o.datasets[1].metadata.generation = Some(2)),
        ("NoDatasetMatches", "selector", |o| select(o, json!({"matchLabels": {"task": "other"}}))),
        ("TooFewDatasets", "at least 9", |o| o.job.spec.aggregation.participants.minimum = 9),
        ("NodeUnschedulable", "`cloud-1`", |o| o.nodes[0].spec.unschedulable = true),
        ("NoCloudNode", "cloud", |o| o.nodes.clear()),
        ("NoNodeMatches", "nodeSelector", |o| {
            let selector = json!({"matchLabels": {"zone": "x"}});
            o.job.spec.aggregation.node_selector = serde_json::from_value(selector).unwrap();
        }),
        ("InvalidSpec", "fraction", |o| o.job.spec.aggregation.participants.fraction = f64::NAN),
        ("InvalidSpec", "datasets", |o| o.job.spec.training.datasets.names.clear()),
    ];
    for (reason, named, spoil) in cases {
        let mut observed = observed();
        spoil(&mut observed);
        settle(&mut observed);
        let status = status(&observed);
        assert_eq!((status.phase, status.reason.as_deref()), (JobPhase::Pending, Some(reason)));
        let accepted = &status.conditions[0];
        assert_eq!((accepted.type_.as_str(), accepted.status.as_str()), ("Accepted", "False"));
        assert!(accepted.message.contains(named), "{reason}: {}", accepted.message);
        assert!(observed.workers.is_empty() && status.pinned.is_none());
    }
}

fn select(observed: &mut Observed, selector: Value) {
    observed.job.spec.training.datasets.names.clear();
    observed.job.spec.training.datasets.selector = serde_json::from_value(selector).unwrap();
}

#[test]
fn a_job_starts_when_what_it_waits_for_appears() {
    let mut observed = observed();
    let late = observed.plugins.remove(0);
    settle(&mut observed);
    observed.plugins.push(late);
    settle(&mut observed);
    assert!(is_true(&status(&observed).conditions, "Running"));
}

#[test]
fn inputs_are_pinned_before_any_worker_is_declared() {
    let actions = decide(&observed()).actions;
    let [Action::WriteStatus(status)] = actions.as_slice() else { panic!("{actions:#?}") };
    assert_eq!(status.pinned.as_ref().unwrap().training.digest.to_string(), digest("sgd"));
}

#[test]
fn workers_are_declared_in_full() {
    let mut observed = running();
    let names: Vec<String> = observed.workers.iter().map(|worker| worker.name_any()).collect();
    assert_eq!(names, ["job-aggregator", "job-trainer-a", "job-trainer-b", "job-evaluator"]);
    let trainer = worker(&mut observed, "job-trainer-b").clone();
    assert_eq!(
        (trainer.spec.node.as_str(), trainer.spec.joins.as_deref()),
        ("edge-b", Some("job-aggregator"))
    );
    assert_eq!(
        (trainer.spec.datasets[0].name.as_str(), trainer.spec.datasets[0].dataset.as_str()),
        ("train", "b")
    );
    assert_eq!(trainer.spec.parameters["schedule"], Value::Null);
    let owner = &trainer.owner_references()[0];
    assert_eq!(
        (owner.uid.as_str(), owner.controller, owner.block_owner_deletion),
        ("job-uid", Some(true), Some(true))
    );
    let task = worker(&mut observed, "job-aggregator").spec.aggregation.clone().unwrap();
    assert_eq!(
        (task.trainers, task.evaluators),
        (vec!["job-trainer-a".to_owned(), "job-trainer-b".to_owned()], vec!["job-evaluator".to_owned()],)
    );
}

#[test]
fn selected_datasets_are_those_that_match_when_the_job_starts() {
    let mut observed = observed();
    select(&mut observed, json!({"matchLabels": {"task": "digits"}}));
    settle(&mut observed);
    observed.datasets.push(dataset("late", "edge-c"));
    settle(&mut observed);
    let trainers = observed.workers.iter().filter(|worker| worker.spec.role == Role::Trainer).count();
    assert_eq!(trainers, 3);
}

#[test]
fn a_new_version_of_a_plugin_leaves_a_job_that_began_alone() {
    let mut observed = running();
    observed.plugins[1].status.as_mut().unwrap().digest = Some(sedge_api::Digest::of(b"newer"));
    observed.workers.retain(|worker| worker.name_any() != "job-trainer-a");
    settle(&mut observed);
    assert_eq!(worker(&mut observed, "job-trainer-a").spec.plugin.digest.to_string(), digest("sgd"));
}

#[test]
fn the_aggregators_rounds_become_the_jobs() {
    let mut observed = running();
    let said =
        json!({"phase": "Running", "rounds": rounds(2), "participants": ["job-trainer-a", "job-trainer-b"]});
    report(&mut observed, "job-aggregator", said);
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!((status.round, status.participants, status.history.len()), (Some(2), Some(2), 2));
}

#[test]
fn success_declares_the_model_and_completes_the_job() {
    let mut observed = running();
    let result = digest("result");
    report(
        &mut observed,
        "job-aggregator",
        json!({"phase": "Succeeded", "rounds": rounds(3), "resultDigest": result}),
    );
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!((status.phase, status.round), (JobPhase::Succeeded, Some(3)));
    assert!(is_true(&status.conditions, "Complete") && !is_true(&status.conditions, "Running"));
    let model = observed.models.last().unwrap();
    assert_eq!((model.name_any(), model.spec.digest.unwrap().to_string()), ("job.jobuid".to_owned(), result));
    assert_eq!(status.result.unwrap().reference, model.spec.reference);
    assert!(model.owner_references().is_empty(), "the result outlives the job");
}

#[test]
fn a_result_that_was_deleted_is_not_made_again() {
    let mut observed = running();
    report(&mut observed, "job-aggregator", json!({"phase": "Succeeded", "resultDigest": digest("result")}));
    settle(&mut observed);
    observed.models.clear();
    assert_eq!(decide(&observed).actions, []);
}

#[test]
fn success_without_a_result_is_a_failure() {
    let mut observed = running();
    report(&mut observed, "job-aggregator", json!({"phase": "Succeeded"}));
    settle(&mut observed);
    assert_eq!(status(&observed).reason.as_deref(), Some("ResultMissing"));
}

#[test]
fn the_aggregators_failure_is_the_jobs_and_ends_the_others() {
    let mut observed = running();
    report(
        &mut observed,
        "job-aggregator",
        json!({"phase": "Failed", "reason": "Trapped", "message": "unreachable"}),
    );
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!((status.phase, status.reason.as_deref()), (JobPhase::Failed, Some("Trapped")));
    assert!(is_true(&status.conditions, "Failed"));
    assert!(worker(&mut observed, "job-trainer-a").status.is_none(), "it may say itself how it ended");
    observed.now += SignedDuration::from_secs(5);
    settle(&mut observed);
    let trainer = worker(&mut observed, "job-trainer-a").status.clone().unwrap();
    assert_eq!((trainer.phase, trainer.reason.as_deref()), (WorkerPhase::Failed, Some("JobFailed")));
}

#[test]
fn a_trainers_failure_is_borne_while_enough_are_left() {
    let mut observed = observed();
    observed.job.spec.aggregation.participants.minimum = 1;
    settle(&mut observed);
    report(&mut observed, "job-trainer-a", json!({"phase": "Failed", "reason": "OutOfMemory"}));
    settle(&mut observed);
    assert_eq!(status(&observed).phase, JobPhase::Running);
}

#[test]
fn too_few_trainers_fail_the_job_for_good() {
    let mut observed = running();
    report(
        &mut observed,
        "job-trainer-a",
        json!({"phase": "Failed", "reason": "OutOfMemory", "message": "8 GiB"}),
    );
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!((status.phase, status.reason.as_deref()), (JobPhase::Failed, Some("TooFewParticipants")));
    let failed = status.conditions.iter().find(|condition| condition.type_ == "Failed").unwrap();
    assert!(failed.message.contains("OutOfMemory"), "{}", failed.message);
    observed.now += SignedDuration::from_secs(5);
    settle(&mut observed);
    assert!(observed.workers.iter().all(|worker| phase(worker).is_final()));
}

#[test]
fn an_evaluators_failure_leaves_the_rounds_unmeasured() {
    let mut observed = running();
    report(&mut observed, "job-evaluator", json!({"phase": "Failed", "reason": "Trapped"}));
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!((status.phase, status.reason.as_deref()), (JobPhase::Running, Some("EvaluatorFailed")));
}

#[test]
fn a_lost_aggregating_node_is_told_and_waited_for() {
    let mut observed = running();
    observed.nodes.iter_mut().for_each(|node| node.status = None);
    settle(&mut observed);
    let status = status(&observed);
    assert_eq!((status.phase, status.reason.as_deref()), (JobPhase::Running, Some("AggregatorNodeLost")));
}

#[test]
fn a_changed_spec_is_noted_and_not_followed() {
    let mut observed = running();
    observed.job.spec.aggregation.rounds = 99;
    observed.job.metadata.generation = Some(2);
    observed.workers.clear();
    settle(&mut observed);
    assert!(is_true(&status(&observed).conditions, "SpecChanged"));
    assert_eq!(worker(&mut observed, "job-aggregator").spec.aggregation.as_ref().unwrap().rounds, 3);
    assert!(status(&observed).conditions.iter().all(|condition| condition.observed_generation == Some(2)));
}

#[test]
fn another_owners_worker_of_a_wanted_name_is_left_alone() {
    let mut observed = running();
    worker(&mut observed, "job-trainer-a").metadata.owner_references.as_mut().unwrap()[0].uid =
        "old".to_owned();
    let decision = decide(&observed);
    assert!(decision.again_after.is_some());
    settle(&mut observed);
    assert_eq!(status(&observed).reason.as_deref(), Some("WorkerNameTaken"));
}

#[test]
fn a_worker_of_the_job_that_it_does_not_want_is_deleted() {
    let mut observed = running();
    let mut extra = observed.workers[1].clone();
    extra.metadata.name = Some("stray".to_owned());
    observed.workers.push(extra);
    settle(&mut observed);
    assert!(observed.workers.iter().all(|worker| worker.name_any() != "stray"));
}

#[test]
fn workers_that_never_said_goodbye_are_ended_after_a_while() {
    let mut observed = running();
    report(&mut observed, "job-aggregator", json!({"phase": "Succeeded", "resultDigest": digest("result")}));
    settle(&mut observed);
    assert!(decide(&observed).again_after.is_some());
    observed.now += FAREWELL;
    settle(&mut observed);
    assert_eq!(phase(worker(&mut observed, "job-trainer-a")), WorkerPhase::Succeeded);
}

#[test]
fn a_job_that_is_being_deleted_is_left_to_the_collection_of_its_workers() {
    let mut observed = running();
    observed.workers.clear();
    observed.job.metadata.deletion_timestamp = Some(Time(observed.now));
    assert_eq!(decide(&observed), Decision::default());
}

/// One thing that happens in a cluster.
#[derive(Debug, Clone)]
enum Event {
    Report { worker: usize, phase: &'static str, rounds: u32, result: bool },
    DeleteWorker(usize),
    LoseNodes,
    NodesReturn,
    PluginAppears(usize),
    SpecChange(u32),
}

fn events() -> impl Strategy<Value = Event> {
    let phases = prop::sample::select(vec!["Pending", "Running", "Succeeded", "Failed"]);
    prop_oneof![
        (0..4_usize, phases, 0..5_u32, any::<bool>())
            .prop_map(|(worker, phase, rounds, result)| Event::Report { worker, phase, rounds, result }),
        (0..4_usize).prop_map(Event::DeleteWorker),
        Just(Event::LoseNodes),
        Just(Event::NodesReturn),
        (0..3_usize).prop_map(Event::PluginAppears),
        (1..9_u32).prop_map(Event::SpecChange),
    ]
}

fn happen(observed: &mut Observed, event: &Event) {
    let plugins = super::tests::observed().plugins;
    match event {
        Event::Report { worker, phase, rounds: count, result } => {
            if let Some(worker) = observed.workers.get_mut(*worker)
                && !super::phase(worker).is_final()
            {
                let result = result.then(|| digest("result"));
                let said = json!({"phase": phase, "rounds": rounds(*count), "resultDigest": result});
                worker.status = serde_json::from_value(said).unwrap();
            }
        }
        Event::DeleteWorker(index) if *index < observed.workers.len() => {
            drop(observed.workers.remove(*index))
        }
        Event::DeleteWorker(_) => {}
        Event::LoseNodes => observed.nodes.clear(),
        Event::NodesReturn => observed.nodes = vec![cloud("cloud-1"), cloud("cloud-2")],
        Event::PluginAppears(index) => {
            let plugin = plugins[*index].clone();
            observed.plugins.retain(|other| other.name_any() != plugin.name_any());
            observed.plugins.push(plugin);
        }
        Event::SpecChange(rounds) => observed.job.spec.aggregation.rounds = *rounds,
    }
}

/// All but the order in which Workers and Models came to be.
fn outcome(observed: &Observed) -> (Option<FederatedLearningJobStatus>, Vec<Value>) {
    let workers = observed.workers.iter().map(|worker| serde_json::to_value(worker).unwrap());
    let models = observed.models.iter().map(|model| serde_json::to_value(model).unwrap());
    let mut made: Vec<Value> = workers.chain(models).collect();
    made.sort_by_key(|made| made["metadata"]["name"].to_string());
    (observed.job.status.clone(), made)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// `settle` fails where deciding again after applying everything wants more.
    #[test]
    fn deciding_settles_whatever_happens(events in prop::collection::vec(events(), 0..12)) {
        let mut observed = observed();
        observed.plugins.truncate(2);
        for event in &events {
            settle(&mut observed);
            happen(&mut observed, event);
        }
        settle(&mut observed);
        prop_assert_eq!(decide(&observed).actions, []);
    }

    #[test]
    fn a_restart_between_any_two_actions_ends_the_same(
        events in prop::collection::vec(events(), 0..8),
        stops in prop::collection::vec(0..8_usize, 1..6),
    ) {
        let mut observed = observed();
        for event in &events {
            settle(&mut observed);
            happen(&mut observed, event);
        }
        let mut whole = observed.clone();
        settle(&mut whole);
        for stop in stops {
            for action in decide(&observed).actions.into_iter().take(stop) {
                apply(&mut observed, action);
            }
        }
        settle(&mut observed);
        prop_assert_eq!(outcome(&observed), outcome(&whole));
    }
}
