//! A dataset's samples by the file that each came from, as the rounds of a job count them: places among a file's samples
//! stay what they are when other files grow and when the node starts anew, indices in the whole do not. Called by
//! `worker::learn` and `worker::measure`.

use std::collections::BTreeMap;
use std::ops::Range;

use sedge_learning::{DataRange, MOST_SOURCES, Rows};

use crate::data::{Dataset, Split};

/// Bytes of a name that rounds keep.
const LONGEST_NAME: usize = 1_024;

/// Where the samples of each source are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    by_name: BTreeMap<String, Source>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Source {
    edition: u64,
    /// Place of the first, and indices in the whole; sorted by both.
    spans: Vec<(u64, Range<u32>)>,
}

impl Source {
    fn len(&self) -> u64 {
        self.spans.last().map_or(0, |(first, rows)| first + rows.len() as u64)
    }

    fn find(&self, place: u64) -> Option<u32> {
        let at = self.spans.partition_point(|(first, _)| *first <= place).checked_sub(1)?;
        let (first, rows) = &self.spans[at];
        let index = rows.start.checked_add(u32::try_from(place - first).ok()?)?;
        rows.contains(&index).then_some(index)
    }
}

impl Sources {
    /// Of a dataset; one of more than `most` files is one source.
    pub fn of(dataset: &Dataset, most: usize) -> Self {
        let mut by_name = BTreeMap::<String, Source>::new();
        let samples = dataset.samples();
        for span in samples.spans() {
            if !by_name.contains_key(span.source)
                && (by_name.len() == most.min(MOST_SOURCES) || span.source.len() > LONGEST_NAME)
            {
                let spans = vec![(0, 0..dataset.size(Split::All) as u32)];
                let whole = Source { edition: samples.edition(), spans };
                return Self { by_name: BTreeMap::from([(String::new(), whole)]) };
            }
            let source = by_name.entry(span.source.to_owned()).or_default();
            source.edition = span.edition;
            source.spans.push((span.first, span.rows));
        }
        Self { by_name }
    }

    /// How many each has.
    pub fn rows(&self) -> Rows {
        let rows: BTreeMap<String, u64> =
            self.by_name.iter().map(|(name, source)| (name.clone(), source.len())).collect();
        // As many sources and as long names as are told apart, and no more rows than have an index.
        Rows::try_from(rows).unwrap_or_default()
    }

    /// Index of a sample by its source and its place there.
    pub fn find(&self, source: &str, place: u64) -> Option<u32> {
        self.by_name.get(source)?.find(place)
    }

    /// Indices of the samples of these ranges that there are, range by range.
    pub fn select<'r>(&self, ranges: impl Iterator<Item = (&'r str, Range<u64>)>) -> Vec<u32> {
        let mut indices = Vec::new();
        for (source, range) in ranges {
            for (first, rows) in self.by_name.get(source).into_iter().flat_map(|source| &source.spans) {
                let place = |place: u64| {
                    let place = place.clamp(*first, first + rows.len() as u64) - first;
                    rows.start + place as u32
                };
                indices.extend(place(range.start)..place(range.end));
            }
        }
        indices
    }

    /// Those of a round's own data.
    pub fn within(&self, data: &DataRange) -> Vec<u32> {
        self.select(data.iter().map(|(source, range)| (source, range.first..range.end)))
    }

    /// Those from these ends on; all of a source that they do not name.
    pub fn since(&self, ends: &Rows) -> Vec<u32> {
        self.select(self.by_name.keys().map(|source| (source.as_str(), ends.of(source)..u64::MAX)))
    }

    /// Sources whose samples are others than they were in `before`, an earlier look at the same dataset.
    pub fn replaced<'s>(&'s self, before: &'s Self) -> impl Iterator<Item = &'s str> {
        self.by_name.iter().filter_map(|(name, source)| {
            // Editions count from 0 again where the dataset is defined anew: its rows are taken to go on then.
            (before.by_name.get(name)?.edition < source.edition).then_some(name.as_str())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cap_std::fs::Dir;

    use super::*;
    use crate::data::{Description, Format};

    fn dataset(folder: &std::path::Path, path: &str) -> Arc<Dataset> {
        let dir = Dir::open_ambient_dir(folder, cap_std::ambient_authority()).unwrap();
        let description = Description { format: Format::Csv, ..Description::default() };
        Arc::new(Dataset::open(&dir, path, description).unwrap())
    }

    fn rows<const N: usize>(rows: [(&str, u64); N]) -> Rows {
        Rows::try_from(BTreeMap::from(rows.map(|(name, rows)| (name.to_owned(), rows)))).unwrap()
    }

    #[test]
    fn samples_are_found_by_their_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        std::fs::write(folder.path().join("d/a.csv"), "1\n2\n3\n").unwrap();
        std::fs::write(folder.path().join("d/b.csv"), "4\n5\n").unwrap();
        let dataset = dataset(folder.path(), "d");
        let sources = Sources::of(&dataset, MOST_SOURCES);
        assert_eq!(sources.rows(), rows([("a.csv", 3), ("b.csv", 2)]));
        assert_eq!(
            (sources.find("b.csv", 1), sources.find("b.csv", 2), sources.find("c", 0)),
            (Some(4), None, None)
        );
        let ends = [("a.csv", 0..2), ("b.csv", 0..1), ("gone", 0..7)];
        assert_eq!(sources.select(ends.into_iter()), [0, 1, 3]);
        assert_eq!(sources.since(&rows([("a.csv", 2)])), [2, 3, 4]);
        assert_eq!(sources.within(&DataRange::default()), [0; 0]);
        assert_eq!(Sources::of(&dataset, 1).rows(), rows([("", 5)]), "more files than are told apart");
    }

    #[test]
    fn a_later_edition_is_a_replacement() {
        let of = |edition| Sources {
            by_name: BTreeMap::from([("a".to_owned(), Source { edition, spans: vec![(0, 0..9)] })]),
        };
        assert_eq!(of(1).replaced(&of(0)).collect::<Vec<_>>(), ["a"]);
        assert_eq!(of(0).replaced(&of(2)).count() + of(1).replaced(&of(1)).count(), 0);
        assert_eq!(of(1).replaced(&Sources::default()).count(), 0);
    }
}
