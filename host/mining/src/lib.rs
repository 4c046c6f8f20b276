//! Hard example mining: which samples a model could not be trusted with, by the scores that it gave.
//!
//! A sample is a row of `width` scores. Where a miner speaks of probabilities, a row sums to 1; scores that are
//! logits are made so by a softmax first (`scores: logits`). A sample with a score that is not a number is hard, by
//! any miner that looks at scores. Time is linear in the number of scores.
//!
//! | name | hard where | parameters and defaults |
//! | --- | --- | --- |
//! | `threshold` | the mean score is below `threshold` | 0.5 |
//! | `cross-entropy` | the confidence 1 + Σ p·ln p / ln n is below `threshold` | 0.5 |
//! | `margin` | the two largest probabilities lie less than `threshold` apart | 0.5 |
//! | `entropy` | the entropy −Σ p·ln p / ln n is above `threshold` | 0.5 |
//! | `ibt` | the share of scores at or below `thresholdBox` is at least 1 − `thresholdImg` | 0.5, 0.5 |
//! | `random` | by chance, a `share` of all samples | 0.3, `seed` 0 |
//! | `always`, `never` | always, never | |
//!
//! Sources. `threshold`, `cross-entropy` and `ibt` (image, box, threshold: for detections, whose scores are of boxes)
//! are those of KubeEdge Sedna's `ThresholdFilter`, `CrossEntropyFilter` and `IBTFilter`
//! (<https://sedna.readthedocs.io/en/latest/proposals/joint-inference.html>); `margin` is the margin sampling of Scheffer,
//! Decomain and Wrobel, *Active Hidden Markov Models for Information Extraction* (2001); `entropy` is uncertainty
//! sampling by Shannon's entropy as in Settles, *Active Learning Literature Survey* (2009), section 3.1. `cross-entropy`
//! and `entropy` order samples alike: confidence is 1 − entropy.

#![forbid(unsafe_code)]

mod formulas;
mod parameters;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

pub use parameters::ParseError;

/// Names of the miners that there are.
pub const NAMES: [&str; 8] =
    ["threshold", "cross-entropy", "margin", "entropy", "ibt", "random", "always", "never"];

/// A miner with its parameters.
#[derive(Debug)]
pub struct Miner {
    rule: Rule,
    output: Option<String>,
    logits: bool,
}

#[derive(Debug)]
enum Rule {
    Threshold { threshold: f64 },
    CrossEntropy { threshold: f64 },
    Margin { threshold: f64 },
    Entropy { threshold: f64 },
    Ibt { threshold_img: f64, threshold_box: f64 },
    Random { share: f64, seed: u64, seen: AtomicU64 },
    Always,
    Never,
}

impl Miner {
    /// The miner called `name` (one of [`NAMES`]) with its parameters, a JSON object as the crate's table has them.
    /// Miners that look at scores also take `output`, the name of the tensor that has them, and `scores`,
    /// `probabilities` (the default) or `logits`.
    ///
    /// # Errors
    /// An unknown name, with those that there are; parameters that the miner does not have, or out of range.
    pub fn parse(name: &str, parameters: &str) -> Result<Self, ParseError> {
        parameters::parse(name, parameters)
    }

    /// Whether it looks at scores at all.
    pub fn looks(&self) -> bool {
        !matches!(self.rule, Rule::Random { .. } | Rule::Always | Rule::Never)
    }

    /// The tensor that has the scores; None: the first of floating point.
    pub fn output(&self) -> Option<&str> {
        self.output.as_deref()
    }

    /// One verdict for each of `samples` rows of `width` scores. A miner that does not look takes no scores.
    ///
    /// Rows that are missing or not whole are hard.
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "what cannot be compared is hard")]
    pub fn hard(&self, scores: &[f32], samples: usize, width: usize) -> Vec<bool> {
        let each = |rule: &dyn Fn(&[f64]) -> bool| -> Vec<bool> {
            let mut row = Vec::with_capacity(width);
            let verdict = |sample: usize| {
                let start = sample.checked_mul(width)?;
                row.clear();
                row.extend(
                    scores.get(start..start.checked_add(width)?)?.iter().map(|&score| f64::from(score)),
                );
                if row.iter().any(|score| score.is_nan()) {
                    return None;
                }
                if self.logits {
                    formulas::softmax(&mut row);
                }
                Some(rule(&row))
            };
            (0..samples).map(verdict).map(|verdict| verdict.unwrap_or(true)).collect()
        };
        match &self.rule {
            Rule::Threshold { threshold } => each(&|row| !(formulas::mean(row) >= *threshold)),
            Rule::CrossEntropy { threshold } => each(&|row| !(1.0 - formulas::entropy(row) >= *threshold)),
            Rule::Margin { threshold } => each(&|row| !(formulas::margin(row) >= *threshold)),
            Rule::Entropy { threshold } => each(&|row| !(formulas::entropy(row) <= *threshold)),
            Rule::Ibt { threshold_img, threshold_box } => {
                each(&|row| !(formulas::share_at_most(row, *threshold_box) < 1.0 - *threshold_img))
            }
            Rule::Random { share, seed, seen } => {
                let first = seen.fetch_add(samples as u64, Ordering::Relaxed);
                (0..samples as u64)
                    .map(|at| formulas::uniform(*seed, first.wrapping_add(at)) < *share)
                    .collect()
            }
            Rule::Always => vec![true; samples],
            Rule::Never => vec![false; samples],
        }
    }

    /// One of [`NAMES`].
    pub fn name(&self) -> &'static str {
        match self.rule {
            Rule::Threshold { .. } => "threshold",
            Rule::CrossEntropy { .. } => "cross-entropy",
            Rule::Margin { .. } => "margin",
            Rule::Entropy { .. } => "entropy",
            Rule::Ibt { .. } => "ibt",
            Rule::Random { .. } => "random",
            Rule::Always => "always",
            Rule::Never => "never",
        }
    }
}

impl fmt::Display for Miner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hard(name: &str, parameters: &str, row: &[f32]) -> bool {
        Miner::parse(name, parameters).unwrap().hard(row, 1, row.len())[0]
    }

    #[test]
    fn the_mean_score_is_compared_to_the_threshold() {
        assert!(hard("threshold", "{}", &[0.2, 0.6]));
        assert!(!hard("threshold", "{}", &[0.4, 0.6]));
        assert!(hard("threshold", r#"{"threshold": 0.7}"#, &[0.4, 0.6]));
    }

    #[test]
    fn confidence_is_one_for_certainty_and_none_for_a_guess() {
        for name in ["cross-entropy", "entropy"] {
            assert!(!hard(name, "{}", &[0.0, 1.0, 0.0]), "p = 0 is defined");
            assert!(!hard(name, "{}", &[1.0]), "n = 1 is defined");
            assert!(hard(name, "{}", &[0.25; 4]));
        }
        // 1 + (0.9 ln 0.9 + 0.1 ln 0.1) / ln 2 = 0.531.
        assert!(!hard("cross-entropy", r#"{"threshold": 0.53}"#, &[0.9, 0.1]));
        assert!(hard("cross-entropy", r#"{"threshold": 0.54}"#, &[0.9, 0.1]));
        assert!(!hard("entropy", r#"{"threshold": 0.47}"#, &[0.9, 0.1]));
        assert!(hard("entropy", r#"{"threshold": 0.46}"#, &[0.9, 0.1]));
    }

    #[test]
    fn a_margin_is_between_the_two_largest() {
        assert!(hard("margin", "{}", &[0.1, 0.3, 0.6]));
        assert!(!hard("margin", r#"{"threshold": 0.3}"#, &[0.1, 0.3, 0.6]));
        assert!(!hard("margin", "{}", &[0.2]), "with one class there is nothing to confuse it with");
    }

    #[test]
    fn an_image_is_hard_where_too_many_boxes_are_doubtful() {
        // Two of four boxes at or below 0.5 are a share of 0.5 = 1 − 0.5.
        assert!(hard("ibt", "{}", &[0.5, 0.4, 0.9, 0.9]));
        assert!(!hard("ibt", "{}", &[0.5, 0.6, 0.9, 0.9]));
        assert!(hard("ibt", r#"{"thresholdImg": 0.9}"#, &[0.5, 0.6, 0.9, 0.9]));
        assert!(!hard("ibt", "{}", &[]), "an image without boxes has none that is doubtful");
    }

    #[test]
    fn logits_are_made_probabilities() {
        let row = [1000.0, 1001.0, 999.0];
        assert!(hard("margin", r#"{"scores": "logits"}"#, &row));
        assert!(!hard("margin", r#"{"scores": "logits", "threshold": 0.4}"#, &row));
    }

    #[test]
    fn chance_keeps_to_its_share_and_comes_out_the_same_again() {
        let draw = |seed| {
            let miner = Miner::parse("random", &format!(r#"{{"share": 0.2, "seed": {seed}}}"#)).unwrap();
            [miner.hard(&[], 5_000, 0), miner.hard(&[], 5_000, 0)].concat()
        };
        let (one, other) = (draw(1), draw(2));
        assert!((1_800..2_200).contains(&one.iter().filter(|hard| **hard).count()));
        assert_eq!(one, draw(1));
        assert_ne!(one, other);
        assert_eq!(Miner::parse("always", "{}").unwrap().hard(&[], 2, 0), [true, true]);
        assert_eq!(Miner::parse("never", "{}").unwrap().hard(&[], 2, 0), [false, false]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("treshold", "{}", "there are threshold, cross-entropy, margin"),
            ("threshold", r#"{"threshhold": 1}"#, "threshhold"),
            ("threshold", r#"{"threshold": "high"}"#, "threshold"),
            ("random", r#"{"share": 1.5}"#, "share"),
            ("cross-entropy", r#"{"threshold": -0.5}"#, "threshold"),
            ("always", r#"{"share": 1}"#, "share"),
            ("never", "[]", "never"),
        ];
        for (name, parameters, word) in cases {
            let error = Miner::parse(name, parameters).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    proptest! {
        #[test]
        fn every_sample_gets_a_verdict_and_what_is_not_a_number_is_hard(
            mut scores in prop::collection::vec(any::<f32>(), 0..64),
            samples in 0usize..8,
            width in 0usize..8,
            name in prop::sample::select(&NAMES[..]),
            logits in any::<bool>(),
        ) {
            scores.resize(samples * width, 0.5);
            let parameters = if logits && Miner::parse(name, "{}").unwrap().looks() { r#"{"scores": "logits"}"# } else { "{}" };
            let miner = Miner::parse(name, parameters).unwrap();
            let verdicts = miner.hard(&scores, samples, width);
            prop_assert_eq!(verdicts.len(), samples);
            if miner.looks() && width > 0 {
                for (row, hard) in scores.chunks(width).zip(&verdicts) {
                    prop_assert!(*hard || !row.iter().any(|score| score.is_nan()));
                }
            }
        }

        #[test]
        fn less_confidence_is_never_less_hard(p in 0.5f32..1.0, less in 0.0f32..0.5, threshold in 0.0f64..1.0) {
            let lower = p - less * (p - 0.5);
            let parameters = format!(r#"{{"threshold": {threshold}}}"#);
            for name in ["cross-entropy", "margin", "entropy"] {
                let (sure, unsure) = (hard(name, &parameters, &[p, 1.0 - p]), hard(name, &parameters, &[lower, 1.0 - lower]));
                prop_assert!(unsure || !sure, "{name}");
            }
        }
    }
}
