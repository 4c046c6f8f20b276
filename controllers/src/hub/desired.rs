//! What the manager wants of each node: a function of Workers, Datasets and EdgeNodes. Called by `view`
//! whenever one of them has changed.

mod dataset;
mod learning;
mod serving;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use sedge_api::artifact::{model_repository, plugin_repository};
use sedge_api::node;
use sedge_api::resources::{
    AggregationTask, Dataset, DatasetGrant, EdgeNode, EdgeNodeStatus, EngineOptions, ModelEngines, Operator,
    Optimization, PinnedArtifact, Provider, Resources, Role, Worker, WorkerSpec,
};

use super::FederationSecret;

/// The Workers to run and the Datasets to hold, by node, each sorted by namespace and name, so that equal
/// wants are equal messages. A Worker that has ended is wanted for its log alone.
pub(super) fn desired<'a>(
    workers: impl Iterator<Item = &'a Worker> + Clone,
    datasets: impl Iterator<Item = &'a Dataset>,
    nodes: impl Iterator<Item = &'a EdgeNode>,
    secrets: &[Arc<Secret>],
    secret: &FederationSecret,
) -> HashMap<String, node::Desired> {
    let statuses: BTreeMap<String, &EdgeNodeStatus> =
        nodes.filter_map(|node| Some((node.name_any(), node.status.as_ref()?))).collect();
    // Workers that others ask, and where they run.
    let asked: BTreeMap<(Option<String>, String), &str> = workers
        .clone()
        .filter(|worker| worker.metadata.deletion_timestamp.is_none())
        .filter(|worker| worker.spec.role == Role::Aggregator || serving::is_asked(&worker.spec))
        .map(|worker| ((worker.namespace(), worker.name_any()), worker.spec.node.as_str()))
        .collect();
    let host = |worker: &Worker, other: &str| -> Option<&EdgeNodeStatus> {
        let node = asked.get(&(worker.namespace(), other.to_owned()))?;
        statuses.get(*node).copied()
    };

    let mut wanted: HashMap<String, node::Desired> = HashMap::new();
    for worker in workers {
        if worker.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let spec = &worker.spec;
        let task = if let Some(task) = &spec.aggregation {
            Some(node::worker::Task::Aggregation(aggregation(spec, task, secret)))
        } else if let Some(leader) = &spec.joins {
            Some(node::worker::Task::Participation(node::Participation {
                endpoint: host(worker, leader)
                    .and_then(|status| status.federation_endpoint.clone())
                    .unwrap_or_default(),
                token: secret.token(&spec.job.uid),
            }))
        } else if let Some(task) = &spec.serving {
            let cloud = task.offload.as_ref().and_then(|offload| host(worker, &offload.asks));
            let endpoint = cloud.and_then(|status| status.serving_endpoint.clone()).unwrap_or_default();
            Some(node::worker::Task::Serving(serving::serving(worker, task, endpoint)))
        } else if let Some(task) = &spec.learning {
            Some(node::worker::Task::Learning(learning::learning(worker, task)))
        } else {
            spec.assessment.as_ref().map(|task| node::worker::Task::Assessment(learning::assessment(task)))
        };
        wanted.entry(worker.spec.node.clone()).or_default().workers.push(message(worker, task));
    }
    for dataset in datasets.filter(|dataset| dataset.metadata.deletion_timestamp.is_none()) {
        wanted.entry(dataset.spec.node.clone()).or_default().datasets.push(dataset::held(dataset, secrets));
    }
    for desired in wanted.values_mut() {
        desired.workers.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        desired.datasets.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    }
    wanted
}

fn message(worker: &Worker, task: Option<node::worker::Task>) -> node::Worker {
    let spec = &worker.spec;
    let namespace = worker.namespace().unwrap_or_default();
    let role = match spec.role {
        Role::Trainer => node::WorkerRole::Trainer,
        Role::Evaluator => node::WorkerRole::Evaluator,
        Role::Inferencer => node::WorkerRole::Inferencer,
        Role::Miner => node::WorkerRole::Miner,
        Role::Aggregator => node::WorkerRole::Aggregator,
    };
    node::Worker {
        uid: worker.uid().unwrap_or_default(),
        name: worker.name_any(),
        job_uid: spec.job.uid.clone(),
        job_name: spec.job.name.clone(),
        role: role.into(),
        plugin: Some(artifact(plugin_repository(spec.plugin.reference.name()), &spec.plugin)),
        model: spec.model.as_ref().map(|model| artifact(model_repository(model.reference.name()), model)),
        engine: Some(engine_options(&spec.engines.engine)),
        graph_engines: graph_engines(&spec.engines),
        parameters: serde_json::Value::Object(spec.parameters.clone()).to_string(),
        datasets: grants(&namespace, &spec.datasets),
        limits: Some(limits(spec.resources)),
        task,
        ended: worker.status.as_ref().is_some_and(|status| status.phase.is_final()),
        namespace,
    }
}

fn grants(namespace: &str, datasets: &[DatasetGrant]) -> Vec<node::DatasetGrant> {
    let grant = |grant: &DatasetGrant| node::DatasetGrant {
        name: grant.name.clone(),
        dataset: format!("{namespace}/{}", grant.dataset),
    };
    datasets.iter().map(grant).collect()
}

fn limits(resources: Resources) -> node::Limits {
    node::Limits { memory_bytes: resources.memory.bytes(), call_millis: resources.timeout.millis() }
}

fn graph_engines(engines: &ModelEngines) -> Vec<node::GraphOptions> {
    let graph = |(graph, own): (&String, &EngineOptions)| node::GraphOptions {
        graph: graph.clone(),
        options: Some(engine_options(&own.or(&engines.engine))),
    };
    engines.graphs.iter().map(graph).collect()
}

fn engine_options(options: &EngineOptions) -> node::EngineOptions {
    let optimization = match options.optimization {
        None => node::Optimization::Unspecified,
        Some(Optimization::None) => node::Optimization::None,
        Some(Optimization::Basic) => node::Optimization::Basic,
        Some(Optimization::Extended) => node::Optimization::Extended,
        Some(Optimization::All) => node::Optimization::All,
    };
    let provider = match options.provider {
        None => node::Provider::Unspecified,
        Some(Provider::Cpu) => node::Provider::Cpu,
        Some(Provider::Cuda) => node::Provider::Cuda,
    };
    node::EngineOptions {
        name: options.name.clone().unwrap_or_default(),
        threads: options.threads.unwrap_or_default().into(),
        optimization: optimization.into(),
        provider: provider.into(),
    }
}

fn artifact(repository: String, pinned: &PinnedArtifact) -> node::Artifact {
    node::Artifact { repository, digest: pinned.digest.to_string() }
}

fn aggregation(spec: &WorkerSpec, task: &AggregationTask, secret: &FederationSecret) -> node::Aggregation {
    node::Aggregation {
        rounds: task.rounds,
        minimum: task.minimum,
        fraction: task.fraction,
        deadline_millis: task.deadline.millis(),
        trainers: task.trainers.clone(),
        evaluators: task.evaluators.clone(),
        token: secret.token(&spec.job.uid),
        stop: task.stop.as_ref().map(|stop| node::Stop {
            metric: stop.metric.clone(),
            comparison: match stop.operator {
                Operator::AtLeast => node::Comparison::AtLeast,
                Operator::AtMost => node::Comparison::AtMost,
            }
            .into(),
            threshold: stop.threshold,
        }),
        result_repository: model_repository(task.result.name()),
        result_tag: task.result.tag().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    fn worker(name: &str, node: &str, role: &str, more: Value) -> Worker {
        let digest = format!("sha256:{}", "0".repeat(64));
        let mut spec = json!({
            "node": node, "role": role,
            "job": {"kind": "FederatedLearningJob", "name": "digits", "uid": "job-1"},
            "plugin": {"reference": "sgd:1", "digest": digest},
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Worker",
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
            "spec": spec,
        }))
        .unwrap()
    }

    fn node(name: &str, endpoint: &str) -> EdgeNode {
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "EdgeNode", "metadata": {"name": name},
            "spec": {"role": "cloud"}, "status": {"federationEndpoint": endpoint},
        }))
        .unwrap()
    }

    fn trainer_and_leader() -> Vec<Worker> {
        let task = json!({"aggregation": {
            "rounds": 2, "minimum": 1, "fraction": 1.0, "deadline": "60s",
            "trainers": ["t"], "result": "digits:1",
        }});
        vec![worker("t", "edge", "trainer", json!({"joins": "a"})), worker("a", "cloud", "aggregator", task)]
    }

    #[test]
    fn a_trainer_is_told_where_its_aggregator_listens() {
        let (workers, nodes) = (trainer_and_leader(), [node("cloud", "http://10.0.0.1:7000")]);
        let secret = FederationSecret::new([1; 32]);
        let wanted = desired(workers.iter(), [].iter(), nodes.iter(), &[], &secret);
        let Some(node::worker::Task::Participation(task)) = &wanted["edge"].workers[0].task else {
            panic!("{wanted:?}")
        };
        assert_eq!(task.endpoint, "http://10.0.0.1:7000");
        let Some(node::worker::Task::Aggregation(leader)) = &wanted["cloud"].workers[0].task else {
            panic!("{wanted:?}")
        };
        assert_eq!(leader.token, task.token);
        assert_eq!((leader.result_repository.as_str(), leader.result_tag.as_str()), ("models/digits", "1"));
    }

    #[test]
    fn a_worker_is_told_how_its_graphs_are_computed() {
        let engines = json!({"engines": {
            "engine": {"name": "onnxruntime", "threads": 2},
            "graphs": {"infer": {"name": "rten", "optimization": "none"}},
        }});
        let workers = [worker("t", "edge", "trainer", engines)];
        let wanted = desired(workers.iter(), [].iter(), [].iter(), &[], &FederationSecret::new([1; 32]));
        let worker = &wanted["edge"].workers[0];
        let engine = worker.engine.as_ref().unwrap();
        assert_eq!((engine.name.as_str(), engine.threads), ("onnxruntime", 2));
        let infer = worker.graph_engines[0].options.as_ref().unwrap();
        assert_eq!((infer.name.as_str(), infer.threads), ("rten", 2));
        assert_eq!(infer.optimization(), node::Optimization::None);
    }

    #[test]
    fn the_endpoint_is_empty_while_it_is_not_known() {
        let workers = trainer_and_leader();
        let wanted = desired(workers.iter(), [].iter(), [].iter(), &[], &FederationSecret::new([1; 32]));
        let Some(node::worker::Task::Participation(task)) = &wanted["edge"].workers[0].task else {
            panic!("{wanted:?}")
        };
        assert_eq!(task.endpoint, "");
    }

    #[test]
    fn a_worker_that_has_ended_is_wanted_for_its_log_alone() {
        let mut workers = trainer_and_leader();
        workers[0].status = serde_json::from_value(json!({"phase": "Failed"})).unwrap();
        let wanted = desired(workers.iter(), [].iter(), [].iter(), &[], &FederationSecret::new([1; 32]));
        assert!(wanted["edge"].workers[0].ended, "{wanted:?}");

        workers[0].metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let wanted = desired(workers.iter(), [].iter(), [].iter(), &[], &FederationSecret::new([1; 32]));
        assert!(!wanted.contains_key("edge"), "{wanted:?}");
    }
}
