//! One figure compared to a threshold, and figures as people read them.

use jiff::Timestamp;

use crate::observed::{FigureName, Observed, Unknown};
use crate::problem::Problem;
use crate::spec::{Comparison, Condition};

#[derive(Debug, Clone)]
pub struct Rule {
    name: FigureName,
    comparison: Comparison,
    threshold: f64,
    tolerance: f64,
}

impl Rule {
    pub fn parse(condition: &Condition, problems: &mut Vec<Problem>) -> Option<Self> {
        let Condition { metric, operator: comparison, threshold, tolerance } = condition;
        let before = problems.len();
        if !threshold.is_finite() {
            problems.push(Problem::new("condition.threshold", format!("must be a number, not {threshold}")));
        }
        // Written so that NaN is refused too.
        if !(*tolerance >= 0.0 && tolerance.is_finite()) {
            let message = format!("must be a number of at least 0, not {tolerance}");
            problems.push(Problem::new("condition.tolerance", message));
        }
        let name = match metric.parse::<FigureName>() {
            Ok(name) => Some(name),
            Err(error) => {
                problems.push(Problem::new("condition.metric", error.to_string()));
                None
            }
        };
        let (comparison, threshold, tolerance) = (*comparison, *threshold, *tolerance);
        name.filter(|_| problems.len() == before).map(|name| Self { name, comparison, threshold, tolerance })
    }

    /// Whether it holds, and the figures in a sentence.
    pub fn judge(&self, observed: &Observed, now: Timestamp) -> Result<(bool, String), Unknown> {
        let value = observed.figure(&self.name, now)?;
        let holds = self.comparison.holds(value, self.threshold, self.tolerance);
        let (not, than) = (if holds { "" } else { "not " }, self.comparison.words());
        let (value, threshold) = pair(value, self.threshold);
        Ok((holds, format!("{} is {value}, {not}{than} {threshold}", self.name)))
    }
}

impl Comparison {
    /// Whether `value` compares so to `threshold`; they are equal where no further apart than `tolerance`.
    pub fn holds(self, value: f64, threshold: f64, tolerance: f64) -> bool {
        let apart = value - threshold;
        match self {
            Self::Above => apart > tolerance,
            Self::AtLeast => apart >= -tolerance,
            Self::Below => apart < -tolerance,
            Self::AtMost => apart <= tolerance,
            Self::Equal => apart.abs() <= tolerance,
            Self::NotEqual => apart.abs() > tolerance,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Above => "above",
            Self::AtLeast => "at least",
            Self::Below => "below",
            Self::AtMost => "at most",
            Self::Equal => "equal to",
            Self::NotEqual => "other than",
        }
    }
}

/// A number with six digits that count, as far as they differ from nothing.
pub fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if value == value.trunc() && magnitude < 1e15 {
        return format!("{value:.0}");
    }
    if !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:e}");
    }
    let places = (5 - magnitude.log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Two numbers, with all their digits where they would otherwise read the same and are not.
fn pair(one: f64, other: f64) -> (String, String) {
    let (short, threshold) = (figure(one), figure(other));
    if short == threshold && one != other { (one.to_string(), other.to_string()) } else { (short, threshold) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_knows_the_tolerance() {
        use Comparison::{Above, AtLeast, AtMost, Below, Equal, NotEqual};
        // Less, less but within the tolerance, equal, more but within, more.
        for (comparison, expected) in [
            (Above, [false, false, false, false, true]),
            (AtLeast, [false, true, true, true, true]),
            (Below, [true, false, false, false, false]),
            (AtMost, [true, true, true, true, false]),
            (Equal, [false, true, true, true, false]),
            (NotEqual, [true, false, false, false, true]),
        ] {
            for (value, expected) in [0.25, 0.4375, 0.5, 0.5625, 0.75].into_iter().zip(expected) {
                assert_eq!(comparison.holds(value, 0.5, 0.125), expected, "{value} {comparison:?}");
            }
        }
        assert!(AtLeast.holds(0.9 - 0.8, 0.1, 1e-9), "although 0.9 - 0.8 is 0.09999999999999998");
        assert!(!Above.holds(0.8 - 0.7, 0.1, 1e-9), "although 0.8 - 0.7 is 0.10000000000000009");
    }

    #[test]
    fn figures_are_short_and_never_read_the_same_where_they_differ() {
        for (value, text) in [
            (0.0, "0"),
            (500.0, "500"),
            (0.1 + 0.2, "0.3"),
            (-0.123_456_789, "-0.123457"),
            (1_234.567_89, "1234.57"),
            (1_234_567.8, "1234568"),
            (1e-7, "1e-7"),
            (1e20, "1e20"),
        ] {
            assert_eq!(figure(value), text);
        }
        assert_eq!(pair(0.499_999_999, 0.5), ("0.499999999".to_owned(), "0.5".to_owned()));
    }
}
