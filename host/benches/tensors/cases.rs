//! Graphs and what they are given.

use std::path::{Path, PathBuf};

use sedge_host::nn::Tensor;

/// A graph, and inputs for it.
pub struct Case {
    /// For the table.
    pub name: &'static str,
    pub onnx: PathBuf,
    /// Whether it is a training step: weights go round.
    pub train: bool,
    /// Whether two workers are measured beside one.
    pub parallel: bool,
    /// What a caller hands over at each call: a batch, a sample.
    pub given: Vec<(String, Tensor)>,
    /// What goes round a training loop, or is bound once.
    pub weights: Vec<(String, Tensor)>,
}

/// Those whose files there are; `models` is a folder of models out of packages.
pub fn all(models: Option<&Path>) -> Vec<Case> {
    let digits = [64, 64, 10];
    let large = [784, 1024, 1024, 10];
    let mut cases = vec![
        case(
            "digits MLP 64-64-10, batch 32: train",
            "digits-mlp/train.onnx",
            steps(x(&[32, 64])),
            mlp(&digits),
        ),
        case(
            "digits MLP 64-64-10, one sample: infer",
            "digits-mlp/infer.onnx",
            vec![x(&[1, 64])],
            mlp(&digits),
        ),
        Case {
            parallel: true,
            ..case(
                "MLP 784-1024-1024-10, batch 64: train",
                "mlp-784-1024-1024-10/train.onnx",
                steps(x(&[64, 784])),
                mlp(&large),
            )
        },
        case("CNN 28×28, batch 32: train", "cnn-28x28/train.onnx", steps(pixels()), cnn()),
        case("CNN 28×28, batch 32: infer", "cnn-28x28/infer.onnx", vec![pixels()], cnn()),
    ];
    if let Some(models) = models {
        let speech = vec![
            named("input", noise(&[1, 576], 0.1)),
            named("state", noise(&[2, 1, 128], 0.1)),
            named("sr", Tensor::from_vec(&[], vec![16_000_i64]).expect("one value")),
        ];
        let bytes = (0..2048).map(|at| (at * 31 + 7) % 256).collect();
        let bytes = vec![named("bytes", Tensor::from_vec(&[1, 2048], bytes).expect("2,048 values"))];
        for (name, file, given) in [
            ("Silero VAD, 32 ms of speech: infer", "silero_vad.onnx", speech),
            ("Magika, one file: infer", "magika.onnx", bytes),
        ] {
            cases.push(Case { onnx: models.join(file), ..case(name, file, given, Vec::new()) });
        }
    }
    cases.retain(|case| case.onnx.is_file());
    cases
}

fn case(
    name: &'static str,
    file: &str,
    given: Vec<(String, Tensor)>,
    weights: Vec<(String, Tensor)>,
) -> Case {
    let onnx = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(file);
    Case { name, onnx, train: file.ends_with("train.onnx"), parallel: false, given, weights }
}

fn named(name: &str, tensor: Tensor) -> (String, Tensor) {
    (name.to_owned(), tensor)
}

fn x(shape: &[usize]) -> (String, Tensor) {
    named("x", noise(shape, 1.0))
}

/// A batch for the CNN, which takes bytes.
fn pixels() -> (String, Tensor) {
    let bytes = (0..32 * 28 * 28).map(|at: u32| (at * 31 % 251) as u8).collect();
    named("x", Tensor::from_vec(&[32, 1, 28, 28], bytes).expect("a byte a pixel"))
}

/// A batch, and so small a step that weights stay finite however many steps there are.
fn steps(x: (String, Tensor)) -> Vec<(String, Tensor)> {
    let samples = x.1.shape()[0];
    let labels = (0..samples as i64).map(|sample| sample % 10).collect();
    let y = named("y", Tensor::from_vec(&[samples], labels).expect("a label a sample"));
    vec![x, y, named("lr", Tensor::from_vec(&[1], vec![1e-3_f32]).expect("one value"))]
}

/// Random weights of an MLP with these layers, `w0 b0 w1 b1 …`.
fn mlp(layers: &[usize]) -> Vec<(String, Tensor)> {
    let layers = layers.windows(2).enumerate();
    layers.flat_map(|(layer, sizes)| layer_of(layer, &[sizes[0], sizes[1]], sizes[0], sizes[1])).collect()
}

/// Random ones under the names and shapes of `cnn-28x28/model.onnx`.
fn cnn() -> Vec<(String, Tensor)> {
    let layers: [(&str, &[usize]); 4] =
        [("conv1", &[8, 1, 3, 3]), ("conv2", &[16, 8, 3, 3]), ("dense1", &[64, 784]), ("dense2", &[10, 64])];
    let weights = layers.into_iter().flat_map(|(layer, shape)| {
        let scale = (2.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
        [
            named(&format!("{layer}.weight"), noise(shape, scale)),
            named(&format!("{layer}.bias"), noise(&shape[..1], 0.0)),
        ]
    });
    weights.collect()
}

fn layer_of(layer: usize, shape: &[usize], fan_in: usize, outputs: usize) -> [(String, Tensor); 2] {
    let scale = (2.0 / fan_in as f32).sqrt();
    [named(&format!("w{layer}"), noise(shape, scale)), named(&format!("b{layer}"), noise(&[outputs], 0.0))]
}

/// Values that look random, between ±`scale`.
fn noise(shape: &[usize], scale: f32) -> Tensor {
    let mut state = 1_u32;
    let values = (0..shape.iter().product()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 * scale - scale
    });
    Tensor::from_vec(shape, values.collect()).expect("as many values as the shape says")
}
