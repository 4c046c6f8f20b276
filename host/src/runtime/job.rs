//! `sedge:worker/job`: parameters in, progress out.

use super::Metric;
use super::bindings::job::{self, Verdict};
use super::state::State;

/// Metrics of one report that are kept.
const MAX_METRICS: usize = 64;
/// Characters of a metric's name that are kept.
const MAX_METRIC_NAME: usize = 100;

impl job::Host for State {
    fn parameters(&mut self) -> wasmtime::Result<String> {
        Ok(self.grants.parameters.clone())
    }

    fn report(&mut self, done: u64, total: u64, metrics: Vec<job::Metric>) -> wasmtime::Result<Verdict> {
        let observer = &self.grants.observer;
        observer.progress(done, total, &from_guest(metrics));
        let stop = observer.should_stop() || self.grants.cancel.is_cancelled();
        Ok(if stop { Verdict::Stop } else { Verdict::Proceed })
    }
}

/// Metrics as the host keeps them: bounded in number and length, finite.
pub fn from_guest(metrics: Vec<job::Metric>) -> Vec<Metric> {
    metrics
        .into_iter()
        .filter(|metric| metric.value.is_finite())
        .take(MAX_METRICS)
        .map(|metric| Metric {
            name: metric.name.chars().take(MAX_METRIC_NAME).collect(),
            value: metric.value,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_bounded_and_finite() {
        let metric = |name: String, value| job::Metric { name, value };
        let mut metrics: Vec<_> = (0..100).map(|i| metric("é".repeat(i + 100), i as f64)).collect();
        metrics.insert(0, metric("loss".into(), f64::NAN));
        let kept = from_guest(metrics);
        assert_eq!(kept.len(), MAX_METRICS);
        assert!(kept.iter().all(|m| m.value.is_finite() && m.name.chars().count() <= MAX_METRIC_NAME));
    }
}
