//! Batches of numbers and classes of which none is missing, written to their tensors column by column.

use std::ops::Range;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use super::reader;
use crate::copied;
use crate::plan::Plan;
use crate::rows::{Cell, Rows};
use crate::tensor::{Element, Values};

/// Rows that are written at a time.
const TILE: usize = 128;
/// An f32's bits without its sign, from which on it is none that is finite.
const INFINITE: i32 = 0x7f80_0000;

/// A column that goes to a tensor as it is.
struct Whole {
    array: ArrayRef,
    tensor: usize,
    to: Strided,
}

/// All of a batch; None where that does not do.
pub fn whole(
    rows: &mut Rows<'_>,
    plan: &Plan,
    batch: &RecordBatch,
    columns: &[usize],
) -> Option<Vec<Values>> {
    let len = batch.num_rows();
    let mut tensors = Vec::with_capacity(plan.tensors.len());
    for column in &plan.tensors {
        tensors.push(Values::zeros(column.dtype, len.checked_mul(column.width())?)?);
    }
    let mut wholes = Vec::with_capacity(columns.len());
    for (&column, array) in columns.iter().zip(batch.columns()) {
        let uses = plan.uses[column];
        if uses.key || array.null_count() > 0 {
            return None;
        }
        let Some((tensor, place)) = uses.target else { continue };
        let width = plan.tensors[tensor].width();
        if plan.classes[tensor].is_some() {
            let Values::I64(numbers) = &mut tensors[tensor] else { return None };
            let read = reader(array);
            for (row, number) in numbers.iter_mut().enumerate() {
                let Cell::Text(name) = read(row, 0) else { return None };
                *number = rows.encode(tensor, name)?;
            }
            continue;
        }
        let (cells, array) = match array.data_type() {
            DataType::FixedSizeList(_, size) => {
                let list = array.as_fixed_size_list();
                let from = list.value_offset_at(0);
                (*size as usize, list.values().slice(from, len * *size as usize))
            }
            _ => (1, array.clone()),
        };
        if array.null_count() > 0 {
            return None;
        }
        wholes.push(Whole { array, tensor, to: Strided { width, place, cells } });
    }
    // A few rows of all columns, then the next: what is written to stays in the processor's nearest cache.
    for from in (0..len).step_by(TILE) {
        let part = from..len.min(from + TILE);
        for Whole { array, tensor, to } in &wholes {
            let (tensor, part) = (&mut tensors[*tensor], part.clone());
            match (tensor, array.data_type()) {
                (Values::F32(values), DataType::Float32) => {
                    to.copy(array.as_primitive::<Float32Type>().values(), part, values, |few| {
                        few.iter().fold(0, |most, value| most.max(value.abs().to_bits() as i32)) < INFINITE
                    })?;
                }
                (Values::F64(values), DataType::Float64) => {
                    to.copy(array.as_primitive::<Float64Type>().values(), part, values, |few| {
                        few.iter().all(|value| value.is_finite())
                    })?;
                }
                (Values::I64(values), DataType::Int64) => {
                    to.copy(array.as_primitive::<Int64Type>().values(), part, values, |_| true)?;
                }
                (Values::F32(values), _) => to.write(array, part, values)?,
                (Values::F64(values), _) => to.write(array, part, values)?,
                (Values::F16(values), _) => to.write(array, part, values)?,
                (Values::BF16(values), _) => to.write(array, part, values)?,
                (Values::I64(values), _) => to.write(array, part, values)?,
                (Values::I32(values), _) => to.write(array, part, values)?,
                (Values::U8(values), _) => to.write(array, part, values)?,
            }
        }
    }
    copied::count(tensors.iter().map(|values| values.len() * values.dtype().size()).sum());
    Some(tensors)
}

/// Places of a column in a tensor: `cells` values a row of `width`, from `place` on.
#[derive(Clone, Copy)]
struct Strided {
    width: usize,
    place: usize,
    cells: usize,
}

impl Strided {
    /// These rows of an array of the tensor's own type. None: not all are numbers.
    fn copy<T: Copy>(
        self,
        source: &[T],
        rows: Range<usize>,
        values: &mut [T],
        good: impl Fn(&[T]) -> bool,
    ) -> Option<()> {
        let source = &source[rows.start * self.cells..rows.end * self.cells];
        let values = values[rows.start * self.width..rows.end * self.width].chunks_exact_mut(self.width);
        good(source).then_some(())?;
        if self.cells == 1 {
            source.iter().zip(values).for_each(|(&value, row)| row[self.place] = value);
        } else {
            let places = self.place..self.place + self.cells;
            let rows = source.chunks_exact(self.cells).zip(values);
            rows.for_each(|(cells, row)| row[places.clone()].copy_from_slice(cells));
        }
        Some(())
    }

    /// These rows of an array.
    fn write<T: Element>(self, array: &dyn Array, rows: Range<usize>, values: &mut [T]) -> Option<()> {
        match array.data_type() {
            // What is not a number, or too large for the tensor, is a bad row.
            DataType::Float32 => self
                .each::<Float32Type, T>(array, rows, values, |value| (T::from_f32(value), value.is_finite())),
            DataType::Float64 => self
                .each::<Float64Type, T>(array, rows, values, |value| (T::from_f64(value), value.is_finite())),
            DataType::Float16 => self.each::<Float16Type, T>(array, rows, values, |value| {
                (T::from_f32(value.to_f32()), value.is_finite())
            }),
            DataType::Int8 => self.integers::<Int8Type, T>(array, rows, values),
            DataType::Int16 => self.integers::<Int16Type, T>(array, rows, values),
            DataType::Int32 => self.integers::<Int32Type, T>(array, rows, values),
            DataType::Int64 => self.integers::<Int64Type, T>(array, rows, values),
            DataType::UInt8 => self.integers::<UInt8Type, T>(array, rows, values),
            DataType::UInt16 => self.integers::<UInt16Type, T>(array, rows, values),
            DataType::UInt32 => self.integers::<UInt32Type, T>(array, rows, values),
            _ => None,
        }
    }

    fn integers<A: ArrowPrimitiveType, T: Element>(
        self,
        array: &dyn Array,
        rows: Range<usize>,
        values: &mut [T],
    ) -> Option<()>
    where
        A::Native: Into<i64>,
    {
        self.each::<A, T>(array, rows, values, |value| (T::from_i64(value.into()), true))
    }

    #[inline(always)]
    fn each<A: ArrowPrimitiveType, T: Element>(
        self,
        array: &dyn Array,
        rows: Range<usize>,
        values: &mut [T],
        convert: impl Fn(A::Native) -> (Option<T>, bool),
    ) -> Option<()> {
        let source: &[A::Native] = array.as_primitive_opt::<A>()?.values();
        let source = &source[rows.start * self.cells..rows.end * self.cells];
        let values = &mut values[rows.start * self.width..rows.end * self.width];
        let mut good = true;
        let mut put = |value: A::Native, place: &mut T| {
            let (converted, fits) = convert(value);
            good &= fits && converted.is_some();
            *place = converted.unwrap_or_default();
        };
        if self.cells == 1 {
            for (&value, row) in source.iter().zip(values.chunks_exact_mut(self.width)) {
                put(value, &mut row[self.place]);
            }
        } else {
            for (cells, row) in source.chunks_exact(self.cells).zip(values.chunks_exact_mut(self.width)) {
                for (&value, place) in cells.iter().zip(&mut row[self.place..]) {
                    put(value, place);
                }
            }
        }
        good.then_some(())
    }
}
