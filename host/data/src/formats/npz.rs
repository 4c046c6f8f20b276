//! NumPy arrays in a zip archive, stored or compressed. Arrays keep their names and order, unless the description makes
//! tensors of them.

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};
use std::sync::Arc;

use npyz::WriterBuilder as _;
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::zip::CompressionMethod;
use npyz::zip::write::FileOptions;

use super::{guarded, npy};
use crate::description::{Columns, Description, Missing, Split};
use crate::draft::{Draft, Schema};
use crate::error::DataError;
use crate::layout::FileLayout;
use crate::plan::Column;
use crate::source::Blob;
use crate::split::Divider;
use crate::tensor::{DType, Element, Tensor, Values, each};

/// Arrays that are read, at most.
const MAX_ARRAYS: usize = 1024;

/// All samples.
pub fn read(
    blob: &Blob,
    description: &Description,
    divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let file = blob.name();
    take(file, read_arrays(blob, file, description.limits.bytes)?, description, divider, draft)
}

/// The arrays of an archive, of at most `limit` bytes; `file` is what people are told of it.
pub fn read_arrays(blob: &Blob, file: &str, limit: u64) -> Result<Vec<(String, Tensor)>, DataError> {
    guarded(file, "not a NumPy archive", || read_archive(blob.reader(0), file, limit))
}

/// The samples that arrays are.
pub fn take(
    file: &str,
    arrays: Vec<(String, Tensor)>,
    description: &Description,
    mut divider: Divider,
    draft: &mut Draft,
) -> Result<u64, DataError> {
    let find = |name: &str| {
        arrays.iter().find(|(other, _)| other == name).map(|(_, array)| array).ok_or_else(|| {
            let names: Vec<_> = arrays.iter().take(16).map(|(name, _)| format!("\"{name}\"")).collect();
            DataError::no_such(file, format!("no array is called \"{name}\"; there are {}", names.join(", ")))
        })
    };
    let key = match &description.split {
        Split::Column { column, .. } | Split::Time { column, .. } => Some(find(column)?.clone()),
        Split::None | Split::Share { .. } => None,
    };
    if let Some(label) = &description.label {
        let labels = find(label)?;
        if labels.values.dtype().is_float() {
            let what = format!("the labels \"{label}\" are {}; use integers", labels.values.dtype());
            return Err(DataError::malformed(file, what));
        }
    }
    let mut wanted = Vec::new();
    for spec in &description.tensors {
        let Columns::One(array) = &spec.columns else {
            let what = format!(
                "tensor \"{}\": of an NPZ file, a tensor is one array; use columns: {{one: …}}",
                spec.name
            );
            return Err(DataError::description(what));
        };
        if spec.classes.is_some() || spec.missing != Missing::Refuse {
            let what = format!(
                "tensor \"{}\": an NPZ file has neither classes by name nor missing cells",
                spec.name
            );
            return Err(DataError::description(what));
        }
        wanted.push((spec.name.clone(), npy::cast(file, find(array)?.clone(), spec.dtype)?));
    }
    if description.tensors.is_empty() {
        for (name, array) in arrays {
            let is_label = description.label.as_ref() == Some(&name);
            let array =
                if is_label { npy::cast(file, array, DType::I64)? } else { npy::narrow(file, array)? };
            wanted.push((name, array));
        }
    }
    let rows = count(file, &wanted)?;
    let column = |(name, array): &(String, Tensor)| Column {
        name: name.clone(),
        dtype: array.values.dtype(),
        shape: array.shape[1..].to_vec(),
    };
    let columns: Vec<Column> = wanted.iter().map(column).collect();
    let layout = Some(Arc::new(FileLayout::of_arrays(&columns, description)));
    draft.agree(file, Schema { layout, ..Schema::of_arrays(columns) })?;
    let arrays = wanted.into_iter().map(|(_, array)| array).collect();
    let keys: Option<Vec<f64>> =
        key.map(|key| each!(&key.values, v => v.iter().map(|value| value.to_f64()).collect()));
    if keys.as_ref().is_some_and(|keys| keys.len() != rows) {
        return Err(DataError::malformed(file, "the split's array does not have one value for each sample"));
    }
    draft.push_arrays(file, arrays, rows, |row| match &keys {
        Some(keys) => divider.by_number(keys[row as usize]),
        None => divider.by_row(row),
    })?;
    Ok(rows as u64)
}

/// Samples of all arrays alike.
fn count(file: &str, arrays: &[(String, Tensor)]) -> Result<usize, DataError> {
    let mut rows: Option<(&str, usize)> = None;
    for (name, array) in arrays {
        let first = npy::samples(file, name, array)?;
        if let Some((other, expected)) = rows.replace((name, first))
            && first != expected
        {
            let what = format!("\"{other}\" has {expected} samples and \"{name}\" has {first}");
            return Err(DataError::malformed(file, what));
        }
    }
    Ok(rows.map_or(0, |(_, rows)| rows))
}

fn read_archive(file: impl Read + Seek, path: &str, limit: u64) -> Result<Vec<(String, Tensor)>, DataError> {
    let mut archive = NpzArchive::new(file).map_err(|error| DataError::malformed(path, error))?;
    let archive = archive.zip_archive();
    if archive.len() > MAX_ARRAYS {
        let message = format!("{} arrays; at most {MAX_ARRAYS} are read", archive.len());
        return Err(DataError::too_large(path, message));
    }
    let mut budget = limit;
    let mut seen = HashSet::new();
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(|error| DataError::malformed(path, error))?;
        let Some(name) = member.name().strip_suffix(".npy").map(str::to_owned) else {
            let name: String = member.name().chars().take(40).collect();
            return Err(DataError::malformed(path, format!("\"{name}\" is not a NumPy array")));
        };
        if !seen.insert(name.clone()) {
            return Err(DataError::malformed(path, format!("two arrays are called \"{name:.40}\"")));
        }
        let array = npy::read_array(member, &format!("{path}: {name:.40}"), &mut budget)?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

/// An archive of these arrays, stored. Types that NumPy has not, or not by itself, are written as f4.
pub fn write(file: impl Write + Seek, arrays: &[(String, Tensor)]) -> io::Result<()> {
    let mut archive = NpzWriter::new(file);
    for (name, array) in arrays {
        let shape = &array.shape;
        match &array.values {
            Values::F32(values) => put(&mut archive, name, shape, values, |value| value)?,
            Values::F64(values) => put(&mut archive, name, shape, values, |value| value)?,
            Values::I64(values) => put(&mut archive, name, shape, values, |value| value)?,
            Values::I32(values) => put(&mut archive, name, shape, values, |value| value)?,
            Values::U8(values) => put(&mut archive, name, shape, values, |value| value)?,
            Values::F16(values) => put(&mut archive, name, shape, values, half::f16::to_f32)?,
            Values::BF16(values) => put(&mut archive, name, shape, values, half::bf16::to_f32)?,
        }
    }
    archive.zip_writer().finish().map(drop).map_err(io::Error::other)
}

fn put<W: Write + Seek, T: Element, U: npyz::AutoSerialize>(
    archive: &mut NpzWriter<W>,
    name: &str,
    shape: &[usize],
    values: &[T],
    written: impl Fn(T) -> U,
) -> io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&size| size as u64).collect();
    let stored = FileOptions::default().compression_method(CompressionMethod::Stored);
    let mut member = archive.array(name, stored)?.default_dtype().shape(&shape).begin_nd()?;
    member.extend(values.iter().map(|&value| written(value)))?;
    member.finish()
}
