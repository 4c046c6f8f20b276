//! Which file each sample came from: a dataset of several files grows in several places, and a sample's index in the whole is
//! another after the next start. Its file and its place among that file's samples stay.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Samples of one source that lie side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<'s> {
    /// The file's name below the dataset's folder; empty where there is one file alone, and for a folder of images.
    pub source: &'s str,
    /// Counts how often the source's samples were replaced by others.
    pub edition: u64,
    /// Place of the first among the source's samples.
    pub first: u64,
    /// Their indices in the whole.
    pub rows: Range<u32>,
}

/// The sources of a dataset's samples.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    sources: Vec<Source>,
    by_name: BTreeMap<Arc<str>, u32>,
    spans: Vec<(u32, u64, Range<u32>)>,
}

#[derive(Debug, Clone)]
struct Source {
    name: Arc<str>,
    edition: u64,
    len: u64,
}

impl Sources {
    /// The next `len` samples are of that source.
    pub fn push(&mut self, name: &str, len: usize) {
        let start = self.spans.last().map_or(0, |(_, _, rows)| rows.end);
        // As many as can be counted: samples beyond are refused before.
        let rows = start..start.saturating_add(len as u32);
        let at = match self.by_name.get(name) {
            Some(at) => *at,
            None => {
                let (name, at) = (Arc::<str>::from(name), self.sources.len() as u32);
                self.by_name.insert(Arc::clone(&name), at);
                self.sources.push(Source { name, edition: 0, len: 0 });
                at
            }
        };
        let source = &mut self.sources[at as usize];
        let first = source.len;
        source.len += len as u64;
        match self.spans.last_mut() {
            Some((last, _, last_rows)) if *last == at => last_rows.end = rows.end,
            _ if len > 0 => self.spans.push((at, first, rows)),
            _ => {}
        }
    }

    /// In the order of the samples.
    pub fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        self.spans.iter().map(|(at, first, rows)| {
            let source = &self.sources[*at as usize];
            Span { source: &source.name, edition: source.edition, first: *first, rows: rows.clone() }
        })
    }

    /// Indices of each source's samples, in their order.
    pub fn runs(&self) -> BTreeMap<&str, Vec<Range<usize>>> {
        let mut runs = BTreeMap::<&str, Vec<_>>::new();
        for span in self.spans() {
            runs.entry(span.source).or_default().push(span.rows.start as usize..span.rows.end as usize);
        }
        runs
    }

    /// How often each source was replaced, by name.
    pub fn set_editions(&mut self, editions: &BTreeMap<String, u64>) {
        for source in &mut self.sources {
            source.edition = editions.get(&*source.name).copied().unwrap_or_default();
        }
    }
}

/// The first `len` of these indices.
pub fn first(runs: &[Range<usize>], mut len: usize) -> Vec<Range<usize>> {
    let mut taken = Vec::new();
    for run in runs {
        let part = run.start..run.end.min(run.start + len);
        len -= part.len();
        taken.push(part);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_source() {
        let mut sources = Sources::default();
        for (name, len) in [("a", 3), ("a", 2), ("b", 4), ("c", 0), ("a", 1)] {
            sources.push(name, len);
        }
        let spans: Vec<_> = sources.spans().map(|span| (span.source, span.first, span.rows)).collect();
        assert_eq!(spans, [("a", 0, 0..5), ("b", 0, 5..9), ("a", 5, 9..10)]);
        assert_eq!(first(&sources.runs()["a"], 5), [0..5, 9..9]);
        sources.set_editions(&BTreeMap::from([("b".to_owned(), 2)]));
        assert_eq!(sources.spans().map(|span| span.edition).collect::<Vec<_>>(), [0, 2, 0]);
    }
}
