//! What the tests of all engines compute: a training step, and where libraries are found.

use super::EngineSettings;
use crate::found;
use crate::nn::{Graph, Tensor};

/// Those of this machine.
pub fn settings(threads: usize) -> EngineSettings {
    let (onnxruntime, folders) = (found::onnxruntime(), found::folders());
    EngineSettings { onnxruntime, folders, ..EngineSettings::builtin(threads) }
}

/// Made by `tests/data/make_fixtures.py`: one SGD step of a 4-8-3 perceptron.
pub const TRAIN: &[u8] = include_bytes!("../../../tests/data/train-4-8-3.onnx");
/// `y = x` in float64.
pub const DOUBLE: &[u8] = include_bytes!("../../../tests/data/double.onnx");

pub fn f32s(shape: &[usize], value: impl FnMut(usize) -> f32) -> Tensor {
    Tensor::from_vec(shape, (0..shape.iter().product()).map(value).collect()).unwrap()
}

pub fn weights() -> Vec<(String, Tensor)> {
    let wave = |scale: f32| move |at: usize| ((at * 37 % 17) as f32 / 17.0 - 0.5) * scale;
    vec![
        ("w0".into(), f32s(&[4, 8], wave(1.0))),
        ("b0".into(), f32s(&[8], |_| 0.0)),
        ("w1".into(), f32s(&[8, 3], wave(0.7))),
        ("b1".into(), f32s(&[3], |_| 0.0)),
    ]
}

pub fn batch() -> Vec<(String, Tensor)> {
    // The class of a sample is where its largest feature lies.
    let labels: Vec<i64> = (0..12).map(|sample| sample % 3).collect();
    let x = f32s(&[12, 4], |at| f32::from(u8::from(at % 4 == (at / 4) % 3)) + 0.01 * (at % 5) as f32);
    vec![
        ("x".into(), x),
        ("y".into(), Tensor::from_vec(&[12], labels).unwrap()),
        ("lr".into(), f32s(&[1], |_| 0.5)),
    ]
}

/// One step: loss, number right, and the weights as the next step takes them.
pub fn step(graph: &dyn Graph, weights: Vec<(String, Tensor)>) -> (f32, i64, Vec<(String, Tensor)>) {
    let mut outputs = graph.compute(batch().into_iter().chain(weights).collect()).unwrap();
    let next = outputs
        .split_off(2)
        .into_iter()
        .map(|(name, tensor)| (name.strip_suffix(".next").expect("weights end in .next").to_owned(), tensor));
    let next = next.collect();
    let loss = outputs[0].1.as_slice::<f32>().unwrap()[0];
    (loss, outputs[1].1.as_slice::<i64>().unwrap()[0], next)
}

/// Steps until the batch is learnt.
pub fn check_steps_lower_the_loss(graph: &dyn Graph) {
    let (first, _, mut weights) = step(graph, weights());
    let (mut loss, mut right) = (first, 0);
    for _ in 0..60 {
        (loss, right, weights) = step(graph, weights);
    }
    assert!(loss < first / 4.0, "from {first} to {loss}");
    assert_eq!(right, 12);
}
