//! Convolutions and pools: windows that move over the axes behind batch and channel.

use crate::proto::NodeProto;
use crate::train::dim::{Dim, Shape, sizes};
use crate::train::node;

use super::{Shapes, axis};

/// How a window moves over one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Elements of the window.
    pub kernel: usize,
    /// From one position to the next.
    pub stride: usize,
    /// From one element of the window to the next.
    pub dilation: usize,
    /// Elements added before and behind.
    pub pads: (usize, usize),
}

impl Window {
    /// From the first element that the window covers to the last.
    pub fn span(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }
}

/// Largest kernel, stride, dilation and padding of an axis that is believed.
const MAX_STEP: usize = 1 << 20;

impl Shapes {
    /// The windows of a convolution or pool over `input`, whose kernel is `kernel`; none where the file does not
    /// fix them. Padding that is to keep the size (`SAME_…`) depends on the input's size unless the stride is 1.
    pub fn windows(node: &NodeProto, input: &[Dim], kernel: &[usize]) -> Option<Vec<Window>> {
        let spatial = input.get(2..)?;
        let given = |name: &str| -> Option<Option<Vec<usize>>> {
            let Some(values) = node::ints(node, name).filter(|values| !values.is_empty()) else {
                return Some(None);
            };
            let bounded = |&value: &i64| usize::try_from(value).ok().filter(|&value| value <= MAX_STEP);
            values.iter().map(bounded).collect::<Option<Vec<_>>>().map(Some)
        };
        let (strides, dilations, pads) = (given("strides")?, given("dilations")?, given("pads")?);
        let rank = kernel.len();
        let of = |values: &Option<Vec<usize>>, at: usize, or: usize| {
            values.as_ref().map_or(Some(or), |values| values.get(at).copied())
        };
        let auto = node::text(node, "auto_pad");
        let mut windows = Vec::with_capacity(rank);
        for at in 0..rank {
            let mut window = Window {
                kernel: kernel[at],
                stride: of(&strides, at, 1)?,
                dilation: of(&dilations, at, 1)?,
                pads: (0, 0),
            };
            if window.kernel == 0 || window.kernel > MAX_STEP || window.stride == 0 || window.dilation == 0 {
                return None;
            }
            window.pads = match auto {
                "" | "NOTSET" => (of(&pads, at, 0)?, of(&pads, at + rank, 0)?),
                "VALID" => (0, 0),
                "SAME_UPPER" | "SAME_LOWER" => {
                    let total = match (window.stride, spatial.get(at)?.size()) {
                        (1, _) => window.span() - 1,
                        (stride, Some(size)) => {
                            let positions = size.div_ceil(stride);
                            (positions.checked_sub(1)? * stride + window.span()).saturating_sub(size)
                        }
                        _ => return None,
                    };
                    let less = total / 2;
                    if auto == "SAME_UPPER" { (less, total - less) } else { (total - less, less) }
                }
                _ => return None,
            };
            windows.push(window);
        }
        (spatial.len() == rank).then_some(windows)
    }

    /// The sizes of a convolution's or pool's kernel.
    pub fn kernel(&self, node: &NodeProto) -> Option<Vec<usize>> {
        if let Some(values) = node::ints(node, "kernel_shape").filter(|values| !values.is_empty()) {
            return values.iter().map(|&value| usize::try_from(value).ok()).collect();
        }
        sizes(self.of(node::input(node, 1)?)?.get(2..)?)
    }

    pub(super) fn conv(&mut self, node: &NodeProto) -> Option<Shape> {
        let (x, w) = (self.input(node, 0)?, self.input(node, 1)?);
        let mut shape = vec![x.first()?.clone(), w.first()?.clone()];
        let windows = self.kernel(node).and_then(|kernel| Self::windows(node, &x, &kernel));
        for (at, dim) in x.iter().enumerate().skip(2) {
            let window = windows.as_ref().map(|windows| windows[at - 2]);
            shape.push(self.positions(dim, window, false));
        }
        Some(shape)
    }

    pub(super) fn pool(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        let windows = self.kernel(node).and_then(|kernel| Self::windows(node, &x, &kernel));
        let ceil = node::int(node, "ceil_mode").unwrap_or(0) != 0;
        let mut shape = x.get(..2)?.to_vec();
        for (at, dim) in x.iter().enumerate().skip(2) {
            let window = windows.as_ref().map(|windows| windows[at - 2]);
            shape.push(self.positions(dim, window, ceil));
        }
        Some(shape)
    }

    /// How many positions a window has on an axis of that size.
    fn positions(&mut self, dim: &Dim, window: Option<Window>, ceil: bool) -> Dim {
        let Some(window) = window else { return self.unknown() };
        let padding = window.pads.0 + window.pads.1;
        match dim.size() {
            Some(size) => match (size + padding).checked_sub(window.span()) {
                Some(room) if ceil => {
                    let positions = room.div_ceil(window.stride) + 1;
                    // A window that would begin in the padding behind does not count.
                    let outside = (positions - 1) * window.stride >= size + window.pads.0;
                    Dim::known(positions - usize::from(outside))
                }
                Some(room) => Dim::known(room / window.stride + 1),
                None => self.unknown(),
            },
            None if window.stride == 1 && padding + 1 == window.span() => dim.clone(),
            None => self.unknown(),
        }
    }

    /// Input · stride, less what the padding takes: the inverse of a convolution's size.
    pub(super) fn conv_transpose(&mut self, node: &NodeProto) -> Option<Shape> {
        let (x, w) = (self.input(node, 0)?, self.input(node, 1)?);
        let group = Dim::known(usize::try_from(node::int(node, "group").unwrap_or(1)).ok()?);
        let mut shape = vec![x.first()?.clone(), w.get(1)?.times(&group)?];
        let fixed = node::ints(node, "output_shape").filter(|values| !values.is_empty());
        let more = node::ints(node, "output_padding").unwrap_or_default();
        let kernel = self.kernel(node);
        let windows = kernel.and_then(|kernel| Self::transposed_windows(node, &x, &kernel));
        for (at, dim) in x.iter().enumerate().skip(2) {
            let at = at - 2;
            let size = match (fixed, &windows, dim.size()) {
                (Some(fixed), _, _) => usize::try_from(*fixed.get(at)?).ok(),
                (None, Some(windows), Some(size)) => {
                    let window = windows[at];
                    let more = usize::try_from(more.get(at).copied().unwrap_or(0)).ok()?;
                    (size.saturating_sub(1) * window.stride + window.span() + more)
                        .checked_sub(window.pads.0 + window.pads.1)
                }
                _ => None,
            };
            shape.push(size.map_or_else(|| self.unknown(), Dim::known));
        }
        Some(shape)
    }

    /// The windows of a transposed convolution: as those of the convolution whose gradient it is.
    pub fn transposed_windows(node: &NodeProto, input: &[Dim], kernel: &[usize]) -> Option<Vec<Window>> {
        if matches!(node::text(node, "auto_pad"), "" | "NOTSET" | "VALID") {
            Self::windows(node, input, kernel)
        } else {
            None
        }
    }

    pub(super) fn global_pool(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        Some(x.iter().enumerate().map(|(at, dim)| if at < 2 { dim.clone() } else { Dim::known(1) }).collect())
    }

    /// The axes that a reduction takes away, from attribute or input; all where it names none.
    pub fn reduced_axes(&self, node: &NodeProto, rank: usize) -> Option<Vec<usize>> {
        let axes = match (node::ints(node, "axes"), node::input(node, 1)) {
            (Some(axes), _) => axes.to_vec(),
            (None, Some(name)) => self.ints(name)?,
            (None, None) => vec![],
        };
        if axes.is_empty() {
            let none = node::int(node, "noop_with_empty_axes").unwrap_or(0) != 0;
            return Some(if none { vec![] } else { (0..rank).collect() });
        }
        let mut axes = axes.into_iter().map(|at| axis(at, rank)).collect::<Option<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        Some(axes)
    }

    pub(super) fn reduced(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        let axes = self.reduced_axes(node, x.len())?;
        let keep = node::int(node, "keepdims").unwrap_or(1) != 0;
        Some(without(&x, &axes, keep))
    }

    pub(super) fn arg(&mut self, node: &NodeProto) -> Option<Shape> {
        let x = self.input(node, 0)?;
        let axes = [axis(node::int(node, "axis").unwrap_or(0), x.len())?];
        Some(without(&x, &axes, node::int(node, "keepdims").unwrap_or(1) != 0))
    }
}

fn without(shape: &[Dim], axes: &[usize], keep: bool) -> Shape {
    let dims = shape.iter().enumerate();
    dims.filter(|(at, _)| keep || !axes.contains(at))
        .map(|(at, dim)| if axes.contains(&at) { Dim::known(1) } else { dim.clone() })
        .collect()
}
