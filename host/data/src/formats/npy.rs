//! NumPy's arrays; the first dimension is the samples.
//!
//! Little-endian f2, f4, f8, i4, i8 and u1 are read, in C or Fortran order; NumPy has no bf16. Where nobody says otherwise, f8
//! becomes f32, for NumPy writes f8 where no one asked for it and models take f32. Nothing is allocated on a header's word
//! alone: the array grows as its bytes arrive.

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use half::f16;

use super::npy_header::{Header, Kind};
use crate::description::{Description, Split};
use crate::draft::{Draft, Schema};
use crate::error::{DataError, Place};
use crate::layout::FileLayout;
use crate::plan::{self, Column, Plan};
use crate::rows::{Cell, Rows};
use crate::source::{Blob, from_io};
use crate::split::Divider;
use crate::tensor::{DType, Element, Tensor, Values, each};

/// Bytes that are converted at a time.
const CHUNK: usize = 64 << 10;

/// All samples: the array as `x`, or where the description wants more than that, a matrix as a table.
pub fn read(
    blob: &Blob,
    description: &Description,
    mut divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let file = blob.name();
    let mut budget = description.limits.bytes;
    let array = read_array(blob.reader(0), file, &mut budget)?;
    let by_row = matches!(description.split, Split::None | Split::Share { .. });
    if description.label.is_none() && description.tensors.is_empty() && by_row {
        let array = narrow(file, array)?;
        let rows = samples(file, "x", &array)?;
        let column =
            Column { name: "x".to_owned(), dtype: array.values.dtype(), shape: array.shape[1..].to_vec() };
        let layout = FileLayout::of_arrays(std::slice::from_ref(&column), description);
        draft.agree(file, Schema { layout: Some(Arc::new(layout)), ..Schema::of_arrays(vec![column]) })?;
        draft.push_arrays(file, vec![array], rows, |row| divider.by_row(row))?;
        return Ok(rows as u64);
    }
    let (rows, width) = match array.shape[..] {
        [rows] => (rows, 1),
        [rows, width] => (rows, width),
        _ => {
            let what = format!("columns are those of a two-dimensional array, but this is {array:?}");
            return Err(DataError::no_such(file, what));
        }
    };
    let plan = Arc::new(Plan::new(file, plan::Header::flat(None, width), description)?);
    draft.agree(file, Schema::of_plan(&plan, description))?;
    let mut table = Rows::new(draft, plan, file, divider, 0);
    for row in 0..rows {
        table.begin();
        let cells = row * width..(row + 1) * width;
        match cells.zip(0..).try_for_each(|(at, column)| table.value(column, 0, cell(&array.values, at))) {
            Ok(()) => table.end()?,
            Err(wrong) => table.fail(Place::Row(row as u64), wrong)?,
        }
    }
    table.flush()?;
    Ok(table.row())
}

fn cell(values: &Values, at: usize) -> Cell<'static> {
    match values {
        Values::I64(values) => Cell::Int(values[at]),
        Values::I32(values) => Cell::Int(values[at].into()),
        Values::U8(values) => Cell::Int(values[at].into()),
        other => Cell::Float(each!(other, values => values[at].to_f64())),
    }
}

/// Samples of an array. Err: it is a single value, or its samples have no elements.
pub fn samples(file: &str, name: &str, array: &Tensor) -> Result<usize, DataError> {
    match array.shape[..] {
        [] => Err(DataError::malformed(file, format!("\"{name}\" is a single value, not samples"))),
        // As many of them as anybody likes to write, without a byte behind them.
        [first, ref shape @ ..] if first > 0 && shape.contains(&0) => {
            Err(DataError::malformed(file, format!("\"{name}\" has samples without elements: {array:?}")))
        }
        [first, ..] => Ok(first),
    }
}

/// As models take it: f32 where it is f64.
pub fn narrow(file: &str, array: Tensor) -> Result<Tensor, DataError> {
    let dtype = if array.values.dtype() == DType::F64 { DType::F32 } else { array.values.dtype() };
    cast(file, array, dtype)
}

/// Of another type; floating-point values are finite.
pub fn cast(file: &str, array: Tensor, dtype: DType) -> Result<Tensor, DataError> {
    let Tensor { shape, values } = array;
    let rows = shape.first().copied().unwrap_or(1).max(1);
    let odd = if values.dtype().is_float() {
        each!(&values, values => values.iter().position(|value| !value.to_f64().is_finite()))
    } else {
        None
    };
    let per_row = (values.len() / rows).max(1);
    let values = match odd {
        Some(at) => Err(at),
        None => values.cast(dtype),
    };
    let values = values.map_err(|at| {
        let kind = if dtype.is_float() { "a finite number" } else { "an integer" };
        DataError::malformed(
            file,
            format!("sample {} has a value that is not {kind} of type {dtype}", at / per_row),
        )
    })?;
    Ok(Tensor { shape, values })
}

/// One array and nothing after it, of its own type. `budget` is what it may take, in bytes, and is lowered by what it took.
pub fn read_array(mut file: impl Read, what: &str, budget: &mut u64) -> Result<Tensor, DataError> {
    let header = Header::read(&mut file, what)?;
    let (kind, shape) = (header.kind, &header.shape);
    let too_large =
        || DataError::too_large(what, format!("an array of {}{shape:?} is too large", kind.dtype()));
    let count =
        shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)).ok_or_else(too_large)?;
    // Of an array without elements, sizes may be anything.
    if shape.iter().any(|&size| size > u32::MAX as usize) {
        return Err(too_large());
    }
    let stored = (count as u64).saturating_mul(kind.size() as u64);
    *budget = budget.checked_sub(stored).ok_or_else(too_large)?;
    let array = match kind {
        Kind::F2 => array(&mut file, what, &header, count, f16::from_le_bytes),
        Kind::F4 => array(&mut file, what, &header, count, f32::from_le_bytes),
        Kind::F8 => array(&mut file, what, &header, count, f64::from_le_bytes),
        Kind::I4 => array(&mut file, what, &header, count, i32::from_le_bytes),
        Kind::I8 => array(&mut file, what, &header, count, i64::from_le_bytes),
        Kind::U1 => array(&mut file, what, &header, count, u8::from_le_bytes),
    }?;
    match file.read(&mut [0]) {
        Ok(0) => Ok(array),
        Ok(_) => Err(DataError::malformed(what, "there is more after the array")),
        Err(error) => Err(failed(what, error)),
    }
}

/// An error of the way, or of what lies in it, such as a damaged archive's.
fn failed(what: &str, error: std::io::Error) -> DataError {
    match error.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput => DataError::malformed(what, error),
        _ => match from_io(what, error) {
            DataError::Unreadable { file, what } => DataError::malformed(&file, what),
            other => other,
        },
    }
}

fn array<T: Element, const SIZE: usize>(
    file: &mut impl Read,
    what: &str,
    header: &Header,
    count: usize,
    convert: fn([u8; SIZE]) -> T,
) -> Result<Tensor, DataError> {
    let mut values: Vec<T> = Vec::new();
    let mut chunk = vec![0; CHUNK];
    while values.len() < count {
        let chunk = &mut chunk[..CHUNK.min((count - values.len()).saturating_mul(SIZE))];
        file.read_exact(chunk).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                let missing = count - values.len();
                DataError::malformed(what, format!("truncated: {missing} of {count} elements are missing"))
            }
            _ => failed(what, error),
        })?;
        let (elements, _) = chunk.as_chunks::<SIZE>();
        if values.try_reserve(elements.len()).is_err() {
            return Err(DataError::too_large(what, "memory for the array is not to be had"));
        }
        values.extend(elements.iter().map(|&bytes| convert(bytes)));
    }
    let values = if header.fortran { to_rows(&values, &header.shape) } else { values };
    Ok(Tensor { shape: header.shape.clone(), values: T::wrap(values) })
}

/// From Fortran's order, in which the first index moves fastest, to C's.
fn to_rows<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &dim in shape {
        strides.push(stride);
        stride *= dim;
    }
    let mut rows = Vec::with_capacity(values.len());
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..values.len() {
        rows.push(values[at]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    rows
}
