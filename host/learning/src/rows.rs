//! Where data is: how many rows each source of a dataset has, and which of them a round is about.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Sources of a dataset that are told apart. A folder of more is one source to a job.
pub const MOST_SOURCES: usize = 1_024;
/// Rows of a source: what samples are counted in.
pub const MOST_ROWS: u64 = 1 << 32;
const LONGEST_NAME: usize = 1_024;

/// How many rows each source has. A dataset of one file has one source, whose name may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u64>", into = "BTreeMap<String, u64>")]
pub struct Rows(BTreeMap<String, u64>);

/// Rows that no dataset has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRows {
    /// More sources than are told apart.
    #[error("a dataset of {0} sources: at most {MOST_SOURCES} are told apart")]
    Sources(usize),
    /// A name that is too long.
    #[error("a source with a name of {0} bytes: at most {LONGEST_NAME} are taken")]
    Name(usize),
    /// A source that is too long.
    #[error("a source of {0} rows: at most {MOST_ROWS} are counted")]
    Rows(u64),
}

impl Rows {
    /// Of a dataset with one source; at most [`MOST_ROWS`].
    pub fn of_one(rows: u64) -> Self {
        Self(BTreeMap::from([(String::new(), rows.min(MOST_ROWS))]))
    }

    /// Of that source; one that is not known has none.
    pub fn of(&self, source: &str) -> u64 {
        self.0.get(source).copied().unwrap_or_default()
    }

    /// Each source with its rows, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(source, rows)| (source.as_str(), *rows))
    }

    /// In all sources.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, rows| sum.saturating_add(*rows))
    }

    /// The rows that come after `self` in `now`. A source that has become shorter was replaced: all of it is new.
    pub(crate) fn since(&self, now: &Self) -> DataRange {
        let range = |(source, &end): (&String, &u64)| {
            let before = self.of(source);
            let first = if before > end { 0 } else { before };
            (first < end).then(|| (source.clone(), RowRange { first, end }))
        };
        DataRange(now.0.iter().filter_map(range).collect())
    }

    /// `now`, and of sources that are not there now what was known of them, so that one that is away for a while is not
    /// new when it comes back.
    pub(crate) fn overlaid(&self, now: &Self) -> Self {
        let mut rows = self.0.clone();
        rows.extend(now.0.clone());
        if rows.len() > MOST_SOURCES { now.clone() } else { Self(rows) }
    }

    /// Each source with other rows.
    pub(crate) fn map(&self, rows: impl Fn(&str, u64) -> u64) -> Self {
        Self(self.0.iter().map(|(source, count)| (source.clone(), rows(source, *count))).collect())
    }

    /// The source is counted from 0 again.
    pub(crate) fn forget(&mut self, source: &str) -> bool {
        self.0.remove(source).is_some()
    }
}

impl TryFrom<BTreeMap<String, u64>> for Rows {
    type Error = InvalidRows;

    fn try_from(rows: BTreeMap<String, u64>) -> Result<Self, InvalidRows> {
        check(rows.iter().map(|(source, rows)| (source, *rows)))?;
        Ok(Self(rows))
    }
}

impl From<Rows> for BTreeMap<String, u64> {
    fn from(rows: Rows) -> Self {
        rows.0
    }
}

fn check<'a>(rows: impl ExactSizeIterator<Item = (&'a String, u64)>) -> Result<(), InvalidRows> {
    if rows.len() > MOST_SOURCES {
        return Err(InvalidRows::Sources(rows.len()));
    }
    for (name, rows) in rows {
        if name.len() > LONGEST_NAME {
            return Err(InvalidRows::Name(name.len()));
        }
        if rows > MOST_ROWS {
            return Err(InvalidRows::Rows(rows));
        }
    }
    Ok(())
}

/// Rows of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRange {
    /// The first.
    pub first: u64,
    /// Past the last.
    pub end: u64,
}

/// Rows of each source: none of a source that is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, RowRange>", into = "BTreeMap<String, RowRange>")]
pub struct DataRange(BTreeMap<String, RowRange>);

impl DataRange {
    /// Of that source.
    pub fn of(&self, source: &str) -> Option<RowRange> {
        self.0.get(source).copied()
    }

    /// Each source with its rows, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, RowRange)> {
        self.0.iter().map(|(source, range)| (source.as_str(), *range))
    }

    /// Rows in it.
    pub fn len(&self) -> u64 {
        self.0.values().fold(0, |sum, range| sum.saturating_add(range.end.saturating_sub(range.first)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TryFrom<BTreeMap<String, RowRange>> for DataRange {
    type Error = InvalidRows;

    fn try_from(ranges: BTreeMap<String, RowRange>) -> Result<Self, InvalidRows> {
        check(ranges.iter().map(|(source, range)| (source, range.end.max(range.first))))?;
        Ok(Self(ranges))
    }
}

impl From<DataRange> for BTreeMap<String, RowRange> {
    fn from(ranges: DataRange) -> Self {
        ranges.0
    }
}

impl fmt::Display for DataRange {
    /// `rows 100–249`, or of several sources `a.csv: rows 0–9; …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Sources that are written out.
        const SHOWN: usize = 4;
        if self.is_empty() {
            return f.write_str("no rows");
        }
        for (at, (source, range)) in self.0.iter().take(SHOWN).enumerate() {
            let (gap, colon) = (if at > 0 { "; " } else { "" }, if source.is_empty() { "" } else { ": " });
            write!(f, "{gap}{source}{colon}rows {}–{}", range.first, range.end.saturating_sub(1))?;
        }
        if self.0.len() > SHOWN { write!(f, "; and {} more sources", self.0.len() - SHOWN) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<const N: usize>(rows: [(&str, u64); N]) -> Rows {
        Rows::try_from(
            rows.map(|(name, count)| (name.to_owned(), count)).into_iter().collect::<BTreeMap<_, _>>(),
        )
        .unwrap()
    }

    #[test]
    fn what_came_since_is_told_by_source() {
        let before = rows([("a", 10), ("b", 5), ("gone", 7)]);
        let now = rows([("a", 12), ("b", 5), ("new", 3)]);
        let since = before.since(&now);
        assert_eq!((since.of("a"), since.of("b")), (Some(RowRange { first: 10, end: 12 }), None));
        assert_eq!((since.of("new"), since.len()), (Some(RowRange { first: 0, end: 3 }), 5));
        assert_eq!(since.to_string(), "a: rows 10–11; new: rows 0–2");
    }

    #[test]
    fn a_source_that_has_become_shorter_is_all_new() {
        let since = Rows::of_one(100).since(&Rows::of_one(40));
        assert_eq!(since.of(""), Some(RowRange { first: 0, end: 40 }));
        assert_eq!(since.to_string(), "rows 0–39");
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        let many: BTreeMap<String, u64> = (0..=MOST_SOURCES).map(|at| (at.to_string(), 1)).collect();
        assert!(Rows::try_from(many).is_err());
        assert!(Rows::try_from(BTreeMap::from([("a".repeat(1_025), 1)])).is_err());
        let error = Rows::try_from(BTreeMap::from([("a".to_owned(), u64::MAX)])).unwrap_err();
        assert!(error.to_string().contains("at most 4294967296"), "{error}");
    }
}
