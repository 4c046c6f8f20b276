//! The resources of group `sedge.dev`, version `v1alpha1`: one file each.
//!
//! ```text
//!  FederatedLearningJob ──names──▶ Model, Plugin (name:tag), Dataset (name or labels)
//!        │ owns                                                  │ lies on
//!        ▼                                                       ▼
//!     Worker ──────────────────runs on──────────────────────▶ EdgeNode
//!        ▲ owns                                                  ▲ name or labels
//!  JointInferenceService ──names──▶ Model, Plugin ───────────────┘
//!        ▲ owns, or changes the model of
//!  IncrementalLearningJob ──names──▶ Model, Plugin, Dataset; owns Workers too
//! ```

mod conditions;
mod dataset;
mod edge_node;
mod engine;
mod federated;
mod incremental;
mod joint;
mod learning;
mod model;
mod plugin;
mod serving;
mod worker;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt as _, Resource as _};
use serde::Deserialize as _;
use serde_json::Value;

pub use conditions::{condition, is_true, set_condition};
pub use dataset::*;
pub use edge_node::*;
pub use engine::*;
use federated::any_object;
pub use federated::*;
pub use incremental::*;
pub use joint::*;
pub use learning::*;
pub use model::*;
pub use plugin::*;
pub use serving::*;
pub use worker::*;

/// The API group of all our kinds.
pub const GROUP: &str = "sedge.dev";
/// The version of all our kinds.
pub const VERSION: &str = "v1alpha1";

/// The definitions of all our kinds, for a cluster's API server or the embedded one.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    vec![
        Dataset::crd(),
        EdgeNode::crd(),
        FederatedLearningJob::crd(),
        IncrementalLearningJob::crd(),
        JointInferenceService::crd(),
        Model::crd(),
        Plugin::crd(),
        Worker::crd(),
    ]
}

/// What is wrong with an object of the kind `kind` beyond what its schema says; of a kind without such rules,
/// nothing.
pub fn problems(kind: &str, object: &Value) -> Vec<Problem> {
    let problems = match kind {
        kind if kind == JointInferenceService::kind(&()) => {
            JointInferenceServiceSpec::deserialize(&object["spec"]).map(|spec| spec.problems())
        }
        kind if kind == IncrementalLearningJob::kind(&()) => {
            IncrementalLearningJobSpec::deserialize(&object["spec"]).map(|spec| spec.problems())
        }
        _ => return Vec::new(),
    };
    problems.unwrap_or_else(|error| vec![Problem { field: "spec".to_owned(), message: error.to_string() }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_structural_schema_and_a_status() {
        for definition in definitions() {
            let version = &definition.spec.versions[0];
            let name = &definition.spec.names.kind;
            assert!(version.subresources.as_ref().is_some_and(|s| s.status.is_some()), "{name}");
            let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
            let properties = schema.and_then(|s| s.properties.as_ref()).expect(name);
            assert!(properties.contains_key("spec") && properties.contains_key("status"), "{name}");
        }
    }

    #[test]
    fn a_job_reads_as_the_readme_shows_it() {
        let job: FederatedLearningJob = serde_yaml_ng::from_str(
            "
            apiVersion: sedge.dev/v1alpha1
            kind: FederatedLearningJob
            metadata: {name: digits}
            spec:
              model: digits-mlp:1
              aggregation: {plugin: 'fedavg:0.1.0', rounds: 20}
              training:
                plugin: sgd-trainer:0.1.0
                parameters: {epochs: 5}
                resources: {memory: 64Mi}
                datasets: {selector: {matchLabels: {task: digits}}}
              stop: {metric: accuracy, operator: '>=', threshold: 0.99}
            ",
        )
        .unwrap();
        assert_eq!(job.spec.aggregation.round_deadline.to_string(), "10m");
        assert_eq!(job.spec.training.resources.memory.bytes(), 64 << 20);
        assert_eq!(job.spec.stop.unwrap().operator, Operator::AtLeast);
    }

    #[test]
    fn a_model_may_choose_its_engine() {
        let model: Model = serde_yaml_ng::from_str(
            "
            apiVersion: sedge.dev/v1alpha1
            kind: Model
            metadata: {name: digits-mlp.1}
            spec:
              reference: digits-mlp:1
              engine: {name: onnxruntime, threads: 2, optimization: extended}
              graphs: {infer: {name: rten, provider: cpu}}
            ",
        )
        .unwrap();
        let engines = model.spec.engines();
        assert_eq!(engines.engine.optimization, Some(Optimization::Extended));
        assert_eq!(engines.graphs["infer"].or(&engines.engine).threads, Some(2));
        let plain = ModelSpec { reference: "digits-mlp:1".parse().unwrap(), ..model.spec };
        let plain = ModelSpec { engine: Default::default(), graphs: Default::default(), ..plain };
        assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"reference":"digits-mlp:1"}"#);
    }
}
