//! A job as people write it, and what is wrong with others.

use serde_json::{Value, json};

use super::*;

fn spec() -> Value {
    json!({
        "dataset": "digits", "model": "digits-mlp:1",
        "train": {"plugin": "sgd-trainer:1", "trigger": {"expression": "newSamples >= 100 || drift > 0.25"},
                  "replay": {"share": 0.25}, "drift": {"detector": "psi", "parameters": {"window": 200}}},
        "evaluate": {"plugin": "evaluator:1",
                     "trigger": {"condition": {"metric": "difference.accuracy", "operator": ">", "threshold": 0.1}}},
        "deploy": {"inferencer": {"plugin": "onnx-inferencer:1"}},
    })
}

fn read(spec: Value) -> IncrementalLearningJobSpec {
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_job_reads_as_the_docs_show_it() {
    let job: IncrementalLearningJob = serde_yaml_ng::from_str(
        "
        apiVersion: sedge.dev/v1alpha1
        kind: IncrementalLearningJob
        metadata: {name: digits}
        spec:
          dataset: digits-stream
          model: digits-mlp:1
          train:
            plugin: sgd-trainer:0.1.0
            parameters: {epochs: 5}
            resources: {memory: 128Mi}
            trigger:
              expression: newSamples >= 500 || (drift > 0.25 && newSamples >= 100)
              checkPeriod: 1s
              coolDown: 10m
            replay: {share: 0.3, reservoir: 2000}
            drift: {detector: psi, parameters: {window: 500}, on: features}
          evaluate:
            plugin: evaluator:0.1.0
            trigger:
              condition: {metric: difference.accuracy, operator: '>', threshold: 0.01}
              window: {from: '22:00', to: '06:00', timeZone: Europe/Berlin}
          deploy:
            inferencer:
              plugin: onnx-inferencer:0.1.0
              hardExampleMining: {miner: cross-entropy, parameters: {threshold: 0.5}, keep: {dataset: hard-digits}}
          keep: {versions: 5}
        ",
    )
    .unwrap();
    let spec = job.spec;
    assert_eq!(spec.problems(), []);
    assert_eq!((spec.retries, spec.keep.versions), (3, 5));
    assert_eq!(spec.train.trigger.cool_down.unwrap().to_string(), "10m");
    assert_eq!(spec.train.drift.unwrap().on, DriftSubject::Features);
    let own = spec.deploy.inferencer.unwrap();
    assert!(own.nodes.is_empty() && own.rollout.probation.to_string() == "10s");
}

#[test]
fn what_the_schema_cannot_say_is_told_by_field() {
    type Spoil = fn(&mut Value);
    let cases: [(&str, &str, Spoil); 15] = [
        ("spec.train.trigger.expression", "fresh", |s| {
            s["train"]["trigger"]["expression"] = json!("fresh > 1")
        }),
        ("spec.train.trigger.condition", "one of the two", |s| {
            let condition = s["evaluate"]["trigger"]["condition"].clone();
            s["train"]["trigger"]["condition"] = condition;
        }),
        ("spec.evaluate.trigger.condition.metric", "no figure", |s| {
            s["evaluate"]["trigger"]["condition"]["metric"] = json!("accuracy");
        }),
        ("spec.evaluate.trigger.window.timeZone", "no time zone", |s| {
            s["evaluate"]["trigger"]["window"] =
                json!({"from": "22:00", "to": "06:00", "timeZone": "Mars/Base"});
        }),
        ("spec.train.replay.share", "at most 0.9", |s| s["train"]["replay"]["share"] = json!(1.0)),
        ("spec.train.replay.reservoir", "at least 1", |s| s["train"]["replay"]["reservoir"] = json!(0)),
        ("spec.train.drift.parameters", "alpha", |s| {
            s["train"]["drift"]["parameters"] = json!({"alpha": 0.1})
        }),
        ("spec.train.drift.parameters", "adwin and page-hinkley watch errors", |s| {
            s["train"]["drift"]["on"] = json!("errors");
        }),
        ("spec.deploy", "a service or an inferencer", |s| s["deploy"] = json!({})),
        ("spec.deploy.inferencer", "one of the two", |s| s["deploy"]["service"] = json!({"name": "digits"})),
        ("spec.deploy.inferencer.instances.maximum", "1 is less than 2", |s| {
            s["deploy"]["inferencer"]["instances"] = json!({"minimum": 2});
        }),
        ("spec.deploy.inferencer.hardExampleMining", "a miner or a plugin", |s| {
            s["deploy"]["inferencer"]["hardExampleMining"] = json!({});
        }),
        ("spec.deploy.inferencer.rollout.probes[0]", "no `inputs`", |s| {
            s["deploy"]["inferencer"]["rollout"] = json!({"probes": [{}]});
        }),
        ("spec.keep.versions", "from 2 to 50", |s| s["keep"] = json!({"versions": 1})),
        ("spec.rollback.request", "at least 1", |s| s["rollback"] = json!({"request": 0})),
    ];
    for (field, why, spoil) in cases {
        let mut spec = spec();
        assert_eq!(read(spec.clone()).problems(), []);
        spoil(&mut spec);
        let problems = read(spec).problems();
        assert_eq!(problems.len(), 1, "{field}: {problems:?}");
        assert!(problems[0].field == field && problems[0].message.contains(why), "{field}: {problems:?}");
    }
}

#[test]
fn unknown_fields_are_refused() {
    for pointer in ["", "/train", "/evaluate", "/deploy", "/deploy/inferencer", "/train/replay"] {
        let mut spec = spec();
        spec.pointer_mut(pointer).unwrap()["when"] = json!(1);
        assert!(serde_json::from_value::<IncrementalLearningJobSpec>(spec).is_err(), "{pointer}");
    }
}
