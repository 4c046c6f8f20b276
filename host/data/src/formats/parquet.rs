//! Apache Parquet. Only the columns that a tensor or the split wants are read, a row group after the other, and of a remote
//! file only their ranges.
//!
//! Text is read as views into pages that lie in memory once: a dictionary with one long text, to which a million rows refer,
//! would unpack to more than any page says of itself.

mod chunks;
mod pages;

use std::sync::Arc;

use arrow_schema::{DataType, Field, SchemaRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use self::chunks::Chunks;
use super::{arrays, guarded};
use crate::description::Description;
use crate::draft::{Draft, Schema};
use crate::error::DataError;
use crate::plan::Plan;
use crate::rows::Rows;
use crate::source::Blob;
use crate::split::Divider;

/// All rows.
pub fn read(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    guarded(blob.name(), "a damaged Parquet file", || read_file(blob, description, divider, draft))
}

fn read_file(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let file = blob.name();
    let failed = |error: ParquetError| said(file, error);
    let chunks = Chunks::new(blob.clone());
    let metadata = ArrowReaderMetadata::load(&chunks, ArrowReaderOptions::new()).map_err(failed)?;
    let metadata = match viewed(metadata.schema()) {
        Some(schema) => {
            let options = ArrowReaderOptions::new().with_schema(schema);
            ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options).map_err(failed)?
        }
        None => metadata,
    };
    let schema = Arc::clone(metadata.schema());
    let plan = Arc::new(Plan::new(file, arrays::header(&schema), description)?);
    arrays::check(file, &schema, &plan)?;
    draft.agree(file, Schema::of_plan(&plan, description))?;

    let uses = plan.uses.iter().enumerate();
    let columns: Vec<usize> =
        uses.filter(|(_, uses)| uses.target.is_some() || uses.key).map(|(column, _)| column).collect();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
    let limit = description.limits.bytes;
    let (mut ranges, mut unpacked, mut rows) = (Vec::new(), 0u64, 0u64);
    for group in metadata.metadata().row_groups() {
        for (leaf, column) in group.columns().iter().enumerate() {
            if mask.leaf_included(leaf) {
                let (start, len) = column.byte_range();
                ranges.push(start..start.saturating_add(len));
                let size = u64::try_from(column.uncompressed_size()).unwrap_or(u64::MAX);
                unpacked = unpacked.saturating_add(size);
            }
        }
        rows = rows.saturating_add(u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    }
    let row_bytes: u64 =
        plan.tensors.iter().map(|column| (column.width() * column.dtype.size()) as u64).sum();
    if unpacked > limit || rows.saturating_mul(row_bytes) > draft.room() {
        let what = format!("{rows} rows, {unpacked} bytes unpacked; at most {limit} bytes are read");
        return Err(DataError::too_large(file, what));
    }
    let groups = metadata.metadata().num_row_groups().max(1);
    chunks.hold(ranges.len() / groups, ranges, limit);
    let mut rows = Rows::new(draft, Arc::clone(&plan), file, divider, 0);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata);
    let reader = builder.with_projection(mask).with_batch_size(rows.full()).build().map_err(failed)?;
    for batch in reader {
        let batch = batch.map_err(|error| said(file, error.into()))?;
        arrays::push(&mut rows, &plan, &batch, &columns)?;
    }
    rows.flush()?;
    Ok(rows.row())
}

/// The schema with text as views; None: there is no text.
fn viewed(schema: &SchemaRef) -> Option<SchemaRef> {
    let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::LargeUtf8);
    let mut found = false;
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| {
            let text = match field.data_type() {
                DataType::Dictionary(_, values) => is_text(values),
                kind => is_text(kind),
            };
            found |= text;
            let field = field.as_ref().clone();
            if text { field.with_data_type(DataType::Utf8View) } else { field }
        })
        .collect();
    let viewed = arrow_schema::Schema::new_with_metadata(fields, schema.metadata().clone());
    found.then(|| Arc::new(viewed))
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
