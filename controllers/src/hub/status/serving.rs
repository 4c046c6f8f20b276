//! What a serving Worker has answered, with every number bounded. Called by `status`.

use sedge_api::node;
use sedge_api::resources::{Breaker, RolloutPhase, RolloutReport, ServingReport};

use super::{INTEGER, MESSAGE, REASON, text, time};

pub(super) fn report(said: &node::ServingStatus) -> ServingReport {
    let count = |number: u64| number.min(INTEGER);
    ServingReport {
        revision: count(said.revision),
        plugin: said.plugin_digest.parse().ok(),
        model: said.model_digest.parse().ok(),
        instances: said.instances,
        requests: count(said.requests),
        failed: count(said.failed),
        refused: count(said.refused),
        samples: count(said.samples),
        hard: count(said.hard),
        offloaded: count(said.offloaded),
        offload_failures: count(said.offload_failures),
        hedges: count(said.hedges),
        p50_micros: count(said.p50_micros),
        p90_micros: count(said.p90_micros),
        p99_micros: count(said.p99_micros),
        requests_per_second: rate(said.requests_per_second),
        rollout: said.rollout.as_ref().and_then(rollout),
        breaker: match said.breaker() {
            node::Breaker::Unspecified => None,
            node::Breaker::Closed => Some(Breaker::Closed),
            node::Breaker::Open => Some(Breaker::Open),
            node::Breaker::HalfOpen => Some(Breaker::HalfOpen),
        },
    }
}

/// JSON has no word for what is not finite; a tenth is as fine as a rate is read.
fn rate(said: f64) -> f64 {
    if said.is_finite() { (said.clamp(0.0, 1e12) * 10.0).round() / 10.0 } else { 0.0 }
}

fn rollout(said: &node::RolloutStatus) -> Option<RolloutReport> {
    let phase = match said.phase() {
        node::RolloutPhase::Unspecified => return None,
        node::RolloutPhase::Preparing => RolloutPhase::Preparing,
        node::RolloutPhase::Probation => RolloutPhase::Probation,
        node::RolloutPhase::Kept => RolloutPhase::Kept,
        node::RolloutPhase::Undone => RolloutPhase::Undone,
    };
    Some(RolloutReport {
        revision: said.revision.min(INTEGER),
        phase,
        reason: text(&said.reason, REASON),
        message: text(&said.message, MESSAGE),
        changed_at: time(said.changed_unix_millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_has_served_is_taken_over() {
        let said = node::ServingStatus {
            revision: 2,
            plugin_digest: format!("sha256:{}", "a".repeat(64)),
            model_digest: "none".to_owned(),
            requests: 10,
            p50_micros: 61,
            requests_per_second: 2.06,
            rollout: Some(node::RolloutStatus {
                revision: 3,
                phase: node::RolloutPhase::Undone.into(),
                reason: "ProbeFailed".to_owned(),
                ..Default::default()
            }),
            breaker: node::Breaker::HalfOpen.into(),
            ..Default::default()
        };
        let report = report(&said);
        assert_eq!((report.revision, report.requests, report.p50_micros), (2, 10, 61));
        assert!(report.plugin.is_some() && report.model.is_none());
        assert_eq!((report.requests_per_second, report.breaker), (2.1, Some(Breaker::HalfOpen)));
        let rollout = report.rollout.unwrap();
        assert_eq!((rollout.revision, rollout.phase), (3, RolloutPhase::Undone));
        assert_eq!(rollout.reason.as_deref(), Some("ProbeFailed"));
    }

    #[test]
    fn numbers_that_cannot_be_are_bounded() {
        let said = node::ServingStatus {
            requests: u64::MAX,
            requests_per_second: f64::NAN,
            breaker: 99,
            rollout: Some(node::RolloutStatus::default()),
            ..Default::default()
        };
        let report = report(&said);
        assert_eq!((report.requests, report.requests_per_second), (INTEGER, 0.0));
        assert!(report.breaker.is_none() && report.rollout.is_none());
    }
}
