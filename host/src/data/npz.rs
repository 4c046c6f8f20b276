//! NumPy arrays in a zip archive, stored or compressed. Arrays keep their names and order. A folder of such files
//! is one dataset.

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use cap_std::fs::Dir;
use npyz::WriterBuilder as _;
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::zip::CompressionMethod;
use npyz::zip::write::FileOptions;

use super::{DataError, MAX_BYTES, npy};
use crate::nn::{DType, Element, Tensor, bf16, describe, f16};

/// Arrays that are read, at most.
const MAX_ARRAYS: usize = 1024;
/// Files of a folder that are read, at most.
const MAX_FILES: usize = 1 << 16;

/// All arrays. The one called `label` becomes i64, which is what graphs take labels as.
pub fn read(
    file: impl Read + Seek,
    path: &str,
    label: Option<&str>,
) -> Result<Vec<(String, Tensor)>, DataError> {
    // The crate that reads the archive's directory adds up lengths that the file gives.
    let arrays = catch_unwind(AssertUnwindSafe(|| read_archive(file, path)))
        .unwrap_or_else(|_| Err(DataError::malformed(path, "not a NumPy archive")));
    let mut arrays = arrays?;
    let Some(label) = label else { return Ok(arrays) };
    let Some((_, labels)) = arrays.iter_mut().find(|(name, _)| name == label) else {
        let names: Vec<_> = arrays.iter().take(16).map(|(name, _)| format!("\"{name}\"")).collect();
        return Err(DataError::new(
            "NoSuchLabel",
            format!("{path}: no array is called \"{label}\"; there are {}", names.join(", ")),
        ));
    };
    let widened = match labels.dtype() {
        DType::I64 => return Ok(arrays),
        DType::I32 => widen::<i32>(labels),
        DType::U8 => widen::<u8>(labels),
        other => {
            let what = format!("the labels \"{label}\" are {other}; use integers");
            return Err(DataError::malformed(path, what));
        }
    };
    *labels = widened.map_err(|error| DataError::new("TooLarge", format!("{path}: {error}")))?;
    Ok(arrays)
}

/// The files `*.npz` of a folder as one: their samples one after the other, in the order of the files' names.
///
/// A file that goes while others are read is left out: who keeps the folder may be putting out its oldest.
pub fn read_folder(dir: &Dir, path: &str, label: Option<&str>) -> Result<Vec<(String, Tensor)>, DataError> {
    let unreadable = |error: io::Error| DataError::new("Unreadable", format!("cannot read {path}: {error}"));
    let mut names = Vec::new();
    for entry in dir.entries().map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".npz") {
            names.push(name);
        }
        if names.len() > MAX_FILES {
            let message = format!("{path} has more than {MAX_FILES} files");
            return Err(DataError::new("TooLarge", message));
        }
    }
    names.sort_unstable();
    let mut whole: Vec<(String, DType, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut budget = MAX_BYTES;
    for name in names {
        let file = match dir.open(&name) {
            Ok(file) => file.into_std(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let part = format!("{path}/{name}");
        let arrays = read(io::BufReader::new(file), &part, label)?;
        if whole.is_empty() {
            let empty = |(name, array): &(String, Tensor)| {
                let mut shape = array.shape().to_vec();
                if let Some(samples) = shape.first_mut() {
                    *samples = 0;
                }
                (name.clone(), array.dtype(), shape, Vec::new())
            };
            whole = arrays.iter().map(empty).collect();
        }
        if whole.len() != arrays.len() {
            let what = format!("{} arrays, and the files before it have {}", arrays.len(), whole.len());
            return Err(DataError::malformed(&part, what));
        }
        for (name, dtype, shape, bytes) in &mut whole {
            let array = arrays.iter().find(|(other, _)| other == name).map(|(_, array)| array);
            let like = |array: &&Tensor| {
                array.dtype() == *dtype
                    && array.shape().len() == shape.len()
                    && array.shape()[1..] == shape[1..]
            };
            let Some(array) = array.filter(|array| !array.shape().is_empty()).filter(like) else {
                let wanted = describe(*dtype, &shape[1..]);
                let what = format!("\"{name}\" is not of samples of {wanted}, as in the files before it");
                return Err(DataError::malformed(&part, what));
            };
            let len = array.byte_len() as u64;
            budget = budget.checked_sub(len).ok_or_else(|| {
                DataError::new("TooLarge", format!("{path}: its files unpack to over {MAX_BYTES} bytes"))
            })?;
            shape[0] += array.shape()[0];
            bytes.extend_from_slice(array.bytes());
        }
    }
    if whole.is_empty() {
        return Err(DataError::new("NotFound", format!("{path}: there are no files *.npz yet")));
    }
    let tensor = |(name, dtype, shape, bytes): (String, _, Vec<usize>, _)| {
        let array = Tensor::from_byte_vec(dtype, &shape, bytes);
        Ok((name, array.map_err(|error| DataError::new("TooLarge", format!("{path}: {error}")))?))
    };
    whole.into_iter().map(tensor).collect()
}

/// An archive of these arrays, stored. Types that NumPy has not, or not by itself, are written as f4.
pub fn write(file: impl Write + Seek, arrays: &[(String, Tensor)]) -> io::Result<()> {
    let mut archive = NpzWriter::new(file);
    for (name, array) in arrays {
        match array.dtype() {
            DType::F32 => put(&mut archive, name, array, |value: f32| value)?,
            DType::F64 => put(&mut archive, name, array, |value: f64| value)?,
            DType::I64 => put(&mut archive, name, array, |value: i64| value)?,
            DType::I32 => put(&mut archive, name, array, |value: i32| value)?,
            DType::U8 => put(&mut archive, name, array, |value: u8| value)?,
            DType::F16 => put(&mut archive, name, array, |value: f16| value.to_f32())?,
            DType::BF16 => put(&mut archive, name, array, |value: bf16| value.to_f32())?,
        }
    }
    archive.zip_writer().finish().map(drop).map_err(io::Error::other)
}

fn put<W: Write + Seek, T: Element, U: npyz::AutoSerialize>(
    archive: &mut NpzWriter<W>,
    name: &str,
    array: &Tensor,
    written: impl Fn(T) -> U,
) -> io::Result<()> {
    let shape: Vec<u64> = array.shape().iter().map(|&size| size as u64).collect();
    let stored = FileOptions::default().compression_method(CompressionMethod::Stored);
    let mut member = archive.array(name, stored)?.default_dtype().shape(&shape).begin_nd()?;
    member.extend(array.as_slice::<T>().map_err(io::Error::other)?.iter().map(|&value| written(value)))?;
    member.finish()
}

fn widen<T: Element + Into<i64>>(labels: &Tensor) -> Result<Tensor, crate::nn::NnError> {
    let values = labels.as_slice::<T>()?.iter().map(|&value| value.into()).collect::<Vec<i64>>();
    Tensor::from_vec(labels.shape(), values)
}

fn read_archive(file: impl Read + Seek, path: &str) -> Result<Vec<(String, Tensor)>, DataError> {
    let mut archive = NpzArchive::new(file).map_err(|error| DataError::malformed(path, error))?;
    let archive = archive.zip_archive();
    if archive.len() > MAX_ARRAYS {
        let message = format!("{path}: {} arrays; at most {MAX_ARRAYS} are read", archive.len());
        return Err(DataError::new("TooLarge", message));
    }
    let mut budget = MAX_BYTES;
    let mut seen = HashSet::new();
    let mut arrays = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index(index).map_err(|error| DataError::malformed(path, error))?;
        let Some(name) = member.name().strip_suffix(".npy").map(str::to_owned) else {
            return Err(DataError::malformed(path, format!("\"{}\" is not a NumPy array", member.name())));
        };
        if !seen.insert(name.clone()) {
            return Err(DataError::malformed(path, format!("two arrays are called \"{name}\"")));
        }
        let array = npy::read_array(member, &format!("{path}: {name}"), &mut budget)?;
        arrays.push((name, array));
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::sync::Arc;

    use cap_std::ambient_authority;
    use cap_std::fs::Dir;
    use proptest::prelude::*;

    use super::super::{Dataset, Format, Source, Split};
    use super::*;

    /// Made by NumPy: `x` f32[6, 2, 2], `y` u8[6]; `savez` and `savez_compressed`.
    const STORED: &[u8] = include_bytes!("../../tests/data/stored.npz");
    const COMPRESSED: &[u8] = include_bytes!("../../tests/data/compressed.npz");

    fn read_bytes(bytes: &[u8], label: Option<&str>) -> Result<Vec<(String, Tensor)>, DataError> {
        read(Cursor::new(bytes), "d.npz", label)
    }

    #[test]
    fn stored_and_compressed_arrays_keep_their_names() {
        for file in [STORED, COMPRESSED] {
            let arrays = read_bytes(file, Some("y")).unwrap();
            assert_eq!(format!("{arrays:?}"), "[(\"x\", f32[6, 2, 2]), (\"y\", i64[6])]");
            let x: Vec<f32> = (0..24).map(|value| value as f32).collect();
            assert_eq!(arrays[0].1.as_slice::<f32>().unwrap(), x);
            assert_eq!(arrays[1].1.as_slice::<i64>().unwrap(), [0, 1, 2, 0, 1, 2]);
        }
    }

    #[test]
    fn a_dataset_gives_batches_of_all_arrays() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("d.npz"), COMPRESSED).unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let source =
            Source { path: "d.npz".into(), format: Format::Npz, label: None, test_share: 0.0, split_seed: 0 };
        let dataset = Arc::new(Dataset::open(&dir, &source).unwrap());
        let mut batches = dataset.batches(Split::Train, 4, None);
        assert_eq!(batches.next_byte_len(), 4 * (16 + 1));
        let batch = batches.try_next().unwrap().unwrap();
        assert_eq!(format!("{batch:?}"), "[(\"x\", f32[4, 2, 2]), (\"y\", u8[4])]");
    }

    #[test]
    fn a_folder_of_archives_is_one_dataset() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
        let put = |name: &str, x: &[f32], y: &[i64]| {
            let arrays = [
                ("x".to_owned(), Tensor::from_vec(&[y.len(), 2], x.to_vec()).unwrap()),
                ("y".to_owned(), Tensor::from_vec(&[y.len()], y.to_vec()).unwrap()),
            ];
            write(std::fs::File::create(folder.path().join(name)).unwrap(), &arrays).unwrap();
        };
        assert_eq!(read_folder(&dir, "d", None).unwrap_err().reason, "NotFound");
        put("b.npz", &[5., 6.], &[3]);
        put("a.npz", &[1., 2., 3., 4.], &[1, 2]);
        std::fs::write(folder.path().join("c.npz.tmp"), "half").unwrap();
        let arrays = read_folder(&dir, "d", Some("y")).unwrap();
        assert_eq!(arrays[0].1.as_slice::<f32>().unwrap(), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(arrays[1].1.as_slice::<i64>().unwrap(), [1, 2, 3]);

        let wide = [("x".to_owned(), Tensor::from_vec(&[1, 3], vec![0f32; 3]).unwrap()), arrays[1].clone()];
        write(std::fs::File::create(folder.path().join("d.npz")).unwrap(), &wide).unwrap();
        let error = read_folder(&dir, "d", None).unwrap_err();
        assert!(error.message.contains("d/d.npz: \"x\" is not of samples of f32[2]"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let half = Tensor::from_vec(&[2], vec![f16::from_f32(0.5), f16::from_f32(-2.0)]).unwrap();
        let arrays = [
            ("h".to_owned(), half),
            ("b".to_owned(), Tensor::from_vec(&[2, 1], vec![7u8, 9]).unwrap()),
            ("d".to_owned(), Tensor::from_vec(&[2], vec![1.5f64, 2.5]).unwrap()),
        ];
        let mut file = Cursor::new(Vec::new());
        write(&mut file, &arrays).unwrap();
        let read = read_bytes(file.get_ref(), None).unwrap();
        assert_eq!(format!("{read:?}"), "[(\"h\", f32[2]), (\"b\", u8[2, 1]), (\"d\", f32[2])]");
        assert_eq!(read[0].1.as_slice::<f32>().unwrap(), [0.5, -2.0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(read_bytes(b"no archive", None).unwrap_err().reason, "Malformed");
        let error = read_bytes(STORED, Some("z")).unwrap_err();
        assert_eq!(error.reason, "NoSuchLabel");
        assert_eq!(error.message, "d.npz: no array is called \"z\"; there are \"x\", \"y\"");
        let error = read_bytes(STORED, Some("x")).unwrap_err();
        assert_eq!(error.message, "d.npz: the labels \"x\" are f32; use integers");
    }

    proptest! {
        #[test]
        fn no_damage_is_let_through_as_a_panic(
            at in 0..COMPRESSED.len(),
            byte in any::<u8>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut damaged = COMPRESSED.to_vec();
            damaged[at] = byte;
            let _ = read_bytes(&damaged, None);
            let _ = read_bytes(&COMPRESSED[..at], None);
            let _ = read_bytes(&bytes, None);
        }
    }
}
