//! How fast files become tensors: CSV, Parquet and images, read and given out in batches, on one core.
//!
//! `SEDGE_BENCH_DATA` names a folder; files that it lacks are written, the same on every machine. Prints a JSON array of
//! figures: rows per second, the best and the median of several readings, and the bytes that were copied for a row.
//! `cargo xtask bench data` runs this and has pandas, pyarrow and Pillow do the same with the same files.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use sedge_data::{Dataset, Description, Origin, Part, copied};
use serde_json::{Value, json};

/// Of the tables, and their features beside the label.
const ROWS: usize = 400_000;
const FEATURES: usize = 20;
/// Rows of the table that is mostly of one digit each, as counts and pixels are.
const DIGITS: usize = 60_000;
const PIXELS: usize = 64;
const IMAGES: usize = 400;
const SIDE: (u32, u32) = (320, 240);
const BATCH: usize = 1024;
/// Readings, and for how long at least.
const TURNS: usize = 5;
const AT_LEAST: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = match std::env::var_os("SEDGE_BENCH_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::temp_dir().join("sedge-bench-data"),
    };
    make(&folder)?;
    let image =
        json!({"width": 64, "height": 64, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]});
    let cases = [
        ("CSV, 20 numbers and a label a row", "table.csv", json!({"label": "label"})),
        ("CSV, 64 digits and a label a row", "digits.csv", json!({"label": "label"})),
        (
            "Parquet, 20 numbers and a label a row",
            "table.parquet",
            json!({"format": "parquet", "label": "label"}),
        ),
        ("JPEG, 320 × 240 to 64 × 64", "jpeg", json!({"format": "image-folder", "image": image})),
        ("PNG, 320 × 240 to 64 × 64", "png", json!({"format": "image-folder", "image": image})),
    ];
    let mut figures = Vec::new();
    for (case, file, description) in cases {
        if std::env::args().skip(1).any(|wanted| !wanted.starts_with('-') && !file.contains(&wanted)) {
            continue;
        }
        figures.push(measure(&folder, case, file, &serde_json::from_value(description)?)?);
    }
    println!("{}", Value::Array(figures));
    Ok(())
}

/// Read it all, and all of its batches.
fn measure(
    folder: &Path,
    case: &str,
    file: &str,
    description: &Description,
) -> Result<Value, Box<dyn std::error::Error>> {
    let mut rates = Vec::new();
    let mut bytes = 0;
    let start = Instant::now();
    while rates.len() < TURNS || start.elapsed() < AT_LEAST {
        let before = copied();
        let turn = Instant::now();
        let dir = Dir::open_ambient_dir(folder, ambient_authority())?;
        let dataset = Dataset::open(Origin::local(dir, file), description.clone())?;
        let mut rows = 0;
        for batch in dataset.samples().batches(Part::All, BATCH, None) {
            let batch = batch?;
            rows += batch[0].1.shape[0];
            std::hint::black_box(&batch);
        }
        rates.push(rows as f64 / turn.elapsed().as_secs_f64());
        bytes = (copied() - before) / rows as u64;
    }
    rates.sort_by(f64::total_cmp);
    Ok(json!({
        "case": case,
        "way": "sedge-data",
        "rows_per_second": rates[rates.len() / 2],
        "best": rates.last(),
        "copied_bytes": bytes,
    }))
}

/// SplitMix64: numbers that are the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Six places, as measurements are often written.
    fn number(&mut self) -> f32 {
        (self.next() % 8_000_000) as f32 / 1e6 - 4.0
    }
}

fn make(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let ready = folder.join("complete-1");
    if ready.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let mut random = Random(1);
    let columns: Vec<Vec<f32>> =
        (0..FEATURES).map(|_| (0..ROWS).map(|_| random.number()).collect()).collect();
    let labels: Vec<i64> = (0..ROWS).map(|_| (random.next() % 10) as i64).collect();

    let mut csv = BufWriter::new(File::create(folder.join("table.csv"))?);
    let heading: Vec<String> = (0..FEATURES).map(|column| format!("f{column}")).collect();
    writeln!(csv, "{},label", heading.join(","))?;
    for (row, label) in labels.iter().enumerate() {
        for column in &columns {
            write!(csv, "{:.6},", column[row])?;
        }
        writeln!(csv, "{label}")?;
    }
    csv.flush()?;

    let arrays = columns.into_iter().map(|column| Arc::new(Float32Array::from(column)) as ArrayRef);
    let label = ("label".to_owned(), Arc::new(Int64Array::from(labels)) as ArrayRef);
    let batch = RecordBatch::try_from_iter(heading.into_iter().zip(arrays).chain([label]))?;
    // As pandas and pyarrow write them, where nobody says otherwise.
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        ArrowWriter::try_new(File::create(folder.join("table.parquet"))?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;

    let mut csv = BufWriter::new(File::create(folder.join("digits.csv"))?);
    let heading: Vec<String> = (0..PIXELS).map(|pixel| format!("p{pixel}")).collect();
    writeln!(csv, "{},label", heading.join(","))?;
    for _ in 0..DIGITS {
        for _ in 0..PIXELS {
            write!(csv, "{},", random.next() % 17)?;
        }
        writeln!(csv, "{}", random.next() % 10)?;
    }
    csv.flush()?;

    for (kind, format) in [("jpeg", image::ImageFormat::Jpeg), ("png", image::ImageFormat::Png)] {
        for number in 0..IMAGES {
            let class = folder.join(kind).join(["ripe", "rotten"][number % 2]);
            fs::create_dir_all(&class)?;
            let (across, down, noise) = (random.next() % 7 + 1, random.next() % 5 + 1, random.next());
            let image = image::RgbImage::from_fn(SIDE.0, SIDE.1, |x, y| {
                let (x, y) = (u64::from(x), u64::from(y));
                // Smooth with some grain, as photographs are.
                let grain = (x * 31 + y * 17 + noise) % 13;
                let channel = |shift: u64| ((x * across / 8 + y * down / 4 + shift + grain) % 256) as u8;
                image::Rgb([channel(0), channel(60), channel(120)])
            });
            image.save_with_format(class.join(format!("{number}.{kind}")), format)?;
        }
    }
    fs::write(ready, "")?;
    Ok(())
}
