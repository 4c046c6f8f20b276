//! Small files that unpack to much take no more memory than they may, and say what they are.
//!
//! One test, for it looks at the memory of the whole process.
#![allow(clippy::unwrap_used, reason = "tests, and functions of theirs")]

mod folder;

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray};
use folder::{Folder, arrow_stream, described};
use npyz::zip::write::{FileOptions, ZipWriter};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use sedge_data::Part;
use serde_json::{Value, json};

const LIMIT: u64 = 4 << 20;
/// Beside what is read: buffers, and pages that the allocator keeps.
const MORE: u64 = 24 << 20;

/// The most memory that was resident since [`reset`], in bytes; None where that cannot be told.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

fn reset() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn npz_of_zeros() -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file(
        "x.npy",
        FileOptions::default().compression_method(npyz::zip::CompressionMethod::Deflated),
    )
    .unwrap();
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (12582912,), }\n";
    zip.write_all(b"\x93NUMPY\x01\x00").unwrap();
    zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    zip.write_all(header.as_bytes()).unwrap();
    for _ in 0..96 {
        zip.write_all(&[0; 1 << 20]).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn parquet_of(
    array: ArrayRef,
    build: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder,
) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter([("a", array)]).unwrap();
    let properties = build(WriterProperties::builder()).build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    file
}

/// A page that says it unpacks to 128 MiB, in a file that says it is of 1.6 MB.
fn parquet_whose_page_lies() -> Vec<u8> {
    let zeros = Arc::new(Float64Array::from(vec![0.0; 200_000]));
    let mut file = parquet_of(zeros, |properties| {
        properties
            .set_dictionary_enabled(false)
            .set_compression(Compression::SNAPPY)
            .set_data_page_size_limit(8 << 20)
            .set_data_page_row_count_limit(1 << 20)
            .set_write_batch_size(1 << 20)
    });
    // After the file's mark, the page's header: its type, and its size unpacked in four bytes of seven bits, doubled.
    assert_eq!(file[4..7], [0x15, 0, 0x15]);
    let size = (0..4).fold(0u64, |size, place| size | u64::from(file[7 + place] & 0x7f) << (7 * place)) / 2;
    assert!((1_600_000..1_700_000).contains(&size) && file[10] & 0x80 == 0, "{size}");
    file[7..11].copy_from_slice(&[0xfe, 0xff, 0xff, 0x7f]);
    file
}

fn arrow_of_zeros() -> Vec<u8> {
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0; 1 << 20]));
    arrow_stream(&RecordBatch::try_from_iter([("a", zeros)]).unwrap(), true)
}

/// A buffer that says it unpacks to a terabyte.
fn arrow_that_lies() -> Vec<u8> {
    let mut file = arrow_of_zeros();
    // Its size, and LZ4's mark.
    let start = [&(8u64 << 20).to_le_bytes()[..], &0x184d_2204u32.to_le_bytes()].concat();
    let at = file.windows(12).position(|bytes| bytes == start).unwrap();
    file[at..at + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    file
}

fn png_of(width: u32, height: u32) -> Vec<u8> {
    let image = image::GrayImage::new(width, height);
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

#[test]
fn what_unpacks_to_much_is_refused_in_little_memory() {
    let long = "long ".repeat(200_000);
    let keys = Int32Array::from(vec![0; 1000]);
    let texts: DictionaryArray<Int32Type> =
        DictionaryArray::new(keys, Arc::new(StringArray::from(vec![long])));
    let classes = json!([{"name": "y", "columns": {"one": "a"}, "dtype": "i64", "classes": {}}]);
    let filled = json!([{"name": "x", "columns": "rest", "missing": {"fill": 0.0}}]);
    let zeros = Arc::new(Float64Array::from(vec![0.0; 1 << 20]));
    let wide = format!("{{\"a\": [{}0]}}\n", "0,".repeat(150_000));
    let no_elements = {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967295, 0), }\n";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((header.len() as u16).to_le_bytes());
        file.extend(header.as_bytes());
        file
    };
    let cases: Vec<(&str, &str, Vec<u8>, Value, &str)> = vec![
        ("zeros.npz", "npz", npz_of_zeros(), json!([]), "is too large"),
        ("nothing.npy", "npy", no_elements, json!([]), "samples without elements"),
        (
            "zeros.parquet",
            "parquet",
            parquet_of(zeros, |properties| {
                properties
                    .set_dictionary_enabled(false)
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
            }),
            json!([]),
            "at most 4194304 bytes are read",
        ),
        (
            "lie.parquet",
            "parquet",
            parquet_whose_page_lies(),
            json!([]),
            "its pages unpack to more than the 4194304 bytes that are read",
        ),
        (
            "texts.parquet",
            "parquet",
            parquet_of(Arc::new(texts), |properties| properties.set_dictionary_page_size_limit(8 << 20)),
            classes,
            "is this column a label?",
        ),
        ("zeros.arrow", "arrow", arrow_of_zeros(), json!([]), "unpacks to more than the 4194304 bytes"),
        ("lie.arrow", "arrow", arrow_that_lies(), json!([]), "unpacks to more than the 4194304 bytes"),
        ("large.png", "image-folder", png_of(6000, 8000), json!([]), "6000 × 8000 pixels"),
        (
            "wide.jsonl",
            "json-lines",
            format!("{wide}{}", "{}\n".repeat(100_000)).into_bytes(),
            filled,
            "its samples take more than the 4194304 bytes",
        ),
        ("endless.csv", "csv", vec![b','; 3 << 20], json!([]), "is longer than"),
        ("columns.csv", "csv", [&vec![b','; 200_000][..], b"\n"].concat(), json!([]), "columns; at most"),
    ];
    let folder = Folder::new();
    for (name, _, content, ..) in &cases {
        folder.write(name, content);
        assert!(content.len() < 4 << 20, "{name} is small: {}", content.len());
    }
    let cases: Vec<_> =
        cases.into_iter().map(|(name, format, _, tensors, wanted)| (name, format, tensors, wanted)).collect();
    for (name, format, tensors, wanted) in cases {
        let description = described(json!({
            "format": format,
            "tensors": tensors,
            "image": {"width": 8, "height": 8},
            "limits": {"bytes": LIMIT, "rowBytes": 1 << 20, "imagePixels": 1 << 20},
        }));
        reset();
        let before = peak();
        let read = folder.open(name, description).and_then(|dataset| {
            let mut batches = dataset.samples().batches(Part::All, 16, None);
            batches.try_for_each(|batch| batch.map(drop))
        });
        let error = read.expect_err(name).to_string();
        assert!(error.contains(wanted), "{name}: {error}");
        if let (Some(before), Some(after)) = (before, peak()) {
            let taken = after.saturating_sub(before);
            assert!(taken < LIMIT + MORE, "{name} took {taken} bytes");
        }
    }
}
