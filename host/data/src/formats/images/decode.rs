//! Images into tensors: decoded, resized, normalised.

use std::io::Cursor;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageDecoder as _, ImageReader};
use tokio_util::sync::CancellationToken;

use super::{DAMAGED, probe};
use crate::description::{Colour, Description, Fit, Format, ImageSpec, Layout, Limits};
use crate::error::DataError;
use crate::formats::guarded;
use crate::source::Origin;
use crate::tensor::{Element, Values, each};

/// Err: it is no image, or one that is too large.
pub(super) fn dimensions(name: &str, bytes: &[u8], limits: &Limits) -> Result<(), DataError> {
    let wrong =
        |error: image::ImageError| DataError::malformed(name, format!("not a PNG or JPEG image: {error}"));
    let reader = ImageReader::new(Cursor::new(bytes))
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
        let pixels = guarded(&entry.name, DAMAGED, || self.pixels(&entry.name, &bytes, resizer))?;
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
        let mut reader = ImageReader::new(Cursor::new(bytes))
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
