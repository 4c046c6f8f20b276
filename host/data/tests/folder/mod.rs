//! A folder of files that tests write and read as datasets.
#![allow(clippy::unwrap_used, reason = "what tests stand on")]
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float64Array, Int64Array, RecordBatch, StringArray};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use sedge_data::{Batch, DataError, Dataset, Description, Element, Origin, Part};

pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn append(&self, name: &str, content: &str) {
        use std::io::Write as _;
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    pub fn origin(&self, path: &str) -> Origin {
        Origin::local(Dir::open_ambient_dir(self.0.path(), ambient_authority()).unwrap(), path)
    }

    pub fn open(&self, path: &str, description: Description) -> Result<Dataset, DataError> {
        Dataset::open(self.origin(path), description)
    }
}

/// From JSON, as a resource has it.
pub fn described(json: serde_json::Value) -> Description {
    serde_json::from_value(json).unwrap()
}

/// All samples, in order.
pub fn all(dataset: &Dataset) -> Batch {
    dataset.samples().batches(Part::All, usize::MAX, None).next().unwrap().unwrap()
}

pub fn tensor<T: Element>(batch: &Batch, name: &str) -> Vec<T> {
    let (_, tensor) = batch.iter().find(|(other, _)| other == name).unwrap();
    tensor.as_slice::<T>().unwrap_or_else(|| panic!("{name} is {tensor:?}")).to_vec()
}

/// Every value of a tensor of one dataset.
pub fn values<T: Element>(dataset: &Dataset, name: &str) -> Vec<T> {
    if dataset.samples().is_empty() { Vec::new() } else { tensor(&all(dataset), name) }
}

/// `a` f64, `b` i64, `class` text, `v` two values each.
pub fn record_batch(rows: usize) -> RecordBatch {
    let list = FixedSizeListArray::try_new_from_values(Float64Array::from_iter_values(
        (0..2 * rows).map(|value| value as f64),
    ));
    RecordBatch::try_from_iter([
        ("a", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 + 0.5))) as ArrayRef),
        ("b", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64 * 10)))),
        ("class", Arc::new(StringArray::from_iter_values((0..rows).map(|row| ["red", "green"][row % 2])))),
        ("v", list),
    ])
    .unwrap()
}

trait OfValues {
    fn try_new_from_values(values: Float64Array) -> ArrayRef;
}

impl OfValues for FixedSizeListArray {
    fn try_new_from_values(values: Float64Array) -> ArrayRef {
        let field = Arc::new(arrow_schema::Field::new_list_field(arrow_schema::DataType::Float64, false));
        Arc::new(Self::new(field, 2, Arc::new(values), None))
    }
}

pub fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub fn arrow_file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = arrow_ipc::writer::FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

pub fn arrow_stream(batch: &RecordBatch, compressed: bool) -> Vec<u8> {
    use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
    let compression = compressed.then_some(arrow_ipc::CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

pub fn npz() -> Vec<u8> {
    use sedge_data::{Tensor, Values};
    let arrays = [
        ("x".to_owned(), Tensor { shape: vec![3, 2], values: Values::F64(vec![1., 2., 3., 4., 5., 6.]) }),
        ("y".to_owned(), Tensor { shape: vec![3], values: Values::U8(vec![7, 8, 9]) }),
    ];
    let mut file = std::io::Cursor::new(Vec::new());
    sedge_data::write_npz(&mut file, &arrays).unwrap();
    file.into_inner()
}

/// A NumPy array of `f8`, three samples of two.
pub fn npy() -> Vec<u8> {
    let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }\n";
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend([1.5, 0.0, 2.5, 1.0, 3.5, 0.0].iter().flat_map(|value: &f64| value.to_le_bytes()));
    file
}

/// An image of one colour.
pub fn image(width: u32, height: u32, colour: [u8; 3], format: image::ImageFormat) -> Vec<u8> {
    let image = image::RgbImage::from_pixel(width, height, image::Rgb(colour));
    let mut file = std::io::Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}
