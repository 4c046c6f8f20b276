//! What one reading adds to a dataset: chunks of samples, statistics, classes, problems. A reading that fails leaves the
//! dataset as it was, for its draft is let go.

use std::sync::Arc;

use crate::classes::Encoder;
use crate::description::{BadRows, Classes, Description};
use crate::error::{DataError, Problem};
use crate::layout::FileLayout;
use crate::plan::{Column, Plan};
use crate::problems::Problems;
use crate::split::Side;
use crate::stats::{MAX_PLACES, TensorStats};
use crate::tensor::{Tensor, Values};

/// Some samples in a row.
#[derive(Debug, Clone, Default)]
pub struct Chunk {
    /// For each tensor that is held, the samples' elements.
    pub values: Vec<Values>,
    /// For each sample.
    pub sides: Vec<Side>,
    /// For each sample its image, where samples are images: they are decoded when a batch wants them.
    pub images: Vec<Box<str>>,
}

impl Chunk {
    /// Samples.
    pub fn len(&self) -> usize {
        self.sides.len()
    }

    /// With the samples of another, of the same tensors.
    pub fn append(&mut self, other: Self) {
        for (values, other) in self.values.iter_mut().zip(&other.values) {
            values.extend(other, 0..other.len());
        }
        self.sides.extend(other.sides);
        self.images.extend(other.images);
    }

    /// Bytes in memory.
    pub fn byte_len(&self) -> usize {
        let values: usize = self.values.iter().map(|values| values.len() * values.dtype().size()).sum();
        let names: usize = self.images.iter().map(|name| name.len() + size_of::<Box<str>>()).sum();
        values + names + self.sides.len()
    }
}

/// The tensors that are held, which every file of a dataset gives alike.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// The tensors.
    pub columns: Vec<Column>,
    /// Names of the places of a row that have statistics of their own.
    pub places: Vec<Vec<String>>,
    /// Which are labels.
    pub labels: Vec<bool>,
    /// Classes that they start with.
    pub classes: Vec<Option<Classes>>,
    /// What the files have; None of images.
    pub layout: Option<Arc<FileLayout>>,
}

impl Schema {
    /// Of a table.
    pub fn of_plan(plan: &Plan, description: &Description) -> Self {
        let named = |tensor: usize| {
            if plan.tensors[tensor].width() > MAX_PLACES { Vec::new() } else { plan.places(tensor) }
        };
        Self {
            columns: plan.tensors.clone(),
            places: (0..plan.tensors.len()).map(named).collect(),
            labels: plan.labels.clone(),
            classes: plan.classes.clone(),
            layout: Some(Arc::new(FileLayout::of_plan(plan, description))),
        }
    }

    /// Of whole arrays under names.
    pub fn of_arrays(columns: Vec<Column>) -> Self {
        let places = |column: &Column| match column.width() {
            1 => vec![column.name.clone()],
            width if width > MAX_PLACES => Vec::new(),
            width => (0..width).map(|place| format!("{}[{place}]", column.name)).collect(),
        };
        Self {
            places: columns.iter().map(places).collect(),
            labels: columns
                .iter()
                .map(|column| column.shape.is_empty() && !column.dtype.is_float())
                .collect(),
            classes: vec![None; columns.len()],
            layout: None,
            columns,
        }
    }
}

/// What a reading has gathered so far.
#[derive(Debug)]
pub struct Draft {
    /// None until a file gave it.
    pub schema: Option<Arc<Schema>>,
    /// For each tensor, the numbers of its classes where it has some.
    pub encoders: Vec<Option<Encoder>>,
    /// New samples.
    pub chunks: Vec<Chunk>,
    /// Of the new samples.
    pub stats: Vec<TensorStats>,
    /// Of what was left out.
    pub problems: Problems,
    /// How many samples are new.
    pub samples: usize,
    bad_rows: BadRows,
    class_limit: usize,
    /// Bytes that samples may still take.
    room: u64,
    limit: u64,
}

impl Draft {
    /// To be added to what holds `held` bytes already.
    pub fn new(description: &Description, schema: Option<Arc<Schema>>, held: u64) -> Self {
        let limits = &description.limits;
        let mut draft = Self {
            schema: None,
            encoders: Vec::new(),
            chunks: Vec::new(),
            stats: Vec::new(),
            problems: Problems::new(limits.problems),
            samples: 0,
            bad_rows: description.bad_rows,
            class_limit: limits.classes,
            room: limits.bytes.saturating_sub(held),
            limit: limits.bytes,
        };
        if let Some(schema) = schema {
            draft.take_schema(schema);
        }
        draft
    }

    /// For one more file, whose samples may turn out to be none: see [`Self::absorb`].
    pub fn fork(&self) -> Self {
        let mut fork = Self {
            schema: None,
            encoders: Vec::new(),
            chunks: Vec::new(),
            stats: Vec::new(),
            problems: self.problems.emptied(),
            samples: 0,
            ..*self
        };
        if let Some(schema) = &self.schema {
            fork.take_schema(Arc::clone(schema));
            fork.encoders.clone_from(&self.encoders);
        }
        fork
    }

    /// What a fork has read as well.
    pub fn absorb(&mut self, fork: Self) {
        if self.schema.is_none()
            && let Some(schema) = fork.schema
        {
            self.take_schema(schema);
        }
        self.encoders = fork.encoders;
        self.chunks.extend(fork.chunks);
        self.samples += fork.samples;
        for (stats, other) in self.stats.iter_mut().zip(&fork.stats) {
            stats.merge(other);
        }
        self.problems.merge(fork.problems);
        self.room = fork.room;
    }

    fn take_schema(&mut self, schema: Arc<Schema>) {
        let encoder = |classes: &Option<Classes>| {
            classes.as_ref().map(|classes| Encoder::new(classes, self.class_limit))
        };
        self.encoders = schema.classes.iter().map(encoder).collect();
        let stats = schema.columns.iter().zip(&schema.labels);
        self.stats = stats.map(|(column, &label)| TensorStats::new(column.width(), label)).collect();
        self.schema = Some(schema);
    }

    /// This file's tensors, which must be those of the files before it.
    pub fn agree(&mut self, file: &str, schema: Schema) -> Result<(), DataError> {
        let Some(first) = &self.schema else {
            self.take_schema(Arc::new(schema));
            return Ok(());
        };
        if first.columns == schema.columns {
            return Ok(());
        }
        let show = |columns: &[Column]| {
            let one = |column: &Column| format!("{} {}{:?}", column.name, column.dtype, column.shape);
            columns.iter().take(8).map(one).collect::<Vec<_>>().join(", ")
        };
        let what = format!(
            "its samples are {}; those before it are {}",
            show(&schema.columns),
            show(&first.columns)
        );
        Err(DataError::malformed(file, what))
    }

    /// A bad row: noted, or the end of it all.
    pub fn bad(&mut self, problem: Problem) -> Result<(), DataError> {
        match self.bad_rows {
            BadRows::Refuse => Err(DataError::Malformed(problem)),
            BadRows::Skip => {
                self.problems.add(problem);
                Ok(())
            }
        }
    }

    /// Samples that are complete. `holes`: for each tensor, elements that stand for missing cells.
    pub fn push(&mut self, file: &str, chunk: Chunk, holes: &[Vec<usize>]) -> Result<(), DataError> {
        if chunk.len() == 0 {
            return Ok(());
        }
        for (index, (stats, values)) in self.stats.iter_mut().zip(&chunk.values).enumerate() {
            stats.look(values, holes.get(index).map_or(&[], Vec::as_slice));
        }
        self.charge(file, chunk.byte_len() as u64)?;
        self.samples += chunk.len();
        self.chunks.push(chunk);
        Ok(())
    }

    /// Take that many of the bytes that samples may have.
    pub fn charge(&mut self, file: &str, bytes: u64) -> Result<(), DataError> {
        self.room = self.room.checked_sub(bytes).ok_or_else(|| {
            DataError::too_large(
                file,
                format!("its samples take more than the {} bytes that a dataset may have", self.limit),
            )
        })?;
        Ok(())
    }

    /// Bytes that samples may still take.
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Whole arrays, sample by sample in chunks; `side` of each row.
    pub fn push_arrays(
        &mut self,
        file: &str,
        arrays: Vec<Tensor>,
        rows: usize,
        mut side: impl FnMut(u64) -> Side,
    ) -> Result<(), DataError> {
        let sides = (0..rows as u64).map(&mut side).collect();
        let values = arrays.into_iter().map(|array| array.values).collect();
        self.push(file, Chunk { values, sides, images: Vec::new() }, &[])
    }
}
