//! Steps of optimisers against steps by hand.
//!
//! The model is `y = x · w` with one number per sample, so the gradient of the mean squared difference is
//! `2/N · Σ x (x·w − y)`.

use super::*;

const X: [f32; 2] = [1.0, 2.0];
const Y: [f32; 2] = [1.0, 0.0];
const LR: f32 = 0.1;

fn made(optimizer: Optimizer) -> Trainable {
    let net = Net::new(&[-1, 1]).weight("w", &[1, 1], vec![0.5]).nodes("y = MatMul(x, w)");
    trainable(net.model(), &options(Loss::Mse, optimizer)).unwrap()
}

fn gradient(w: f64) -> f64 {
    X.iter().zip(Y).map(|(&x, y)| f64::from(x) * (f64::from(x) * w - f64::from(y))).sum()
}

/// `w` after each of three steps, and all weights at the end.
fn run(made: &Trainable) -> (Vec<f32>, Vec<Weight>) {
    let engine = Engine::load(&made.train);
    let mut weights = made.weights.clone();
    let (x, y) = ((vec![2, 1], X.to_vec()), Input::Floats((vec![2], Y.to_vec())));
    let steps = (0..3).map(|_| {
        step(&engine, &mut weights, &x, &y, LR);
        weights[0].values[0]
    });
    (steps.collect(), weights)
}

fn assert_near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

fn names(made: &Trainable) -> Vec<&str> {
    made.weights.iter().map(|weight| weight.name.as_str()).collect()
}

#[test]
fn gradient_descent() {
    let made = made(Optimizer::Sgd);
    assert_eq!(names(&made), ["w"]);
    let (mut w, mut expected) = (0.5, vec![]);
    for _ in 0..3 {
        w -= f64::from(LR) * gradient(w);
        expected.push(w);
    }
    assert_near(&run(&made).0, &expected);
}

#[test]
fn momentum() {
    let made = made(Optimizer::Momentum { momentum: 0.9 });
    assert_eq!(names(&made), ["w", "w.velocity"]);
    assert_eq!((made.weights[1].role, &made.weights[1].values[..]), (Role::State, &[0.0][..]));
    let (mut w, mut v, mut expected) = (0.5, 0.0, vec![]);
    for _ in 0..3 {
        v = 0.9 * v + gradient(w);
        w -= f64::from(LR) * v;
        expected.push(w);
    }
    let (found, weights) = run(&made);
    assert_near(&found, &expected);
    assert_near(&weights[1].values, &[v]);
}

#[test]
fn adam() {
    let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
    let made = made(Optimizer::Adam { beta1, beta2, epsilon });
    assert_eq!(names(&made), ["w", "adam.mean", "adam.square", "w.mean", "w.square"]);
    let (mut w, mut m, mut v, mut expected) = (0.5, 0.0, 0.0, vec![]);
    for t in 1..=3 {
        let g = gradient(w);
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        let (m_hat, v_hat) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.999f64.powi(t)));
        w -= f64::from(LR) * m_hat / (v_hat.sqrt() + 1e-8);
        expected.push(w);
    }
    assert_near(&run(&made).0, &expected);
}

#[test]
fn numbers_with_which_nothing_converges_are_refused() {
    let net = Net::new(&[-1, 1]).weight("w", &[1, 1], vec![0.5]).nodes("y = MatMul(x, w)");
    for (optimizer, told) in [
        (Optimizer::Momentum { momentum: 1.0 }, "momentum is 1, but must be from 0 to below 1"),
        (
            Optimizer::Adam { beta1: f32::NAN, beta2: 0.999, epsilon: 1e-8 },
            "beta1 is NaN, but must be from 0 to below 1",
        ),
        (Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 0.0 }, "epsilon is 0, but must be above 0"),
    ] {
        let error = trainable(net.model(), &options(Loss::Mse, optimizer)).unwrap_err();
        assert_eq!(error.to_string(), told);
    }
}
