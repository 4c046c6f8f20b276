//! What the Workers of an incremental learning job say, with every number and length bounded. Called by `status`.

use std::collections::{BTreeMap, HashMap};

use sedge_api::node;
use sedge_api::resources::{
    AssessmentReport, LearningFigures, LearningOutcome, LearningReport, LearningRound, LearningStage,
    LearningStageState, Measured, ModelVersion, ModelVersionState, RollbackPhase, RollbackReport,
    SourceRange, WantedAssessment, WantedDeployment,
};
use serde_json::Value;

use super::super::register::cut;
use super::{INTEGER, NAME, metrics, text, time};

const SENTENCE: usize = 1024;
const ROUNDS: usize = 20;
const VERSIONS: usize = 100;
/// Sources of which ranges are shown.
const RANGES: usize = 16;
/// Sources of which rows are passed on: all that a learner tells apart.
const SOURCES: usize = 1024;
const PARAMETERS: usize = 16 << 10;

pub(super) fn report(said: &node::LearningStatus) -> LearningReport {
    let latest_rounds = said.rounds.len().saturating_sub(ROUNDS);
    let latest_versions = said.versions.len().saturating_sub(VERSIONS);
    let versions: Vec<ModelVersion> = said.versions[latest_versions..].iter().filter_map(version).collect();
    LearningReport {
        round: said.round,
        current: said.current.as_ref().map(round),
        rounds: said.rounds[latest_rounds..].iter().map(round).collect(),
        deployed: said.deployed,
        serial: said.serial.min(INTEGER),
        measured: versions.iter().rev().find_map(|version| version.measured.clone()),
        versions,
        waiting: sentence(&said.waiting),
        wants_assessment: said.wants_assessment.as_ref().map(|wanted| WantedAssessment {
            round: wanted.round,
            attempt: wanted.attempt,
            candidate: wanted.candidate,
            deployed: wanted.deployed,
            earlier: rows(&wanted.earlier),
        }),
        wants_deployment: said
            .wants_deployment
            .map(|wanted| WantedDeployment { serial: wanted.serial.min(INTEGER), version: wanted.version }),
        rollback: said.rollback.as_ref().and_then(rollback),
        figures: said.figures.map(figures).unwrap_or_default(),
    }
}

pub(super) fn assessment(said: &node::AssessmentStatus) -> AssessmentReport {
    AssessmentReport {
        round: said.round,
        attempt: said.attempt,
        failure: text(&said.failure, SENTENCE),
        candidate: metrics(&said.candidate),
        deployed: metrics(&said.deployed),
        candidate_earlier: metrics(&said.candidate_earlier),
        deployed_earlier: metrics(&said.deployed_earlier),
        samples: said.samples.min(INTEGER),
        rows: rows(&said.rows),
        evaluator: said.evaluator_digest.parse().ok(),
    }
}

fn figures(said: node::LearningFigures) -> LearningFigures {
    let finite = |figure: Option<f64>| figure.filter(|figure| figure.is_finite()).map(six_digits);
    LearningFigures {
        samples: said.samples.min(INTEGER),
        new_samples: said.new_samples.min(INTEGER),
        drift: finite(said.drift),
        hard_share: finite(said.hard_share),
    }
}

/// As many as a figure is read with; a status that says more would be written more often.
fn six_digits(value: f64) -> f64 {
    let text = format!("{value:.5e}");
    text.parse().unwrap_or(value)
}

fn round(said: &node::LearningRound) -> LearningRound {
    LearningRound {
        number: said.number,
        why: sentence(&said.why),
        started_at: time(said.started_unix_millis),
        ended_at: time(said.ended_unix_millis),
        start: said.start,
        candidate: said.candidate,
        data: ranges(&said.data),
        replayed: said.replayed.min(INTEGER),
        train: said.train.as_ref().map(stage).unwrap_or_default(),
        evaluate: said.evaluate.as_ref().map(stage).unwrap_or_default(),
        deploy: said.deploy.as_ref().map(stage).unwrap_or_default(),
        outcome: match said.outcome() {
            node::RoundOutcome::Unspecified => None,
            node::RoundOutcome::Deployed => Some(LearningOutcome::Deployed),
            node::RoundOutcome::KeptOut => Some(LearningOutcome::KeptOut),
            node::RoundOutcome::Failed => Some(LearningOutcome::Failed),
            node::RoundOutcome::Abandoned => Some(LearningOutcome::Abandoned),
        },
    }
}

fn stage(said: &node::LearningStage) -> LearningStage {
    LearningStage {
        state: match said.state() {
            node::StageState::Unspecified | node::StageState::Waiting => LearningStageState::Waiting,
            node::StageState::Running => LearningStageState::Running,
            node::StageState::Completed => LearningStageState::Completed,
            node::StageState::Failed => LearningStageState::Failed,
            node::StageState::Skipped => LearningStageState::Skipped,
        },
        reason: sentence(&said.reason),
        since: time(said.since_unix_millis),
        failures: said.failures,
    }
}

fn version(said: &node::ModelVersion) -> Option<ModelVersion> {
    let state = match said.state() {
        node::VersionState::Unspecified => return None,
        node::VersionState::Candidate => ModelVersionState::Candidate,
        node::VersionState::Deployed => ModelVersionState::Deployed,
        node::VersionState::Superseded => ModelVersionState::Superseded,
        node::VersionState::KeptOut => ModelVersionState::KeptOut,
        node::VersionState::RolledBack => ModelVersionState::RolledBack,
    };
    let parameters = (said.parameters.len() <= PARAMETERS)
        .then(|| serde_json::from_str::<Value>(&said.parameters).ok())
        .flatten();
    Some(ModelVersion {
        number: said.number,
        weights: said.weights_digest.parse().ok(),
        model: said.model_digest.parse().ok(),
        uploaded: said.uploaded,
        parent: said.parent,
        data: ranges(&said.data),
        data_digest: said.data_digest.parse().ok(),
        samples: said.samples.min(INTEGER),
        replayed: said.replayed.min(INTEGER),
        trainer: said.trainer_digest.parse().ok(),
        parameters: match parameters {
            Some(Value::Object(parameters)) => Some(parameters),
            _ => None,
        },
        training: metrics(&said.training),
        measured: said.measured.as_ref().map(measured),
        created: time(said.created_unix_millis),
        deployed_at: time(said.deployed_unix_millis),
        state,
        reason: sentence(&said.reason),
        forgotten: said.forgotten,
    })
}

fn measured(said: &node::Measured) -> Measured {
    Measured {
        against: said.against,
        candidate: metrics(&said.candidate),
        deployed: metrics(&said.deployed),
        candidate_earlier: metrics(&said.candidate_earlier),
        deployed_earlier: metrics(&said.deployed_earlier),
        samples: said.samples.min(INTEGER),
        evaluator: said.evaluator_digest.parse().ok(),
        at: time(said.at_unix_millis),
    }
}

fn rollback(said: &node::RollbackStatus) -> Option<RollbackReport> {
    let state = match said.state() {
        node::RollbackState::Unspecified => return None,
        node::RollbackState::Asked => RollbackPhase::Asked,
        node::RollbackState::Done => RollbackPhase::Done,
        node::RollbackState::Refused => RollbackPhase::Refused,
    };
    Some(RollbackReport {
        request: said.request.min(INTEGER),
        version: said.version,
        state,
        reason: sentence(&said.reason),
        since: time(said.since_unix_millis),
    })
}

fn ranges(said: &[node::SourceRange]) -> Vec<SourceRange> {
    let range = |range: &node::SourceRange| SourceRange {
        source: cut(range.source.clone(), NAME),
        first: range.first.min(INTEGER),
        end: range.end.min(INTEGER),
    };
    said.iter().take(RANGES).map(range).collect()
}

/// Sources are passed on as they are called: a name that is cut would be another's.
fn rows(said: &HashMap<String, u64>) -> BTreeMap<String, u64> {
    let fits = |(source, _): &(&String, &u64)| source.len() <= SENTENCE;
    said.iter()
        .filter(fits)
        .take(SOURCES)
        .map(|(source, rows)| (source.clone(), (*rows).min(INTEGER)))
        .collect()
}

fn sentence(said: &str) -> String {
    cut(said.to_owned(), SENTENCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, value: f64) -> node::Metric {
        node::Metric { name: name.to_owned(), value }
    }

    #[test]
    fn a_report_says_what_the_learner_said() {
        let said = node::LearningStatus {
            round: 2,
            rounds: vec![node::LearningRound {
                number: 1,
                candidate: Some(1),
                data: vec![node::SourceRange { source: String::new(), first: 0, end: 120 }],
                deploy: Some(node::LearningStage {
                    state: node::StageState::Skipped.into(),
                    reason: "difference.accuracy is -0.4, not above 0.1".to_owned(),
                    ..Default::default()
                }),
                outcome: node::RoundOutcome::KeptOut.into(),
                ..Default::default()
            }],
            versions: vec![node::ModelVersion {
                number: 1,
                state: node::VersionState::KeptOut.into(),
                parameters: r#"{"epochs": 5}"#.to_owned(),
                measured: Some(node::Measured {
                    candidate: vec![metric("accuracy", 0.5), metric("loss", f64::NAN)],
                    deployed: vec![metric("accuracy", 0.9)],
                    ..Default::default()
                }),
                ..Default::default()
            }],
            figures: Some(node::LearningFigures {
                samples: 150,
                new_samples: 30,
                drift: Some(0.123_456_789),
                hard_share: Some(f64::NAN),
            }),
            ..Default::default()
        };
        let report = report(&said);
        let round = &report.rounds[0];
        assert_eq!(
            (round.outcome, round.deploy.state),
            (Some(LearningOutcome::KeptOut), LearningStageState::Skipped)
        );
        assert_eq!(report.versions[0].parameters.as_ref().unwrap()["epochs"], 5);
        let measured = report.measured.unwrap();
        assert_eq!((measured.candidate.len(), measured.deployed[0].value), (1, 0.9));
        assert_eq!((report.figures.drift, report.figures.hard_share), (Some(0.123457), None));
    }

    #[test]
    fn a_boundless_report_is_bounded() {
        let endless = "é".repeat(100_000);
        let version = node::ModelVersion {
            state: node::VersionState::Candidate.into(),
            parameters: format!("{{\"a\": \"{endless}\"}}"),
            reason: endless.clone(),
            data: vec![node::SourceRange::default(); 1_000],
            training: vec![metric("a", 1.0); 1_000],
            ..Default::default()
        };
        let said = node::LearningStatus {
            rounds: (0..1_000)
                .map(|number| node::LearningRound { number, why: endless.clone(), ..Default::default() })
                .collect(),
            versions: vec![version; 1_000],
            serial: u64::MAX,
            wants_assessment: Some(node::WantedAssessment {
                earlier: (0..5_000)
                    .map(|at| (at.to_string(), u64::MAX))
                    .chain([(endless.clone(), 1)])
                    .collect(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let report = report(&said);
        assert_eq!((report.rounds.len(), report.rounds[0].number), (ROUNDS, 980));
        assert_eq!((report.versions.len(), report.versions[0].parameters.clone()), (VERSIONS, None));
        assert_eq!((report.versions[0].data.len(), report.serial), (RANGES, INTEGER));
        let earlier = report.wants_assessment.unwrap().earlier;
        assert!(earlier.len() == SOURCES && earlier.values().all(|rows| *rows == INTEGER));
        assert!(serde_json::to_vec(&report.rounds).unwrap().len() < 100_000);
    }
}
