//! A job's status from its Workers' statuses. Called by `decide`.

use sedge_api::resources::{FederatedLearningJobStatus, RoundRecord, WorkerStatus};

/// Rounds that a status keeps.
const HISTORY: usize = 100;

/// Take over what the aggregator tells of its rounds.
pub(super) fn follow(status: &mut FederatedLearningJobStatus, aggregator: &WorkerStatus) {
    status.history = merged(&status.history, &aggregator.rounds);
    if let Some(last) = status.history.last() {
        status.round = Some(last.round);
    }
    status.participants = Some(u32::try_from(aggregator.participants.len()).unwrap_or(u32::MAX));
}

/// The history with the aggregator's latest rounds put over it: from its first round on, its word counts.
/// So a round done again after a restart replaces the one before, and an aggregator declared again, which
/// knows no rounds yet, erases none.
fn merged(history: &[RoundRecord], latest: &[RoundRecord]) -> Vec<RoundRecord> {
    let Some(first) = latest.first().map(|round| round.round) else {
        return history.to_vec();
    };
    let mut rounds: Vec<RoundRecord> =
        history.iter().filter(|round| round.round < first).chain(latest).cloned().collect();
    rounds.drain(..rounds.len().saturating_sub(HISTORY));
    rounds
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn rounds(numbers: impl IntoIterator<Item = u32>, samples: u64) -> Vec<RoundRecord> {
        let record = |round| RoundRecord {
            round,
            updates: 1,
            refused: 0,
            missing: 0,
            samples,
            metrics: Vec::new(),
            duration_millis: 1,
            finished_at: Time(Timestamp::UNIX_EPOCH),
        };
        numbers.into_iter().map(record).collect()
    }

    fn numbers(history: &[RoundRecord]) -> Vec<u32> {
        history.iter().map(|round| round.round).collect()
    }

    #[test]
    fn an_aggregator_without_rounds_erases_none() {
        assert_eq!(numbers(&merged(&rounds(1..=3, 1), &[])), [1, 2, 3]);
    }

    #[test]
    fn a_round_done_again_replaces_the_one_before() {
        let merged = merged(&rounds(1..=5, 1), &rounds(4..=4, 2));
        assert_eq!(numbers(&merged), [1, 2, 3, 4]);
        assert_eq!(merged[3].samples, 2);
    }

    #[test]
    fn the_latest_hundred_are_kept() {
        let merged = merged(&rounds(1..=100, 1), &rounds(95..=250, 1));
        assert_eq!((merged.len(), merged[0].round, merged[99].round), (100, 151, 250));
    }
}
