//! `sedge describe`: one resource in sections that a person reads from top to bottom.

mod incremental;
mod job;
mod joint;
mod page;
mod resources;
mod rounds;

use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use sedge_api::resources::{
    Dataset, EdgeNode, FederatedLearningJob, IncrementalLearningJob, JointInferenceService, Model, Plugin,
    Worker,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::page::Page;
pub use self::resources::shape;
use super::logs;
use crate::failure::Failure;
use crate::kinds::Kind;
use crate::objects::{self, Request};
use crate::screen;
use crate::server::{Access, Server};

/// Show all there is to know of resources.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `KIND NAME…` or `KIND/NAME…`
    #[arg(required = true, value_name = "KIND")]
    words: Vec<String>,
}

/// Show all there is to know of resources.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    let mut found = Vec::new();
    for request in Request::parse(&args.words)? {
        for name in &request.names {
            found.push(objects::get(&server, &request.kinds, name).await?);
        }
        if request.names.is_empty() {
            for kind in request.kinds {
                let documents = objects::list(&server, &kind, false, &ListParams::default()).await?;
                found.extend(documents.into_iter().map(|document| (kind.clone(), document)));
            }
        }
    }
    if found.is_empty() {
        return Err(Failure::new("there is nothing of that kind to describe").into());
    }
    let mut pages = Vec::new();
    for (kind, document) in found {
        let workers = match kind.resource.kind.as_str() {
            "FederatedLearningJob" | "IncrementalLearningJob" | "JointInferenceService" => {
                logs::of_job(&server, &document).await?
            }
            _ => Vec::new(),
        };
        let events = events(&server, &document).await;
        let surroundings = Surroundings { workers, events, now: Timestamp::now(), width: screen::width() };
        pages.push(describe(&kind, &document, &surroundings));
    }
    screen::print(&pages.join("\n\n"))?;
    Ok(())
}

/// What is shown beside the resource itself.
struct Surroundings {
    /// Of a job: its workers.
    workers: Vec<Value>,
    events: Vec<Value>,
    now: Timestamp,
    /// Columns of the terminal; none where there is no terminal.
    width: Option<usize>,
}

/// Events about a resource; a server that does not keep them has none.
async fn events(server: &Server, document: &Value) -> Vec<Value> {
    let Some(kind) = Kind::of_document("v1", "Event") else { return Vec::new() };
    let uid = objects::text(document, "/metadata/uid");
    let params = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let mut events = objects::list(server, &kind, true, &params).await.unwrap_or_default();
    events.retain(|event| objects::text(event, "/involvedObject/uid") == uid);
    events
}

fn describe(kind: &Kind, document: &Value, around: &Surroundings) -> String {
    let mut page = Page::new(around.now, around.width);
    page.heading(document);
    let known =
        match kind.resource.kind.as_str() {
            "FederatedLearningJob" => {
                typed(document).map(|job: FederatedLearningJob| job::describe(&mut page, &job, around))
            }
            "IncrementalLearningJob" => typed(document)
                .map(|job: IncrementalLearningJob| incremental::describe(&mut page, &job, around)),
            "JointInferenceService" => typed(document)
                .map(|service: JointInferenceService| joint::describe(&mut page, &service, around)),
            "Worker" => typed(document).map(|worker: Worker| resources::worker(&mut page, &worker)),
            "EdgeNode" => typed(document).map(|node: EdgeNode| resources::edge_node(&mut page, &node)),
            "Dataset" => typed(document).map(|dataset: Dataset| resources::dataset(&mut page, &dataset)),
            "Plugin" => typed(document).map(|plugin: Plugin| resources::plugin(&mut page, &plugin)),
            "Model" => typed(document).map(|model: Model| resources::model(&mut page, &model)),
            _ => None,
        };
    // Of a kind, or a newer version of one, that this build does not know: the document as it is.
    if known.is_none() {
        page.document(document);
    }
    page.events(&around.events);
    page.finish()
}

fn typed<T: DeserializeOwned>(document: &Value) -> Option<T> {
    serde_json::from_value(document.clone()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(
        kind: &str,
        document: Value,
        workers: Vec<Value>,
        events: Vec<Value>,
        width: Option<usize>,
    ) -> String {
        let kind = &Kind::named(kind).unwrap()[0];
        let now = "2026-11-24T12:10:00Z".parse().unwrap();
        screen::plain(&describe(kind, &document, &Surroundings { workers, events, now, width }))
    }

    fn round(round: u32, accuracy: f64) -> Value {
        json!({
            "round": round, "updates": 9, "refused": 1, "missing": 0, "samples": 1437, "durationMillis": 812,
            "finishedAt": "2026-11-24T12:06:00Z",
            "metrics": [{"name": "accuracy", "value": accuracy}, {"name": "loss", "value": 1.0 - accuracy},
                        {"name": "train.loss", "value": 0.31}],
        })
    }

    fn job() -> Value {
        json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "FederatedLearningJob",
            "metadata": {"name": "digits", "namespace": "default", "uid": "u1",
                         "creationTimestamp": "2026-11-24T12:04:48Z"},
            "spec": {
                "model": "digits-mlp:1",
                "aggregation": {"plugin": "fedavg:0.1.0", "rounds": 20, "participants": {"minimum": 5}},
                "training": {"plugin": "sgd-trainer:0.1.0", "parameters": {"epochs": 5},
                             "datasets": {"selector": {"matchLabels": {"task": "digits"}}}},
                "evaluation": {"plugin": "evaluator:0.1.0", "dataset": "held-out"},
                "stop": {"metric": "accuracy", "operator": ">=", "threshold": 0.99},
            },
            "status": {
                "phase": "Running", "round": 3, "participants": 10, "startedAt": "2026-11-24T12:05:00Z",
                "history": [round(1, 0.62), round(2, 0.84), round(3, 0.912_34)],
                "conditions": [{"type": "Accepted", "status": "True", "reason": "AllFound", "message": "",
                                "lastTransitionTime": "2026-11-24T12:05:00Z"}],
            },
        })
    }

    #[test]
    fn a_job_tells_what_it_does_and_how_far_it_is() {
        let worker = json!({
            "metadata": {"name": "digits-aggregator", "creationTimestamp": "2026-11-24T12:05:00Z"},
            "spec": {"node": "cloud", "role": "aggregator"},
            "status": {"phase": "Running", "done": 3, "total": 20},
        });
        let event = json!({"type": "Normal", "reason": "WorkersDeclared", "message": "12 workers",
                           "lastTimestamp": "2026-11-24T12:05:00Z"});
        insta::assert_snapshot!(page("jobs", job(), vec![worker], vec![event], Some(100)), @"
        Name          digits
        Namespace     default
        Created       5m12s ago (2026-11-24T12:04:48Z)
        Phase         Running
        Round         3 of 20
        Accuracy      0.9123
        Round time    812ms (median)
        Participants  10
        Running for   5m

        Job
          Model       digits-mlp:1
          Training    sgd-trainer:0.1.0
            with      epochs=5
            on        task=digits
            up to     512Mi memory, 10m a round
          Aggregation fedavg:0.1.0
            closes at 100 % of those invited, at least 5; after 10m at the latest
          Evaluation  evaluator:0.1.0
            on        held-out
          Stops when  accuracy >= 0.99

        Conditions
          TYPE       STATUS   SINCE   REASON     MESSAGE
          Accepted   True     5m      AllFound

        Workers (1)
          NAME                ROLE         NODE    PHASE     DONE   REASON   MESSAGE
          digits-aggregator   aggregator   cloud   Running   3/20

        Rounds
          ROUND   UPDATES   REFUSED   MISSING   SAMPLES   ACCURACY     LOSS   TRAIN.LOSS    TIME
              1         9         1         0     1,437     0.6200   0.3800       0.3100   812ms
              2         9         1         0     1,437     0.8400   0.1600       0.3100   812ms
              3         9         1         0     1,437     0.9123   0.0877       0.3100   812ms

          accuracy  0.6200 ▁▆█ 0.9123
          loss      0.3800 █▃▁ 0.0877

        Events
          AGE   TYPE     REASON            MESSAGE
          5m    Normal   WorkersDeclared   12 workers
        ");
    }

    #[test]
    fn a_service_tells_where_it_answers_and_what_became_of_its_last_rollout() {
        let service = json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "JointInferenceService",
            "metadata": {"name": "digits", "namespace": "default", "creationTimestamp": "2026-11-24T12:04:48Z"},
            "spec": {
                "edge": {"plugin": "onnx-inferencer:1", "model": "digits-small:1",
                         "nodes": {"selector": {"matchLabels": {"site": "a"}}}},
                "cloud": {"plugin": "onnx-inferencer:1", "model": "digits-large:1"},
                "hardExampleMining": {"miner": "cross-entropy", "parameters": {"threshold": 0.5}},
            },
            "status": {
                "phase": "Ready", "reason": "RolloutUndone", "revision": 1, "cloudNode": "cloud",
                "edges": {"ready": 1, "wanted": 1, "instances": 2, "summary": "1/1"},
                "requests": 12_345, "requestsPerSecond": 40.5, "failed": 1, "refused": 0, "hardShare": 0.4321,
                "latency": {"p50Millis": 0.061, "p90Millis": 0.1, "p99Millis": 1.5},
                "offload": {"requests": 5334, "failures": 2},
                "rollout": {"revision": 2, "state": "Undone", "reason": "ProbeFailed", "node": "edge-1",
                            "message": "node `edge-1`: it trapped; revision 1 serves again",
                            "at": "2026-11-24T12:09:00Z"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": "1 of 1 edges answer",
                                "lastTransitionTime": "2026-11-24T12:05:00Z"}],
                "endpoints": [
                    {"node": "cloud", "url": "http://127.0.0.1:7500", "role": "cloud", "ready": true, "instances": 1,
                     "revision": 1, "requests": 5332},
                    {"node": "edge-1", "url": "http://127.0.0.1:7501", "role": "edge", "ready": true, "instances": 2,
                     "revision": 1, "requests": 12_345, "hardShare": 0.4321, "breaker": "Closed",
                     "latency": {"p50Millis": 0.061, "p90Millis": 0.1, "p99Millis": 1.5}},
                ],
            },
        });
        insta::assert_snapshot!(page("jis", service, vec![], vec![], None), @"
        Name          digits
        Namespace     default
        Created       5m12s ago (2026-11-24T12:04:48Z)
        Phase         Ready (RolloutUndone)
        Message       1 of 1 edges answer
        Revision      1
        Edges         1 of 1 answer, 2 instances
        Requests      12,345 (40.5 a second), 1 failed, 0 refused
        Hard          43.21 % of samples
        Latency       0.061 ms (p50), 0.1 ms (p90), 1.5 ms (p99)
        Asked cloud   5,334 times, 2 without an answer

        Service
          Edge        onnx-inferencer:1, digits-small:1
            on        site=a
          Cloud       onnx-inferencer:1, digits-large:1
            on        cloud
            within    500ms
          Miner       cross-entropy
            with      threshold=0.5
          Rollout     0 probes; watched for 10s, up to 1 % may fail

        Last rollout
          Revision    2
          State       Undone (ProbeFailed)
          Why         node `edge-1`: it trapped; revision 1 serves again
          At          60s ago

        Conditions
          TYPE    STATUS   SINCE   REASON   MESSAGE
          Ready   True     5m      Ready    1 of 1 edges answer

        Endpoints (2)
          NODE     SIDE    STATE   URL                     REV   MODEL   INST   REQUESTS      HARD   P50/P90/P99 MS   BREAKER
          cloud    cloud   Ready   http://127.0.0.1:7500     1              1      5,332
          edge-1   edge    Ready   http://127.0.0.1:7501     1              2     12,345   43.21 %    0.061/0.1/1.5   Closed
        ");
    }

    #[test]
    fn a_job_that_learns_shows_its_rounds_and_versions() {
        let stage = |state: &str, reason: &str| json!({"state": state, "reason": reason, "since": "2026-11-24T12:09:00Z"});
        let digest = |of: &str| sedge_api::Digest::of(of.as_bytes()).to_string();
        let job = json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "IncrementalLearningJob",
            "metadata": {"name": "digits", "namespace": "default", "creationTimestamp": "2026-11-24T12:04:48Z"},
            "spec": {
                "dataset": "stream", "model": "mlp:1",
                "train": {"plugin": "sgd:1", "parameters": {"epochs": 5}, "replay": {"share": 0.25},
                          "drift": {"detector": "psi", "parameters": {"window": 200}},
                          "trigger": {"expression": "newSamples >= 100", "coolDown": "10m"}},
                "evaluate": {"plugin": "evaluator:1",
                             "trigger": {"condition": {"metric": "difference.accuracy", "operator": ">", "threshold": 0.1},
                                         "window": {"from": "22:00", "to": "06:00", "timeZone": "UTC"}}},
                "deploy": {"inferencer": {"plugin": "onnx:1"}},
            },
            "status": {
                "phase": "Training", "service": "digits",
                "learning": {
                    "round": 2, "deployed": 0, "serial": 0,
                    "current": {"number": 2, "why": "newSamples is 100, at least 100", "start": 0,
                                "data": [{"first": 0, "end": 200}],
                                "train": {"state": "Waiting", "failures": 1, "reason": "try 1 failed: the disk is full",
                                          "since": "2026-11-24T12:09:50Z"},
                                "evaluate": stage("Waiting", ""), "deploy": stage("Waiting", "")},
                    "rounds": [{"number": 1, "why": "newSamples is 100, at least 100", "start": 0, "candidate": 1,
                                "outcome": "KeptOut", "data": [{"first": 0, "end": 100}], "endedAt": "2026-11-24T12:09:00Z",
                                "train": stage("Completed", ""), "evaluate": stage("Completed", ""),
                                "deploy": stage("Skipped", "difference.accuracy is -0.4, not above 0.1")}],
                    "versions": [
                        {"number": 0, "model": digest("0"), "uploaded": true, "state": "Deployed",
                         "created": "2026-11-24T12:05:00Z", "reason": "the model that the job began with"},
                        {"number": 1, "model": digest("1"), "uploaded": true, "parent": 0, "state": "KeptOut",
                         "data": [{"first": 0, "end": 100}], "created": "2026-11-24T12:08:00Z",
                         "measured": {"against": 0, "candidate": [{"name": "accuracy", "value": 0.5}],
                                      "deployed": [{"name": "accuracy", "value": 0.9}]},
                         "reason": "difference.accuracy is -0.4, not above 0.1"}],
                    "measured": {"against": 0, "candidate": [{"name": "accuracy", "value": 0.5}],
                                 "deployed": [{"name": "accuracy", "value": 0.9}]},
                    "figures": {"samples": 200, "newSamples": 0, "drift": 0.125},
                },
                "conditions": [{"type": "Learning", "status": "True", "reason": "Leading",
                                "message": "round 2 is in progress: newSamples is 100, at least 100",
                                "lastTransitionTime": "2026-11-24T12:05:00Z"}],
            },
        });
        insta::assert_snapshot!(page("ilj", job, vec![], vec![], None), @"
        Name          digits
        Namespace     default
        Created       5m12s ago (2026-11-24T12:04:48Z)
        Phase         Training
        Round         2
        Deployed      version 0
        Measured      accuracy 0.5000, and 0.9000 of version 0
        Samples       200, 0 new
        Drift         0.125
        Service       digits

        Job
          Model       mlp:1
          Training    sgd:1
            with      epochs=5
            on        stream
            when      newSamples >= 100, not within 10m
            replays   25 % of its rows, at most 10,000
            drift     psi window=200
          Evaluation  evaluator:1
          Deploys     difference.accuracy > 0.1, from 22:00 to 06:00 UTC
          Keeps       10 versions

        Conditions
          TYPE       STATUS   SINCE   REASON    MESSAGE
          Learning   True     5m      Leading   round 2 is in progress: newSamples is 100, at least 100

        Round 2 (newSamples is 100, at least 100; rows 0–199)
          STAGE      STATE     SINCE   FAILED   WHY
          train      Waiting   10s          1   try 1 failed: the disk is full
          evaluate   Waiting   60s
          deploy     Waiting   60s

        Rounds
          ROUND   OUTCOME   VERSION   DATA        ENDED   WHY IT BEGAN                      WHY IT ENDED SO
              1   KeptOut         1   rows 0–99   60s     newSamples is 100, at least 100   difference.accuracy is -0.4, not above 0.1

        Versions (2)
          VERSION   STATE      FROM   DATA        REPLAYED   ACCURACY   BEFORE   EARLIER   MADE   MODEL          WHY
                1   KeptOut       0   rows 0–99                0.5000   0.9000             2m     6b86b273ff34   difference.accuracy is -0.4, not above 0.1
                0   Deployed                                                               5m     5feceb66ffc8   the model that the job began with
        ");
    }

    #[test]
    fn a_failed_worker_says_why() {
        let worker = json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Worker",
            "metadata": {"name": "digits-trainer-edge-1", "namespace": "default",
                         "creationTimestamp": "2026-11-24T12:05:00Z"},
            "spec": {
                "node": "edge-1", "role": "trainer", "job": {"kind": "FederatedLearningJob", "name": "digits", "uid": "u1"},
                "plugin": {"reference": "sgd-trainer:0.1.0", "digest": format!("sha256:{}", "ab".repeat(32))},
                "datasets": [{"name": "train", "dataset": "digits-1"}], "joins": "digits-aggregator",
            },
            "status": {"phase": "Failed", "reason": "OutOfMemory", "message": "it asked for 8 GiB; 512Mi are granted",
                       "startedAt": "2026-11-24T12:05:00Z", "finishedAt": "2026-11-24T12:05:07Z"},
        });
        insta::assert_snapshot!(page("wk", worker, vec![], vec![], None), @"
        Name          digits-trainer-edge-1
        Namespace     default
        Created       5m ago (2026-11-24T12:05:00Z)
        Phase         Failed (OutOfMemory)
        Message       it asked for 8 GiB; 512Mi are granted
        Ran for       7s

        Work
          Job         FederatedLearningJob/digits
          Role        trainer
          Node        edge-1
          Plugin      sgd-trainer:0.1.0 (abababababab)
          Datasets    digits-1 as train
          Up to       512Mi memory, 10m a call
          Joins       digits-aggregator
        ");
    }

    #[test]
    fn a_kind_without_a_page_of_its_own_is_shown_as_it_is() {
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "manager", "namespace": "default"}, "spec": {"holderIdentity": "a", "list": [1, {"b": 2}]}});
        insta::assert_snapshot!(page("leases", lease, vec![], vec![], None), @"
        Name          manager
        Namespace     default

        spec:
          holderIdentity: a
          list:
          - 1
          - b: 2
        ");
    }

    #[test]
    fn nodes_datasets_plugins_and_models_have_pages() {
        let ready = json!([{"type": "Ready", "status": "False", "reason": "NotFound", "message": "no such file",
                            "lastTransitionTime": "2026-11-24T12:05:00Z"}]);
        let pages = [
            page(
                "node",
                json!({"metadata": {"name": "edge-1"}, "spec": {"role": "edge"},
                "status": {"cpus": 2, "memoryBytes": 2_147_483_648_u64, "engines": ["rten"], "conditions": ready,
                           "labels": {"site": "a"}}}),
                vec![],
                vec![],
                None,
            ),
            page(
                "ds",
                json!({"metadata": {"name": "digits-1"}, "spec": {"node": "edge-1", "path": "digits.csv",
                "format": "csv", "label": "label", "split": {"test": 0.2, "seed": 7}},
                "status": {"samples": 179, "columns": [{"name": "x", "dtype": "f32", "shape": [64]}]}}),
                vec![],
                vec![],
                None,
            ),
            page(
                "plugin",
                json!({"metadata": {"name": "fedavg.1"}, "spec": {"reference": "fedavg:1"},
                "status": {"roles": ["aggregator"], "bytes": 59_000, "imports": ["sedge:worker/model@0.1.0"]}}),
                vec![],
                vec![],
                None,
            ),
            page(
                "model",
                json!({"metadata": {"name": "mlp.1"}, "spec": {"reference": "mlp:1"},
                "status": {"graphs": ["train", "infer"], "parameters": 4810, "weightsBytes": 19_400}}),
                vec![],
                vec![],
                None,
            ),
        ];
        insta::assert_snapshot!(pages.join("----\n"), @"
        Name          edge-1
        Role          edge
        Processors    2
        Memory        2.0 GiB
        Engines       rten
        Node labels   site=a

        Conditions
          TYPE    STATUS   SINCE   REASON     MESSAGE
          Ready   False    5m      NotFound   no such file
        ----
        Name          digits-1
        Node          edge-1
        Path          digits.csv
        Format        csv
        Label         label
        Test share    20 % (seed 7)
        Samples       179

        Tensors
          NAME   TYPE   SHAPE OF A SAMPLE
          x      f32    [64]
        ----
        Name          fedavg.1
        Reference     fedavg:1
        Roles         aggregator
        Size          57.6 KiB

        Imports
          sedge:worker/model@0.1.0
        ----
        Name          mlp.1
        Reference     mlp:1
        Graphs        train, infer
        Parameters    4,810
        Weights       18.9 KiB
        ");
    }
}
