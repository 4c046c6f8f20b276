//! On which side of a split a sample lies. [`Rows`](crate::rows) asks for each row as it is read; the answer never
//! changes, whatever is appended later, in any version and on any platform.
//!
//! A share is drawn in blocks of [`BLOCK`] rows: block k holds ⌊share·B·(k+1)⌋ − ⌊share·B·k⌋ rows of the test side, those
//! that SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014) ranks first. So the share
//! holds in every stretch of a file and not by luck alone, and no period in the file can fall in step with it.

use crate::description::Split;
use crate::error::{DataError, shown};

/// Rows that a share is drawn from at a time.
const BLOCK: u64 = 20;

/// A side of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// To learn from.
    Train,
    /// Held out.
    Test,
}

/// Divides the rows of one file.
#[derive(Debug, Clone)]
pub struct Divider {
    rule: Rule,
}

#[derive(Debug, Clone)]
enum Rule {
    None,
    Share { test: f64, seed: u64, block: u64, mask: u32 },
    Values(Vec<String>),
    Since(f64),
}

impl Divider {
    /// For the file of that name in a folder, or for the only one.
    pub fn new(split: &Split, file: Option<&str>) -> Result<Self, DataError> {
        let rule = match split {
            Split::None => Rule::None,
            Split::Share { test, seed } => {
                let seed = seed ^ file.map_or(0, |name| hash(name.as_bytes()));
                Rule::Share { test: *test, seed, block: 0, mask: mask(0, *test, seed) }
            }
            Split::Column { test, .. } => Rule::Values(test.clone()),
            Split::Time { from, .. } => Rule::Since(time(from.as_bytes()).ok_or_else(|| {
                DataError::description(format!(
                    "split: \"{from}\" is not a time; use e.g. 2026-01-31T00:00:00Z"
                ))
            })?),
        };
        Ok(Self { rule })
    }

    /// By a row's number in its file.
    #[inline]
    pub fn by_row(&mut self, row: u64) -> Side {
        let Rule::Share { test, seed, block, mask: drawn } = &mut self.rule else { return Side::Train };
        if row / BLOCK != *block {
            *block = row / BLOCK;
            *drawn = mask(*block, *test, *seed);
        }
        if *drawn >> (row % BLOCK) & 1 == 1 { Side::Test } else { Side::Train }
    }

    /// By the cell of the split's column. Err: what is wrong with it.
    pub fn by_text(&self, text: &[u8]) -> Result<Side, String> {
        let test = match &self.rule {
            Rule::Values(values) => values.iter().any(|value| value.as_bytes() == text),
            Rule::Since(from) => {
                let time = time(text).ok_or_else(|| format!("\"{}\" is not a time", shown(text)))?;
                time >= *from
            }
            Rule::None | Rule::Share { .. } => false,
        };
        Ok(if test { Side::Test } else { Side::Train })
    }

    /// As above, of a number: of seconds since 1970, where the split is by time.
    pub fn by_number(&self, number: f64) -> Side {
        let test = match &self.rule {
            Rule::Values(values) => values.iter().any(|value| value.parse() == Ok(number)),
            Rule::Since(from) => number >= *from,
            Rule::None | Rule::Share { .. } => false,
        };
        if test { Side::Test } else { Side::Train }
    }
}

/// By the name of a sample that is a file of its own.
pub fn by_name(split: &Split, name: &str) -> Side {
    match split {
        Split::Share { test, seed } => {
            let drawn = mix(hash(name.as_bytes()) ^ mix(*seed)) >> 11;
            let held_out = (drawn as f64) < test * (1u64 << 53) as f64;
            if held_out { Side::Test } else { Side::Train }
        }
        _ => Side::Train,
    }
}

/// One bit for each row of a block.
fn mask(block: u64, test: f64, seed: u64) -> u32 {
    let until = |block: u64| (test * BLOCK as f64 * block as f64 + 1e-9).floor() as u64;
    let drawn = (until(block + 1) - until(block)).min(BLOCK);
    let mut ranks: [(u64, u32); BLOCK as usize] =
        std::array::from_fn(|row| (mix(mix(seed ^ mix(block)).wrapping_add(row as u64)), row as u32));
    ranks.sort_unstable();
    ranks[..drawn as usize].iter().fold(0, |mask, (_, row)| mask | 1 << row)
}

/// SplitMix64's output for a state.
pub fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a, <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Seconds since 1970.
fn time(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    instant.map(|instant| instant.as_microsecond() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn share(test: f64, seed: u64) -> Divider {
        Divider::new(&Split::Share { test, seed }, None).unwrap()
    }

    #[test]
    fn a_share_never_changes() {
        let mut divider = share(0.25, 7);
        let test: Vec<u64> = (0..40).filter(|&row| divider.by_row(row) == Side::Test).collect();
        assert_eq!(test, [1, 2, 11, 14, 17, 29, 32, 36, 38, 39]);
    }

    #[test]
    fn values_and_times_decide_where_they_are_named() {
        let split = Split::Column { column: "site".into(), test: vec!["b".into(), "3".into()] };
        let divider = Divider::new(&split, None).unwrap();
        assert_eq!(divider.by_text(b"b"), Ok(Side::Test));
        assert_eq!(divider.by_text(b"a"), Ok(Side::Train));
        assert_eq!(divider.by_number(3.0), Side::Test);

        let split = Split::Time { column: "at".into(), from: "2026-01-02".into() };
        let divider = Divider::new(&split, None).unwrap();
        for (text, side) in [
            ("2026-01-01T23:59:59", Side::Train),
            ("2026-01-02T00:00:00", Side::Test),
            ("2026-01-02 00:30:00", Side::Test),
            ("2026-01-02T00:30:00+01:00", Side::Train),
            ("1767312000", Side::Test),
        ] {
            assert_eq!(divider.by_text(text.as_bytes()), Ok(side), "{text}");
        }
        assert_eq!(divider.by_text(b"soon"), Err("\"soon\" is not a time".to_owned()));
        assert!(Divider::new(&Split::Time { column: "at".into(), from: "soon".into() }, None).is_err());
    }

    proptest! {
        #[test]
        fn a_share_holds_and_a_row_keeps_its_side(test in 0f64..1.0, seed in any::<u64>(), rows in 1u64..500) {
            let mut divider = share(test, seed);
            let sides: Vec<Side> = (0..rows).map(|row| divider.by_row(row)).collect();
            let held_out = sides.iter().filter(|&&side| side == Side::Test).count() as f64;
            prop_assert!((held_out - test * rows as f64).abs() <= BLOCK as f64);
            let mut other = share(test, seed);
            for row in (0..rows).rev() {
                prop_assert_eq!(other.by_row(row), sides[row as usize]);
            }
        }
    }
}
