//! NumPy arrays in a zip archive, stored or compressed. Arrays keep their names and order.

use std::collections::HashSet;
use std::io::{Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};

use npyz::npz::NpzArchive;

use super::{DataError, MAX_BYTES, npy};
use crate::nn::{DType, Element, Tensor};

/// Arrays that are read, at most.
const MAX_ARRAYS: usize = 1024;

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
