//! NumPy's array format, <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. The first
//! dimension is the samples.
//!
//! Little-endian f2, f4, f8 (narrowed to f32, for NumPy writes f8 where no one asked for it and models take f32), i4,
//! i8 and u1 are read, in C or Fortran order; NumPy has no bf16. Nothing is allocated on a header's word alone: the
//! array grows as its bytes arrive.

use std::io::{ErrorKind, Read};

use super::{DataError, MAX_BYTES};
use crate::nn::{DType, Element, NnError, Tensor, describe, element_count, f16};

/// Header that is read, at most.
const MAX_HEADER: usize = 64 << 10;
/// Bytes that are converted at a time.
const CHUNK: usize = 64 << 10;

/// `x`, and where `label` is the index of a column of the two-dimensional array, `y` (i64).
pub fn read(file: impl Read, path: &str, label: Option<&str>) -> Result<Vec<(String, Tensor)>, DataError> {
    let mut budget = MAX_BYTES;
    let array = read_array(file, path, &mut budget)?;
    let Some(label) = label else {
        return Ok(vec![("x".to_owned(), array)]);
    };
    let no_such = |what: String| DataError::new("NoSuchLabel", format!("{path}: {what}"));
    let column: usize = label.parse().map_err(|_| {
        no_such(format!("columns have no names, so the label \"{label}\" must be a zero-based index"))
    })?;
    let &[samples, width] = array.shape() else {
        let what = describe(array.dtype(), array.shape());
        return Err(no_such(format!("a label is a column of a two-dimensional array, but this is {what}")));
    };
    if column >= width || width == 1 {
        return Err(no_such(format!("column {column} of {width} columns cannot be the label")));
    }
    let (x, y) = match array.dtype() {
        DType::F16 => part::<f16>(&array, column, |value| whole(value.to_f32())),
        DType::F32 => part::<f32>(&array, column, whole),
        DType::I32 => part::<i32>(&array, column, |value| Some(i64::from(value))),
        DType::I64 => part::<i64>(&array, column, Some),
        _ => part::<u8>(&array, column, |value| Some(i64::from(value))),
    }
    .map_err(|what| DataError::malformed(path, what))?;
    let y = Tensor::from_vec(&[samples], y).map_err(|error| too_large(path, &error))?;
    Ok(vec![("x".to_owned(), x), ("y".to_owned(), y)])
}

/// A label that was written as a number with a fraction.
fn whole(value: f32) -> Option<i64> {
    (value.fract() == 0.0 && value.abs() < 1e9).then_some(value as i64)
}

/// All columns but `column`, and that one as labels.
fn part<T: Element>(
    array: &Tensor,
    column: usize,
    label: impl Fn(T) -> Option<i64>,
) -> Result<(Tensor, Vec<i64>), String> {
    let (samples, width) = (array.shape()[0], array.shape()[1]);
    let values = array.as_slice::<T>().map_err(|error| error.message)?;
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    for (sample, row) in values.chunks_exact(width).enumerate() {
        let value = row[column];
        let integer = label(value);
        labels.push(
            integer.ok_or_else(|| format!("the label {value:?} of sample {sample} is not an integer"))?,
        );
        features.extend_from_slice(&row[..column]);
        features.extend_from_slice(&row[column + 1..]);
    }
    let features = Tensor::from_vec(&[samples, width - 1], features).map_err(|error| error.message)?;
    Ok((features, labels))
}

/// One array and nothing after it. `budget` is what it may take, in bytes, and is lowered by what it took.
pub fn read_array(mut file: impl Read, what: &str, budget: &mut u64) -> Result<Tensor, DataError> {
    let malformed = |why: String| DataError::malformed(what, why);
    let header = Header::read(&mut file, what)?;
    let (kind, shape) = (header.kind, &header.shape);
    let dtype = kind.dtype();
    let count = element_count(dtype, shape).map_err(|error| too_large(what, &error))?;
    let stored = (count as u64).saturating_mul(kind.size() as u64);
    *budget = budget.checked_sub(stored).ok_or_else(|| {
        DataError::new("TooLarge", format!("{what}: {} is too large", describe(dtype, shape)))
    })?;
    let array = match kind {
        Kind::F2 => array(&mut file, &header, count, f16::from_le_bytes),
        Kind::F4 => array(&mut file, &header, count, f32::from_le_bytes),
        Kind::F8 => array(&mut file, &header, count, |bytes| f64::from_le_bytes(bytes) as f32),
        Kind::I4 => array(&mut file, &header, count, i32::from_le_bytes),
        Kind::I8 => array(&mut file, &header, count, i64::from_le_bytes),
        Kind::U1 => array(&mut file, &header, count, u8::from_le_bytes),
    }
    .map_err(malformed)?;
    let (odd, bits) = match dtype {
        DType::F16 => (position::<f16>(&array, |value| !value.is_finite()), 16),
        DType::F32 => (position::<f32>(&array, |value| !value.is_finite()), 32),
        _ => (None, 0),
    };
    if let Some(at) = odd {
        let sample = at / (array.len() / shape.first().copied().unwrap_or(1)).max(1);
        return Err(malformed(format!("sample {sample} has a value that is not a finite {bits}-bit number")));
    }
    match file.read(&mut [0]) {
        Ok(0) => Ok(array),
        Ok(_) => Err(malformed("there is more after the array".to_owned())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// Of the first value that is so.
fn position<T: Element>(array: &Tensor, is_so: impl Fn(&T) -> bool) -> Option<usize> {
    array.as_slice::<T>().ok()?.iter().position(is_so)
}

fn too_large(what: &str, error: &NnError) -> DataError {
    DataError::new("TooLarge", format!("{what}: {error}"))
}

fn array<T: Element, const SIZE: usize>(
    file: &mut impl Read,
    header: &Header,
    count: usize,
    convert: fn([u8; SIZE]) -> T,
) -> Result<Tensor, String> {
    let mut values = Vec::new();
    let mut chunk = vec![0; CHUNK];
    while values.len() < count {
        let chunk = &mut chunk[..CHUNK.min((count - values.len()).saturating_mul(SIZE))];
        file.read_exact(chunk).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                format!("truncated: {} of {count} elements are missing", count - values.len())
            }
            _ => error.to_string(),
        })?;
        let (elements, _) = chunk.as_chunks::<SIZE>();
        values.extend(elements.iter().map(|&bytes| convert(bytes)));
    }
    let values = if header.fortran { to_rows(&values, &header.shape) } else { values };
    Tensor::from_vec(&header.shape, values).map_err(|error| error.message)
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

/// How an element is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F2,
    F4,
    F8,
    I4,
    I8,
    U1,
}

impl Kind {
    fn parse(descr: &str) -> Option<Self> {
        Some(match descr {
            "<f2" => Self::F2,
            "<f4" => Self::F4,
            "<f8" => Self::F8,
            "<i4" => Self::I4,
            "<i8" => Self::I8,
            "|u1" | "<u1" => Self::U1,
            _ => return None,
        })
    }

    fn dtype(self) -> DType {
        match self {
            Self::F2 => DType::F16,
            Self::F4 | Self::F8 => DType::F32,
            Self::I4 => DType::I32,
            Self::I8 => DType::I64,
            Self::U1 => DType::U8,
        }
    }

    fn size(self) -> usize {
        match self {
            Self::U1 => 1,
            Self::F2 => 2,
            Self::F4 | Self::I4 => 4,
            Self::F8 | Self::I8 => 8,
        }
    }
}

#[derive(Debug)]
struct Header {
    kind: Kind,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(file: &mut impl Read, what: &str) -> Result<Self, DataError> {
        let not_npy = || DataError::malformed(what, "not a NumPy array");
        let mut bytes = |len: usize| {
            let mut bytes = vec![0; len];
            file.read_exact(&mut bytes).map(|()| bytes).map_err(|_| not_npy())
        };
        let magic = bytes(8)?;
        if !magic.starts_with(b"\x93NUMPY") {
            return Err(not_npy());
        }
        let len = match magic[6] {
            1 => bytes(2)?,
            2 | 3 => bytes(4)?,
            version => {
                return Err(DataError::new(
                    "Unsupported",
                    format!("{what}: version {version} of NumPy's array format is not known"),
                ));
            }
        };
        let len = len.iter().rev().fold(0usize, |len, &byte| len << 8 | usize::from(byte));
        if len > MAX_HEADER {
            return Err(DataError::malformed(
                what,
                format!("a header of {len} bytes, where {MAX_HEADER} are allowed"),
            ));
        }
        let text = String::from_utf8(bytes(len)?).map_err(|_| not_npy())?;
        let (descr, fortran, shape) = Literal(&text).header().ok_or_else(|| {
            DataError::malformed(what, "the header is not that of an array of plain numbers")
        })?;
        let kind = Kind::parse(descr).ok_or_else(|| {
            let descr: String = descr.chars().take(16).collect();
            let known = "<f2, <f4, <f8, <i4, <i8 or |u1";
            DataError::new("Unsupported", format!("{what}: elements of type \"{descr}\"; use {known}"))
        })?;
        Ok(Self { kind, fortran, shape })
    }
}

/// The part of a Python literal that a header is:
/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    fn header(&mut self) -> Option<(&'a str, bool, Vec<usize>)> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.symbol("{").then_some(())?;
        while !self.symbol("}") {
            let key = self.string()?;
            self.symbol(":").then_some(())?;
            match key {
                "descr" => descr = Some(self.string()?),
                "fortran_order" => fortran = Some(self.boolean()?),
                "shape" => shape = Some(self.tuple()?),
                _ => return None,
            }
            if !self.symbol(",") {
                self.symbol("}").then_some(())?;
                break;
            }
        }
        self.0.trim().is_empty().then_some(())?;
        Some((descr?, fortran?, shape?))
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let rest = self.0.trim_start().strip_prefix(symbol);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|&quote| quote == '\'' || quote == '"')?;
        let (string, rest) = text[1..].split_once(quote)?;
        self.0 = rest;
        Some(string)
    }

    fn boolean(&mut self) -> Option<bool> {
        match (self.symbol("True"), self.symbol("False")) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut dims = Vec::new();
        self.symbol("(").then_some(())?;
        while !self.symbol(")") {
            let text = self.0.trim_start();
            let digits = text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
            dims.push(text[..digits].parse().ok()?);
            // Python 2 wrote `3L`.
            self.0 = text[digits..].strip_prefix('L').unwrap_or(&text[digits..]);
            if !self.symbol(",") {
                self.symbol(")").then_some(())?;
                break;
            }
        }
        Some(dims)
    }
}

#[cfg(test)]
mod tests;
