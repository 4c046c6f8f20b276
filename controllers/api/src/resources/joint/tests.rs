//! A service as people write it, and what is wrong with others.

use serde_json::{Value, json};

use super::*;

fn spec() -> Value {
    json!({
        "edge": {"plugin": "onnx-inferencer:1", "model": "digits-small:1", "nodes": {"names": ["edge-0"]}},
        "cloud": {"plugin": "onnx-inferencer:1", "model": "digits-large:1"},
        "hardExampleMining": {"miner": "cross-entropy", "parameters": {"threshold": 0.5}},
        "rollout": {"probes": [{"inputs": [
            {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[0.5, 1]]},
        ]}]},
    })
}

fn read(spec: Value) -> JointInferenceServiceSpec {
    serde_json::from_value(spec).unwrap()
}

#[test]
fn a_service_reads_as_the_docs_show_it() {
    let service: JointInferenceService = serde_yaml_ng::from_str(
        "
        apiVersion: sedge.dev/v1alpha1
        kind: JointInferenceService
        metadata: {name: digits}
        spec:
          edge:
            plugin: onnx-inferencer:1
            model: digits-small:1
            nodes: {selector: {matchLabels: {site: a}}}
            instances: {minimum: 1, maximum: 2}
            batching: {maxBatch: 16, maxDelay: 500us}
            resources: {memory: 64Mi, timeout: 5s}
          cloud:
            plugin: onnx-inferencer:1
            model: digits-large:1
          hardExampleMining:
            miner: cross-entropy
            parameters: {threshold: 0.5}
            mine: outputs
            keep: {dataset: hard-digits, maxSize: 64Mi, maxAge: 7d}
          offload: {deadline: 250ms, hedgeAfter: 20ms, share: 0.5, cloudAbsent: edge}
          rollout: {probation: 2s, errorBudget: 0.05, latencyBudget: 100ms}
        ",
    )
    .unwrap();
    assert_eq!(service.spec.edge.batching.unwrap().max_delay.micros(), 500);
    assert_eq!((service.spec.edge.queue, service.spec.offload.send), (64, SentToCloud::Inputs));
    assert_eq!(service.spec.problems(), []);
}

#[test]
fn what_the_schema_cannot_say_is_told_by_field() {
    type Spoil = fn(&mut Value);
    let cases: [(&str, &str, Spoil); 14] = [
        ("spec.edge.nodes", "names or a selector", |s| s["edge"]["nodes"] = json!({})),
        ("spec.edge.instances.maximum", "1 is less than 2", |s| {
            s["edge"]["instances"] = json!({"minimum": 2})
        }),
        ("spec.cloud.batching.maxDelay", "at most 10s", |s| {
            s["cloud"]["batching"] = json!({"maxBatch": 2, "maxDelay": "11s"});
        }),
        ("spec.hardExampleMining", "a miner or a plugin", |s| s["hardExampleMining"] = json!({})),
        ("spec.hardExampleMining.plugin", "one of the two", |s| {
            s["hardExampleMining"]["plugin"] = json!("m:1")
        }),
        ("spec.offload.share", "above 0", |s| s["offload"] = json!({"share": 0.0})),
        ("spec.offload.hedgeAfter", "deadline of 500ms", |s| s["offload"] = json!({"hedgeAfter": "500ms"})),
        ("spec.offload.send", "no outputs yet", |s| {
            s["hardExampleMining"]["mine"] = json!("inputs");
            s["offload"] = json!({"send": "outputs"});
        }),
        ("spec.offload.requestsPerSecond", "above 0", |s| s["offload"] = json!({"requestsPerSecond": -1})),
        ("spec.rollout.errorBudget", "from 0 to 1", |s| s["rollout"]["errorBudget"] = json!(1.5)),
        ("spec.rollout.probes[0]", "no `inputs`", |s| s["rollout"]["probes"][0] = json!({})),
        ("spec.rollout.probes[0]", "1 elements and its `shape` 2", |s| {
            s["rollout"]["probes"][0]["inputs"][0]["data"] = json!([1]);
        }),
        ("spec.rollout.probes[0]", "FP32", |s| {
            s["rollout"]["probes"][0]["inputs"][0]["datatype"] = json!("float");
        }),
        ("spec.rollout.probes[0]", "whole numbers", |s| {
            s["rollout"]["probes"][0]["inputs"][0]["shape"] = json!([u64::MAX, 3]);
        }),
    ];
    for (field, why, spoil) in cases {
        let mut spec = spec();
        spoil(&mut spec);
        let problems = read(spec).problems();
        assert_eq!(problems.len(), 1, "{field}: {problems:?}");
        assert!(problems[0].field == field && problems[0].message.contains(why), "{field}: {problems:?}");
    }
}

#[test]
fn other_nodes_are_no_new_revision() {
    let before = read(spec());
    let mut after = before.clone();
    after.edge.nodes.names.push("edge-1".to_owned());
    assert!(after.same_but_nodes(&before));
    after.edge.queue = 1;
    assert!(!after.same_but_nodes(&before));
}
