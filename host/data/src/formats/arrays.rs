//! Batches of Arrow arrays, which Parquet and Arrow IPC are read into, as rows of tensors.
//!
//! Where a batch has nothing but numbers and classes, and none is missing, whole columns are written to their places; where
//! something is not as it should be, cell by cell, so that each bad row is found.

mod whole;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Schema, TimeUnit};

use self::whole::whole;
use crate::error::{DataError, Place};
use crate::plan::{Header, Plan};
use crate::rows::{Cell, Rows};

/// Longest list of a cell.
const MAX_LIST: i32 = 1 << 24;

/// A file's columns.
pub fn header(schema: &Schema) -> Header {
    let width = |data_type: &DataType| match data_type {
        DataType::FixedSizeList(_, size) => (*size).clamp(0, MAX_LIST) as usize,
        _ => 1,
    };
    Header {
        names: Some(schema.fields().iter().map(|field| field.name().clone()).collect()),
        widths: schema.fields().iter().map(|field| width(field.data_type())).collect(),
    }
}

/// Err: a column that a plan uses has a type without values for tensors.
pub fn check(file: &str, schema: &Schema, plan: &Plan) -> Result<(), DataError> {
    for (column, (field, uses)) in schema.fields().iter().zip(&plan.uses).enumerate() {
        let element = match field.data_type() {
            DataType::FixedSizeList(inner, size) if *size <= MAX_LIST => inner.data_type(),
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        if (uses.target.is_some() || uses.key) && !is_known(element) {
            let what = format!(
                "column {} is of type {}; use numbers, text, times or fixed-size lists of numbers, or leave it out",
                plan.header.describe(column),
                field.data_type()
            );
            return Err(DataError::unsupported(file, what));
        }
    }
    Ok(())
}

fn is_known(data_type: &DataType) -> bool {
    data_type.is_integer()
        || data_type.is_floating()
        || matches!(
            data_type,
            DataType::Boolean
                | DataType::Null
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Utf8View
                | DataType::Timestamp(..)
                | DataType::Date32
                | DataType::Date64
        )
}

/// A batch whose columns are the file's `columns`.
pub fn push(
    rows: &mut Rows<'_>,
    plan: &Plan,
    batch: &RecordBatch,
    columns: &[usize],
) -> Result<(), DataError> {
    if let Some(values) = whole(rows, plan, batch, columns) {
        return rows.push_whole(values, batch.num_rows());
    }
    let readers: Vec<_> =
        columns.iter().zip(batch.columns()).map(|(&column, array)| (column, reader(array))).collect();
    for row in 0..batch.num_rows() {
        rows.begin();
        let place = Place::Row(rows.row());
        let mut done = Ok(());
        'row: for (column, read) in &readers {
            for offset in 0..plan.header.widths[*column] {
                done = rows.value(*column, offset, read(row, offset));
                if done.is_err() {
                    break 'row;
                }
            }
        }
        match done {
            Ok(()) => rows.end()?,
            Err(wrong) => rows.fail(place, wrong)?,
        }
    }
    Ok(())
}

type ReadCell<'a> = Box<dyn Fn(usize, usize) -> Cell<'a> + 'a>;

/// Reads an array's cells, one by one: by row, and place in the row's list.
fn reader<'a>(array: &'a dyn Array) -> ReadCell<'a> {
    fn numbers<'a, A: ArrowPrimitiveType>(
        array: &'a dyn Array,
        cell: impl Fn(A::Native) -> Cell<'a> + 'a,
    ) -> ReadCell<'a> {
        let values = array.as_primitive::<A>();
        nulls(array, move |row| cell(values.value(row)))
    }
    fn nulls<'a>(array: &'a dyn Array, cell: impl Fn(usize) -> Cell<'a> + 'a) -> ReadCell<'a> {
        Box::new(move |row, _| if array.is_null(row) { Cell::Missing } else { cell(row) })
    }
    /// Seconds since 1970.
    fn time<'a, A: ArrowPrimitiveType<Native = i64>>(array: &'a dyn Array, per_second: f64) -> ReadCell<'a> {
        numbers::<A>(array, move |value| Cell::Float(value as f64 / per_second))
    }
    match array.data_type() {
        DataType::Int8 => numbers::<Int8Type>(array, |value| Cell::Int(value.into())),
        DataType::Int16 => numbers::<Int16Type>(array, |value| Cell::Int(value.into())),
        DataType::Int32 => numbers::<Int32Type>(array, |value| Cell::Int(value.into())),
        DataType::Int64 => numbers::<Int64Type>(array, Cell::Int),
        DataType::UInt8 => numbers::<UInt8Type>(array, |value| Cell::Int(value.into())),
        DataType::UInt16 => numbers::<UInt16Type>(array, |value| Cell::Int(value.into())),
        DataType::UInt32 => numbers::<UInt32Type>(array, |value| Cell::Int(value.into())),
        DataType::UInt64 => numbers::<UInt64Type>(array, |value| {
            i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Int)
        }),
        DataType::Float16 => numbers::<Float16Type>(array, |value| Cell::Float(value.to_f64())),
        DataType::Float32 => numbers::<Float32Type>(array, |value| Cell::Float(value.into())),
        DataType::Float64 => numbers::<Float64Type>(array, Cell::Float),
        DataType::Boolean => {
            let values = array.as_boolean();
            nulls(array, |row| Cell::Int(i64::from(values.value(row))))
        }
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            nulls(array, |row| Cell::Text(values.value(row)))
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            nulls(array, |row| Cell::Text(values.value(row)))
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            nulls(array, |row| Cell::Text(values.value(row)))
        }
        DataType::Timestamp(TimeUnit::Second, _) => time::<TimestampSecondType>(array, 1.0),
        DataType::Timestamp(TimeUnit::Millisecond, _) => time::<TimestampMillisecondType>(array, 1e3),
        DataType::Timestamp(TimeUnit::Microsecond, _) => time::<TimestampMicrosecondType>(array, 1e6),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => time::<TimestampNanosecondType>(array, 1e9),
        DataType::Date32 => numbers::<Date32Type>(array, |day| Cell::Float(f64::from(day) * 86_400.0)),
        DataType::Date64 => time::<Date64Type>(array, 1e3),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let keys = dictionary.normalized_keys();
            let read = reader(dictionary.values());
            nulls(array, move |row| read(keys[row], 0))
        }
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            let (read, size) = (reader(list.values()), *size as usize);
            Box::new(move |row, offset| {
                if list.is_null(row) {
                    Cell::Missing
                } else {
                    read(list.value_offset_at(row) + offset % size.max(1), 0)
                }
            })
        }
        // `check` let no other type in.
        _ => Box::new(|_, _| Cell::Missing),
    }
}
