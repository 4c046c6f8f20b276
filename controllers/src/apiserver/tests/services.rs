//! JointInferenceServices: what is refused, with the field that is wrong, and what comes back as it went in.

use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, Status};
use sedge_api::resources::{JointInferenceService, Worker};
use serde_json::{Value, json};

use super::{Server, refusal};

fn spec() -> Value {
    json!({
        "edge": {"plugin": "onnx-inferencer:1", "nodes": {"names": ["edge-0"]}, "batching": {"maxBatch": 16}},
        "hardExampleMining": {"miner": "margin"},
        "rollout": {"probes": [{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]}], "id": "p"}]},
    })
}

fn api(server: &Server) -> Api<DynamicObject> {
    Api::default_namespaced_with(server.client.clone(), &ApiResource::erase::<JointInferenceService>(&()))
}

fn object(spec: Value) -> DynamicObject {
    let mut object = DynamicObject::new("digits", &ApiResource::erase::<JointInferenceService>(&()));
    object.data = json!({ "spec": spec });
    object
}

async fn refused(server: &Server, spoil: impl FnOnce(&mut Value)) -> (String, String) {
    let mut spec = spec();
    spoil(&mut spec);
    let status: Status = refusal(api(server).create(&PostParams::default(), &object(spec)).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let cause = status.details.unwrap().causes.remove(0);
    (cause.field, cause.message)
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_field() {
    let server = Server::start();
    type Spoil = fn(&mut Value);
    let cases: [(&str, &str, Spoil); 8] = [
        ("spec.hardExampleMining", "must have a miner or a plugin", |s| s["hardExampleMining"] = json!({})),
        ("spec.hardExampleMining.plugin", "one of the two", |s| {
            s["hardExampleMining"]["plugin"] = json!("m:1")
        }),
        (
            "spec.hardExampleMining.miner",
            "\"threshold\", \"cross-entropy\", \"margin\", \"entropy\", \"ibt\", \"random\", \"always\", \"never\"",
            |s| s["hardExampleMining"]["miner"] = json!("psychic"),
        ),
        ("spec.offload.share", "at most 1", |s| s["offload"] = json!({"share": 1.5})),
        ("spec.offload.share", "at least", |s| s["offload"] = json!({"share": 0})),
        ("spec.edge.instances.maximum", "1 is less than 4", |s| {
            s["edge"]["instances"] = json!({"minimum": 4})
        }),
        ("spec.rollout.probes[0]", "no `inputs`", |s| s["rollout"]["probes"][0] = json!({"id": 1})),
        ("spec.edge.nodes", "names or selector", |s| s["edge"]["nodes"] = json!({})),
    ];
    for (field, why, spoil) in cases {
        let (found, message) = refused(&server, spoil).await;
        assert!(found == field && message.contains(why), "{field}: {found}: {message}");
    }
}

#[tokio::test]
async fn a_service_comes_back_with_its_defaults_and_its_probes() {
    let server = Server::start();
    api(&server).create(&PostParams::default(), &object(spec())).await.unwrap();
    let services: Api<JointInferenceService> = Api::default_namespaced(server.client.clone());
    let service = services.get("digits").await.unwrap();
    assert_eq!(service.spec.edge.batching.unwrap().max_delay.to_string(), "1ms");
    assert_eq!(
        (service.spec.offload.deadline.to_string(), service.spec.rollout.error_budget),
        ("500ms".into(), 0.01)
    );
    assert_eq!(service.spec.rollout.probes[0].0["id"], "p");
}

#[tokio::test]
async fn a_worker_keeps_its_task_whole() {
    let server = Server::start();
    let digest = format!("sha256:{}", "0".repeat(64));
    let worker: Worker = serde_json::from_value(json!({
        "apiVersion": "sedge.dev/v1alpha1", "kind": "Worker", "metadata": {"name": "w"},
        "spec": {
            "node": "edge-0", "role": "inferencer", "plugin": {"reference": "p:1", "digest": digest},
            "job": {"kind": "JointInferenceService", "name": "digits", "uid": "u"},
            "serving": {
                "service": "digits", "side": "edge", "revision": 1, "instances": {}, "queue": 64,
                "mining": {"miner": "ibt", "mine": "inputs", "parameters": {"deep": {"null": null}}},
                "offload": {"asks": "c", "deadline": "500us", "send": "inputs", "cloudAbsent": "edge"},
                "rollout": {"probes": [{"inputs": [], "parameters": {"a": [1, null]}}]},
            },
        },
    }))
    .unwrap();
    let workers: Api<Worker> = Api::default_namespaced(server.client.clone());
    let made = workers.create(&PostParams::default(), &worker).await.unwrap();
    assert_eq!(made.spec, worker.spec, "or the reconciler would write it again and again");
}
