//! The task of a serving Worker in the words of the node protocol. Called by `desired`.

use kube::ResourceExt as _;
use sedge_api::artifact::plugin_repository;
use sedge_api::node;
use sedge_api::resources::{
    Batching, CloudAbsent, KeptExamples, MiningStage, MiningTask, OffloadTask, RolloutPolicy, SentToCloud,
    ServingSide, ServingTask, Worker, WorkerSpec,
};
use serde_json::Value;

use super::{artifact, limits};

/// Whether other Workers may ask this one.
pub(super) fn is_asked(spec: &WorkerSpec) -> bool {
    spec.serving.as_ref().is_some_and(|task| task.side == ServingSide::Cloud)
}

/// The task; `cloud` is where the Worker that it asks is reached, empty while that is not known.
pub(super) fn serving(worker: &Worker, task: &ServingTask, cloud: String) -> node::Serving {
    node::Serving {
        service: task.service.clone(),
        side: match task.side {
            ServingSide::Edge => node::ServingSide::Edge,
            ServingSide::Cloud => node::ServingSide::Cloud,
        }
        .into(),
        revision: task.revision,
        min_instances: task.instances.minimum,
        max_instances: task.instances.maximum,
        queue: task.queue,
        batching: task.batching.as_ref().map(batching),
        mining: task.mining.as_ref().map(|mining| self::mining(worker, mining)),
        offload: task.offload.as_ref().map(|offload| self::offload(offload, cloud)),
        rollout: Some(rollout(&task.rollout)),
        keep: task.keep.as_ref().map(|keep| kept(worker, keep)),
    }
}

fn batching(batching: &Batching) -> node::Batching {
    node::Batching {
        max_batch: batching.max_batch,
        max_delay_micros: u32::try_from(batching.max_delay.micros()).unwrap_or(u32::MAX),
    }
}

fn mining(worker: &Worker, task: &MiningTask) -> node::Mining {
    let plugin =
        |pinned| node::mining::Miner::Plugin(artifact(plugin_repository(pinned_name(pinned)), pinned));
    let builtin = task.miner.map(|miner| node::mining::Miner::Builtin(miner.word().to_owned()));
    node::Mining {
        miner: task.plugin.as_ref().map(plugin).or(builtin),
        parameters: Value::Object(task.parameters.clone()).to_string(),
        stage: match task.mine {
            MiningStage::Outputs => node::MiningStage::Outputs,
            MiningStage::Inputs => node::MiningStage::Inputs,
        }
        .into(),
        limits: Some(limits(worker.spec.resources)),
    }
}

fn pinned_name(pinned: &sedge_api::resources::PinnedArtifact) -> &str {
    pinned.reference.name()
}

fn offload(task: &OffloadTask, endpoint: String) -> node::Offload {
    node::Offload {
        endpoint,
        deadline_millis: task.deadline.millis(),
        hedge_after_micros: task.hedge_after.map(|after| after.micros()).unwrap_or_default(),
        requests_per_second: task.requests_per_second.unwrap_or_default(),
        share: task.share.unwrap_or_default(),
        payload: match task.send {
            SentToCloud::Inputs => node::OffloadPayload::Inputs,
            SentToCloud::Outputs => node::OffloadPayload::Outputs,
        }
        .into(),
        absent: match task.cloud_absent {
            CloudAbsent::Edge => node::CloudAbsent::Edge,
            CloudAbsent::Fail => node::CloudAbsent::Fail,
        }
        .into(),
    }
}

fn rollout(policy: &RolloutPolicy) -> node::Rollout {
    node::Rollout {
        probes: policy.probes.iter().map(|probe| Value::Object(probe.0.clone()).to_string()).collect(),
        probation_millis: policy.probation.millis(),
        error_budget: policy.error_budget,
        latency_budget_millis: policy.latency_budget.map(|budget| budget.millis()).unwrap_or_default(),
        deadline_millis: policy.deadline.millis(),
    }
}

fn kept(worker: &Worker, keep: &KeptExamples) -> node::KeptExamples {
    node::KeptExamples {
        dataset: format!("{}/{}", worker.namespace().unwrap_or_default(), keep.dataset),
        max_bytes: keep.max_size.bytes(),
        max_age_millis: keep.max_age.millis(),
    }
}

#[cfg(test)]
mod tests {
    use sedge_api::resources::{EdgeNode, Worker};
    use serde_json::{Value, json};

    use super::super::desired;
    use super::*;
    use crate::hub::FederationSecret;

    fn worker(name: &str, node: &str, task: Value) -> Worker {
        let digest = format!("sha256:{}", "0".repeat(64));
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Worker",
            "metadata": {"name": name, "namespace": "lab", "uid": format!("uid-{name}")},
            "spec": {
                "node": node, "role": "inferencer",
                "job": {"kind": "JointInferenceService", "name": "digits", "uid": "job-1"},
                "plugin": {"reference": "onnx-inferencer:1", "digest": digest},
                "resources": {"memory": "1Mi", "timeout": "2s"},
                "serving": task,
            },
        }))
        .unwrap()
    }

    fn edge() -> Worker {
        let digest = format!("sha256:{}", "1".repeat(64));
        worker(
            "digits-edge-e",
            "e",
            json!({
                "service": "lab.digits", "side": "edge", "revision": 7,
                "instances": {"minimum": 1, "maximum": 3}, "queue": 9,
                "batching": {"maxBatch": 16, "maxDelay": "500us"},
                "mining": {"plugin": {"reference": "my-miner:1", "digest": digest}, "mine": "inputs",
                           "parameters": {"threshold": 0.5}},
                "offload": {"asks": "digits-cloud", "deadline": "250ms", "hedgeAfter": "1500us", "share": 0.5, "send": "outputs",
                            "cloudAbsent": "fail"},
                "rollout": {"probes": [{"inputs": []}], "probation": "2s", "errorBudget": 0.1, "latencyBudget": "50ms"},
                "keep": {"dataset": "hard", "maxSize": "1Mi", "maxAge": "1d"},
            }),
        )
    }

    fn cloud() -> Worker {
        let task = json!({"service": "lab.digits", "side": "cloud", "revision": 7, "instances": {}, "queue": 9,
                          "rollout": {}});
        worker("digits-cloud", "c", task)
    }

    fn told(workers: &[Worker]) -> node::Serving {
        let node: EdgeNode = serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "EdgeNode", "metadata": {"name": "c"},
            "spec": {"role": "cloud"}, "status": {"servingEndpoint": "http://10.0.0.1:7500"},
        }))
        .unwrap();
        let secret = FederationSecret::new([1; 32]);
        let wanted = desired(workers.iter(), [].iter(), [node].iter(), &[], &secret);
        match &wanted["e"].workers[0].task {
            Some(node::worker::Task::Serving(task)) => task.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_edge_is_told_all_of_its_task() {
        let task = told(&[edge(), cloud()]);
        assert_eq!(
            (task.service.as_str(), task.side(), task.revision),
            ("lab.digits", node::ServingSide::Edge, 7)
        );
        assert_eq!((task.min_instances, task.max_instances, task.queue), (1, 3, 9));
        assert_eq!(task.batching.unwrap(), node::Batching { max_batch: 16, max_delay_micros: 500 });
        let mining = task.mining.unwrap();
        assert_eq!(
            (mining.stage(), mining.parameters.as_str()),
            (node::MiningStage::Inputs, r#"{"threshold":0.5}"#)
        );
        let Some(node::mining::Miner::Plugin(plugin)) = mining.miner else { panic!("{mining:?}") };
        assert_eq!(plugin.repository, "plugins/my-miner");
        assert_eq!(mining.limits.unwrap(), node::Limits { memory_bytes: 1 << 20, call_millis: 2000 });
        let offload = task.offload.unwrap();
        assert_eq!(
            (offload.payload(), offload.absent()),
            (node::OffloadPayload::Outputs, node::CloudAbsent::Fail)
        );
        assert_eq!((offload.endpoint.as_str(), offload.deadline_millis), ("http://10.0.0.1:7500", 250));
        assert_eq!(offload.hedge_after_micros, 1500);
        let rollout = task.rollout.unwrap();
        assert_eq!((rollout.probes[0].as_str(), rollout.latency_budget_millis), (r#"{"inputs":[]}"#, 50));
        assert_eq!(rollout.deadline_millis, 600_000, "unless it says otherwise");
        let keep = task.keep.unwrap();
        assert_eq!(
            (keep.dataset.as_str(), keep.max_bytes, keep.max_age_millis),
            ("lab/hard", 1 << 20, 86_400_000)
        );
    }

    #[test]
    fn the_clouds_endpoint_is_empty_while_there_is_none() {
        let mut edge = edge();
        assert_eq!(told(std::slice::from_ref(&edge)).offload.unwrap().endpoint, "");
        edge.spec.serving.as_mut().unwrap().offload.as_mut().unwrap().asks = "other".to_owned();
        assert_eq!(told(&[edge, cloud()]).offload.unwrap().endpoint, "");
    }
}
