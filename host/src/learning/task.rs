//! What the manager says of a learner and of an assessor, parsed: `Learning` and `Assessment` of the node protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use sedge_api::node;
use sedge_learning::{Plan, Replay, Retries, Rows};
use sedge_triggers::{Trigger, TriggerSpec};

use crate::artifacts::{Artifact, is_repository};

/// Longest call: a year, as resources have it.
const MAX_MILLIS: u64 = 365 * 24 * 3_600_000;
/// Pauses grow up to five minutes: more tries would take days.
const MAX_RETRIES: u32 = 100;

/// How a learner leads the rounds of its job.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Where versions go in the registry.
    pub repository: String,
    /// What their tags begin with.
    pub tag_prefix: String,
    pub plan: Plan,
    /// Absent: drift is not known.
    pub drift: Option<DriftTask>,
    /// Absent: an assessment is asked for.
    pub evaluator: Option<EvaluatorTask>,
    /// The serving Worker of this node and namespace that versions are deployed to; absent: a deployment is asked for.
    pub serves: Option<String>,
    pub rollback: Option<node::Rollback>,
    pub assessment: Option<node::AssessmentStatus>,
    pub deployment: Option<node::DeploymentOutcome>,
    pub hard_share: Option<f64>,
    /// As it was said: two tasks are the same where this is.
    wire: node::Learning,
}

impl PartialEq for Task {
    fn eq(&self, other: &Self) -> bool {
        self.wire == other.wire
    }
}

/// How drift is detected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DriftTask {
    pub detector: String,
    /// A JSON object.
    pub parameters: String,
    pub on: DriftSubject,
}

/// What drift is detected on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriftSubject {
    /// The rows themselves.
    Features,
    /// What the evaluator measures of the deployed version on them.
    Errors,
}

/// Who measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvaluatorTask {
    pub plugin: Artifact,
    /// A JSON object.
    pub parameters: String,
    /// Name for the guest to namespace/name.
    pub datasets: BTreeMap<String, String>,
    pub memory_bytes: u64,
    pub call: Duration,
}

/// What an assessor measures.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AssessTask {
    pub round: u32,
    pub attempt: u32,
    pub candidate: Artifact,
    pub deployed: Artifact,
    pub earlier: Rows,
}

impl Task {
    /// Err says what is wrong.
    pub fn parse(wire: &node::Learning) -> Result<Self, String> {
        if !is_repository(&wire.repository) {
            return Err(format!("`{}` is not the name of a repository", wire.repository.escape_default()));
        }
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let tag = &wire.tag_prefix;
        if tag.is_empty()
            || tag.len() > 64
            || !tag.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !tag.bytes().all(inner)
        {
            return Err(format!("`{:.100}` is not the beginning of a tag", tag.escape_default().to_string()));
        }
        if !(0.0..=0.9).contains(&wire.replay_share) {
            return Err(format!("its replay share {} is not from 0 to 0.9", wire.replay_share));
        }
        let trigger = |of: &str, json: &str| -> Result<Trigger, String> {
            let spec: TriggerSpec =
                serde_json::from_str(json).map_err(|error| format!("its {of} trigger: {error}"))?;
            Trigger::parse(&spec).map_err(|error| format!("its {of} trigger: {error}"))
        };
        let plan = Plan {
            train: trigger("train", &wire.train_trigger)?,
            deploy: trigger("deploy", &wire.deploy_trigger)?,
            replay: Replay { share: wire.replay_share, reservoir: wire.replay_reservoir },
            keep: wire.keep as usize,
            retries: Retries { times: wire.retries.min(MAX_RETRIES), ..Retries::default() },
        };
        Ok(Self {
            repository: wire.repository.clone(),
            tag_prefix: wire.tag_prefix.clone(),
            plan,
            drift: wire
                .drift
                .as_ref()
                .map(|drift| self::drift(drift, wire.evaluator.is_some()))
                .transpose()?,
            evaluator: wire.evaluator.as_ref().map(EvaluatorTask::parse).transpose()?,
            serves: (!wire.serves.is_empty()).then(|| wire.serves.clone()),
            rollback: wire.rollback,
            assessment: wire.assessment.clone(),
            deployment: wire.deployment.clone(),
            hard_share: wire.hard_share.filter(|share| share.is_finite()),
            wire: wire.clone(),
        })
    }

    /// The tag of a version.
    pub fn tag(&self, version: u32) -> String {
        format!("{}{version}", self.tag_prefix)
    }
}

/// `measures`: the evaluator is on this node.
fn drift(wire: &node::DriftDetection, measures: bool) -> Result<DriftTask, String> {
    let (detector, parameters) = (wire.detector.clone(), wire.parameters.clone());
    let (on, parsed) = match wire.on() {
        node::DriftSubject::Features => {
            (DriftSubject::Features, sedge_drift::Detector::parse(&detector, &parameters).map(drop))
        }
        node::DriftSubject::Errors if !measures => {
            return Err(
                "its drift is detected on errors, and what measures them is on another node".to_owned()
            );
        }
        node::DriftSubject::Errors => {
            (DriftSubject::Errors, sedge_drift::Errors::parse(&detector, &parameters).map(drop))
        }
        node::DriftSubject::Unspecified => return Err("its drift is detected on nothing".to_owned()),
    };
    parsed.map_err(|error| error.to_string())?;
    Ok(DriftTask { detector, parameters, on })
}

impl EvaluatorTask {
    fn parse(wire: &node::Evaluator) -> Result<Self, String> {
        let plugin = wire.plugin.as_ref().ok_or("its evaluator names no plugin")?;
        let limits = wire.limits.unwrap_or_default();
        if limits.memory_bytes == 0 || limits.call_millis == 0 {
            return Err("its evaluator's limits are missing".to_owned());
        }
        let parameters = if wire.parameters.is_empty() { "{}" } else { &wire.parameters };
        if !serde_json::from_str::<serde_json::Value>(parameters).is_ok_and(|value| value.is_object()) {
            return Err("its evaluator's parameters are not a JSON object".to_owned());
        }
        let grants = wire.datasets.iter().map(|grant| (grant.name.clone(), grant.dataset.clone()));
        Ok(Self {
            plugin: Artifact::parse(plugin)?,
            parameters: parameters.to_owned(),
            datasets: grants.collect(),
            memory_bytes: limits.memory_bytes,
            call: Duration::from_millis(limits.call_millis.min(MAX_MILLIS)),
        })
    }
}

impl AssessTask {
    /// Err says what is wrong.
    pub fn parse(wire: &node::Assessment) -> Result<Self, String> {
        let model = |what: &str, model: &Option<node::Artifact>| {
            let model = model.as_ref().ok_or_else(|| format!("its {what} model is missing"))?;
            Artifact::parse(model)
        };
        let earlier: BTreeMap<String, u64> = wire.earlier.clone().into_iter().collect();
        Ok(Self {
            round: wire.round,
            attempt: wire.attempt,
            candidate: model("candidate", &wire.candidate)?,
            deployed: model("deployed", &wire.deployed)?,
            earlier: Rows::try_from(earlier).map_err(|error| error.to_string())?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use sedge_api::Digest;

    use super::*;

    pub fn learning() -> node::Learning {
        let digest = Digest::of(b"evaluator").to_string();
        node::Learning {
            repository: "models/digits".to_owned(),
            tag_prefix: "0f3c9a1b-v".to_owned(),
            train_trigger: r#"{"expression": "newSamples >= 100"}"#.to_owned(),
            deploy_trigger: r#"{"expression": "difference.accuracy > 0.1"}"#.to_owned(),
            evaluator: Some(node::Evaluator {
                plugin: Some(node::Artifact { repository: "plugins/evaluator".to_owned(), digest }),
                limits: Some(node::Limits { memory_bytes: 1 << 20, call_millis: 1_000 }),
                ..node::Evaluator::default()
            }),
            keep: 5,
            retries: 3,
            ..node::Learning::default()
        }
    }

    pub fn evaluator() -> EvaluatorTask {
        Task::parse(&learning()).unwrap().evaluator.unwrap()
    }

    fn of_errors(detector: &str) -> node::DriftDetection {
        let (detector, parameters) = (detector.to_owned(), r#"{"window": 50}"#.to_owned());
        node::DriftDetection { detector, parameters, on: node::DriftSubject::Errors.into() }
    }

    #[test]
    fn a_whole_task_is_taken() {
        let task = Task::parse(&learning()).unwrap();
        assert_eq!((task.tag(3).as_str(), task.plan.keep), ("0f3c9a1b-v3", 5));
        assert_eq!(task.evaluator.as_ref().unwrap().parameters, "{}");
        let on_errors =
            Task::parse(&node::Learning { drift: Some(of_errors("adwin")), ..learning() }).unwrap();
        assert_eq!(on_errors.drift.unwrap().on, DriftSubject::Errors);
        let changed = node::Learning { hard_share: Some(0.5), ..learning() };
        assert_ne!(Task::parse(&changed).unwrap(), task);
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut node::Learning);
        let cases: [(Change, &str); 10] = [
            (|task| task.repository = "../models".to_owned(), "repository"),
            (|task| task.tag_prefix = "-v".to_owned(), "tag"),
            (|task| task.tag_prefix = "v/".to_owned(), "tag"),
            (|task| task.train_trigger = "{}".to_owned(), "train trigger"),
            (|task| task.deploy_trigger = "x".to_owned(), "deploy trigger"),
            (|task| task.replay_share = f64::NAN, "replay share"),
            (|task| task.evaluator.as_mut().unwrap().limits = None, "limits"),
            (
                |task| {
                    task.drift = Some(node::DriftDetection {
                        detector: "hunch".to_owned(),
                        parameters: "{}".to_owned(),
                        on: node::DriftSubject::Features.into(),
                    });
                },
                "hunch",
            ),
            (
                |task| {
                    task.drift = Some(of_errors("psi"));
                },
                "page-hinkley watch errors",
            ),
            (
                |task| {
                    (task.drift, task.evaluator) = (Some(of_errors("adwin")), None);
                },
                "another node",
            ),
        ];
        for (change, word) in cases {
            let mut task = learning();
            change(&mut task);
            let error = Task::parse(&task).unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
        let error = AssessTask::parse(&node::Assessment::default()).unwrap_err();
        assert_eq!(error, "its candidate model is missing");
    }
}
