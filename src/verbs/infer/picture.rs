//! A picture becomes the input of a service: resized, made grey or kept in colour, laid out and scaled as the service's
//! metadata says it takes it, or as the flags do. Called by `infer`.
//!
//! ```text
//!  file ─decode, bounded─▶ upright, on white ─▶ resize ─▶ grey or RGB ─▶ range, mean, deviation ─▶ NCHW, NHWC or rows
//! ```

use std::io::{BufRead, Cursor, Read, Seek};

use anyhow::Context as _;
use clap::ValueEnum;
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder as _, ImageReader, Limits, Rgb, RgbImage};
use serde_json::{Value, json};

use super::port::{self, Port};
use super::samples::short;
use crate::failure::Failure;

/// The largest file, side, and decoded picture: 44 megapixels in colour.
const MAX_FILE: u64 = 64 << 20;
const MAX_SIDE: u32 = 16_384;
const MAX_DECODED: u64 = 128 << 20;
/// Largest of what resizing makes on its way, the source's width by the new height of four floats a pixel.
const MAX_BETWEEN: u64 = 512 << 20;
/// Most elements of an input: they are sent as JSON.
const MAX_ELEMENTS: usize = 4 << 20;

/// How a picture is made an input, where the service's metadata leaves that open.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "Pictures (.png, .jpg)")]
pub struct Options {
    /// Resize to this; by default to what the service takes, and where that is any size, not at all
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(usize, usize)>,
    /// Where the channels are; by default as the input's shape says: [n, 1 or 3, h, w], [n, h, w, 1 or 3], [n, h, w]
    /// grey, or [n, k] with k pixels of a square in rows, grey or each with its three colours
    #[arg(long, value_enum, value_name = "ORDER")]
    layout: Option<Layout>,
    /// What black and white become, e.g. `0..16`, or `1..0` for ink on paper; by default 0..1, of integers 0..255
    #[arg(long, value_name = "BLACK..WHITE", value_parser = range, allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Then taken away, of each channel or one for all, e.g. 0.485,0.456,0.406
    #[arg(long, value_name = "MEANS", value_delimiter = ',', num_args = 1, allow_hyphen_values = true)]
    mean: Vec<f64>,
    /// Then divided by, of each channel or one for all, e.g. 0.229,0.224,0.225
    #[arg(long, value_name = "DEVIATIONS", value_delimiter = ',', num_args = 1)]
    std: Vec<f64>,
}

/// Where the channels of a pixel are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// A plane of each channel
    Nchw,
    /// Beside each other
    Nhwc,
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let sides = text.split_once(['x', '×']).and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let fits = |&(w, h): &(usize, usize)| {
        (1..=MAX_SIDE as usize).contains(&w.min(h)) && w.max(h) <= MAX_SIDE as usize
    };
    sides
        .filter(fits)
        .ok_or_else(|| format!("it must be WIDTHxHEIGHT, each from 1 to {MAX_SIDE}, e.g. 224x224"))
}

fn range(text: &str) -> Result<(f64, f64), String> {
    let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let are_finite = |(black, white): &(f64, f64)| black.is_finite() && white.is_finite();
    ends.filter(are_finite)
        .ok_or_else(|| "it must be BLACK..WHITE, two numbers, e.g. 0..1 or 1..-1".to_owned())
}

/// A picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture(RgbImage);

impl Picture {
    /// Read a PNG or JPEG file, whatever its name says. What it says about its orientation is done; where it is
    /// transparent it is white.
    pub fn decode(what: &str, file: impl Read) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {what}"))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(Failure::new(format!("{what} is larger than 64 MiB")).into());
        }
        let refused = |why: String| Failure::new(format!("{what} cannot be read as a picture: {why}"));
        let picture = decode(Cursor::new(&bytes)).map_err(refused)?;
        Ok(Self(on_white(picture)))
    }

    /// A request for the one input that `metadata` says the service takes.
    pub fn request(self, metadata: &Value, options: &Options) -> Result<Value, Failure> {
        let port = port::only(metadata)?;
        let form = Form::of(&port, options, self.0.dimensions())?;
        let between = u64::from(self.0.width()) * form.height as u64 * 16;
        if self.0.dimensions() != (form.width as u32, form.height as u32) && between > MAX_BETWEEN {
            let (width, height) = self.0.dimensions();
            let why = format!("{width}x{height} pixels cannot be resized to {}x{}", form.width, form.height);
            return Err(Failure::new(why).hint("make the picture smaller, or of the same proportions"));
        }
        let channels = form.channels;
        let elements = Elements::of(&port, options, channels)?;
        let values = self.pixels(&form);
        let pixels = form.width * form.height;
        let value = |at: usize| {
            let (pixel, channel) = match form.layout {
                Layout::Nchw => (at % pixels, at / pixels),
                Layout::Nhwc => (at / channels, at % channels),
            };
            elements.value(values[pixel * channels + channel], channel)
        };
        let data: Vec<Value> = (0..pixels * channels).map(value).collect();
        Ok(json!({"inputs": [
            {"name": port.name, "shape": form.shape, "datatype": port.datatype, "data": data},
        ]}))
    }

    /// Row by row, the channels of a pixel beside each other.
    fn pixels(self, form: &Form) -> Vec<u8> {
        // Both are at most MAX_SIDE.
        let (width, height) = (form.width as u32, form.height as u32);
        let resized = match self.0.dimensions() == (width, height) {
            true => self.0,
            // Each pixel is a mean of all that it covers, so that thin lines stay.
            false => imageops::resize(&self.0, width, height, FilterType::Triangle),
        };
        match form.channels {
            1 => DynamicImage::ImageRgb8(resized).into_luma8().into_raw(),
            _ => resized.into_raw(),
        }
    }
}

fn decode(file: impl BufRead + Seek) -> Result<DynamicImage, String> {
    let mut reader = ImageReader::new(file).with_guessed_format().map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let said = |error: image::ImageError| match error {
        image::ImageError::Limits(_) => too_large(),
        image::ImageError::Unsupported(_) => format!("only PNG and JPEG are ({error})"),
        other => other.to_string(),
    };
    let mut decoder = reader.into_decoder().map_err(said)?;
    if decoder.total_bytes() > MAX_DECODED {
        return Err(too_large());
    }
    // One that is not told is upright.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(said)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn too_large() -> String {
    format!(
        "it is larger than {MAX_SIDE} pixels a side or {} MiB decoded: make it smaller",
        MAX_DECODED >> 20
    )
}

fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let mut white = RgbImage::new(picture.width(), picture.height());
    for (to, from) in white.pixels_mut().zip(picture.pixels()) {
        let [r, g, b, alpha] = from.0;
        let mix = |value: u8| {
            ((u32::from(value) * u32::from(alpha) + 255 * (255 - u32::from(alpha)) + 127) / 255) as u8
        };
        *to = Rgb([mix(r), mix(g), mix(b)]);
    }
    white
}

/// How a picture lies in an input.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Form {
    shape: Vec<usize>,
    layout: Layout,
    channels: usize,
    width: usize,
    height: usize,
}

impl Form {
    /// As `port` and `options` say, and the picture's own size where they do not.
    fn of(port: &Port, options: &Options, own: (u32, u32)) -> Result<Self, Failure> {
        let colours = |size: Option<usize>| matches!(size, Some(1 | 3));
        let own = options.size.unwrap_or((own.0 as usize, own.1 as usize));
        let sides =
            |height: Option<usize>, width: Option<usize>| (width.unwrap_or(own.0), height.unwrap_or(own.1));
        let declared = port.shape.clone().unwrap_or_else(|| vec![None; 4]);
        let no = |why: &str| Failure::new(format!("a picture is no input {port}: {why}"));
        let (layout, channels, (width, height)) = match *declared.as_slice() {
            [_, a, b, c] => {
                let layout = options.layout.or_else(|| match (colours(a), colours(c)) {
                    (true, _) => Some(Layout::Nchw),
                    (false, true) => Some(Layout::Nhwc),
                    (false, false) => None,
                });
                let unclear =
                    || no("where its channels are is not clear").hint("say so with --layout nchw or nhwc");
                match layout.ok_or_else(unclear)? {
                    Layout::Nchw => (Layout::Nchw, a.unwrap_or(3), sides(b, c)),
                    Layout::Nhwc => (Layout::Nhwc, c.unwrap_or(3), sides(a, b)),
                }
            }
            [_, height, width] => (Layout::Nhwc, 1, sides(height, width)),
            [_, pixels] => {
                let (channels, sides) = Self::row(pixels, options.size).ok_or_else(|| {
                    no("how many pixels it has is not clear").hint("say so with --size WxH")
                })?;
                (options.layout.unwrap_or(Layout::Nhwc), channels, sides)
            }
            _ => return Err(no("it must have 2, 3 or 4 dimensions, the first for samples")),
        };
        if !colours(Some(channels)) {
            return Err(no("it must have 1 channel, grey, or 3, red, green and blue"));
        }
        if declared[0].is_some_and(|samples| samples != 1) {
            return Err(no("one picture is one sample"));
        }
        if options.size.is_some_and(|size| size != (width, height)) {
            return Err(no(&format!("it is {width}x{height}, and --size says otherwise")));
        }
        let elements = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(channels));
        let is_large =
            width.max(height) > MAX_SIDE as usize || elements.is_none_or(|count| count > MAX_ELEMENTS);
        if is_large || elements == Some(0) {
            return Err(no(&format!("{width}x{height} with {channels} channels is beyond what is sent")));
        }
        let shape = match declared.len() {
            2 => vec![1, width * height * channels],
            3 => vec![1, height, width],
            _ if layout == Layout::Nchw => vec![1, channels, height, width],
            _ => vec![1, height, width, channels],
        };
        Ok(Self { shape, layout, channels, width, height })
    }

    /// Channels and sides of a picture in one row of so many elements.
    fn row(elements: Option<usize>, size: Option<(usize, usize)>) -> Option<(usize, (usize, usize))> {
        let Some(elements) = elements else { return Some((1, size?)) };
        if let Some((width, height)) = size {
            let channels = elements / (width * height);
            return (channels * width * height == elements).then_some((channels, (width, height)));
        }
        let square = |channels: usize| {
            let side = (elements / channels).isqrt();
            (side * side * channels == elements).then_some((channels, (side, side)))
        };
        square(1).or_else(|| square(3))
    }
}

/// What becomes of a channel's value.
struct Elements {
    is_float: bool,
    black: f64,
    white: f64,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl Elements {
    fn of(port: &Port, options: &Options, channels: usize) -> Result<Self, Failure> {
        let is_float = match port.datatype.as_str() {
            "FP16" | "FP32" | "FP64" | "BF16" => true,
            "UINT8" | "INT32" | "INT64" => false,
            other => {
                return Err(Failure::new(format!(
                    "a picture is no input `{}` of {other} elements",
                    port.name
                )));
            }
        };
        let per_channel = |flag: &str, given: &[f64], default: f64| match given {
            [] => Ok(vec![default; channels]),
            [one] => Ok(vec![*one; channels]),
            each if each.len() == channels => Ok(each.to_vec()),
            each => Err(Failure::new(format!("--{flag} has {} values for {channels} channels", each.len()))),
        };
        let std = per_channel("std", &options.std, 1.0)?;
        if std.contains(&0.0) {
            return Err(Failure::new("--std must not be 0: it is divided by"));
        }
        let (black, white) = options.range.unwrap_or(if is_float { (0.0, 1.0) } else { (0.0, 255.0) });
        Ok(Self { is_float, black, white, mean: per_channel("mean", &options.mean, 0.0)?, std })
    }

    fn value(&self, value: u8, channel: usize) -> Value {
        let scaled = self.black + f64::from(value) / 255.0 * (self.white - self.black);
        let value = (scaled - self.mean[channel]) / self.std[channel];
        if self.is_float { short(value as f32) } else { Value::from(value.round() as i64) }
    }
}

#[cfg(test)]
mod tests;
