//! Apache Parquet. Only the columns that a tensor or the split wants are read, a row group after the other, and of a remote
//! file only their ranges.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::arrays;
use crate::description::Description;
use crate::draft::{Draft, Schema};
use crate::error::DataError;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::source::{Blob, Reader};
use crate::split::Divider;

impl Length for Blob {
    fn len(&self) -> u64 {
        Self::len(self)
    }
}

impl ChunkReader for Blob {
    type T = Reader;

    fn get_read(&self, start: u64) -> Result<Reader, ParquetError> {
        Ok(self.reader(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.bytes(start, length).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// All rows.
pub fn read(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    blob.check_size(description.limits.bytes)?;
    // The crate checks much of what a file says, and indexes by some of it.
    catch_unwind(AssertUnwindSafe(|| read_file(blob, description, divider, draft)))
        .unwrap_or_else(|_| Err(DataError::malformed(blob.name(), "a damaged Parquet file")))
}

fn read_file(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let file = blob.name();
    let failed = |error: ParquetError| said(file, error);
    let builder = ParquetRecordBatchReaderBuilder::try_new(blob.clone()).map_err(failed)?;
    let schema = Arc::clone(builder.schema());
    let plan = Arc::new(Plan::new(file, arrays::header(&schema), description)?);
    arrays::check(file, &schema, &plan)?;
    draft.agree(file, Schema::of_plan(&plan))?;

    let uses = plan.uses.iter().enumerate();
    let columns: Vec<usize> =
        uses.filter(|(_, uses)| uses.target.is_some() || uses.key).map(|(column, _)| column).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied());
    let (mut unpacked, mut rows) = (0u64, 0u64);
    for group in builder.metadata().row_groups() {
        unpacked = unpacked.saturating_add(u64::try_from(group.total_byte_size()).unwrap_or(u64::MAX));
        rows = rows.saturating_add(u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    }
    let row_bytes: u64 =
        plan.tensors.iter().map(|column| (column.width() * column.dtype.size()) as u64).sum();
    let limit = description.limits.bytes;
    if unpacked > limit || rows.saturating_mul(row_bytes) > draft.room() {
        let what = format!("{rows} rows, {unpacked} bytes unpacked; at most {limit} bytes are read");
        return Err(DataError::too_large(file, what));
    }
    let mut rows = Rows::new(draft, Arc::clone(&plan), file, divider, 0);
    let reader = builder.with_projection(mask).with_batch_size(rows.full()).build().map_err(failed)?;
    for batch in reader {
        let batch = batch.map_err(|error| said(file, error.into()))?;
        arrays::push(&mut rows, &plan, &batch, &columns)?;
    }
    rows.flush()?;
    Ok(rows.row())
}

/// Looks through the layers of errors for the one of the blob.
fn said(file: &str, error: ParquetError) -> DataError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<DataError>() {
            return found.clone();
        }
        cause = error.source();
    }
    let text: String = error.to_string().chars().take(200).collect();
    DataError::malformed(file, format!("not a complete Parquet file: {text}"))
}
