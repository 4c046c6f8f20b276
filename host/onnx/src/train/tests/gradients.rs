//! Every operator's gradient against central differences, computed by rten.
//!
//! The operator under test reads `a = x · wa`, so that `wa` has its input's gradient in it, weighted by `x`; its
//! other operands are weights themselves. The loss is the mean squared difference to numbers without a pattern.

use super::*;

/// What the operands are like.
#[derive(Clone, Copy)]
enum Range {
    /// -1 to 1.
    Any,
    /// 0.5 to 1.5.
    Positive,
    /// Off zero: 0.4 to 1.4 or the negative of that.
    OffZero,
    /// All different by much, `wa` all 1: for operators that choose.
    Apart,
}
use Range::*;

struct Case {
    nodes: &'static str,
    /// Of one sample.
    x: &'static [usize],
    weights: &'static [(&'static str, &'static [usize])],
    range: Range,
    opset: i64,
}

const fn case(
    nodes: &'static str,
    x: &'static [usize],
    weights: &'static [(&'static str, &'static [usize])],
    range: Range,
) -> Case {
    Case { nodes, x, weights, range, opset: 17 }
}

const fn at(opset: i64, case: Case) -> Case {
    Case { opset, ..case }
}

const BATCH_SIZE: usize = 3;

fn values(numbers: &mut Numbers, count: usize, range: Range) -> Vec<f32> {
    match range {
        Any => numbers.many(count),
        Positive => numbers.many(count).into_iter().map(|value| 1.0 + value / 2.0).collect(),
        OffZero => numbers.many(count).into_iter().map(|value| value + 0.4f32.copysign(value)).collect(),
        Apart => {
            let mut order: Vec<usize> = (0..count).collect();
            for at in (1..count).rev() {
                order.swap(at, numbers.below(at as u64 + 1) as usize);
            }
            order.into_iter().map(|at| at as f32 * 0.1 - count as f32 * 0.05 + 0.03).collect()
        }
    }
}

/// The largest difference between the graph's gradients and central differences, relative to the largest gradient.
fn check(case: &Case) {
    let mut numbers = Numbers(7);
    let per_sample: usize = case.x.iter().product();
    let shape: Vec<i64> = std::iter::once(-1).chain(case.x.iter().map(|&size| size as i64)).collect();
    let wa: Vec<usize> = std::iter::once(1).chain(case.x.iter().copied()).collect();
    let wa_values = match case.range {
        Apart => vec![1.0; per_sample],
        Any => numbers.many(per_sample),
        Positive | OffZero => values(&mut numbers, per_sample, Positive),
    };
    let mut net = Net::new(&shape).opset(case.opset).weight("wa", &wa, wa_values);
    for (name, shape) in case.weights {
        let range = if matches!(case.range, Apart) { Any } else { case.range };
        net = net.weight(name, shape, values(&mut numbers, shape.iter().product(), range));
    }
    let net = net.nodes("a = Mul(x, wa)").nodes(case.nodes);
    let made = trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd))
        .unwrap_or_else(|error| panic!("{}: {error}", case.nodes));
    assert_eq!(made.weights.len(), case.weights.len() + 1, "{}: all are trained", case.nodes);

    let x = values(&mut numbers, BATCH_SIZE * per_sample, case.range);
    let x = (std::iter::once(BATCH_SIZE).chain(case.x.iter().copied()).collect::<Vec<_>>(), x);
    let infer = Engine::load(&made.infer);
    let forward = |weights: &[Weight]| -> Array {
        let mut inputs = weight_inputs(weights);
        inputs.push(("x".to_owned(), Input::Floats(x.clone())));
        infer.run(&inputs).remove("y").unwrap()
    };
    let (y_shape, y) = forward(&made.weights);
    let labels: Vec<f32> = numbers.many(y.len());
    let loss = |weights: &[Weight]| -> f64 {
        let (_, y) = forward(weights);
        let square = |(y, label): (&f32, &f32)| (f64::from(*y) - f64::from(*label)).powi(2);
        y.iter().zip(&labels).map(square).sum::<f64>() / y.len() as f64
    };
    let flat = y_shape.iter().skip(1).all(|&size| size == 1);
    let y_shape = if flat { vec![BATCH_SIZE] } else { y_shape };

    const LR: f32 = 1e4;
    let mut after = made.weights.clone();
    let train = Engine::load(&made.train);
    let told = step(&train, &mut after, &x, &Input::Floats((y_shape, labels.clone())), LR);
    assert!(
        (f64::from(told) - loss(&made.weights)).abs() < 1e-4 * f64::from(told).max(1.0),
        "{}: loss",
        case.nodes
    );

    let h = if matches!(case.range, Apart) { 2e-3 } else { 1e-2 };
    for (at, weight) in made.weights.iter().enumerate() {
        let gradient = weight.values.iter().zip(&after[at].values).map(|(old, new)| (old - new) / LR);
        let gradient: Vec<f32> = gradient.collect();
        let scale = gradient.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
        for (index, found) in gradient.iter().enumerate() {
            let moved = |by: f32| {
                let mut weights = made.weights.clone();
                weights[at].values[index] += by;
                (loss(&weights), weights[at].values[index])
            };
            let ((up, high), (down, low)) = (moved(h), moved(-h));
            let expected = ((up - down) / f64::from(high - low)) as f32;
            assert!(
                (found - expected).abs() <= 4e-3 * scale,
                "{}\n  d loss / d {}[{index}] is {expected}, the graph says {found}",
                case.nodes,
                weight.name
            );
        }
    }
}

fn check_all(cases: &[Case]) {
    for case in cases {
        println!("{}", case.nodes);
        check(case);
    }
}

#[test]
fn arithmetic_with_broadcasting() {
    check_all(&[
        case("y = Add(a, b)", &[4], &[("b", &[4])], Any),
        case("y = Add(b, a)", &[2, 4], &[("b", &[2, 1])], Any),
        case("y = Sub(a, b)", &[2, 4], &[("b", &[1, 2, 1])], Any),
        case("y = Sub(b, a)", &[2, 4], &[("b", &[2, 4])], Any),
        case("y = Mul(a, b)", &[2, 4], &[("b", &[4])], Any),
        case("y = Mul(b, a)", &[1, 4], &[("b", &[3, 1])], Any),
        case("y = Mul(a, a)", &[4], &[], Any),
        case("y = Div(a, b)", &[2, 4], &[("b", &[2, 1])], Positive),
        case("y = Div(b, a)", &[2, 4], &[("b", &[4])], Positive),
        case("s = Add(a, b)\ny = Mul(s, a)", &[4], &[("b", &[1, 4])], Any),
        case("y = Sum(a, b, c)", &[2, 3], &[("b", &[3]), ("c", &[2, 1])], Any),
        case("s = ReduceSum(a, [1]) keepdims=1\ny = Div(a, s)", &[5], &[], Positive),
        case("g = Greater(a, {0.0})\ny = Where(g, b, a)", &[2, 3], &[("b", &[3])], OffZero),
    ]);
}

/// Which axes were broadcast shows only when a shape that the graph computes is there.
#[test]
fn broadcasting_that_is_told_at_run_time() {
    let cases = [
        case("s = Max([1, 4], [1, 1])\nk = Reshape(b, s)\ny = Mul(a, k)", &[4], &[("b", &[4])], Any),
        case("s = Max([2, 1], [1, 1])\nk = Reshape(b, s)\ny = Add(a, k)", &[2, 3], &[("b", &[2])], Any),
        case("s = Max([2, 3], [1, 1])\nk = Reshape(b, s)\ny = Sub(k, a)", &[2, 3], &[("b", &[6])], Any),
    ];
    for case in &cases {
        let weights =
            case.weights.iter().map(|(name, shape)| (name, shape, vec![1.0; shape.iter().product()]));
        let shape: Vec<i64> = std::iter::once(-1).chain(case.x.iter().map(|&size| size as i64)).collect();
        let net = weights.fold(Net::new(&shape).nodes("a = Identity(x)"), |net, (name, shape, values)| {
            net.weight(name, shape, values)
        });
        let made = trainable(net.nodes(case.nodes).model(), &options(Loss::Mse, Optimizer::Sgd)).unwrap();
        let nodes = &made.train.graph.unwrap().node;
        assert!(nodes.iter().any(|node| node::op(node) == "NonZero"), "{}: told beforehand", case.nodes);
    }
    check_all(&cases);
}

#[test]
fn functions() {
    check_all(&[
        case("y = Exp(a)", &[4], &[], Any),
        case("y = Log(a)", &[4], &[], Positive),
        case("y = Sqrt(a)", &[4], &[], Positive),
        case("y = Pow(a, {2.0})", &[4], &[], Any),
        case("y = Pow(a, {3.0})", &[4], &[], OffZero),
        case("y = Pow(a, {0.5})", &[4], &[], Positive),
        case("y = Neg(a)", &[4], &[], Any),
        case("y = Abs(a)", &[4], &[], OffZero),
        case("y = Erf(a)", &[4], &[], Any),
        case("y = Reciprocal(a)", &[4], &[], Positive),
        case("y = Sin(a)", &[4], &[], Any),
        case("y = Cos(a)", &[4], &[], Any),
        case("y = Clip(a, {-0.45}, {0.45})", &[9], &[], Apart),
        case("y = Clip(a, , {0.45})", &[9], &[], Apart),
    ]);
}

#[test]
fn activations() {
    check_all(&[
        case("y = Relu(a)", &[5], &[], OffZero),
        case("y = LeakyRelu(a) alpha=0.2", &[5], &[], OffZero),
        case("y = LeakyRelu(a)", &[5], &[], OffZero),
        case("y = PRelu(a, b)", &[3, 4], &[("b", &[3, 1])], OffZero),
        case("y = Elu(a) alpha=0.7", &[5], &[], OffZero),
        case("y = Sigmoid(a)", &[5], &[], Any),
        case("y = Tanh(a)", &[5], &[], Any),
        case("y = Softplus(a)", &[5], &[], Any),
        case("y = HardSigmoid(a) alpha=0.3 beta=0.4", &[9], &[], Apart),
        case("s = Mul(a, {4.0})\ny = HardSwish(s)", &[9], &[], Apart),
        case("y = Softmax(a)", &[5], &[], Any),
        case("y = Softmax(a) axis=1", &[3, 4], &[], Any),
        case("y = LogSoftmax(a) axis=-1", &[3, 4], &[], Any),
        at(20, case("y = Gelu(a)", &[5], &[], Any)),
        at(20, case("y = Gelu(a) approximate=tanh", &[5], &[], Any)),
        at(11, case("y = Softmax(a) axis=2", &[3, 4], &[], Any)),
    ]);
}

#[test]
fn products_of_matrices() {
    check_all(&[
        case("y = MatMul(a, b)", &[4], &[("b", &[4, 5])], Any),
        case("y = MatMul(a, b)", &[2, 4], &[("b", &[4, 5])], Any),
        case("y = MatMul(b, a)", &[4, 2], &[("b", &[3, 4])], Any),
        case("t = Transpose(a) perm=0,2,1\ny = MatMul(a, t)", &[2, 3], &[], Any),
        case("y = MatMul(a, b)", &[2, 2, 4], &[("b", &[2, 4, 3])], Any),
        case("y = MatMul(a, b)", &[4], &[("b", &[4])], Any),
        case("y = MatMul(b, a)", &[4, 3], &[("b", &[4])], Any),
        case("y = Gemm(a, b, c)", &[4], &[("b", &[4, 3]), ("c", &[3])], Any),
        case("y = Gemm(a, b, c) transB=1", &[4], &[("b", &[3, 4]), ("c", &[1, 3])], Any),
        case("y = Gemm(a, b, c) alpha=0.5 beta=2.0", &[4], &[("b", &[4, 3]), ("c", &[1])], Any),
        case("t = Transpose(a)\ny = Gemm(t, b) transA=1 transB=1 alpha=0.5", &[4], &[("b", &[3, 4])], Any),
        case("t = Transpose(a)\ny = Gemm(t, b) transA=1", &[4], &[("b", &[4, 3])], Any),
    ]);
}

#[test]
fn convolutions() {
    check_all(&[
        case("y = Conv(a, b, c)", &[2, 5, 4], &[("b", &[3, 2, 3, 2]), ("c", &[3])], Any),
        case("y = Conv(a, b) strides=2,2", &[2, 6, 7], &[("b", &[3, 2, 3, 2])], Any),
        case("y = Conv(a, b) pads=1,2,0,1", &[2, 5, 5], &[("b", &[3, 2, 3, 3])], Any),
        case("y = Conv(a, b) dilations=2,2 pads=1,1,1,1", &[2, 6, 6], &[("b", &[3, 2, 3, 2])], Any),
        case(
            "y = Conv(a, b) strides=3,2 dilations=2,1 pads=2,1,1,2",
            &[1, 9, 8],
            &[("b", &[2, 1, 3, 3])],
            Any,
        ),
        case(
            "y = Conv(a, b, c) group=2 strides=2,1 pads=1,1,1,1",
            &[4, 5, 5],
            &[("b", &[6, 2, 3, 3]), ("c", &[6])],
            Any,
        ),
        case("y = Conv(a, b) group=3 pads=1,1,1,1", &[3, 4, 4], &[("b", &[3, 1, 3, 3])], Any),
        case("y = Conv(a, b) auto_pad=SAME_UPPER strides=2,2", &[2, 5, 6], &[("b", &[3, 2, 3, 3])], Any),
        case("y = Conv(a, b) auto_pad=SAME_LOWER", &[2, 5, 4], &[("b", &[3, 2, 2, 2])], Any),
        case("y = Conv(a, b, c) strides=2, pads=1,0", &[2, 7], &[("b", &[3, 2, 3]), ("c", &[3])], Any),
    ]);
}

#[test]
fn transposed_convolutions() {
    check_all(&[
        case("y = ConvTranspose(a, b, c)", &[2, 3, 4], &[("b", &[2, 3, 3, 2]), ("c", &[3])], Any),
        case(
            "y = ConvTranspose(a, b) strides=2,2 pads=1,1,1,1 output_padding=1,1",
            &[2, 3, 4],
            &[("b", &[2, 3, 3, 3])],
            Any,
        ),
        case("y = ConvTranspose(a, b) strides=2,3 dilations=2,1", &[2, 3, 3], &[("b", &[2, 2, 2, 3])], Any),
        case(
            "y = ConvTranspose(a, b, c) group=2 strides=2,2",
            &[4, 3, 3],
            &[("b", &[4, 3, 2, 2]), ("c", &[6])],
            Any,
        ),
        case("y = ConvTranspose(a, b) strides=2,", &[2, 4], &[("b", &[2, 3, 3])], Any),
    ]);
}

#[test]
fn pools() {
    check_all(&[
        case("y = MaxPool(a) kernel_shape=2,2 strides=2,2", &[2, 4, 6], &[], Apart),
        case("y = MaxPool(a) kernel_shape=3,3 strides=2,2 pads=1,1,1,1", &[2, 5, 6], &[], Apart),
        case("y = MaxPool(a) kernel_shape=2,3", &[1, 4, 5], &[], Apart),
        case("y = MaxPool(a) kernel_shape=2,2 strides=2,2", &[1, 5, 5], &[], Apart),
        case("y = MaxPool(a) kernel_shape=3,3 strides=2,2 ceil_mode=1", &[1, 6, 6], &[], Apart),
        case("y = MaxPool(a) kernel_shape=3,3 strides=2,2 auto_pad=SAME_UPPER", &[1, 5, 6], &[], Apart),
        case("y = MaxPool(a) kernel_shape=2, strides=2,", &[2, 6], &[], Apart),
        case("y = AveragePool(a) kernel_shape=2,2 strides=2,2", &[2, 4, 6], &[], Any),
        case("y = AveragePool(a) kernel_shape=3,3 strides=2,2 pads=1,1,1,1", &[2, 5, 6], &[], Any),
        case("y = AveragePool(a) kernel_shape=3,2 pads=1,1,1,0 count_include_pad=1", &[2, 5, 4], &[], Any),
        case("y = AveragePool(a) kernel_shape=2,2 strides=3,2", &[1, 7, 5], &[], Any),
        case("y = AveragePool(a) kernel_shape=3, strides=2,", &[2, 7], &[], Any),
        case("y = GlobalAveragePool(a)", &[3, 4, 5], &[], Any),
    ]);
}

#[test]
fn normalisation_over_the_last_axes() {
    check_all(&[
        case("y = LayerNormalization(a, b, c)", &[6], &[("b", &[6]), ("c", &[6])], Any),
        case(
            "y = LayerNormalization(a, b, c) axis=-2 epsilon=0.01",
            &[3, 4],
            &[("b", &[3, 4]), ("c", &[3, 4])],
            Any,
        ),
        case("y = LayerNormalization(a, b) axis=2", &[3, 4], &[("b", &[4])], Any),
    ]);
}

#[test]
fn reductions() {
    check_all(&[
        case("y = ReduceMean(a) axes=1,", &[3, 4], &[], Any),
        case("y = ReduceMean(a) axes=-1,-2 keepdims=0", &[3, 4], &[], Any),
        at(18, case("y = ReduceMean(a, [2]) keepdims=0", &[3, 4], &[], Any)),
        case("y = ReduceSum(a, [1])", &[3, 4], &[], Any),
        case("y = ReduceSum(a, [1, 2]) keepdims=0", &[3, 4], &[], Any),
        at(12, case("y = ReduceSum(a) axes=1, keepdims=0", &[3, 4], &[], Any)),
        case("m = ReduceMean(a) axes=0,\ny = Sub(a, m)", &[4], &[], Any),
        case("m = ReduceMean(a) keepdims=0\ny = Mul(a, m)", &[4], &[], Any),
    ]);
}

#[test]
fn movements() {
    check_all(&[
        case("y = Flatten(a)", &[2, 3], &[], Any),
        case("y = Reshape(a, [-1, 6])", &[2, 3], &[], Any),
        case("y = Reshape(a, [0, 3, -1])", &[2, 6], &[], Any),
        case(
            "s = Shape(a)\nn = Gather(s, [0])\nt = Concat(n, [-1]) axis=0\ny = Reshape(a, t)",
            &[2, 3],
            &[],
            Any,
        ),
        case("y = Transpose(a) perm=0,2,1", &[2, 3], &[], Any),
        case("t = Transpose(a) perm=2,0,1\ny = Transpose(t) perm=1,2,0", &[2, 3], &[], Any),
        case("u = Unsqueeze(a, [1, 3])\ny = Squeeze(u, [1])", &[2], &[], Any),
        at(11, case("u = Unsqueeze(a) axes=1,\ny = Squeeze(u) axes=1,", &[2], &[], Any)),
        case("y = Identity(a)", &[3], &[], Any),
        case("y = Cast(a) to=1", &[3], &[], Any),
        case("y = Expand(a, [1, 3, 4])", &[1, 4], &[], Any),
    ]);
}

#[test]
fn parts() {
    check_all(&[
        case("y = Concat(a, a) axis=1", &[3], &[], Any),
        case("n = Neg(a)\ny = Concat(n, a) axis=-1", &[2, 3], &[], Any),
        case("y = Slice(a, [1], [3], [1])", &[4], &[], Any),
        case("y = Slice(a, [-3, 0], [9223372036854775807, 2], [2, 1])", &[3, 4], &[], Any),
        case("y = Slice(a, [0], [7], [1], [2])", &[7], &[], Any),
        case("y = Slice(a, [1], [8], [1], [3])", &[8, 2], &[], Any),
        case("y = Slice(a, [-1], [-9223372036854775807], [1], [-1])", &[4], &[], Any),
        case("y = Slice(a, [4], [0], [1], [-2])", &[5], &[], Any),
        case("p, q = Split(a, [2, 3]) axis=1\nr = Mul(q, {2.0})\ny = Concat(r, p) axis=1", &[5], &[], Any),
        case("p, q = Split(a) axis=1\ny = Mul(p, {3.0})", &[4], &[], Any),
        case("y = Pad(a, [0, 1, 0, 2])", &[3], &[], Any),
        case("y = Pad(a, [0, -1, 1, 0, 0, 2], {0.5})", &[3, 2], &[], Any),
        case("y = Gather(a, [2, 0, 2]) axis=1", &[3], &[], Any),
        case("y = Gather(a, <1>) axis=1", &[3, 2], &[], Any),
        case("y = Gather(a, [1, -1]) axis=2", &[3, 4], &[], Any),
    ]);
}
