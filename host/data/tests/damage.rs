//! No bytes of any format make a panic or an abort: cut off anywhere, with any byte changed, or none of that format at all.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;

use folder::{Folder, arrow_file, arrow_stream, described, image, npy, npz, parquet, record_batch};
use proptest::prelude::*;
use sedge_data::Part;
use serde_json::json;

/// Reading it and all its batches ends with samples or an error.
fn read(format: &str, bytes: &[u8], skip: bool) -> Result<usize, String> {
    let folder = Folder::new();
    let name = if format == "image-folder" { "d/c/1.png" } else { "d" };
    folder.write(name, bytes);
    let description = described(json!({
        "format": format,
        "badRows": if skip { "skip" } else { "refuse" },
        "image": {"width": 4, "height": 4},
        "limits": {"bytes": 1 << 20, "imagePixels": 1 << 16, "rowBytes": 1 << 12},
        "tensors": match format {
            "parquet" | "arrow" => json!([
                {"name": "t", "columns": {"many": ["a", "b", "v"]}},
                {"name": "y", "columns": {"one": "class"}, "dtype": "i64", "classes": {}},
            ]),
            _ => json!([]),
        },
    }));
    let dataset = folder.open("d", description).map_err(|error| {
        assert!(error.to_string().contains('d'), "{error}");
        error.to_string()
    })?;
    dataset.status();
    let batches = dataset.samples().batches(Part::All, 7, None);
    batches
        .map(|batch| batch.map(|batch| batch[0].1.shape[0]))
        .sum::<Result<_, _>>()
        .map_err(|error| error.to_string())
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let batch = record_batch(20);
    vec![
        ("csv", b"a,\"b\",c\n1,2,3\n4,\"5\",6\n7,8,9\n".to_vec()),
        ("json-lines", b"{\"a\": 1, \"b\": [1, 2]}\n{\"a\": 2, \"b\": [3, 4]}\n".to_vec()),
        ("parquet", parquet(&batch)),
        ("arrow", arrow_file(&batch)),
        ("arrow", arrow_stream(&batch, true)),
        ("npy", npy()),
        ("npz", npz()),
        ("image-folder", image(9, 9, [1, 2, 3], image::ImageFormat::Png)),
        ("image-folder", image(9, 9, [1, 2, 3], image::ImageFormat::Jpeg)),
        ("image-list", b"path,label\na.png,1\nb.png,2\n".to_vec()),
    ]
}

#[test]
fn whole_files_are_read() {
    for (format, bytes) in files().into_iter().filter(|(format, _)| *format != "image-list") {
        read(format, &bytes, false).unwrap_or_else(|error| panic!("{format}: {error}"));
    }
}

#[test]
fn files_that_are_cut_off_are_errors_or_shorter() {
    for (format, bytes) in files() {
        let step = (bytes.len() / 150).max(1);
        for len in (0..bytes.len()).step_by(step) {
            let read = read(format, &bytes[..len], false);
            if matches!(format, "parquet" | "npy" | "npz") {
                assert!(read.is_err(), "{format} of {len} of {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn sizes_that_are_lies_take_no_memory() {
    // An array that says it has 10^15 elements, one of too many dimensions, one whose sizes overflow.
    for shape in
        ["(1000000000000000,)", "(99999999999, 99999999999)", "(4294967295, 0)", "(0, 99999999999999999999)"]
    {
        let header = format!("{{'descr': '<f8', 'fortran_order': True, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        let _ = read("npy", &file, false);
    }
    // A zip whose member unpacks to more than is allowed: zeros compress a thousandfold.
    let arrays = [(
        "x".to_owned(),
        sedge_data::Tensor { shape: vec![1 << 18], values: sedge_data::Values::F64(vec![0.0; 1 << 18]) },
    )];
    let mut file = std::io::Cursor::new(Vec::new());
    sedge_data::write_npz(&mut file, &arrays).unwrap();
    let error = read("npz", file.get_ref(), false).unwrap_err();
    assert!(error.contains("at most 1048576") || error.contains("too large"), "{error}");
    // A quotation mark without its other: the rest of the file is no row.
    let error = read("csv", format!("a,b\n1,\"{}", "x\n".repeat(1 << 21)).as_bytes(), true).unwrap_err();
    assert!(error.contains("a quotation mark without its other?"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_byte_may_be_any(at in any::<prop::sample::Index>(), byte in any::<u8>(), more in any::<prop::sample::Index>(), skip in any::<bool>()) {
        for (format, mut bytes) in files() {
            let place = at.index(bytes.len());
            bytes[place] = byte;
            let other = more.index(bytes.len());
            bytes[other] = bytes[other].wrapping_add(byte | 1);
            let _ = read(format, &bytes, skip);
        }
    }

    #[test]
    fn any_bytes_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[-0-9.,\"\n aN{}:\\[\\]]{0,80}") {
        for (format, _) in files() {
            let _ = read(format, &bytes, false);
            let _ = read(format, text.as_bytes(), true);
        }
    }
}
