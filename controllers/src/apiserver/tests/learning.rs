//! IncrementalLearningJobs: what is refused, with the field that is wrong, and what comes back as it went in.

use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, Status};
use sedge_api::resources::IncrementalLearningJob;
use serde_json::{Value, json};

use super::{Server, refusal};

fn spec() -> Value {
    json!({
        "dataset": "digits", "model": "digits-mlp:1",
        "train": {"plugin": "sgd-trainer:1", "trigger": {"expression": "newSamples >= 100", "coolDown": "1h"}},
        "evaluate": {"plugin": "evaluator:1",
                     "trigger": {"condition": {"metric": "difference.accuracy", "operator": ">", "threshold": 0.1},
                                 "window": {"from": "22:00", "to": "06:00", "timeZone": "Europe/Berlin"}}},
        "deploy": {"service": {"name": "digits", "side": "cloud"}},
    })
}

fn api(server: &Server) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<IncrementalLearningJob>(&());
    Api::default_namespaced_with(server.client.clone(), &resource)
}

fn object(spec: Value) -> DynamicObject {
    let mut object = DynamicObject::new("digits", &ApiResource::erase::<IncrementalLearningJob>(&()));
    object.data = json!({ "spec": spec });
    object
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_field() {
    let server = Server::start();
    type Spoil = fn(&mut Value);
    let cases: [(&str, &str, Spoil); 10] = [
        ("spec.train.trigger.expression", "fresh", |s| s["train"]["trigger"]["expression"] = json!("fresh")),
        ("spec.train.trigger.coolDown", "soon", |s| s["train"]["trigger"]["coolDown"] = json!("soon")),
        ("spec.evaluate.trigger.condition.operator", "\">\"", |s| {
            s["evaluate"]["trigger"]["condition"]["operator"] = json!("=>");
        }),
        ("spec.evaluate.trigger.window.timeZone", "no time zone", |s| {
            s["evaluate"]["trigger"]["window"]["timeZone"] = json!("Mars/Base");
        }),
        ("spec.train.drift.detector", "\"page-hinkley\"", |s| {
            s["train"]["drift"] = json!({"detector": "hunch"})
        }),
        ("spec.train.replay.share", "at most 0.9", |s| s["train"]["replay"] = json!({"share": 0.95})),
        ("spec.deploy", "a service or an inferencer", |s| s["deploy"] = json!({})),
        ("spec.deploy.service.side", "\"edge\", \"cloud\"", |s| {
            s["deploy"]["service"]["side"] = json!("left")
        }),
        ("spec.keep.versions", "at least 2", |s| s["keep"] = json!({"versions": 1})),
        ("spec.dataset", "Required", |s| drop(s.as_object_mut().unwrap().remove("dataset"))),
    ];
    for (field, why, spoil) in cases {
        let mut spec = spec();
        spoil(&mut spec);
        let status: Status = refusal(api(&server).create(&PostParams::default(), &object(spec)).await);
        assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
        let cause = status.details.unwrap().causes.remove(0);
        let (found, message) = (cause.field, cause.message);
        assert!(found == field && message.contains(why), "{field}: {found}: {message}");
    }
}

#[tokio::test]
async fn a_job_comes_back_with_its_defaults() {
    let server = Server::start();
    api(&server).create(&PostParams::default(), &object(spec())).await.unwrap();
    let jobs: Api<IncrementalLearningJob> = Api::default_namespaced(server.client.clone());
    let job = jobs.get("digits").await.unwrap();
    assert_eq!((job.spec.retries, job.spec.keep.versions), (3, 10));
    assert_eq!(job.spec.train.trigger.check_period.to_string(), "1s");
    assert_eq!(job.spec.evaluate.trigger.condition.unwrap().tolerance, 1e-9);
    assert_eq!(job.spec.train.resources.memory.to_string(), "512Mi");
}
