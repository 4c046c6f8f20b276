//! A dataset: what of its files has been read, and the samples, statistics and problems that came of it.
//!
//! ```text
//!  Origin ─ list ─▶ which files are new, grown, replaced ─▶ formats ─▶ Draft ─▶ Dataset ─▶ Samples (shared), Status
//! ```
//!
//! [`Dataset::refresh`] reads what is new and nothing else. A file that was cut off, rewritten or replaced, or one of a
//! folder that went, has all of the dataset read anew; classes keep their numbers. A refresh that fails leaves everything as
//! it was. All of it blocks.

mod editions;
mod files;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use self::files::{File, Step, mark};
pub use self::status::{Growth, Status};

use crate::classes::Encoder;
use crate::description::{BadRows, Description, Format, LastRow};
use crate::draft::{Draft, Schema};
use crate::error::{DataError, Problem};
use crate::formats::images::{self, Images};
use crate::formats::text::Cursor;
use crate::formats::{self};
use crate::problems::Problems;
use crate::samples::{Part, Samples};
use crate::source::{Entry, Listing, Origin};
use crate::stats::TensorStats;

/// Readings of files that are replaced while they are read.
const TRIES: usize = 3;

/// A dataset of an origin.
#[derive(Debug)]
pub struct Dataset {
    origin: Origin,
    description: Description,
    files: BTreeMap<String, File>,
    schema: Option<Arc<Schema>>,
    encoders: Vec<Option<Encoder>>,
    stats: Vec<TensorStats>,
    problems: Problems,
    samples: Arc<Samples>,
    /// Of sources that were replaced, how often.
    editions: BTreeMap<String, u64>,
    changed: Option<Timestamp>,
    /// A file was seen to grow.
    grows: bool,
}

impl Dataset {
    /// With nothing read yet.
    pub fn new(origin: Origin, description: Description) -> Result<Self, DataError> {
        description.check()?;
        let images = Images::new(&origin, &description);
        let problems = Problems::new(description.limits.problems);
        Ok(Self {
            samples: Arc::new(Samples::new(images, description.bad_rows, problems.clone())),
            origin,
            description,
            files: BTreeMap::new(),
            schema: None,
            encoders: Vec::new(),
            stats: Vec::new(),
            problems,
            editions: BTreeMap::new(),
            changed: None,
            grows: false,
        })
    }

    /// With all that there is.
    pub fn open(origin: Origin, description: Description) -> Result<Self, DataError> {
        let mut dataset = Self::new(origin, description)?;
        dataset.refresh()?;
        Ok(dataset)
    }

    /// The samples of now.
    pub fn samples(&self) -> Arc<Samples> {
        Arc::clone(&self.samples)
    }

    /// As it was given, and with the classes that were learnt: kept, it gives them the same numbers later.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Where it comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What it shows of itself.
    pub fn status(&self) -> Status {
        let mut stats = Vec::new();
        if let Some(schema) = &self.schema {
            for ((tensor, column), places) in self.stats.iter().zip(&schema.columns).zip(&schema.places) {
                stats.extend(tensor.show(&column.name, places));
            }
        }
        let mut problems = self.problems.clone();
        problems.merge(self.samples.problems.lock().clone());
        let waiting = |file: &File| match file.broken {
            true => 0,
            false => file.entry.size.saturating_sub(file.cursor.offset),
        };
        Status {
            samples: self.samples.len(Part::All),
            train: self.samples.len(Part::Train),
            test: self.samples.len(Part::Test),
            bytes: self.samples.byte_len(),
            files: self.files.len(),
            waiting_bytes: if self.description.format.grows() {
                self.files.values().map(waiting).sum()
            } else {
                0
            },
            columns: self.samples.columns().to_vec(),
            stats,
            problems,
            changed: self.changed,
        }
    }

    /// Read what is new.
    pub fn refresh(&mut self) -> Result<Growth, DataError> {
        let mut tries = 1;
        loop {
            match self.refresh_once() {
                Err(DataError::Replaced { .. }) if tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    fn refresh_once(&mut self) -> Result<Growth, DataError> {
        let listing = self.origin.list(self.description.format, &self.description.limits)?;
        match self.compare(&listing)? {
            Some(steps) => {
                // Before its new rows are read: the last of them may be half written.
                if steps.iter().any(|(_, step)| matches!(step, Step::Grow(_))) {
                    self.grows = true;
                }
                self.read(&listing, steps, false)
            }
            None => {
                self.grows |= self.went_on(&listing);
                let steps = listing.entries.iter().cloned().map(|entry| (entry, Step::Read)).collect();
                self.read(&listing, steps, true)
            }
        }
    }

    fn read(
        &mut self,
        listing: &Listing,
        steps: Vec<(Entry, Step)>,
        replaced: bool,
    ) -> Result<Growth, DataError> {
        if steps.is_empty() && !replaced {
            return Ok(Growth::default());
        }
        let held = if replaced { 0 } else { self.samples.byte_len() };
        let schema = if replaced { None } else { self.schema.clone() };
        let mut draft = Draft::new(&self.description, schema, held);
        if !replaced {
            draft.encoders.clone_from(&self.encoders);
        }
        let mut files = if replaced { BTreeMap::new() } else { self.files.clone() };
        let mut read = Vec::new();
        for (entry, step) in steps {
            let before = draft.samples;
            let mut cursor = match step {
                Step::Read => Cursor::default(),
                Step::Grow(file) => file.cursor,
            };
            let file = self.read_file(&entry, listing.folder, &mut cursor, &mut draft)?;
            read.push((self.source(&entry), draft.samples - before));
            if let Some(file) = file {
                files.insert(entry.key, file);
            }
        }
        self.commit(draft, files, read, replaced)
    }

    /// None: it went meanwhile.
    fn read_file(
        &self,
        entry: &Entry,
        folder: bool,
        cursor: &mut Cursor,
        draft: &mut Draft,
    ) -> Result<Option<File>, DataError> {
        let description = match self.description.last_row {
            LastRow::Auto if self.grows => {
                &Description { last_row: LastRow::Wait, ..self.description.clone() }
            }
            _ => &self.description,
        };
        let whole = description.format == Format::ImageFolder;
        let mut fork = if whole { None } else { Some(draft.fork()) };
        let target = fork.as_mut().unwrap_or(draft);
        let read = formats::read(&self.origin, entry, description, folder, cursor, target);
        match read {
            Ok(entry) => {
                if let Some(fork) = fork {
                    draft.absorb(fork);
                }
                let mark = if self.description.format.grows() && cursor.offset > 0 {
                    mark(&self.origin.open(&entry)?, cursor.offset)?
                } else {
                    (Vec::new(), Vec::new())
                };
                Ok(Some(File { entry, cursor: cursor.clone(), mark, broken: false }))
            }
            Err(DataError::NotFound { .. }) if folder => Ok(None),
            Err(error) if folder && error.is_content() && self.description.bad_rows == BadRows::Skip => {
                let problem = match error {
                    DataError::Malformed(problem) => problem,
                    other => Problem::of_file(&entry.name, other.without_file()),
                };
                draft.problems.add(problem);
                let mark = (Vec::new(), Vec::new());
                Ok(Some(File { entry: entry.clone(), cursor: Cursor::default(), mark, broken: true }))
            }
            Err(error) => Err(error),
        }
    }

    fn commit(
        &mut self,
        draft: Draft,
        files: BTreeMap<String, File>,
        read: Vec<(String, usize)>,
        replaced: bool,
    ) -> Result<Growth, DataError> {
        let mut samples = if replaced {
            let problems = Problems::new(self.description.limits.problems);
            Samples::new(Images::new(&self.origin, &self.description), self.description.bad_rows, problems)
        } else {
            Samples::clone(&self.samples)
        };
        let before = samples.len(Part::All);
        for chunk in draft.chunks {
            samples.push(self.origin.name(), chunk)?;
        }
        let sources = Arc::make_mut(&mut samples.sources);
        read.iter().for_each(|(source, len)| sources.push(source, *len));
        let added = samples.len(Part::All) - before;
        if let Some(schema) = &draft.schema {
            let image = samples.images().map(|_| images::column(&self.description.image));
            let columns = image.into_iter().chain(schema.columns.iter().cloned()).collect();
            samples.set_columns(columns, schema.layout.clone());
        }
        if replaced {
            self.count_editions(&mut samples);
        }
        let growth = Growth { added, replaced, problems: draft.problems.count };
        if replaced {
            self.stats = draft.stats;
            self.problems = draft.problems;
        } else {
            if self.stats.is_empty() {
                self.stats = draft.stats;
            } else {
                self.stats.iter_mut().zip(&draft.stats).for_each(|(stats, other)| stats.merge(other));
            }
            self.problems.merge(draft.problems);
        }
        self.schema = draft.schema;
        self.encoders = draft.encoders;
        self.files = files;
        self.samples = Arc::new(samples);
        if !growth.is_none() {
            self.changed = Some(Timestamp::now());
        }
        self.keep_classes();
        Ok(growth)
    }

    /// What was learnt, into the description.
    fn keep_classes(&mut self) {
        for (index, encoder) in self.encoders.iter().enumerate() {
            let Some(encoder) = encoder else { continue };
            match self.description.tensors.get_mut(index) {
                Some(spec) => spec.classes = Some(encoder.classes().clone()),
                None => self.description.classes = Some(encoder.classes().clone()),
            }
        }
    }
}
