//! A split, read once, in batches. Rows are gathered into the batch's tensors; nothing else is copied.

use std::fmt;
use std::sync::Arc;

use super::Dataset;
use crate::nn::{DType, Element, NnError, Tensor, bf16, copies, f16};

/// Reads a split once.
pub struct Batches {
    dataset: Arc<Dataset>,
    order: Arc<[u32]>,
    next: usize,
    size: usize,
}

impl Batches {
    pub(super) fn new(dataset: Arc<Dataset>, order: Arc<[u32]>, size: usize) -> Self {
        Self { dataset, order, next: 0, size }
    }

    /// Bytes that the next batch will take; none at the end.
    pub fn next_byte_len(&self) -> u64 {
        let row: usize = self.dataset.arrays.iter().map(|array| array.byte_len() / array.shape()[0]).sum();
        row as u64 * self.upcoming().len() as u64
    }

    /// The next batch: one tensor per column, the first dimension is the samples; None at the end.
    pub fn try_next(&mut self) -> Result<Option<Vec<(String, Tensor)>>, NnError> {
        let rows = self.upcoming();
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = self.dataset.columns.iter().zip(&self.dataset.arrays);
        let batch = columns.map(|(column, array)| {
            let tensor = match column.dtype {
                DType::F32 => gather::<f32>(array, rows),
                DType::F64 => gather::<f64>(array, rows),
                DType::U8 => gather::<u8>(array, rows),
                DType::I32 => gather::<i32>(array, rows),
                DType::I64 => gather::<i64>(array, rows),
                DType::F16 => gather::<f16>(array, rows),
                DType::BF16 => gather::<bf16>(array, rows),
            };
            Ok((column.name.clone(), tensor?))
        });
        let batch = batch.collect::<Result<_, NnError>>()?;
        self.next += rows.len();
        Ok(Some(batch))
    }

    fn upcoming(&self) -> &[u32] {
        let rest = &self.order[self.next..];
        &rest[..rest.len().min(self.size)]
    }
}

fn gather<T: Element>(array: &Tensor, rows: &[u32]) -> Result<Tensor, NnError> {
    let values = array.as_slice::<T>()?;
    let row = values.len() / array.shape()[0];
    let mut gathered = Vec::new();
    gathered.try_reserve_exact(row * rows.len()).map_err(|_| {
        NnError::too_large(format!("memory for a batch of {} samples is not to be had", rows.len()))
    })?;
    for &index in rows {
        gathered.extend_from_slice(&values[index as usize * row..][..row]);
    }
    copies::count(size_of_val(gathered.as_slice()));
    let mut shape = array.shape().to_vec();
    shape[0] = rows.len();
    Tensor::from_vec(&shape, gathered)
}

/// # Panics
/// Where memory for a batch is not to be had; [`Batches::try_next`] gives an error instead.
impl Iterator for Batches {
    type Item = Vec<(String, Tensor)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.try_next().unwrap_or_else(|error| panic!("{error}"))
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batches({} of {} samples read, {} at a time)", self.next, self.order.len(), self.size)
    }
}
