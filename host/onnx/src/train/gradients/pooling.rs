//! Pools. Each window of a pool is a row of its elements; a gradient goes back to the element that was largest, or
//! to all alike, and where windows overlap, what reaches an element is added up.
//!
//! Windows that tile the input are rows by a reshape. Others are cut out by a convolution whose kernels have a
//! single 1 each, and its transpose puts the rows' gradients back in their places. ONNX's own indices of `MaxPool`
//! are of no use: few engines give them.

use crate::train::backward::{Backward, Step};
use crate::train::error::TrainError;
use crate::train::node;
use crate::train::shapes::{Shapes, Window};

use super::convolution::attributes;
use super::elementwise::give;

type Done = Result<(), TrainError>;

/// The least of f32's numbers: padding that no element loses to.
const LOWEST: f32 = f32::MIN;

/// A pool's windows and the sizes around it.
struct Pool {
    windows: Vec<Window>,
    input: Vec<usize>,
    output: Vec<usize>,
}

impl Pool {
    fn of(b: &Backward<'_>, step: &Step) -> Result<Self, TrainError> {
        let (x, y) = (step.input(0)?, step.output()?);
        let (input, output) = (b.sizes(step, x, 2)?, b.sizes(step, y, 2)?);
        let kernel = b.shapes.kernel(step.proto());
        let windows = kernel.and_then(|kernel| Shapes::windows(step.proto(), b.shapes.of(x)?, &kernel));
        let windows = windows.ok_or_else(|| step.refuse("its kernel, strides or pads make no window"))?;
        Ok(Self { windows, input, output })
    }

    /// Whether every element of the input is in one window.
    fn tiles(&self) -> bool {
        self.windows.iter().zip(&self.input).all(|(window, &size)| {
            window.stride == window.kernel
                && window.dilation == 1
                && window.pads == (0, 0)
                && size.is_multiple_of(window.kernel)
        })
    }

    fn elements(&self) -> usize {
        self.windows.iter().map(|window| window.kernel).product()
    }

    /// `[-1, 1, output…]`, or with so many channels.
    fn one_channel(&self, sizes: &[usize]) -> Vec<i64> {
        [-1, 1].into_iter().chain(sizes.iter().map(|&size| size as i64)).collect()
    }

    /// `[-1, O₁, K₁, O₂, K₂ …]`: the input with each axis cut into windows.
    fn cut(&self) -> Vec<i64> {
        let cuts = self.output.iter().zip(&self.windows);
        std::iter::once(-1)
            .chain(cuts.flat_map(|(&size, window)| [size as i64, window.kernel as i64]))
            .collect()
    }

    /// From [`cut`](Self::cut) to `[-1, O₁, O₂ …, K₁, K₂ …]`.
    fn rows(&self) -> Vec<usize> {
        let rank = self.windows.len();
        std::iter::once(0)
            .chain((0..rank).map(|at| 2 * at + 1))
            .chain((0..rank).map(|at| 2 * at + 2))
            .collect()
    }

    /// The windows as those of a transposed convolution that gives the input's size, and what it leaves over.
    fn transposed(&self) -> (Vec<Window>, Vec<i64>) {
        let places = self.windows.iter().zip(&self.input).zip(&self.output);
        let each = places.map(|((window, &size), &positions)| {
            let covered = (positions.max(1) - 1) * window.stride + window.span();
            let end = size + window.pads.0;
            let pads = (window.pads.0, covered.saturating_sub(end));
            (Window { pads, ..*window }, end.saturating_sub(covered) as i64)
        });
        each.unzip()
    }

    /// Puts rows back: `rows` is `[-1, elements or 1, output…]`, `kernel` says where each goes.
    fn put_back(&self, b: &mut Backward<'_>, rows: &str, kernel: &str) -> String {
        let (windows, left) = self.transposed();
        let mut attributes = attributes(&windows, 1);
        if left.iter().any(|&left| left > 0) {
            attributes.push(node::with_ints("output_padding", &left));
        }
        b.graph.op("ConvTranspose", &[rows, kernel], attributes)
    }
}

/// `g` goes to the first of the largest elements of its window, as in PyTorch.
pub fn max(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    if step.proto().output.get(1).is_some_and(|name| !name.is_empty()) {
        return Err(step.refuse("it gives indices too; export it without"));
    }
    let pool = Pool::of(b, step)?;
    let x = step.input(0)?;
    let shape = b.shapes.of(x);
    let elements = pool.elements();
    let (depth, off_on) = (b.graph.int(elements as i64), b.graph.floats(&[2], &[0.0, 1.0]));
    if pool.tiles() {
        let order = pool.rows();
        let rank = pool.windows.len();
        let sizes: Vec<i64> = pool.output.iter().map(|&size| size as i64).collect();
        let cut = b.graph.reshape(x, &pool.cut());
        let rows = b.graph.transpose(&cut, &order);
        let rows = b.graph.reshape(&rows, &[&[-1], sizes.as_slice(), &[elements as i64]].concat());
        let last = rank as i64 + 1;
        let largest =
            b.graph.op("ArgMax", &[&rows], vec![node::with_int("axis", last), node::with_int("keepdims", 0)]);
        let hot = b.graph.op("OneHot", &[&largest, &depth, &off_on], vec![node::with_int("axis", -1)]);
        let g = b.graph.reshape(g, &[&[-1], sizes.as_slice(), &[1]].concat());
        let rows = b.graph.mul(&hot, &g);
        let kernels = pool.windows.iter().map(|window| window.kernel as i64);
        let cut: Vec<i64> = [-1].into_iter().chain(sizes.iter().copied()).chain(kernels).collect();
        let rows = b.graph.reshape(&rows, &cut);
        let mut back = vec![0; order.len()];
        for (to, &from) in order.iter().enumerate() {
            back[from] = to;
        }
        let cut = b.graph.transpose(&rows, &back);
        let gradient = b.graph.reshape_like(&cut, x, shape);
        return give(b, step, gradient);
    }
    let (windows, _) = pool.transposed();
    let pads: Vec<(usize, usize)> =
        [(0, 0), (0, 0)].into_iter().chain(windows.iter().map(|window| window.pads)).collect();
    let images = b.graph.reshape(x, &pool.one_channel(&pool.input));
    let images = b.graph.pad(&images, &pads, LOWEST);
    let kernel = single_ones(b, &pool);
    let bare: Vec<Window> = windows.iter().map(|window| Window { pads: (0, 0), ..*window }).collect();
    let rows = b.graph.op("Conv", &[&images, &kernel], attributes(&bare, 1));
    let largest =
        b.graph.op("ArgMax", &[&rows], vec![node::with_int("axis", 1), node::with_int("keepdims", 0)]);
    let hot = b.graph.op("OneHot", &[&largest, &depth, &off_on], vec![node::with_int("axis", 1)]);
    let g = b.graph.reshape(g, &pool.one_channel(&pool.output));
    let rows = b.graph.mul(&hot, &g);
    let images = pool.put_back(b, &rows, &kernel);
    let gradient = b.graph.reshape_like(&images, x, shape);
    give(b, step, gradient)
}

/// One kernel for each element of a window, `[elements, 1, kernel…]`, with a 1 at its place.
fn single_ones(b: &mut Backward<'_>, pool: &Pool) -> String {
    let elements = pool.elements();
    let mut values = vec![0.0; elements * elements];
    values.iter_mut().step_by(elements + 1).for_each(|value| *value = 1.0);
    let dims: Vec<usize> =
        [elements, 1].into_iter().chain(pool.windows.iter().map(|window| window.kernel)).collect();
    b.graph.floats(&dims, &values)
}

/// `g` goes to all elements of its window alike, divided by their number. Padding counts if the node says so.
pub fn average(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let pool = Pool::of(b, step)?;
    let x = step.input(0)?;
    let shape = b.shapes.of(x);
    let elements = pool.elements();
    if pool.tiles() {
        let dims: Vec<usize> =
            std::iter::once(1).chain(pool.windows.iter().flat_map(|window| [1, window.kernel])).collect();
        let share = b.graph.floats(&dims, &vec![1.0 / elements as f32; elements]);
        let cut = pool.output.iter().flat_map(|&size| [size as i64, 1]);
        let g = b.graph.reshape(g, &std::iter::once(-1).chain(cut).collect::<Vec<_>>());
        let cut = b.graph.mul(&g, &share);
        let gradient = b.graph.reshape_like(&cut, x, shape);
        return give(b, step, gradient);
    }
    let with_padding = node::int(step.proto(), "count_include_pad").unwrap_or(0) != 0;
    let mut shares = vec![1.0];
    for ((window, &size), &positions) in pool.windows.iter().zip(&pool.input).zip(&pool.output) {
        let counts: Vec<f32> =
            (0..positions).map(|at| counted(window, size, at, with_padding) as f32).collect();
        shares =
            shares.iter().flat_map(|share| counts.iter().map(move |count| share / count.max(1.0))).collect();
    }
    let dims: Vec<usize> = [1, 1].into_iter().chain(pool.output.iter().copied()).collect();
    let shares = b.graph.floats(&dims, &shares);
    let dims: Vec<usize> =
        [1, 1].into_iter().chain(pool.windows.iter().map(|window| window.kernel)).collect();
    let ones = b.graph.floats(&dims, &vec![1.0; elements]);
    let g = b.graph.reshape(g, &pool.one_channel(&pool.output));
    let rows = b.graph.mul(&g, &shares);
    let images = pool.put_back(b, &rows, &ones);
    let gradient = b.graph.reshape_like(&images, x, shape);
    give(b, step, gradient)
}

/// How many elements of a window at position `at` count.
fn counted(window: &Window, size: usize, at: usize, with_padding: bool) -> usize {
    let inside = |element: &usize| {
        let place = at * window.stride + element * window.dilation;
        match with_padding {
            true => place < size + window.pads.0 + window.pads.1,
            false => place >= window.pads.0 && place < size + window.pads.0,
        }
    };
    (0..window.kernel).filter(inside).count()
}

/// `dx = g / elements`, everywhere.
pub fn global_average(b: &mut Backward<'_>, step: &Step, g: &str) -> Done {
    let x = step.input(0)?;
    let shape = b.shape(step, x)?;
    super::reduction::spread_mean(b, step, g, &(2..shape.len()).collect::<Vec<_>>())
}
