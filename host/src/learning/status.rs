//! What a learner says of its job, in the words of the node protocol. Called by `worker::learn`.

use jiff::Timestamp;
use prost::Message as _;
use sedge_api::node;
use sedge_learning::{
    DataRange, Figures, Metrics, Outcome, RollbackState, Round, StageRecord, StageState, Version,
    VersionState,
};

use super::Record;

/// Ranges that are said of one round or version.
const RANGES: usize = 16;

/// Bytes of versions, about, from the newest on, that are said with all figures: a status is part of one message, and of one
/// resource. Of older ones metrics and parameters are left out; the record on disk has them.
const FIGURES_BYTES: usize = 256 << 10;

/// What is asked of other nodes.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Wants {
    pub assessment: Option<node::WantedAssessment>,
    pub deployment: Option<node::WantedDeployment>,
}

/// All that there is to say; `first` is the manifest of version 0.
pub(crate) fn status(record: &Record, first: &str, figures: &Figures, wants: Wants) -> node::LearningStatus {
    let rounds = &record.rounds;
    let latest = rounds.current().or(rounds.past().last());
    node::LearningStatus {
        round: latest.map_or(0, |round| round.number),
        current: rounds.current().map(round),
        rounds: rounds.past().iter().map(round).collect(),
        versions: brief(
            rounds.versions().iter().map(|version| self::version(record, first, version)).collect(),
        ),
        deployed: rounds.deployed().number,
        serial: rounds.serial(),
        waiting: rounds.waiting().to_owned(),
        wants_assessment: wants.assessment,
        wants_deployment: wants.deployment,
        rollback: rounds.rollback().map(|rollback| node::RollbackStatus {
            request: rollback.request,
            version: rollback.version,
            state: match rollback.state {
                RollbackState::Asked => node::RollbackState::Asked,
                RollbackState::Done => node::RollbackState::Done,
                RollbackState::Refused => node::RollbackState::Refused,
            }
            .into(),
            reason: rollback.reason.clone(),
            since_unix_millis: millis(rollback.since),
        }),
        figures: Some(node::LearningFigures {
            samples: figures.rows.total(),
            new_samples: rounds.new_rows(&figures.rows),
            drift: figures.drift,
            hard_share: figures.hard_share,
        }),
    }
}

/// The figures of the newest, as many as there is room for.
fn brief(mut versions: Vec<node::ModelVersion>) -> Vec<node::ModelVersion> {
    let mut said = 0;
    for version in versions.iter_mut().rev() {
        said += version.encoded_len();
        if said > FIGURES_BYTES {
            version.parameters.clear();
            version.training.clear();
            version.measured = None;
        }
    }
    versions
}

fn round(round: &Round) -> node::LearningRound {
    node::LearningRound {
        number: round.number,
        why: round.why.clone(),
        started_unix_millis: millis(round.started_at),
        ended_unix_millis: round.ended_at.map(millis).unwrap_or_default(),
        start: round.start,
        candidate: round.candidate,
        data: ranges(&round.data),
        replayed: round.replay,
        train: Some(stage(&round.train)),
        evaluate: Some(stage(&round.evaluate)),
        deploy: Some(stage(&round.deploy)),
        outcome: match round.outcome {
            None => node::RoundOutcome::Unspecified,
            Some(Outcome::Deployed) => node::RoundOutcome::Deployed,
            Some(Outcome::KeptOut) => node::RoundOutcome::KeptOut,
            Some(Outcome::Failed) => node::RoundOutcome::Failed,
            Some(Outcome::Abandoned) => node::RoundOutcome::Abandoned,
        }
        .into(),
    }
}

fn stage(stage: &StageRecord) -> node::LearningStage {
    node::LearningStage {
        state: match stage.state {
            StageState::Waiting => node::StageState::Waiting,
            StageState::Running => node::StageState::Running,
            StageState::Completed => node::StageState::Completed,
            StageState::Failed => node::StageState::Failed,
            StageState::Skipped => node::StageState::Skipped,
        }
        .into(),
        reason: stage.reason.clone(),
        since_unix_millis: millis(stage.since),
        failures: stage.failures,
    }
}

fn version(record: &Record, first: &str, version: &Version) -> node::ModelVersion {
    let kept = record.models.get(&version.number);
    let text = |digest: &Option<sedge_learning::Digest>| {
        digest.as_ref().map(|digest| digest.as_str().to_owned()).unwrap_or_default()
    };
    node::ModelVersion {
        number: version.number,
        weights_digest: version.digest.as_str().to_owned(),
        model_digest: match version.number {
            0 => first.to_owned(),
            _ => kept.map(|kept| kept.manifest.to_string()).unwrap_or_default(),
        },
        uploaded: version.number == 0 || kept.is_some_and(|kept| kept.uploaded),
        parent: version.parent,
        data: ranges(&version.data),
        data_digest: text(&version.data_digest),
        samples: version.samples,
        replayed: version.replayed,
        trainer_digest: text(&version.trainer),
        parameters: version.parameters.as_ref().map(ToString::to_string).unwrap_or_default(),
        training: metrics(&version.training),
        measured: version.evaluation.as_ref().map(|evaluation| node::Measured {
            against: evaluation.against,
            candidate: metrics(&evaluation.candidate),
            deployed: metrics(&evaluation.deployed),
            candidate_earlier: metrics(&evaluation.candidate_earlier),
            deployed_earlier: metrics(&evaluation.deployed_earlier),
            samples: evaluation.samples,
            evaluator_digest: text(&evaluation.evaluator),
            at_unix_millis: millis(evaluation.at),
        }),
        created_unix_millis: millis(version.created),
        deployed_unix_millis: version.deployed_at.map(millis).unwrap_or_default(),
        state: match version.state {
            VersionState::Candidate => node::VersionState::Candidate,
            VersionState::Deployed => node::VersionState::Deployed,
            VersionState::Superseded => node::VersionState::Superseded,
            VersionState::KeptOut => node::VersionState::KeptOut,
            VersionState::RolledBack => node::VersionState::RolledBack,
        }
        .into(),
        reason: version.reason.clone(),
        forgotten: version.forgotten,
    }
}

fn ranges(data: &DataRange) -> Vec<node::SourceRange> {
    let range = |(source, range): (&str, sedge_learning::RowRange)| node::SourceRange {
        source: source.to_owned(),
        first: range.first,
        end: range.end,
    };
    data.iter().take(RANGES).map(range).collect()
}

fn metrics(metrics: &Metrics) -> Vec<node::Metric> {
    metrics.iter().map(|(name, value)| node::Metric { name: name.to_owned(), value }).collect()
}

/// Metrics of the node protocol as rounds take them.
pub(crate) fn metrics_of(metrics: &[node::Metric]) -> Metrics {
    metrics.iter().map(|metric| (metric.name.clone(), metric.value)).collect()
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use sedge_api::Digest;
    use sedge_learning::{Evaluated, Rounds, Rows, Step, Trained};

    use super::super::record::Kept;
    use super::super::task::tests::learning;
    use super::*;
    use crate::learning::Task;

    #[test]
    fn a_job_that_was_learnt_once_says_all_of_it() {
        let now: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        let plan = Task::parse(&learning()).unwrap().plan;
        let digest =
            |of: &str| -> sedge_learning::Digest { Digest::of(of.as_bytes()).to_string().parse().unwrap() };
        let mut rounds = Rounds::begin(digest("0"), 7, now);
        let figures = Figures { rows: Rows::of_one(120), drift: Some(0.5), hard_share: None };
        let Step::Train(train) = rounds.next(&plan, &figures, now) else { panic!() };
        let trained = Trained {
            digest: digest("1"),
            data_digest: None,
            samples: 96,
            metrics: [("loss", 0.25)].into_iter().collect(),
            trainer: Some(digest("sgd")),
            parameters: serde_json::json!({"epochs": 2}),
        };
        rounds.trained(&train, trained, now).unwrap();
        let Step::Evaluate(evaluate) = rounds.next(&plan, &figures, now) else { panic!() };
        let accuracy = |value: f64| -> Metrics { [("accuracy", value)].into_iter().collect() };
        let measured =
            Evaluated { candidate: accuracy(0.9), deployed: accuracy(0.5), ..Evaluated::default() };
        rounds.evaluated(&evaluate, measured, now).unwrap();
        let Step::Deploy(deploy) = rounds.next(&plan, &figures, now) else { panic!() };

        let models = [(1, Kept { manifest: Digest::of(b"model-1"), uploaded: true })].into();
        let mut record = Record { rounds, models };
        let wanted = node::WantedDeployment { serial: deploy.serial, version: 1 };
        let wants = Wants { deployment: Some(wanted), assessment: None };
        let said = status(&record, "sha256:first", &figures, wants);
        assert_eq!((said.round, said.deployed, said.serial, said.wants_deployment), (1, 0, 0, Some(wanted)));
        let current = said.current.unwrap();
        assert_eq!((current.data[0].end, current.deploy.unwrap().state()), (120, node::StageState::Running));
        let version = &said.versions[1];
        assert_eq!(
            (version.model_digest.clone(), version.uploaded),
            (Digest::of(b"model-1").to_string(), true)
        );
        assert_eq!((version.parameters.as_str(), version.parent), (r#"{"epochs":2}"#, Some(0)));
        assert_eq!(version.measured.as_ref().unwrap().candidate[0].value, 0.9);
        assert_eq!(
            (said.versions[0].model_digest.as_str(), said.versions[0].uploaded),
            ("sha256:first", true)
        );

        record.rounds.deployed_now(&deploy, now).unwrap();
        let said = status(&record, "sha256:first", &figures, Wants::default());
        assert_eq!((said.deployed, said.serial, said.current), (1, 1, None));
        assert_eq!(said.rounds[0].outcome(), node::RoundOutcome::Deployed);
        assert_eq!(said.figures.unwrap().new_samples, 0);
    }

    #[test]
    fn a_status_fits_into_a_message_however_many_metrics_plugins_report() {
        let metric = |n: u32| node::Metric { name: format!("{n:0>200}"), value: 0.5 };
        let version = |number| node::ModelVersion {
            number,
            parameters: "p".repeat(16 << 10),
            training: (0..256).map(metric).collect(),
            ..node::ModelVersion::default()
        };
        let versions = brief((0..100).map(version).collect());
        assert!(versions.iter().map(prost::Message::encoded_len).sum::<usize>() < 2 * FIGURES_BYTES);
        assert_eq!((versions.len(), versions[99].training.len(), versions[0].training.len()), (100, 256, 0));
    }
}
