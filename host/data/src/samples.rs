//! The samples that a dataset holds at one moment. A dataset that grows makes new [`Samples`], which share the chunks of
//! the old: who reads them goes on undisturbed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use fast_image_resize::Resizer;
use parking_lot::Mutex;

use crate::batches::Batches;
use crate::copied;
use crate::description::BadRows;
use crate::draft::Chunk;
use crate::error::{DataError, Problem};
use crate::formats::images::Images;
use crate::layout::FileLayout;
use crate::plan::Column;
use crate::problems::Problems;
use crate::sources::{Sources, Span};
use crate::split::Side;
use crate::tensor::{DType, Element, Tensor, Values, each};
use half::{bf16, f16};

/// Tensors under their names, with one sample after the other in each.
pub type Batch = Vec<(String, Tensor)>;

/// Bytes below which neighbouring chunks are made one.
const SMALL: usize = 256 << 10;

/// Elements that are digested at a time.
const DIGESTED: usize = 1 << 13;

/// Which samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All but those held out.
    Train,
    /// Those that the split holds out.
    Test,
    /// All.
    All,
}

/// Samples in memory, or for images, their names.
#[derive(Clone)]
pub struct Samples {
    columns: Vec<Column>,
    layout: Option<Arc<FileLayout>>,
    chunks: Vec<Arc<Chunk>>,
    /// Index of each chunk's first sample.
    starts: Vec<usize>,
    len: usize,
    train: Arc<Vec<u32>>,
    test: Arc<Vec<u32>>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) edition: u64,
    images: Option<Arc<Images>>,
    bad_rows: BadRows,
    /// Of images that could not be decoded.
    pub(crate) problems: Arc<Mutex<Problems>>,
}

impl Samples {
    pub(crate) fn new(images: Option<Images>, bad_rows: BadRows, problems: Problems) -> Self {
        Self {
            columns: Vec::new(),
            layout: None,
            chunks: Vec::new(),
            starts: Vec::new(),
            len: 0,
            train: Arc::default(),
            test: Arc::default(),
            sources: Arc::default(),
            edition: 0,
            images: images.map(Arc::new),
            bad_rows,
            problems: Arc::new(Mutex::new(problems)),
        }
    }

    /// The tensors of a batch.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What the files have that they were read from; None of images, and where nothing was read yet.
    pub fn layout(&self) -> Option<&Arc<FileLayout>> {
        self.layout.as_ref()
    }

    pub(crate) fn set_columns(&mut self, columns: Vec<Column>, layout: Option<Arc<FileLayout>>) {
        self.columns = columns;
        self.layout = layout;
    }

    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.chunks.iter().map(Arc::as_ref)
    }

    /// Samples of a part.
    pub fn len(&self, part: Part) -> usize {
        match part {
            Part::All => self.len,
            Part::Train => self.train.len(),
            Part::Test => self.test.len(),
        }
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes in memory.
    pub fn byte_len(&self) -> u64 {
        let chunks: u64 = self.chunks.iter().map(|chunk| chunk.byte_len() as u64).sum();
        chunks + 4 * (self.train.len() + self.test.len()) as u64
    }

    /// Bytes of a sample in a batch.
    pub fn sample_byte_len(&self) -> usize {
        self.columns.iter().map(|column| column.width() * column.dtype.size()).sum()
    }

    /// More samples. Err: more than can be counted.
    pub(crate) fn push(&mut self, name: &str, chunk: Chunk) -> Result<(), DataError> {
        let first = self.len;
        let len = first + chunk.len();
        if u32::try_from(len).is_err() {
            return Err(DataError::too_large(name, format!("{len} samples; at most {} are read", u32::MAX)));
        }
        let (train, test) = (Arc::make_mut(&mut self.train), Arc::make_mut(&mut self.test));
        for (index, side) in (first as u32..).zip(&chunk.sides) {
            match side {
                Side::Train => train.push(index),
                Side::Test => test.push(index),
            }
        }
        // A file that grows row by row would leave a chunk for each.
        if let Some(last) = self.chunks.last_mut()
            && last.byte_len() + chunk.byte_len() < SMALL
        {
            Arc::make_mut(last).append(chunk);
        } else {
            self.starts.push(first);
            self.chunks.push(Arc::new(chunk));
        }
        self.len = len;
        Ok(())
    }

    /// Samples of a part that lie in a range of all samples, in their order. The range is that of their indices in the
    /// whole, which growth leaves as they are: samples that came after the first n are `n..`.
    pub fn select(&self, part: Part, range: Range<usize>) -> Vec<u32> {
        let range = range.start.min(self.len)..range.end.min(self.len);
        let of = |rows: &[u32]| {
            let place = |index: usize| rows.partition_point(|&row| (row as usize) < index);
            rows[place(range.start)..place(range.end).max(place(range.start))].to_vec()
        };
        match part {
            Part::All => (range.start as u32..range.end as u32).collect(),
            Part::Train => of(&self.train),
            Part::Test => of(&self.test),
        }
    }

    /// A part in batches of `size` (≥ 1), the last one smaller; shuffled where there is a seed.
    pub fn batches(self: &Arc<Self>, part: Part, size: usize, shuffle: Option<u64>) -> Batches {
        self.batches_of(self.select(part, 0..self.len), size, shuffle)
    }

    /// These samples in batches, in this order: of a [`Self::select`], or with some repeated, as a replay wants it. Indices
    /// that there are not are passed over. Shuffled where there is a seed.
    pub fn batches_of(self: &Arc<Self>, mut rows: Vec<u32>, size: usize, shuffle: Option<u64>) -> Batches {
        rows.retain(|&row| (row as usize) < self.len);
        if let Some(seed) = shuffle {
            crate::order::shuffle(&mut rows, seed);
        }
        Batches::new(Arc::clone(self), rows, size)
    }

    /// Digest of the samples in a range, for a record of what was learnt from: BLAKE3 over their bytes, tensor by tensor, and
    /// for images over their names and labels. It does not depend on how they came to be read.
    pub fn digest(&self, range: Range<usize>) -> String {
        format!("blake3:{}", self.hash(&[range]).to_hex())
    }

    /// Of the samples in these ranges, one after the other.
    pub(crate) fn hash(&self, ranges: &[Range<usize>]) -> blake3::Hash {
        let pieces: Vec<(&Chunk, Range<usize>)> =
            ranges.iter().flat_map(|range| self.pieces(range)).collect();
        let mut whole = blake3::Hasher::new();
        let held = self.columns.len() - usize::from(self.images.is_some() && !self.columns.is_empty());
        for tensor in 0..held {
            let mut hasher = blake3::Hasher::new();
            let mut bytes = Vec::with_capacity(8 * DIGESTED);
            for (chunk, rows) in &pieces {
                let width = chunk.values[tensor].len() / chunk.len().max(1);
                each!(&chunk.values[tensor], values => for part in values[rows.start * width..rows.end * width].chunks(DIGESTED) {
                    bytes.clear();
                    bytes.extend(part.iter().flat_map(|value| value.to_f64().to_le_bytes()));
                    hasher.update(&bytes);
                });
            }
            whole.update(hasher.finalize().as_bytes());
        }
        for (chunk, rows) in pieces.into_iter().filter(|(chunk, _)| !chunk.images.is_empty()) {
            for name in &chunk.images[rows] {
                whole.update(name.as_bytes()).update(b"\n");
            }
        }
        whole.finalize()
    }

    /// A range by chunks, with the places in each.
    fn pieces(&self, range: &Range<usize>) -> impl Iterator<Item = (&Chunk, Range<usize>)> {
        let range = range.start.min(self.len)..range.end.min(self.len);
        let from = self.starts.partition_point(|&start| start <= range.start).saturating_sub(1);
        let chunks = self.starts[from..].iter().zip(&self.chunks[from..]);
        let end = range.end;
        chunks.take_while(move |(start, _)| **start < end).map(move |(&start, chunk)| {
            let place = |index: usize| index.clamp(start, start + chunk.len()) - start;
            (&**chunk, place(range.start)..place(range.end))
        })
    }

    /// Where its samples came from, in their order.
    pub fn spans(&self) -> impl Iterator<Item = Span<'_>> {
        self.sources.spans()
    }

    /// Counts how often samples of the whole were replaced by others, or went.
    pub fn edition(&self) -> u64 {
        self.edition
    }

    pub(crate) fn images(&self) -> Option<Arc<Images>> {
        self.images.clone()
    }

    /// These samples, in this order; `images` decodes those that are images.
    pub(crate) fn gather(
        &self,
        rows: &[u32],
        images: Option<&Images>,
        resizer: &mut Resizer,
    ) -> Result<Batch, DataError> {
        let mut rows = std::borrow::Cow::Borrowed(rows);
        let mut batch = Vec::with_capacity(self.columns.len());
        if let (Some(images), Some(column)) = (images, self.columns.first()) {
            let mut values = Values::empty(column.dtype);
            reserve(&mut values, rows.len(), column)?;
            let mut kept = Vec::with_capacity(rows.len());
            for &row in rows.iter() {
                let (chunk, place) = self.find(row as usize);
                let before = values.len();
                match images.decode(&chunk.images[place], resizer, &mut values) {
                    Ok(()) => kept.push(row),
                    Err(error) if self.bad_rows == BadRows::Skip && error.is_content() => {
                        values.resize(before);
                        let problem = Problem::of_file(&chunk.images[place], error.without_file());
                        let mut problems = self.problems.lock();
                        if !problems.first.contains(&problem) {
                            problems.add(problem);
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            rows = kept.into();
            batch.push((column.name.clone(), tensor(column, rows.len(), values)));
        }
        let images = batch.len();
        for (index, column) in self.columns[images..].iter().enumerate() {
            let mut values = Values::empty(column.dtype);
            reserve(&mut values, rows.len(), column)?;
            match column.dtype {
                DType::F32 => self.collect::<f32>(index, &rows, column.width(), &mut values),
                DType::F64 => self.collect::<f64>(index, &rows, column.width(), &mut values),
                DType::F16 => self.collect::<f16>(index, &rows, column.width(), &mut values),
                DType::BF16 => self.collect::<bf16>(index, &rows, column.width(), &mut values),
                DType::I64 => self.collect::<i64>(index, &rows, column.width(), &mut values),
                DType::I32 => self.collect::<i32>(index, &rows, column.width(), &mut values),
                DType::U8 => self.collect::<u8>(index, &rows, column.width(), &mut values),
            }
            batch.push((column.name.clone(), tensor(column, rows.len(), values)));
        }
        Ok(batch)
    }

    /// Rows of a tensor, runs of neighbours at once.
    fn collect<T: Element>(&self, tensor: usize, rows: &[u32], width: usize, values: &mut Values) {
        let Some(to) = T::slice_mut(values) else { return };
        let mut at = 0;
        while at < rows.len() {
            let (chunk, place) = self.find(rows[at] as usize);
            let room = (chunk.len() - place).min(rows.len() - at);
            let run = (1..room).find(|&step| rows[at + step] != rows[at] + step as u32).unwrap_or(room);
            if let Some(from) = T::slice(&chunk.values[tensor]) {
                to.extend_from_slice(&from[place * width..(place + run) * width]);
            }
            at += run;
        }
        copied::count(size_of_val(&to[..]));
    }

    /// The chunk of a sample, and its place there. The sample exists.
    fn find(&self, row: usize) -> (&Chunk, usize) {
        let chunk = self.starts.partition_point(|&start| start <= row) - 1;
        (&self.chunks[chunk], row - self.starts[chunk])
    }
}

fn reserve(values: &mut Values, rows: usize, column: &Column) -> Result<(), DataError> {
    let len = rows.checked_mul(column.width());
    if len.is_some_and(|len| values.try_reserve(len)) {
        return Ok(());
    }
    let name = &column.name;
    Err(DataError::too_large(name, format!("memory for a batch of {rows} samples is not to be had")))
}

fn tensor(column: &Column, rows: usize, values: Values) -> Tensor {
    let shape = std::iter::once(rows).chain(column.shape.iter().copied()).collect();
    Tensor { shape, values }
}

impl fmt::Debug for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Samples({} train, {} test)", self.train.len(), self.test.len())
    }
}
