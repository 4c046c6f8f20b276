//! What was measured, bounded and finite: metrics come from plugins, and state is written as JSON, which has no word for
//! what is not finite.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Metrics of one measurement that are kept.
pub const MOST_METRICS: usize = 256;
const LONGEST_NAME: usize = 253;

/// Metrics by name, e.g. `accuracy` or `accuracy.class3`. Those that are not finite, whose names are empty or longer than
/// 253 bytes, and those beyond [`MOST_METRICS`] are left out: a trigger that asks for one says that it is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, f64>")]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// By name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As triggers take them.
    pub fn to_map(&self) -> BTreeMap<String, f64> {
        self.0.clone()
    }
}

impl<S: Into<String>> FromIterator<(S, f64)> for Metrics {
    fn from_iter<I: IntoIterator<Item = (S, f64)>>(metrics: I) -> Self {
        let named = metrics.into_iter().map(|(name, value)| (name.into(), value));
        let usable = |(name, value): &(String, f64)| {
            value.is_finite() && !name.is_empty() && name.len() <= LONGEST_NAME
        };
        Self(named.filter(usable).take(MOST_METRICS).collect())
    }
}

impl From<BTreeMap<String, f64>> for Metrics {
    fn from(metrics: BTreeMap<String, f64>) -> Self {
        metrics.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_left_out() {
        let long = "a".repeat(254);
        let metrics: Metrics =
            [("accuracy", 0.5), ("loss", f64::NAN), ("", 1.0), (&long, 1.0)].into_iter().collect();
        assert_eq!(metrics.iter().collect::<Vec<_>>(), [("accuracy", 0.5)]);
        let many: Metrics = (0..1_000).map(|at| (at.to_string(), 0.0)).collect();
        assert_eq!(many.iter().count(), MOST_METRICS);
    }
}
