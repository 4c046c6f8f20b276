//! Images: PNG and JPEG files, by folders of classes or by a list. Reading a dataset finds their names and labels and looks
//! at their first bytes; pixels are decoded when a batch wants them, on the thread that makes the batch.
//!
//! A file, its dimensions and the memory of its decoder are bounded before anything is unpacked.

use std::io::Cursor as Slice;
use std::panic::{AssertUnwindSafe, catch_unwind};

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use tokio_util::sync::CancellationToken;

use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader};

use super::text::{Cursor, Quotes, Text};
use crate::description::{Classes, Colour, Description, Fit, Format, ImageSpec, Layout, Limits};
use crate::draft::{Chunk, Draft, Schema};
use crate::error::{DataError, Place, Problem, shown};
use crate::plan::Column;
use crate::source::{Blob, Entry, Origin};
use crate::split::{self, Divider};
use crate::tensor::{Element, Values, each};

/// Samples of a chunk: names and labels alone.
const CHUNK_ROWS: usize = 1 << 14;
/// Bytes of a local image that are looked at when it is found.
const PROBE: u64 = 64 << 10;

/// The tensor that images become.
pub fn column(spec: &ImageSpec) -> Column {
    let (height, width, channels) = (spec.height as usize, spec.width as usize, spec.colour.channels());
    let shape = match spec.layout {
        Layout::Chw => vec![channels, height, width],
        Layout::Hwc => vec![height, width, channels],
    };
    Column { name: "x".to_owned(), dtype: spec.dtype, shape }
}

/// The tensors beside the image.
fn schema(labelled: bool, classes: Option<Classes>) -> Schema {
    let label = Column { name: "y".to_owned(), dtype: crate::tensor::DType::I64, shape: Vec::new() };
    let mut schema = Schema::of_arrays(if labelled { vec![label] } else { Vec::new() });
    schema.classes = vec![classes; usize::from(labelled)];
    schema
}

/// A file of an image folder, whose folder is its class.
pub fn read_file(entry: &Entry, description: &Description, draft: &mut Draft) -> Result<u64, DataError> {
    let below = entry.below.as_deref().unwrap_or(&entry.name);
    let class = below.split_once('/').map(|(class, _)| class);
    if draft.schema.is_none() {
        draft.agree(
            &entry.name,
            schema(class.is_some(), Some(description.classes.clone().unwrap_or_default())),
        )?;
    }
    let labelled = draft.schema.as_ref().is_some_and(|schema| !schema.columns.is_empty());
    let label = match (labelled, class) {
        (false, _) => None,
        (true, None) => {
            let what = "the image is in no folder of a class, as others are";
            draft.bad(Problem::of_file(&entry.name, what))?;
            return Ok(1);
        }
        (true, Some(class)) => {
            let encoded = draft.encoders[0].as_mut().map(|encoder| encoder.encode(class.as_bytes()));
            match encoded.transpose() {
                Ok(number) => number,
                Err(what) => {
                    draft.bad(Problem::of_file(&entry.name, what))?;
                    return Ok(1);
                }
            }
        }
    };
    let side = split::by_name(&description.split, below);
    let small = draft.chunks.last().is_some_and(|chunk| chunk.len() < CHUNK_ROWS && !chunk.images.is_empty());
    let values = label.map(|label| Values::I64(vec![label])).into_iter().collect();
    let one = Chunk { values, sides: vec![side], images: vec![entry.key.as_str().into()] };
    draft.push(&entry.name, one, &[])?;
    // Samples come one by one; chunks of one would be looked for long.
    if small && let (Some(one), Some(last)) = (draft.chunks.pop(), draft.chunks.last_mut()) {
        last.append(one);
    }
    Ok(1)
}

/// The new rows of a list of images.
pub fn read_list(
    origin: &Origin,
    blob: &Blob,
    description: &Description,
    mut divider: Divider,
    cursor: &mut Cursor,
    draft: &mut Draft,
) -> Result<(), DataError> {
    let file = blob.name();
    let delimiter = description.csv.delimiter as u8;
    let mut first = cursor.rows == 0 && cursor.offset == 0;
    let mut row_number = cursor.rows;
    let quotes = Quotes::Between(delimiter);
    let mut text = Text::new(blob, cursor, quotes, description.last_row, description.limits.row_bytes)?;
    let (mut scratch, mut images, mut labels, mut sides) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while let Some(row) = text.next()? {
        let cells = super::csv::cells(row.bytes, delimiter, &mut scratch);
        if std::mem::take(&mut first) {
            if draft.schema.is_none() {
                draft.agree(file, schema(cells.len() > 1, description.classes.clone()))?;
            }
            let is_image =
                |cell: &[u8]| ImageFormat::from_path(String::from_utf8_lossy(cell).as_ref()).is_ok();
            if !cells.first().is_some_and(|cell| is_image(cell)) {
                continue;
            }
        }
        let place = Place::Line(row.line);
        let labelled = draft.schema.as_ref().is_some_and(|schema| !schema.columns.is_empty());
        let found = listed(origin, blob.entry(), &cells, labelled, &description.limits, draft);
        let side = divider.by_row(row_number);
        row_number += 1;
        match found {
            Ok((key, label)) => {
                images.push(key.into());
                labels.extend(label);
                sides.push(side);
            }
            Err(what) => draft.bad(Problem::of_row(file, place, what))?,
        }
    }
    text.cursor().rows = row_number;
    let values = if labels.is_empty() { Vec::new() } else { vec![Values::I64(labels)] };
    draft.push(file, Chunk { values, sides, images }, &[])
}

/// Key and label of a row. Err: what is wrong with it.
fn listed(
    origin: &Origin,
    list: &Entry,
    cells: &[&[u8]],
    labelled: bool,
    limits: &Limits,
    draft: &mut Draft,
) -> Result<(String, Option<i64>), String> {
    let width = 1 + usize::from(labelled);
    if cells.len() != width {
        return Err(format!(
            "expected {width} cells, path{}, got {}",
            if labelled { " and label" } else { "" },
            cells.len()
        ));
    }
    let path = std::str::from_utf8(cells[0]).map_err(|_| "the path is not UTF-8".to_owned())?;
    let key = match origin {
        Origin::Local(_) => {
            let entry = origin.beside(list, path).map_err(|error| error.to_string())?;
            probe(origin, &entry, limits).map_err(|error| error.to_string())?;
            entry.key
        }
        // Each would be a request; what is wrong with it is seen when it is wanted.
        Origin::Remote(_) => origin.key_beside(list, path),
    };
    if !labelled {
        return Ok((key, None));
    }
    let label = match &mut draft.encoders[0] {
        Some(encoder) => encoder.encode(cells[1])?,
        None => {
            let number = std::str::from_utf8(cells[1]).ok().and_then(|text| text.parse().ok());
            number.ok_or_else(|| {
                let text = shown(cells[1]);
                format!("\"{text}\" is not an integer label; describe classes where labels are names")
            })?
        }
    };
    Ok((key, Some(label)))
}

/// Look at the first bytes of a local image: what is seen there need not wait until a batch wants it.
pub fn probe(origin: &Origin, entry: &Entry, limits: &Limits) -> Result<(), DataError> {
    if entry.size > limits.image_bytes {
        let what = format!("{} bytes; an image has at most {}", entry.size, limits.image_bytes);
        return Err(DataError::too_large(&entry.name, what));
    }
    let Origin::Local(_) = origin else { return Ok(()) };
    let blob = origin.open(entry)?;
    let head = blob.bytes(0, blob.len().min(PROBE) as usize)?;
    let guarded = catch_unwind(AssertUnwindSafe(|| match dimensions(&entry.name, &head, limits) {
        // Of a long head, the dimensions may come later.
        Err(DataError::Malformed(_)) if blob.len() > PROBE && image::guess_format(&head).is_ok() => Ok(()),
        other => other,
    }));
    guarded.unwrap_or_else(|_| Err(DataError::malformed(&entry.name, "a damaged image")))
}

fn dimensions(name: &str, bytes: &[u8], limits: &Limits) -> Result<(), DataError> {
    let wrong =
        |error: image::ImageError| DataError::malformed(name, format!("not a PNG or JPEG image: {error}"));
    let reader = ImageReader::new(Slice::new(bytes))
        .with_guessed_format()
        .map_err(|error| DataError::io(name, &error))?;
    let (width, height) = reader.into_dimensions().map_err(wrong)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.image_pixels || pixels == 0 {
        let what = format!("{width} × {height} pixels; from 1 to {} are decoded", limits.image_pixels);
        return Err(DataError::too_large(name, what));
    }
    Ok(())
}

/// Makes tensors of images.
#[derive(Debug)]
pub struct Images {
    origin: Origin,
    spec: ImageSpec,
    limits: Limits,
}

impl Images {
    /// Those of an origin; None where the format is not of images.
    pub fn new(origin: &Origin, description: &Description) -> Option<Self> {
        let images = matches!(description.format, Format::ImageFolder | Format::ImageList);
        images.then(|| Self {
            origin: origin.clone(),
            spec: description.image.clone(),
            limits: description.limits.clone(),
        })
    }

    /// The same, whose reads also end when the token is cancelled.
    pub fn cancellable(&self) -> (Self, CancellationToken) {
        let (origin, cancel) = self.origin.child();
        (Self { origin, spec: self.spec.clone(), limits: self.limits.clone() }, cancel)
    }

    /// Append an image's elements.
    pub fn decode(&self, key: &str, resizer: &mut Resizer, values: &mut Values) -> Result<(), DataError> {
        let entry = self.origin.find(key)?;
        if entry.size > self.limits.image_bytes {
            return probe(&self.origin, &entry, &self.limits);
        }
        let bytes = self.origin.open(&entry)?.whole(self.limits.image_bytes)?;
        let pixels = catch_unwind(AssertUnwindSafe(|| self.pixels(&entry.name, &bytes, resizer)))
            .unwrap_or_else(|_| Err(DataError::malformed(&entry.name, "a damaged image")))?;
        each!(values, values => self.normalise(&pixels, values));
        Ok(())
    }

    /// Of the described size, channels last.
    fn pixels(&self, name: &str, bytes: &[u8], resizer: &mut Resizer) -> Result<Vec<u8>, DataError> {
        dimensions(name, bytes, &self.limits)?;
        let wrong = |error: image::ImageError| {
            DataError::malformed(name, format!("the image cannot be decoded: {error}"))
        };
        let mut limits = image::Limits::default();
        // Of 16 bits and four channels, and as much again for what a decoder keeps beside.
        limits.max_alloc = Some(self.limits.image_pixels.saturating_mul(16));
        let mut reader = ImageReader::new(Slice::new(bytes))
            .with_guessed_format()
            .map_err(|error| DataError::io(name, &error))?;
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(wrong)?;
        if decoder.total_bytes() > self.limits.image_pixels.saturating_mul(8) {
            return Err(DataError::too_large(name, "the image unpacks to more than is decoded"));
        }
        let image = DynamicImage::from_decoder(decoder).map_err(wrong)?;
        let (width, height) = (image.width(), image.height());
        let (pixels, kind) = match self.spec.colour {
            Colour::Rgb => (image.into_rgb8().into_raw(), PixelType::U8x3),
            Colour::Grey => (image.into_luma8().into_raw(), PixelType::U8),
        };
        let spec = &self.spec;
        if (width, height) == (spec.width, spec.height) {
            return Ok(pixels);
        }
        let resize = |error: &dyn std::fmt::Display| {
            DataError::malformed(name, format!("the image cannot be resized: {error}"))
        };
        let source = ImageRef::new(width, height, &pixels, kind).map_err(|error| resize(&error))?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        let (size, options) = match spec.fit {
            Fit::Stretch => ((spec.width, spec.height), options),
            Fit::Cover => ((spec.width, spec.height), options.fit_into_destination(Some((0.5, 0.5)))),
            Fit::Contain => (contained((width, height), (spec.width, spec.height)), options),
        };
        let mut target = Image::new(size.0, size.1, kind);
        resizer.resize(&source, &mut target, &options).map_err(|error| resize(&error))?;
        let pixels = target.into_vec();
        Ok(if size == (spec.width, spec.height) { pixels } else { self.pad(&pixels, size) })
    }

    /// In the middle of black.
    fn pad(&self, pixels: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
        let channels = self.spec.colour.channels();
        let row = self.spec.width as usize * channels;
        let mut padded = vec![0; row * self.spec.height as usize];
        let left = (self.spec.width - width) as usize / 2 * channels;
        let top = (self.spec.height - height) as usize / 2;
        let len = width as usize * channels;
        for (from, to) in pixels.chunks_exact(len).zip(padded.chunks_exact_mut(row).skip(top)) {
            to[left..left + len].copy_from_slice(from);
        }
        padded
    }

    fn normalise<T: Element>(&self, pixels: &[u8], values: &mut Vec<T>) {
        let channels = self.spec.colour.channels();
        let of = |list: &[f32], channel: usize, default: f32| {
            *list.get(channel).or_else(|| list.first()).unwrap_or(&default)
        };
        // There are 256 values a channel: each is worked out once.
        let table = |channel: usize| -> [T; 256] {
            let (mean, std) = (of(&self.spec.mean, channel, 0.0), of(&self.spec.std, channel, 1.0));
            std::array::from_fn(|value| {
                let scaled = (value as f32 / 255.0 - mean) / std;
                let value = if T::DTYPE.is_float() { f64::from(scaled) } else { value as f64 };
                T::from_f64(value).unwrap_or_default()
            })
        };
        let tables: Vec<[T; 256]> = (0..channels).map(table).collect();
        match self.spec.layout {
            Layout::Chw => {
                for (channel, table) in tables.iter().enumerate() {
                    values.extend(
                        pixels.chunks_exact(channels).map(|pixel| table[usize::from(pixel[channel])]),
                    );
                }
            }
            Layout::Hwc => {
                for pixel in pixels.chunks_exact(channels) {
                    values.extend(pixel.iter().zip(&tables).map(|(&value, table)| table[usize::from(value)]));
                }
            }
        }
    }
}

/// The largest size of these proportions within another.
fn contained((width, height): (u32, u32), (most_wide, most_high): (u32, u32)) -> (u32, u32) {
    let scale = (f64::from(most_wide) / f64::from(width)).min(f64::from(most_high) / f64::from(height));
    let side = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
    (side(width, most_wide), side(height, most_high))
}
