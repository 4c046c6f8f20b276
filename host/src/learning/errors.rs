//! The drift of a deployed version's errors: which rows are measured together next, and what the detector says of the windows
//! that were. Called by `worker::learn`, which measures; of the rows' own drift see `drift`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sedge_drift::NoMetric;
use sedge_learning::{MOST_SOURCES, Rows};

use super::task::DriftTask;
use super::{EvaluatorTask, Sources};
use crate::runtime::Report;

/// Windows that are measured one after the other before the triggers are looked at again.
const TOGETHER: usize = 16;

/// Of which version errors are.
type Version = (u32, Rows);

/// Windows of rows that have arrived since the deployed version was trained.
pub(crate) struct Errors {
    made_of: Arc<(DriftTask, EvaluatorTask)>,
    errors: sedge_drift::Errors,
    version: Version,
    /// Rows before these have been measured.
    seen: Rows,
    /// Rows that there were when measuring failed: it is tried again when there are others.
    failed: Option<Rows>,
}

/// Rows that are measured together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Windows {
    /// The number of the version that is measured.
    pub version: u32,
    /// Indices of the rows of each.
    pub rows: Vec<Vec<u32>>,
    made_of: Arc<(DriftTask, EvaluatorTask)>,
    until: Rows,
    /// Rows before these had been measured before.
    from: Rows,
    /// Rows before these have been measured after each.
    ends: Vec<Rows>,
}

impl Errors {
    /// Err says what is wrong with the parameters.
    pub fn new(task: DriftTask, evaluator: EvaluatorTask) -> Result<Self, String> {
        let parsed = sedge_drift::Errors::parse(&task.detector, &task.parameters);
        let errors = parsed.map_err(|error| error.to_string())?;
        let (version, seen) = Default::default();
        Ok(Self { made_of: Arc::new((task, evaluator)), errors, version, seen, failed: None })
    }

    /// Whether it is what these say.
    pub fn is_of(&self, task: &DriftTask, evaluator: &EvaluatorTask) -> bool {
        (&self.made_of.0, &self.made_of.1) == (task, evaluator)
    }

    /// The rows of `sources` are to be measured by version `number`, which was trained on all `until`.
    pub fn look(&mut self, sources: &Sources, number: u32, until: &Rows) {
        let rows = sources.rows();
        let shorter =
            self.seen.iter().any(|(source, seen)| seen > rows.of(source) && seen > until.of(source));
        if self.version != (number, until.clone()) || shorter {
            self.version = (number, until.clone());
            self.seen = until.clone();
            self.failed = None;
            self.errors.restart();
        }
        if self.failed.as_ref() != Some(&rows) {
            self.failed = None;
        }
    }

    /// What is to be measured next; none as long as too few rows have come.
    pub fn next(&self, sources: &Sources) -> Option<Windows> {
        if self.failed.is_some() {
            return None;
        }
        let (version, until) = self.version.clone();
        let (made_of, from) = (Arc::clone(&self.made_of), self.seen.clone());
        let mut windows = Windows { version, rows: Vec::new(), made_of, until, from, ends: Vec::new() };
        let mut seen = self.seen.clone();
        while windows.rows.len() < TOGETHER {
            let Some((rows, end)) = window(sources, &seen, self.errors.window()) else { break };
            windows.rows.push(rows);
            windows.ends.push(end.clone());
            seen = end;
        }
        (!windows.rows.is_empty()).then_some(windows)
    }

    /// What those windows were measured to, as far as that went. Err says why no more is known; words of a version
    /// that no longer serves, or of another evaluator, are not heard.
    pub fn measured(
        &mut self,
        windows: &Windows,
        measured: Result<Vec<Report>, String>,
        sources: &Sources,
    ) -> Result<(), String> {
        let of_these = Arc::ptr_eq(&self.made_of, &windows.made_of) && self.seen == windows.from;
        if !of_these || self.version != (windows.version, windows.until.clone()) {
            return Ok(());
        }
        let taken = measured.and_then(|reports| {
            for (report, end) in reports.into_iter().zip(&windows.ends) {
                self.take(&report).map_err(|error| error.to_string())?;
                self.seen = end.clone();
            }
            Ok(())
        });
        if taken.is_err() {
            self.failed = Some(sources.rows());
        }
        taken
    }

    fn take(&mut self, report: &Report) -> Result<(), NoMetric> {
        self.errors.update(report.metrics.iter().map(|metric| (metric.name.as_str(), metric.value)))
    }

    /// The detector's score; none as long as there are too few windows, or it is not known.
    pub fn score(&self) -> Option<f64> {
        self.errors.judgement().filter(|_| self.failed.is_none()).map(|judgement| judgement.score)
    }
}

/// The first `size` rows from `seen` on, source by source, and where they end; none where there are fewer.
fn window(sources: &Sources, seen: &Rows, size: usize) -> Option<(Vec<u32>, Rows)> {
    let mut ends: BTreeMap<String, u64> = seen.iter().map(|(source, end)| (source.to_owned(), end)).collect();
    let mut ranges = Vec::new();
    let mut missing = size as u64;
    for (source, count) in sources.rows().iter() {
        let first = seen.of(source);
        let end = count.min(first.saturating_add(missing));
        if first < end {
            ranges.push((source.to_owned(), first..end));
            ends.insert(source.to_owned(), end);
            missing -= end - first;
        }
    }
    if missing > 0 {
        return None;
    }
    let mut rows = sources.select(ranges.iter().map(|(source, range)| (source.as_str(), range.clone())));
    rows.sort_unstable();
    if ends.len() > MOST_SOURCES {
        // Of files that went nothing is known any more.
        let there = sources.rows();
        let there: BTreeSet<&str> = there.iter().map(|(source, _)| source).collect();
        ends.retain(|source, _| there.contains(source.as_str()));
    }
    Some((rows, Rows::try_from(ends).ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cap_std::fs::Dir;

    use super::super::DriftSubject;
    use super::super::task::tests::evaluator;
    use super::*;
    use crate::data::{Dataset, Description, Format};
    use crate::runtime::Metric;

    fn sources(folder: &tempfile::TempDir, files: &[(&str, usize)]) -> Sources {
        std::fs::create_dir_all(folder.path().join("d")).unwrap();
        for (file, rows) in files {
            let text: String = (0..*rows).map(|row| format!("{row}\n")).collect();
            std::fs::write(folder.path().join("d").join(file), text).unwrap();
        }
        let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
        let description = Description { format: Format::Csv, ..Description::default() };
        Sources::of(&Arc::new(Dataset::open(&dir, "d", description).unwrap()), MOST_SOURCES)
    }

    fn rows<const N: usize>(rows: [(&str, u64); N]) -> Rows {
        Rows::try_from(BTreeMap::from(rows.map(|(name, rows)| (name.to_owned(), rows)))).unwrap()
    }

    fn errors(window: usize) -> Errors {
        let task = DriftTask {
            detector: "page-hinkley".to_owned(),
            parameters: format!(r#"{{"window": {window}, "threshold": 0.5, "minInstances": 2}}"#),
            on: DriftSubject::Errors,
        };
        Errors::new(task, evaluator()).unwrap()
    }

    fn report(accuracy: f64) -> Report {
        Report { samples: 4, metrics: vec![Metric { name: "accuracy".to_owned(), value: accuracy }] }
    }

    #[test]
    fn windows_begin_where_training_ended_and_go_over_files() {
        let folder = tempfile::tempdir().unwrap();
        let found = sources(&folder, &[("a.csv", 5), ("b.csv", 6)]);
        let mut errors = errors(4);
        errors.look(&found, 1, &rows([("a.csv", 3)]));
        let windows = errors.next(&found).unwrap();
        assert_eq!(
            (windows.version, windows.rows.as_slice()),
            (1, &[vec![3, 4, 5, 6], vec![7, 8, 9, 10]][..])
        );
        errors.measured(&windows, Ok(vec![report(1.0), report(1.0)]), &found).unwrap();
        assert_eq!(errors.next(&found), None);
        let grown = sources(&folder, &[("a.csv", 8), ("b.csv", 6)]);
        assert_eq!(errors.next(&grown), None, "three rows are no window");
        let grown = sources(&folder, &[("a.csv", 9), ("b.csv", 6)]);
        assert_eq!(errors.next(&grown).unwrap().rows, [[5, 6, 7, 8]]);
    }

    #[test]
    fn errors_that_rise_are_the_score_and_another_version_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let found = sources(&folder, &[("a.csv", 16)]);
        let mut errors = errors(4);
        errors.look(&found, 0, &Rows::default());
        let windows = errors.next(&found).unwrap();
        assert_eq!((windows.rows.len(), errors.score()), (4, None));
        errors.measured(&windows, Ok([0.9, 0.9, 0.1, 0.1].map(report).to_vec()), &found).unwrap();
        assert!(errors.score() > Some(0.5), "{:?}", errors.score());

        errors.look(&found, 1, &rows([("a.csv", 16)]));
        assert_eq!((errors.score(), errors.next(&found)), (None, None));
        // What was measured of the version before comes late.
        errors.measured(&windows, Ok([0.9, 0.9, 0.1, 0.1].map(report).to_vec()), &found).unwrap();
        assert_eq!(errors.score(), None);
    }

    #[test]
    fn what_cannot_be_measured_is_told_and_tried_again_when_rows_come() {
        let folder = tempfile::tempdir().unwrap();
        let found = sources(&folder, &[("a.csv", 8)]);
        let mut errors = errors(4);
        errors.look(&found, 0, &Rows::default());
        let windows = errors.next(&found).unwrap();
        let loss = Report { samples: 4, metrics: vec![Metric { name: "loss".to_owned(), value: 1.0 }] };
        let why = errors.measured(&windows, Ok(vec![report(0.5), loss]), &found).unwrap_err();
        assert!(why.contains("no `accuracy`"), "{why}");
        errors.look(&found, 0, &Rows::default());
        assert_eq!((errors.next(&found), errors.score()), (None, None));
        let grown = sources(&folder, &[("a.csv", 9)]);
        errors.look(&grown, 0, &Rows::default());
        assert_eq!(
            errors.next(&grown).unwrap().rows,
            [[4, 5, 6, 7]],
            "what was measured is not measured again"
        );
    }
}
