//! Numbers that are known, bounded, or unknown: sizes and the elements of small tensors.

use std::ops::{Add, Mul, Neg, Sub};

/// What a number is at least and at most, both within. Never NaN; sizes beyond 2⁵³, where these floats skip
/// whole numbers, are refused long before that matters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub lo: f64,
    pub hi: f64,
}

impl Range {
    /// Any number.
    pub const ANY: Self = Self { lo: f64::NEG_INFINITY, hi: f64::INFINITY };
    /// Any size.
    pub const SIZE: Self = Self { lo: 0.0, hi: f64::INFINITY };
    /// A truth value.
    pub const TRUTH: Self = Self { lo: 0.0, hi: 1.0 };

    pub const fn exactly(value: f64) -> Self {
        Self { lo: value, hi: value }
    }

    pub const fn up_to(most: f64) -> Self {
        Self { lo: 0.0, hi: most }
    }

    /// Any number where a bound is no number.
    pub fn new(lo: f64, hi: f64) -> Self {
        if lo <= hi { Self { lo, hi } } else { Self::ANY }
    }

    pub fn exact(self) -> Option<f64> {
        (self.lo == self.hi && self.lo.is_finite()).then_some(self.lo)
    }

    pub fn is_bounded(self) -> bool {
        self.hi.is_finite()
    }

    /// Everything that is in either.
    pub fn or(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// As a size: not below zero.
    pub fn size(self) -> Self {
        Self { lo: self.lo.max(0.0), hi: self.hi.max(0.0) }
    }

    /// Through a function that never falls.
    pub fn rising(self, of: impl Fn(f64) -> f64) -> Self {
        Self::new(of(self.lo), of(self.hi))
    }

    pub fn min(self, other: Self) -> Self {
        Self { lo: self.lo.min(other.lo), hi: self.hi.min(other.hi) }
    }

    pub fn max(self, other: Self) -> Self {
        Self { lo: self.lo.max(other.lo), hi: self.hi.max(other.hi) }
    }

    /// Unknown where the divisor may be zero.
    pub fn divided(self, by: Self) -> Self {
        if by.lo <= 0.0 && by.hi >= 0.0 {
            return Self::ANY;
        }
        self.corners(by, |a, b| a / b)
    }

    /// From the results at the ends of both, for functions that have their extremes there.
    pub fn corners(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        let (mut lo, mut hi) = (f64::INFINITY, f64::NEG_INFINITY);
        for a in [self.lo, self.hi] {
            for b in [other.lo, other.hi] {
                let result = of(a, b);
                if result.is_nan() {
                    return Self::ANY;
                }
                (lo, hi) = (lo.min(result), hi.max(result));
            }
        }
        Self { lo, hi }
    }
}

impl From<u64> for Range {
    fn from(value: u64) -> Self {
        Self::exactly(value as f64)
    }
}

impl Add for Range {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.lo + other.lo, self.hi + other.hi)
    }
}

impl Sub for Range {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.lo - other.hi, self.hi - other.lo)
    }
}

impl Neg for Range {
    type Output = Self;
    fn neg(self) -> Self {
        Self { lo: -self.hi, hi: -self.lo }
    }
}

impl Mul for Range {
    type Output = Self;
    /// Nothing of something unbounded is nothing, as befits sizes.
    fn mul(self, other: Self) -> Self {
        self.corners(other, |a, b| if a == 0.0 || b == 0.0 { 0.0 } else { a * b })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any() -> impl Strategy<Value = (Range, f64)> {
        (-50i32..50, 0i32..50, 0.0..=1.0f64).prop_map(|(lo, len, at)| {
            let (lo, hi) = (f64::from(lo), f64::from(lo + len));
            (Range { lo, hi }, (lo + at * (hi - lo)).round())
        })
    }

    proptest! {
        #[test]
        fn whatever_the_numbers_are_their_results_are_within(
            (a, x) in any(), (b, y) in any(),
        ) {
            let holds = |range: Range, value: f64| range.lo <= value && value <= range.hi;
            prop_assert!(holds(a + b, x + y));
            prop_assert!(holds(a - b, x - y));
            prop_assert!(holds(a * b, x * y));
            prop_assert!(holds(-a, -x));
            prop_assert!(holds(a.min(b), x.min(y)) && holds(a.max(b), x.max(y)));
            prop_assert!(y == 0.0 || holds(a.divided(b), x / y));
            prop_assert!(holds(a.or(b), x) && holds(a.or(b), y));
        }
    }

    #[test]
    fn the_unknown_stays_unknown_and_is_never_no_number() {
        assert_eq!(Range::ANY + Range::ANY, Range::ANY);
        assert_eq!(Range::ANY - Range::ANY, Range::ANY);
        assert_eq!(Range::exactly(0.0) * Range::SIZE, Range::exactly(0.0));
        assert_eq!(Range::exactly(1.0).divided(Range::SIZE), Range::ANY);
        assert_eq!(Range::new(f64::NAN, 1.0), Range::ANY);
    }
}
