//! Convolutions, whose gradients are convolutions again (Dumoulin and Visin, *A guide to convolution arithmetic for
//! deep learning*, 2016, <https://arxiv.org/abs/1603.07285>).
//!
//! `Conv` slides a kernel `w` over `x` with stride `s`, dilation `d` and padding `p`:
//! `y[n, o, i] = Σ x[n, c, i·s + k·d − p] · w[o, c, k]`. So
//! - `dx` is the transposed convolution of `g` with `w`;
//! - `dw[o, c, k] = Σ g[n, o, i] · x[n, c, i·s + k·d − p]` is a convolution too, in which batch and channel change
//!   places, `g` is the kernel, and stride and dilation change places;
//! - the bias is added everywhere, so its gradient is the sum of `g`.

use crate::proto::AttributeProto;
use crate::train::backward::{Backward, Step};
use crate::train::dim::{Dim, Shape, sizes};
use crate::train::error::TrainError;
use crate::train::node;
use crate::train::shapes::{Shapes, Window};

type Done = Result<(), TrainError>;

/// How a convolution is done.
struct Form {
    windows: Vec<Window>,
    group: usize,
}

impl Form {
    fn of(b: &Backward<'_>, step: &Step, transposed: bool) -> Result<Self, TrainError> {
        let input = b.shape(step, step.input(0)?)?;
        let kernel = b.sizes(step, step.input(1)?, 2)?;
        let windows = match transposed {
            false => Shapes::windows(step.proto(), &input, &kernel),
            true => Shapes::transposed_windows(step.proto(), &input, &kernel),
        };
        let windows = windows.ok_or_else(|| {
            step.refuse(
                "its padding is to keep the input's size, which is not known before it is computed: export the \
                 model with fixed height and width, or with explicit pads",
            )
        })?;
        let group = usize::try_from(node::int(step.proto(), "group").unwrap_or(1)).unwrap_or(0);
        if group == 0 {
            return Err(step.refuse("its group is not a positive number"));
        }
        Ok(Self { windows, group })
    }

    fn attributes(&self) -> Vec<AttributeProto> {
        attributes(&self.windows, self.group)
    }
}

/// A convolution's attributes.
pub fn attributes(windows: &[Window], group: usize) -> Vec<AttributeProto> {
    let each =
        |value: fn(&Window) -> usize| windows.iter().map(|window| value(window) as i64).collect::<Vec<_>>();
    let pads = [each(|window| window.pads.0), each(|window| window.pads.1)].concat();
    vec![
        node::with_ints("strides", &each(|window| window.stride)),
        node::with_ints("dilations", &each(|window| window.dilation)),
        node::with_ints("pads", &pads),
        node::with_int("group", group as i64),
    ]
}

/// A convolution.
pub fn conv(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let form = Form::of(b, step, false)?;
    let (x, w) = (step.input(0)?, step.input(1)?);
    let (x_shape, y_shape) = (b.shape(step, x)?, b.shape(step, step.output()?)?);
    if b.wants(step, 0) {
        let gradient = input_gradient(b, &form, (g, w, x), (&x_shape, &y_shape));
        b.give(step, 0, gradient)?;
    }
    if b.wants(step, 1) {
        let shape = b.shape(step, w)?;
        let gradient = kernel_gradient(b, step, &form, (x, g), (&x_shape, &y_shape), &shape)?;
        b.give(step, 1, gradient)?;
    }
    bias(b, step, g)
}

/// A transposed convolution is the gradient of a convolution, so its own input's gradient is that convolution.
pub fn conv_transpose(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    if node::ints(step.proto(), "output_shape").is_some_and(|shape| !shape.is_empty()) {
        return Err(step.refuse("its output's shape is given: export it with output_padding instead"));
    }
    let form = Form::of(b, step, true)?;
    let more = node::ints(step.proto(), "output_padding").unwrap_or_default();
    let within = |(window, &more): (&Window, &i64)| more < window.stride as i64;
    if !form.windows.iter().zip(more).all(within) {
        return Err(step.refuse("its output_padding is not smaller than its stride"));
    }
    let (x, w) = (step.input(0)?, step.input(1)?);
    let (x_shape, y_shape) = (b.shape(step, x)?, b.shape(step, step.output()?)?);
    if b.wants(step, 0) {
        let gradient = b.graph.op("Conv", &[g, w], form.attributes());
        b.give(step, 0, gradient)?;
    }
    if b.wants(step, 1) {
        let shape = b.shape(step, w)?;
        let gradient = kernel_gradient(b, step, &form, (g, x), (&y_shape, &x_shape), &shape)?;
        b.give(step, 1, gradient)?;
    }
    bias(b, step, g)
}

fn bias(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    if b.wants(step, 2) {
        let rank = b.shape(step, step.output()?)?.len();
        let axes: Vec<i64> = std::iter::once(0).chain(2..rank as i64).collect();
        let gradient = b.graph.reduce_sum(g, Some(&axes), false);
        b.give(step, 2, gradient)?;
    }
    Ok(())
}

fn input_gradient(
    b: &mut Backward<'_>,
    form: &Form,
    (g, w, x): (&str, &str, &str),
    (x_shape, y_shape): (&Shape, &Shape),
) -> String {
    let left = form
        .windows
        .iter()
        .enumerate()
        .map(|(at, window)| uncovered(window, &x_shape[at + 2], &y_shape[at + 2]));
    let left: Vec<Option<usize>> = left.collect();
    let mut attributes = form.attributes();
    // Where the size is not known, all that a window may have left over is made, and cut off when computed.
    let more = left.iter().zip(&form.windows).map(|(left, window)| left.unwrap_or(window.stride - 1) as i64);
    let more: Vec<i64> = more.collect();
    if more.iter().any(|&more| more > 0) {
        attributes.push(node::with_ints("output_padding", &more));
    }
    let gradient = b.graph.op("ConvTranspose", &[g, w], attributes);
    if left.iter().all(Option::is_some) {
        return gradient;
    }
    let (graph, rank) = (&mut *b.graph, x_shape.len() as i64);
    let shape = graph.unary("Shape", x);
    let (two, end, zero) = (graph.ints(&[2]), graph.ints(&[rank]), graph.ints(&[0]));
    let ends = graph.op("Slice", &[&shape, &two, &end, &zero], vec![]);
    let (starts, axes) = (graph.ints(&vec![0; left.len()]), graph.ints(&(2..rank).collect::<Vec<_>>()));
    graph.op("Slice", &[&gradient, &starts, &ends, &axes], vec![])
}

/// Elements behind the last position of a window, which the stride passes over.
fn uncovered(window: &Window, size: &Dim, positions: &Dim) -> Option<usize> {
    if window.stride == 1 {
        return Some(0);
    }
    let covered = (positions.size()?.checked_sub(1)?) * window.stride + window.span();
    (size.size()? + window.pads.0 + window.pads.1).checked_sub(covered)
}

/// The gradient of the kernel of that shape, `[g.channels, input.channels / group, …]`.
fn kernel_gradient(
    b: &mut Backward<'_>,
    step: &Step,
    form: &Form,
    (input, g): (&str, &str),
    (input_shape, g_shape): (&Shape, &Shape),
    shape: &Shape,
) -> Result<String, TrainError> {
    let rank = shape.len();
    let mut swapped: Vec<usize> = (0..rank).collect();
    swapped.swap(0, 1);
    let images = if form.group == 1 {
        b.graph.transpose(input, &swapped)
    } else {
        let sizes = input_shape.get(1..).and_then(sizes).ok_or_else(|| {
            step.refuse("it has groups, and the size of its images is known only when it is computed")
        })?;
        let (channels, spatial) = sizes.split_at(1);
        let spatial: Vec<i64> = spatial.iter().map(|&size| size as i64).collect();
        let (group, per_group) = (form.group as i64, (channels[0] / form.group) as i64);
        let split = b.graph.reshape(input, &[&[-1, group, per_group], spatial.as_slice()].concat());
        let mut order: Vec<usize> = (0..=rank).collect();
        order.swap(0, 2);
        let turned = b.graph.transpose(&split, &order);
        b.graph.reshape(&turned, &[&[per_group, -1], spatial.as_slice()].concat())
    };
    let kernels = b.graph.transpose(g, &swapped);
    let turned = Window { kernel: 0, stride: 0, dilation: 0, pads: (0, 0) };
    let windows: Vec<Window> = form
        .windows
        .iter()
        .map(|window| Window {
            stride: window.dilation,
            dilation: window.stride,
            pads: window.pads,
            ..turned
        })
        .collect();
    let mut gradient = b.graph.op("Conv", &[&images, &kernels], attributes(&windows, form.group));
    let exact = form.windows.iter().enumerate().all(|(at, window)| {
        uncovered(window, &input_shape[at + 2], &g_shape[at + 2]).is_some_and(|left| left < window.dilation)
    });
    if !exact {
        let axes: Vec<i64> = (2..rank as i64).collect();
        let sizes: Vec<i64> = form.windows.iter().map(|window| window.kernel as i64).collect();
        gradient = b.graph.first(&gradient, &axes, &sizes);
    }
    Ok(b.graph.transpose(&gradient, &swapped))
}
