//! Whole models: they learn, what is frozen stays, and the graphs keep the contract of `wit/worker.wit`.

use super::*;

const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

/// A CNN with batch normalisation and dropout for images of 6×6 and three classes.
fn cnn() -> Net {
    let mut numbers = Numbers(3);
    let mut weight = |net: Net, name: &str, shape: &[usize], scale: f32| {
        let values = numbers.many(shape.iter().product()).into_iter().map(|value| value * scale).collect();
        net.weight(name, shape, values)
    };
    let net = weight(Net::new(&[-1, 1, 6, 6]), "conv.weight", &[4, 1, 3, 3], 0.5);
    let net = weight(net, "dense.weight", &[3, 36], 0.3);
    net.weight("conv.bias", &[4], vec![0.0; 4])
        .weight("norm.weight", &[4], vec![1.0; 4])
        .weight("norm.bias", &[4], vec![0.0; 4])
        .weight("norm.mean", &[4], vec![0.0; 4])
        .weight("norm.var", &[4], vec![1.0; 4])
        .weight("dense.bias", &[3], vec![0.0; 3])
        .nodes(
            "c = Conv(x, conv.weight, conv.bias) pads=1,1,1,1
             n = BatchNormalization(c, norm.weight, norm.bias, norm.mean, norm.var) momentum=0.8
             r = Relu(n)
             p = MaxPool(r) kernel_shape=2,2 strides=2,2
             d = Dropout(p, {0.25})
             f = Flatten(d)
             z = Gemm(f, dense.weight, dense.bias) transB=1
             y = Softmax(z)",
        )
}

/// Images with a bright bar: its place says which class.
fn bars(count: usize, seed: u64) -> (Array, Vec<i32>) {
    let mut numbers = Numbers(seed);
    let (mut x, mut y) = (vec![], vec![]);
    for _ in 0..count {
        let class = numbers.below(3) as usize;
        for row in 0..6 {
            x.extend((0..6).map(|_| numbers.next() * 0.3 + if row / 2 == class { 1.0 } else { 0.0 }));
        }
        y.push(class as i32);
    }
    ((vec![count, 1, 6, 6], x), y)
}

/// Loss and right answers.
fn evaluate(made: &Trainable, weights: &[Weight], x: &Array, y: &[i32]) -> (f32, f32) {
    let engine = Engine::load(&made.evaluate);
    let mut inputs =
        vec![("x".to_owned(), Input::Floats(x.clone())), ("y".to_owned(), Input::Classes(y.to_vec()))];
    let taken: HashSet<&str> = made.evaluate.graph.as_ref().unwrap().input.iter().map(name_of).collect();
    inputs.extend(weight_inputs(weights).into_iter().filter(|(name, _)| taken.contains(name.as_str())));
    let outputs = engine.run(&inputs);
    (outputs["loss_sum"].1[0] / y.len() as f32, outputs["correct"].1[0])
}

#[test]
fn a_cnn_learns_in_a_few_dozen_steps() {
    let made = trainable(cnn().model(), &options(Loss::SoftmaxCrossEntropy, ADAM)).unwrap();
    let engine = Engine::load(&made.train);
    let mut weights = made.weights.clone();
    let test = bars(60, 99);
    let (first, _) = evaluate(&made, &weights, &test.0, &test.1);
    for batch in 0..40 {
        let (x, y) = bars(16, batch);
        step(&engine, &mut weights, &x, &Input::Classes(y), 0.02);
    }
    let (last, right) = evaluate(&made, &weights, &test.0, &test.1);
    assert!(last < 0.3 * first, "the loss went from {first} to {last}");
    assert!(right >= 57.0, "{right} of 60 are right");
    let steps = weights.iter().find(|weight| weight.name == "dropout.step").unwrap();
    assert_eq!((steps.role, &steps.values[..]), (Role::State, &[40.0][..]));
}

#[test]
fn running_statistics_follow_the_batches() {
    let net = Net::new(&[-1, 2])
        .weight("s", &[2], vec![1.0, 1.0])
        .weight("b", &[2], vec![0.0, 0.0])
        .weight("mean", &[2], vec![1.0, 0.0])
        .weight("var", &[2], vec![2.0, 1.0])
        .nodes("y = BatchNormalization(x, s, b, mean, var) momentum=0.75");
    let made = trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd)).unwrap();
    let roles: Vec<_> = made.weights.iter().map(|weight| (weight.name.as_str(), weight.role)).collect();
    let expected =
        [("s", Role::Trained), ("b", Role::Trained), ("mean", Role::Statistic), ("var", Role::Statistic)];
    assert_eq!(roles, expected);
    let mut weights = made.weights.clone();
    // Means 2 and 4; variances 2/3 and 8/3, unbiased 1 and 4.
    let x = (vec![3, 2], vec![1.0, 2.0, 2.0, 4.0, 3.0, 6.0]);
    step(&Engine::load(&made.train), &mut weights, &x, &Input::Floats((vec![3, 2], vec![0.0; 6])), 0.1);
    assert_eq!(weights[2].values, [0.75 + 0.25 * 2.0, 0.25 * 4.0]);
    let variance = [0.75 * 2.0 + 0.25, 0.75 + 0.25 * 4.0];
    assert!(
        weights[3]
            .values
            .iter()
            .zip(variance)
            .all(|(found, expected): (&f32, f32)| (found - expected).abs() < 1e-5)
    );
}

#[test]
fn gradients_of_batch_normalisation_are_those_of_the_batch() {
    // Against central differences of the training graph's own loss: its gradient comes from the batch's statistics.
    let net = Net::new(&[-1, 2, 3])
        .weight("w", &[1, 2, 3], vec![0.5, 1.0, -0.7, 0.3, 0.9, 1.2])
        .weight("s", &[2], vec![1.5, 0.7])
        .weight("b", &[2], vec![0.1, -0.2])
        .weight("mean", &[2], vec![0.0, 0.0])
        .weight("var", &[2], vec![1.0, 1.0])
        .nodes("a = Mul(x, w)\nn = BatchNormalization(a, s, b, mean, var) epsilon=0.1\ny = Tanh(n)");
    let made = trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd)).unwrap();
    let engine = Engine::load(&made.train);
    let mut numbers = Numbers(5);
    let (x, y) = ((vec![4, 2, 3], numbers.many(24)), Input::Floats((vec![4, 2, 3], numbers.many(24))));
    let loss = |weights: &[Weight]| step(&engine, &mut weights.to_vec(), &x, &y, 0.0);
    let mut after = made.weights.clone();
    step(&engine, &mut after, &x, &y, 1e4);
    for at in 0..3 {
        for index in 0..made.weights[at].values.len() {
            let moved = |by: f32| {
                let mut weights = made.weights.clone();
                weights[at].values[index] += by;
                loss(&weights)
            };
            let expected = (moved(0.02) - moved(-0.02)) / 0.04;
            let found = (made.weights[at].values[index] - after[at].values[index]) / 1e4;
            assert!(
                (found - expected).abs() < 2e-4,
                "{}[{index}]: {found}, not {expected}",
                made.weights[at].name
            );
        }
    }
}

#[test]
fn frozen_weights_stay_constants_and_frozen_statistics_normalise() {
    let options = Options {
        freeze: vec!["conv.*".into(), "norm.*".into()],
        ..options(Loss::SoftmaxCrossEntropy, Optimizer::Sgd)
    };
    let made = trainable(cnn().model(), &options).unwrap();
    let names: Vec<_> = made.weights.iter().map(|weight| weight.name.as_str()).collect();
    assert_eq!(names, ["dense.weight", "dense.bias", "dropout.step"]);
    assert_eq!(
        made.frozen,
        ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "norm.mean", "norm.var"]
    );
    let graph = made.train.graph.as_ref().unwrap();
    assert!(
        graph.node.iter().any(|node| node::op(node) == "BatchNormalization"),
        "by the running statistics"
    );
    assert!(
        !graph.node.iter().any(|node| node::op(node) == "ConvTranspose"),
        "nothing goes back past the dense layer"
    );
    let mut weights = made.weights.clone();
    let (x, y) = bars(8, 1);
    let loss = step(&Engine::load(&made.train), &mut weights, &x, &Input::Classes(y), 0.1);
    assert!(loss.is_finite() && weights[0].values != made.weights[0].values);
}

#[test]
fn a_frozen_normalisation_lets_gradients_through() {
    let options =
        Options { freeze: vec!["norm.*".into()], ..options(Loss::SoftmaxCrossEntropy, Optimizer::Sgd) };
    let made = trainable(cnn().model(), &options).unwrap();
    let mut weights = made.weights.clone();
    let (x, y) = bars(8, 1);
    step(&Engine::load(&made.train), &mut weights, &x, &Input::Classes(y), 0.1);
    assert_eq!(weights[0].name, "conv.weight");
    assert_ne!(weights[0].values, made.weights[0].values);
}

#[test]
fn graphs_keep_the_contract_and_the_models_own_names() {
    let mut model = cnn().model();
    let graph = model.graph.as_mut().unwrap();
    // As exporters call them; `loss` is in the way of the contract.
    for node in &mut graph.node {
        node::rename(node, &|name| match name {
            "x" => Some("image".into()),
            "z" => Some("loss".into()),
            "y" => Some("probabilities".into()),
            "dense.bias" => Some("lr".into()),
            _ => None,
        });
    }
    graph.input[0].name = Some("image".into());
    graph.output[0].name = Some("probabilities".into());
    let bias = graph.initializer.iter_mut().find(|tensor| tensor.name.as_deref() == Some("dense.bias"));
    bias.unwrap().name = Some("lr".into());
    let made = trainable(model, &options(Loss::SoftmaxCrossEntropy, Optimizer::Sgd)).unwrap();

    let ends = |model: &ModelProto| {
        let graph = model.graph.as_ref().unwrap();
        let names =
            |infos: &[ValueInfoProto]| infos.iter().map(|info| name_of(info).to_owned()).collect::<Vec<_>>();
        (names(&graph.input), names(&graph.output))
    };
    let trained = ["conv.weight", "dense.weight", "conv.bias", "norm.weight", "norm.bias", "lr.weight"];
    let weights: Vec<&str> = trained.into_iter().chain(["norm.mean", "norm.var"]).collect();
    let (inputs, outputs) = ends(&made.train);
    assert_eq!(inputs[..3], ["x", "y", "lr"]);
    assert_eq!(inputs[3..11], weights);
    assert_eq!(outputs[0], "loss");
    assert!(inputs[3..].iter().zip(&outputs[1..]).all(|(weight, next)| *next == format!("{weight}.next")));
    let (inputs, outputs) = ends(&made.evaluate);
    assert_eq!((&inputs[..2], &inputs[2..]), (&["x".to_owned(), "y".to_owned()][..], &inputs[2..]));
    assert_eq!(
        (inputs[2..].to_vec(), outputs),
        (weights.iter().map(|&name| name.to_owned()).collect(), vec!["loss_sum".into(), "correct".into()])
    );
    let (inputs, outputs) = ends(&made.infer);
    assert_eq!((inputs[0].as_str(), &outputs[..]), ("image", &["probabilities".to_owned()][..]));

    let mut weights = made.weights.clone();
    let (x, y) = bars(4, 1);
    assert!(step(&Engine::load(&made.train), &mut weights, &x, &Input::Classes(y), 0.1).is_finite());
}

#[test]
fn losses_are_finite_however_large_the_scores() {
    for (loss, y, expected) in [
        (Loss::SoftmaxCrossEntropy, Input::Classes(vec![0, 1]), 1000.0),
        (Loss::BinaryCrossEntropy, Input::Floats((vec![2, 2], vec![1.0, 0.0, 1.0, 0.0])), 500.0),
    ] {
        let net = Net::new(&[-1, 2]).weight("w", &[2, 2], vec![1.0, 0.0, 0.0, 1.0]).nodes("y = MatMul(x, w)");
        let made = trainable(net.model(), &options(loss, Optimizer::Sgd)).unwrap();
        let mut weights = made.weights.clone();
        // The first sample is as right as can be, the second as wrong.
        let x = (vec![2, 2], vec![1000.0, -1000.0, 1000.0, -1000.0]);
        let x =
            if loss == Loss::SoftmaxCrossEntropy { x } else { (x.0, vec![1000.0, -1000.0, -1000.0, 1000.0]) };
        let found = step(&Engine::load(&made.train), &mut weights, &x, &y, 0.1);
        assert!((found - expected).abs() < 1.0, "{loss:?}: {found}");
        assert!(weights[0].values.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn a_final_activation_is_part_of_its_loss() {
    let net = |last: &str| {
        Net::new(&[-1, 2])
            .weight("w", &[2, 2], vec![0.3, -0.2, 0.5, 0.1])
            .nodes("z = MatMul(x, w)")
            .nodes(last)
    };
    let steps = |last: &str, loss: Loss, y: Input| {
        let made = trainable(net(last).model(), &options(loss, Optimizer::Sgd)).unwrap();
        let infer = made.infer.graph.unwrap();
        assert!(infer.node.iter().any(|node| last.contains(node::op(node))), "the model infers as before");
        let mut weights = made.weights;
        let x = (vec![2, 2], vec![1.0, 2.0, -1.0, 0.5]);
        step(&Engine::load(&made.train), &mut weights, &x, &y, 0.1);
        weights.remove(0).values
    };
    let classes = || Input::Classes(vec![0, 1]);
    let bare = steps("y = Identity(z)", Loss::SoftmaxCrossEntropy, classes());
    for last in ["y = Softmax(z)", "y = LogSoftmax(z) axis=1", "s = Softmax(z)\ny = Identity(s)"] {
        assert_eq!(steps(last, Loss::SoftmaxCrossEntropy, classes()), bare, "{last}");
    }
    let truths = || Input::Floats((vec![2, 2], vec![0.0, 1.0, 1.0, 1.0]));
    let bare = steps("y = Identity(z)", Loss::BinaryCrossEntropy, truths());
    assert_eq!(steps("y = Sigmoid(z)", Loss::BinaryCrossEntropy, truths()), bare);
}

#[test]
fn evaluations_are_sums_over_samples() {
    let net = Net::new(&[-1, 2]).weight("w", &[2, 2], vec![1.0, 0.0, 0.0, 1.0]).nodes("y = MatMul(x, w)");
    let sums = |loss: Loss, y: &[f32]| {
        let made = trainable(net.model(), &options(loss, Optimizer::Sgd)).unwrap();
        let mut inputs = weight_inputs(&made.weights);
        inputs.push(("x".into(), Input::Floats((vec![2, 2], vec![1.0, -2.0, 3.0, 4.0]))));
        inputs.push(("y".into(), Input::Floats((vec![2, 2], y.to_vec()))));
        Engine::load(&made.evaluate).run(&inputs)
    };
    let outputs = sums(Loss::Mse, &[0.0, 0.0, 3.0, 3.0]);
    assert_eq!(outputs["loss_sum"], (vec![1], vec![(1.0 + 4.0) / 2.0 + 1.0 / 2.0]));
    assert_eq!(outputs["absolute_error_sum"], (vec![1], vec![3.0 / 2.0 + 1.0 / 2.0]));
    let outputs = sums(Loss::BinaryCrossEntropy, &[1.0, 0.0, 1.0, 0.0]);
    assert_eq!(outputs["correct"], (vec![1], vec![1.0]));
}

#[test]
fn dropout_drops_its_share_and_another_one_each_step() {
    let net = Net::new(&[-1, 600])
        .weight("w", &[1, 600], vec![1.0; 600])
        .nodes("a = Mul(x, w)\ny = Dropout(a, {0.3})");
    let made = trainable(net.model(), &options(Loss::Mse, Optimizer::Sgd)).unwrap();
    let engine = Engine::load(&made.train);
    let (rows, columns) = (40, 600);
    // With y = 0, the gradient of w[c] is 2/count · Σ over rows of mask², and the mask is 0 or 1/0.7.
    let mut weights = made.weights.clone();
    let kept = |weights: &mut Vec<Weight>| -> Vec<f32> {
        weights[0].values = vec![1.0; columns];
        let (x, y) = ((vec![rows, columns], vec![1.0; rows * columns]), vec![0.0; rows * columns]);
        step(&engine, weights, &x, &Input::Floats((vec![rows, columns], y)), 1.0);
        let count = (rows * columns) as f32;
        weights[0].values.iter().map(|w| (1.0 - w) * count / 2.0 * 0.49).collect()
    };
    let (first, second) = (kept(&mut weights), kept(&mut weights));
    for per_column in [&first, &second] {
        let share = per_column.iter().sum::<f32>() / (rows * columns) as f32;
        assert!((share - 0.7).abs() < 0.01, "{share} are kept");
        // Binomial: 40 · 0.7 · 0.3 is the variance of a column's count.
        let variance = per_column.iter().map(|count| (count - 28.0).powi(2)).sum::<f32>() / columns as f32;
        assert!((4.0..14.0).contains(&variance), "columns vary by {variance}, not about 8.4");
    }
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - 28.0) * (b - 28.0)).sum::<f32>();
    let alike = product(&first, &second) / (product(&first, &first) * product(&second, &second)).sqrt();
    assert!(alike.abs() < 0.2, "two steps' masks are alike by {alike}");
}
