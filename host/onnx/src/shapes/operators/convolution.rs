//! Convolutions, pooling, and other work on images.

use super::{BLOCK, Call, Outcome};
use crate::shapes::range::Range;
use crate::shapes::value::{Value, product};
use crate::signature::ElementType;

pub(super) fn rule(call: &Call) -> Option<Outcome> {
    match call.operator() {
        "Conv" => convolve(call, (0, 1), call.element(0)),
        "ConvInteger" => convolve(call, (0, 1), ElementType::I32),
        "QLinearConv" => convolve(call, (0, 3), call.element(7)),
        "ConvTranspose" => conv_transpose(call),
        "MaxPool" | "AveragePool" | "LpPool" => pool(call),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            let mut dims = call.dims(0)?.to_vec();
            dims.get_mut(2..)?.fill(Range::exactly(1.0));
            Some(call.like(0, dims).into())
        }
        "Resize" => resize(call),
        "Upsample" => {
            let scales = match call.attribute("scales") {
                Some(crate::outline::Attribute::Floats(scales)) => {
                    scales.iter().map(|&scale| Range::exactly(f64::from(scale))).collect()
                }
                _ => call.input(1)?.numbers.as_ref()?.to_vec(),
            };
            let dims = call.dims(0)?.iter().zip(scales).map(|(dim, scale)| scaled(*dim, scale));
            Some(call.like(0, dims.collect()).into())
        }
        "GridSample" => {
            let (x, grid) = (call.dims(0)?, call.dims(1)?);
            let places = grid.get(1..grid.len().checked_sub(1)?)?;
            Some(call.like(0, [x.get(..2)?, places].concat()).into())
        }
        "AffineGrid" => {
            let size = call.input(1)?.numbers.clone()?;
            let (batch, places) = (size.first()?.size(), size.get(2..)?);
            let axes = Range::from(places.len() as u64);
            let dims = std::iter::once(batch).chain(places.iter().map(|size| size.size())).chain([axes]);
            let grid = call.like(0, dims.collect());
            let scratch = grid.bytes() * 2.0;
            Some(Outcome::from(grid).with_scratch(scratch))
        }
        "Col2Im" => {
            let [batch, channels, _] = *call.dims(0)? else { return None };
            let (image, block) = (call.input(1)?.numbers.clone()?, call.input(2)?.numbers.clone()?);
            let block = product(&block).size();
            let channels = channels.divided(block).rising(f64::ceil).size();
            let dims = [batch, channels].into_iter().chain(image.iter().map(|size| size.size()));
            Some(call.like(0, dims.collect()).into())
        }
        "MaxUnpool" if call.input(2).is_some() => {
            let sizes = call.input(2)?.numbers.clone()?;
            Some(call.like(0, sizes.iter().map(|size| size.size()).collect()).into())
        }
        "RoiAlign" | "MaxRoiPool" => {
            let channels = *call.dims(0)?.get(1)?;
            let count = *call.dims(1)?.first()?;
            let sizes = match call.ints("pooled_shape") {
                Some(&[height, width]) => [height, width],
                _ => ["output_height", "output_width"].map(|name| call.int(name).unwrap_or(1)),
            };
            let [height, width] = sizes.map(|size| Range::exactly(size as f64).size());
            Some(call.like(0, vec![count, channels, height, width]).into())
        }
        _ => None,
    }
}

/// How a window goes over one dimension.
struct Window {
    size: Range,
    stride: f64,
    dilation: f64,
    /// Before the first element.
    begin: f64,
    /// On both ends.
    pads: f64,
}

impl Window {
    /// Of each dimension after batch and channels.
    fn all(call: &Call, sizes: &[Range]) -> Vec<Self> {
        let get = |name: &str, at: usize, default: i64| {
            call.ints(name).and_then(|values| values.get(at).copied()).unwrap_or(default) as f64
        };
        let count = sizes.len();
        let window = |(at, size): (usize, &Range)| Self {
            size: *size,
            stride: get("strides", at, 1).max(1.0),
            dilation: get("dilations", at, 1).max(1.0),
            begin: get("pads", at, 0),
            pads: get("pads", at, 0) + get("pads", at + count, 0),
        };
        sizes.iter().enumerate().map(window).collect()
    }

    /// From its first element to its last.
    fn extent(&self) -> Range {
        (self.size - Range::exactly(1.0)) * Range::exactly(self.dilation) + Range::exactly(1.0)
    }

    /// Places where it fits.
    fn places(&self, dim: Range, auto_pad: Option<&str>, up: bool) -> Range {
        match auto_pad {
            Some("SAME_UPPER" | "SAME_LOWER") => dim.rising(|dim| (dim / self.stride).ceil()),
            other => {
                let (begin, pads) = if other == Some("VALID") { (0.0, 0.0) } else { (self.begin, self.pads) };
                let count = |dim: f64, extent: f64| {
                    let room = (dim + pads - extent) / self.stride;
                    let last = if up { room.ceil() } else { room.floor() };
                    // A window that would begin in the padding at the end is left out.
                    let outside = up && last * self.stride >= dim + begin;
                    last + if outside { 0.0 } else { 1.0 }
                };
                let extent = self.extent();
                Range::new(count(dim.lo, extent.hi), count(dim.hi, extent.lo)).size()
            }
        }
    }
}

fn convolve(call: &Call, (x, w): (usize, usize), element: ElementType) -> Option<Outcome> {
    let ([batch, _, image @ ..], [maps, per_group, kernel @ ..]) = (call.dims(x)?, call.dims(w)?) else {
        return None;
    };
    let places: Vec<Range> = Window::all(call, kernel)
        .iter()
        .zip(image)
        .map(|(window, dim)| window.places(*dim, call.text("auto_pad"), false))
        .collect();
    let result = Value::tensor(element, [&[*batch, *maps], &places[..]].concat());
    // One image unrolled, in blocks, and the kernel packed.
    let unrolled = (*per_group * product(kernel) * product(&places)).hi * result.width().max(4.0);
    let scratch = unrolled.min(BLOCK * call.threads) + call.input(w)?.bytes();
    Some(Outcome::from(result).with_scratch(scratch))
}

fn conv_transpose(call: &Call) -> Option<Outcome> {
    let ([batch, _, image @ ..], [_, per_group, kernel @ ..]) = (call.dims(0)?, call.dims(1)?) else {
        return None;
    };
    let group = Range::exactly(call.int("group").unwrap_or(1).max(1) as f64);
    let maps = *per_group * group;
    let spread = |(at, (window, dim)): (usize, (&Window, &Range))| {
        if let Some(size) = call.ints("output_shape").and_then(|sizes| sizes.get(at)) {
            return Range::exactly(*size as f64).size();
        }
        let stride = Range::exactly(window.stride);
        match call.text("auto_pad") {
            Some("SAME_UPPER" | "SAME_LOWER") => *dim * stride,
            _ => {
                let more =
                    call.ints("output_padding").and_then(|pads| pads.get(at).copied()).unwrap_or(0) as f64;
                let one = Range::exactly(1.0);
                (stride * (*dim - one) + window.extent() + Range::exactly(more - window.pads)).size()
            }
        }
    };
    let places = Window::all(call, kernel).iter().zip(image).enumerate().map(spread).collect::<Vec<_>>();
    let result = call.like(0, [&[*batch, maps], &places[..]].concat());
    // The product of one image and the kernel, before it is summed up, and both packed.
    let columns = (maps * product(kernel) * product(image)).hi * result.width();
    let scratch = columns + call.input(1)?.bytes() + call.input(0)?.bytes();
    Some(Outcome::from(result).with_scratch(scratch))
}

fn pool(call: &Call) -> Option<Outcome> {
    let [batch, channels, image @ ..] = call.dims(0)? else { return None };
    let kernel: Vec<Range> =
        call.ints("kernel_shape")?.iter().map(|&size| Range::exactly(size as f64)).collect();
    let up = call.flag("ceil_mode", false);
    let places = Window::all(call, &kernel)
        .iter()
        .zip(image)
        .map(|(window, dim)| window.places(*dim, call.text("auto_pad"), up))
        .collect::<Vec<_>>();
    let result = call.like(0, [&[*batch, *channels], &places[..]].concat());
    Some(vec![result.clone(), Value { element: ElementType::I64, ..result }].into())
}

fn resize(call: &Call) -> Option<Outcome> {
    let dims = call.dims(0)?;
    let (at_scales, at_sizes) = if call.opset < 11 { (1, 3) } else { (2, 3) };
    let resized = match call.ints("axes") {
        Some(axes) => axes.iter().map(|&axis| super::axis(axis, dims.len())).collect::<Option<Vec<_>>>()?,
        None => (0..dims.len()).collect(),
    };
    // An input that is there but empty is left out.
    let given = |at: usize| call.input(at).filter(|value| value.count().exact() != Some(0.0));
    let mut changed = dims.to_vec();
    if let Some(sizes) = given(at_sizes) {
        let sizes = sizes.numbers.clone()?;
        let ratio = |(axis, size): (&usize, &Range)| size.size().divided(dims[*axis]);
        let pairs = || resized.iter().zip(&*sizes);
        let policy = call.text("keep_aspect_ratio_policy").unwrap_or("stretch");
        let kept = match policy {
            "not_larger" => pairs().map(ratio).reduce(Range::min),
            "not_smaller" => pairs().map(ratio).reduce(Range::max),
            _ => None,
        };
        for (&axis, size) in pairs() {
            changed[axis] = match kept {
                Some(ratio) => (dims[axis] * ratio).rising(f64::ceil).size(),
                None => size.size(),
            };
        }
    } else {
        let mut scales = given(at_scales)?.numbers.as_ref()?.to_vec();
        if call.text("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
            let roi = given(1)?.numbers.clone()?;
            let (starts, ends) = roi.split_at_checked(resized.len())?;
            for ((scale, start), end) in scales.iter_mut().zip(starts).zip(ends) {
                *scale = *scale * (*end - *start).size();
            }
        }
        for (&axis, scale) in resized.iter().zip(&scales) {
            changed[axis] = scaled(dims[axis], *scale);
        }
    }
    let result = call.like(0, changed);
    // Some engines resize one dimension after the other.
    let scratch = if call.text("mode") == Some("nearest") { 0.0 } else { result.bytes() };
    Some(Outcome::from(result).with_scratch(scratch))
}

/// A dimension times a scale, rounded down: in whichever precision gives more or less.
fn scaled(dim: Range, scale: Range) -> Range {
    let precise = (dim * scale).rising(f64::floor);
    let single = dim.corners(scale, |dim, scale| f64::from((dim as f32 * scale as f32).floor()));
    precise.or(single).size()
}
