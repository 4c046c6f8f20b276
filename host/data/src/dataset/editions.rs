//! Which sources' samples are what they were, after all of a dataset was read anew: a file that was written once more, with
//! rows added, has grown, however it was written.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::Dataset;
use crate::description::Format;
use crate::samples::{Part, Samples};
use crate::source::Entry;
use crate::sources::first;

impl Dataset {
    /// The source that samples of a file are of.
    pub(super) fn source(&self, entry: &Entry) -> String {
        // Each image would be one.
        let file = entry.below.as_ref().filter(|_| self.description.format != Format::ImageFolder);
        file.cloned().unwrap_or_default()
    }

    /// Of each source of now, its edition: another one where it does not begin with the samples that it had.
    pub(super) fn count_editions(&mut self, now: &mut Samples) {
        let before = Arc::clone(&self.samples);
        let alike = before.columns() == now.columns() || before.is_empty();
        // `open`: the last of the old was half written, or may have been.
        let begins = |old: &[Range<usize>], new: &[Range<usize>], open: bool| {
            let len = |runs: &[Range<usize>]| runs.iter().map(ExactSizeIterator::len).sum::<usize>();
            let same = len(old).saturating_sub(usize::from(open));
            alike && len(old) <= len(new) && before.hash(&first(old, same)) == now.hash(&first(new, same))
        };
        let files = self.files.values().filter(|file| file.cursor.open);
        let open: BTreeSet<String> = files.map(|file| self.source(&file.entry)).collect();
        let (old, new) = (before.sources.runs(), now.sources.runs());
        for (source, old) in &old {
            // One that went keeps its edition: it may come back.
            if let Some(new) = new.get(source)
                && !begins(old, new, open.contains(*source))
            {
                *self.editions.entry((*source).to_owned()).or_default() += 1;
            }
        }
        let all = |samples: &Samples| 0..samples.len(Part::All);
        let edition = before.edition + u64::from(!begins(&[all(&before)], &[all(now)], !open.is_empty()));
        Arc::make_mut(&mut now.sources).set_editions(&self.editions);
        now.edition = edition;
    }
}
