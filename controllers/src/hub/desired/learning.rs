//! The tasks of an incremental learning job's Workers in the words of the node protocol. Called by `desired`.

use kube::ResourceExt as _;
use sedge_api::artifact::{model_repository, plugin_repository};
use sedge_api::node;
use sedge_api::resources::{
    AssessmentReport, AssessmentTask, DriftDetection, DriftSubject, EvaluatorTask, LearningTask, Metric,
    PinnedArtifact, Worker,
};
use sedge_triggers::TriggerSpec;
use serde_json::Value;

use super::{artifact, grants, limits};

pub(super) fn learning(worker: &Worker, task: &LearningTask) -> node::Learning {
    let replay = task.replay.unwrap_or(sedge_api::resources::ReplayPolicy { share: 0.0, reservoir: 0 });
    node::Learning {
        repository: model_repository(&task.name),
        tag_prefix: task.tag_prefix.clone(),
        train_trigger: json(&task.train),
        deploy_trigger: json(&task.deploy),
        replay_share: replay.share,
        replay_reservoir: replay.reservoir.into(),
        drift: task.drift.as_ref().map(drift),
        evaluator: task.evaluator.as_ref().map(|evaluator| self::evaluator(worker, evaluator)),
        keep: task.keep,
        retries: task.retries,
        serves: task.serves.clone().unwrap_or_default(),
        rollback: task
            .rollback
            .map(|rollback| node::Rollback { version: rollback.version, request: rollback.request }),
        assessment: task.assessment.as_ref().map(outcome),
        deployment: task.deployment.as_ref().map(|deployment| node::DeploymentOutcome {
            serial: deployment.serial,
            kept: deployment.kept,
            reason: deployment.reason.clone(),
        }),
        hard_share: task.hard_share,
    }
}

pub(super) fn assessment(task: &AssessmentTask) -> node::Assessment {
    let model = |pinned: &PinnedArtifact| artifact(model_repository(pinned.reference.name()), pinned);
    node::Assessment {
        round: task.round,
        attempt: task.attempt,
        candidate: Some(model(&task.candidate)),
        deployed: Some(model(&task.deployed)),
        earlier: task.earlier.clone().into_iter().collect(),
    }
}

fn json(trigger: &TriggerSpec) -> String {
    serde_json::to_string(trigger).expect("a trigger was read from JSON and has no keys but names")
}

fn drift(drift: &DriftDetection) -> node::DriftDetection {
    node::DriftDetection {
        detector: drift.detector.word().to_owned(),
        parameters: Value::Object(drift.parameters.clone()).to_string(),
        on: match drift.on {
            DriftSubject::Features => node::DriftSubject::Features,
            DriftSubject::Errors => node::DriftSubject::Errors,
        }
        .into(),
    }
}

fn evaluator(worker: &Worker, task: &EvaluatorTask) -> node::Evaluator {
    node::Evaluator {
        plugin: Some(artifact(plugin_repository(task.plugin.reference.name()), &task.plugin)),
        parameters: Value::Object(task.parameters.clone()).to_string(),
        datasets: grants(&worker.namespace().unwrap_or_default(), &task.datasets),
        limits: Some(limits(task.resources)),
    }
}

fn outcome(report: &AssessmentReport) -> node::AssessmentStatus {
    let metrics = |metrics: &[Metric]| -> Vec<node::Metric> {
        let metric = |metric: &Metric| node::Metric { name: metric.name.clone(), value: metric.value };
        metrics.iter().map(metric).collect()
    };
    node::AssessmentStatus {
        round: report.round,
        attempt: report.attempt,
        failure: report.failure.clone().unwrap_or_default(),
        candidate: metrics(&report.candidate),
        deployed: metrics(&report.deployed),
        candidate_earlier: metrics(&report.candidate_earlier),
        deployed_earlier: metrics(&report.deployed_earlier),
        samples: report.samples,
        rows: report.rows.clone().into_iter().collect(),
        evaluator_digest: report.evaluator.map(|digest| digest.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use sedge_api::Digest;
    use sedge_api::resources::Worker;
    use serde_json::{Value, json};

    use super::super::desired;
    use super::*;
    use crate::hub::FederationSecret;

    fn pinned(reference: &str) -> Value {
        json!({"reference": reference, "digest": Digest::of(reference.as_bytes()).to_string()})
    }

    fn told(role: &str, task: Value) -> node::worker::Task {
        let mut spec = json!({
            "node": "n", "role": role, "job": {"kind": "IncrementalLearningJob", "name": "digits", "uid": "job-1"},
            "plugin": pinned("sgd:1"), "datasets": [{"name": "train", "dataset": "stream"}],
        });
        spec.as_object_mut().unwrap().extend(task.as_object().unwrap().clone());
        let worker: Worker = serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Worker",
            "metadata": {"name": "w", "namespace": "lab", "uid": "uid-w"}, "spec": spec,
        }))
        .unwrap();
        let wanted = desired([worker].iter(), [].iter(), [].iter(), &[], &FederationSecret::new([1; 32]));
        wanted["n"].workers[0].task.clone().unwrap()
    }

    #[test]
    fn a_learner_is_told_all_of_its_task() {
        let told = told(
            "trainer",
            json!({"learning": {
                "name": "digits", "tagPrefix": "0f3c9a1b-v",
                "train": {"expression": "newSamples >= 100", "checkPeriod": "1s"},
                "deploy": {"condition": {"metric": "difference.accuracy", "operator": ">", "threshold": 0.1}},
                "replay": {"share": 0.25, "reservoir": 500},
                "drift": {"detector": "page-hinkley", "parameters": {"threshold": 20}, "on": "errors"},
                "evaluator": {"plugin": pinned("evaluator:1"), "parameters": {"batchSize": 8},
                              "datasets": [{"name": "test", "dataset": "stream"}], "resources": {"memory": "1Mi", "timeout": "2s"}},
                "keep": 5, "retries": 2, "serves": "digits-edge-n", "rollback": {"version": 0, "request": 7},
                "assessment": {"round": 3, "attempt": 1, "candidate": [{"name": "accuracy", "value": 0.9}],
                               "rows": {"a.csv": 10}, "samples": 4},
                "deployment": {"serial": 4, "kept": false, "reason": "node `e` has undone it"},
                "hardShare": 0.25,
            }}),
        );
        let node::worker::Task::Learning(task) = told else { panic!("{told:?}") };
        assert_eq!((task.repository.as_str(), task.tag_prefix.as_str()), ("models/digits", "0f3c9a1b-v"));
        let trigger: TriggerSpec = serde_json::from_str(&task.train_trigger).unwrap();
        assert_eq!(trigger.expression.as_deref(), Some("newSamples >= 100"));
        assert!(task.deploy_trigger.contains("difference.accuracy"));
        assert_eq!((task.replay_share, task.replay_reservoir), (0.25, 500));
        let drift = task.drift.unwrap();
        assert_eq!((drift.detector.as_str(), drift.on()), ("page-hinkley", node::DriftSubject::Errors));
        assert_eq!(drift.parameters, r#"{"threshold":20}"#);
        let evaluator = task.evaluator.unwrap();
        assert_eq!(evaluator.plugin.unwrap().repository, "plugins/evaluator");
        assert_eq!(
            (evaluator.datasets[0].dataset.as_str(), evaluator.limits.unwrap().call_millis),
            ("lab/stream", 2000)
        );
        assert_eq!((task.keep, task.retries, task.serves.as_str()), (5, 2, "digits-edge-n"));
        assert_eq!(task.rollback, Some(node::Rollback { version: Some(0), request: 7 }));
        let assessment = task.assessment.unwrap();
        assert_eq!((assessment.round, assessment.attempt, assessment.rows["a.csv"]), (3, 1, 10));
        assert_eq!((assessment.candidate[0].value, assessment.failure.as_str()), (0.9, ""));
        assert_eq!((task.deployment.unwrap().serial, task.hard_share), (4, Some(0.25)));
    }

    #[test]
    fn an_assessor_is_told_which_models_to_measure() {
        let told = told(
            "evaluator",
            json!({"assessment": {"round": 3, "attempt": 0, "candidate": pinned("digits:x-v3"),
                                  "deployed": pinned("digits-mlp:1"), "earlier": {"": 100}}}),
        );
        let node::worker::Task::Assessment(task) = told else { panic!("{told:?}") };
        assert_eq!(task.candidate.unwrap().repository, "models/digits");
        assert_eq!(task.deployed.unwrap().digest, Digest::of(b"digits-mlp:1").to_string());
        assert_eq!((task.round, task.earlier[""]), (3, 100));
    }
}
