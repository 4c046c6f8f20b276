//! What the schema of an IncrementalLearningJob cannot say. Checked by the embedded API server before it stores one, and
//! by the reconciler, as a cluster's API server does not.

use serde_json::Value;

use super::super::joint::Problems;
use super::{DriftSubject, IncrementalLearningJobSpec};
use crate::resources::Problem;

impl IncrementalLearningJobSpec {
    /// All that is wrong with it beyond what the schema says.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        for (field, trigger) in
            [("train.trigger", &self.train.trigger), ("evaluate.trigger", &self.evaluate.trigger)]
        {
            for problem in trigger.problems() {
                problems.add(&format!("{field}.{}", problem.field), &problem.message);
            }
        }
        if let Some(replay) = &self.train.replay {
            // Written so that NaN is refused too.
            let share = replay.share > 0.0 && replay.share <= 0.9;
            problems.unless(share, "train.replay.share", "must be above 0 and at most 0.9");
            problems.unless(replay.reservoir >= 1, "train.replay.reservoir", "must be at least 1");
        }
        if let Some(drift) = &self.train.drift {
            let parameters = Value::Object(drift.parameters.clone()).to_string();
            let name = drift.detector.word();
            let parsed = match drift.on {
                DriftSubject::Features => sedge_drift::Detector::parse(name, &parameters).map(drop),
                DriftSubject::Errors => sedge_drift::Errors::parse(name, &parameters).map(drop),
            };
            if let Err(error) = parsed {
                problems.add("train.drift.parameters", &error.to_string());
            }
        }
        match (&self.deploy.service, &self.deploy.inferencer) {
            (None, None) => problems.add("deploy", "must have a service or an inferencer"),
            (Some(_), Some(_)) => {
                problems.add("deploy.inferencer", "must not be there beside a service: write one of the two");
            }
            (None, Some(own)) => {
                let field = "deploy.inferencer";
                problems.serving(field, own.instances, own.queue, own.batching.as_ref());
                if let Some(mining) = &own.hard_example_mining {
                    problems.mining(&format!("{field}.hardExampleMining"), mining);
                }
                problems.rollout(&format!("{field}.rollout"), &own.rollout);
            }
            (Some(_), None) => {}
        }
        let versions = self.keep.versions;
        problems.unless((2..=50).contains(&versions), "keep.versions", "must be from 2 to 50");
        problems.unless(self.retries <= 20, "retries", "must be at most 20");
        let request = self.rollback.map_or(1, |rollback| rollback.request);
        problems.unless(request >= 1, "rollback.request", "must be at least 1");
        problems.into()
    }
}
