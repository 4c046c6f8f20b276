//! Images: PNG and JPEG files, by folders of classes or by a list. Reading a dataset finds their names and labels and looks
//! at their first bytes; pixels are decoded when a batch wants them, on the thread that makes the batch.
//!
//! A file, its dimensions and the memory of its decoder are bounded before anything is unpacked.

mod decode;

use image::ImageFormat;

pub use self::decode::Images;
use self::decode::dimensions;
use super::guarded;
use super::text::{Cursor, Quotes, Text};
use crate::description::{Classes, Description, ImageSpec, Layout, Limits};
use crate::draft::{Chunk, Draft, Schema};
use crate::error::{DataError, Place, Problem, shown};
use crate::plan::Column;
use crate::source::{Blob, Entry, Origin};
use crate::split::{self, Divider};
use crate::tensor::Values;

/// What a file is over which a decoder panics.
const DAMAGED: &str = "a damaged image";
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
    guarded(&entry.name, DAMAGED, || match dimensions(&entry.name, &head, limits) {
        // Of a long head, the dimensions may come later.
        Err(DataError::Malformed(_)) if blob.len() > PROBE && image::guess_format(&head).is_ok() => Ok(()),
        other => other,
    })
}
