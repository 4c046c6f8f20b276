//! The mean of metrics over participants, weighted by samples.

use std::collections::BTreeMap;

use super::MAX_METRICS;
use crate::runtime::Metric;

/// Sums so far, by name. The names that come first are kept, as many as one report may have: participants
/// cannot grow a round's record without end.
#[derive(Debug, Default)]
pub(super) struct Means(BTreeMap<String, (f64, f64)>);

impl Means {
    pub(super) fn add(&mut self, samples: u64, metrics: &[Metric]) {
        for metric in metrics {
            if self.0.len() < MAX_METRICS || self.0.contains_key(&metric.name) {
                let (weight, sum) = self.0.entry(metric.name.clone()).or_default();
                *weight += samples as f64;
                *sum += samples as f64 * metric.value;
            }
        }
    }

    /// Means with `prefix` before each name; a metric of no samples has none.
    pub(super) fn named(&self, prefix: &str) -> Vec<(String, f64)> {
        let finite = self.0.iter().map(|(name, (weight, sum))| (format!("{prefix}{name}"), sum / weight));
        finite.filter(|(_, mean)| mean.is_finite()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_participant_with_more_samples_weighs_more() {
        let metric = |value| [Metric { name: "loss".to_owned(), value }];
        let mut means = Means::default();
        means.add(30, &metric(1.0));
        means.add(10, &metric(2.0));
        means.add(0, &[Metric { name: "empty".to_owned(), value: 1.0 }]);
        assert_eq!(means.named("train."), [("train.loss".to_owned(), 1.25)]);
    }
}
