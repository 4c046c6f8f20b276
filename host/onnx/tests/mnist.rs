//! The small CNN learns handwritten digits through the graph made for it, computed by rten.

#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

use std::collections::HashMap;
use std::fs::File;

use rten::{ModelOptions, Value, ValueOrView};
use rten_tensor::Layout as _;
use sedge_onnx::proto::ModelProto;
use sedge_onnx::train::{Loss, Optimizer, Options, trainable};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data");
const PIXELS: usize = 28 * 28;
const HELD_OUT: usize = 500;
const BATCH: usize = 20;
const EPOCHS: i32 = 6;
/// Of the first epoch; each later one's is 0.6 times that of the one before.
const LEARNING_RATE: f32 = 0.004;

struct Digits {
    x: Vec<u8>,
    y: Vec<i32>,
}

impl Digits {
    fn read() -> Self {
        let mut file =
            npyz::npz::NpzArchive::new(File::open(format!("{DATA}/mnist-2500.npz")).unwrap()).unwrap();
        let x = file.by_name("x").unwrap().unwrap();
        let x = x.into_vec().unwrap();
        let y = file.by_name("y").unwrap().unwrap().into_vec::<i64>().unwrap();
        Self { x, y: y.into_iter().map(|class| class as i32).collect() }
    }

    /// Those samples, as the graphs take them.
    fn batch(&self, samples: &[usize]) -> (Value, Value) {
        let pixels = samples.iter().flat_map(|&at| &self.x[at * PIXELS..(at + 1) * PIXELS]).copied();
        let classes: Vec<i32> = samples.iter().map(|&at| self.y[at]).collect();
        let x = Value::from_shape(&[samples.len(), 1, 28, 28], pixels.collect::<Vec<u8>>()).unwrap();
        (x, Value::from_shape(&[samples.len()], classes).unwrap())
    }
}

/// A graph in rten.
struct Graph {
    model: rten::Model,
    outputs: Vec<String>,
}

impl Graph {
    fn load(model: &ModelProto) -> Self {
        let outputs =
            model.graph.as_ref().unwrap().output.iter().map(|output| output.name().to_owned()).collect();
        let model = ModelOptions::with_all_ops().load(sedge_onnx::write(model).into()).unwrap();
        Self { model, outputs }
    }

    fn run(&self, inputs: Vec<(&str, ValueOrView<'_>)>) -> HashMap<String, Value> {
        let inputs =
            inputs.into_iter().map(|(name, value)| (self.model.node_id(name).unwrap(), value)).collect();
        let ids: Vec<_> = self.outputs.iter().map(|name| self.model.node_id(name).unwrap()).collect();
        let values = self.model.run(inputs, &ids, None).unwrap();
        self.outputs.iter().cloned().zip(values).collect()
    }
}

#[test]
fn a_cnn_learns_handwritten_digits() {
    let file = std::fs::read(format!("{DATA}/cnn-28x28/model.onnx")).unwrap();
    let optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let options = Options { loss: Loss::SoftmaxCrossEntropy, optimizer, freeze: vec![], output: None };
    let made = trainable(sedge_onnx::read(file.into()).unwrap(), &options).unwrap();
    let (train, evaluate) = (Graph::load(&made.train), Graph::load(&made.evaluate));
    let mut weights: HashMap<String, Value> = made
        .weights
        .into_iter()
        .map(|weight| (weight.name, Value::from_shape(weight.shape.as_slice(), weight.values).unwrap()))
        .collect();

    let digits = Digits::read();
    let mut order: Vec<usize> = (0..digits.y.len() - HELD_OUT).collect();
    let mut state = 1_u64;
    for epoch in 0..EPOCHS {
        for at in (1..order.len()).rev() {
            // Knuth's linear congruential generator; its high bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            order.swap(at, (state >> 33) as usize % (at + 1));
        }
        for samples in order.chunks(BATCH) {
            let (x, y) = digits.batch(samples);
            let lr = Value::from_shape(&[1], vec![LEARNING_RATE * 0.6_f32.powi(epoch)]).unwrap();
            let mut inputs: Vec<(&str, ValueOrView<'_>)> =
                vec![("x", x.into()), ("y", y.into()), ("lr", lr.into())];
            inputs.extend(weights.iter().map(|(name, value)| (name.as_str(), value.as_view().into())));
            let next = train.run(inputs);
            weights = next
                .into_iter()
                .filter_map(|(name, value)| Some((name.strip_suffix(".next")?.to_owned(), value)))
                .collect();
        }
    }

    let held_out: Vec<usize> = (digits.y.len() - HELD_OUT..digits.y.len()).collect();
    let (x, y) = digits.batch(&held_out);
    let mut inputs: Vec<(&str, ValueOrView<'_>)> = vec![("x", x.into()), ("y", y.into())];
    let taken = |name: &&String| evaluate.model.node_id(name).is_ok();
    inputs.extend(weights.keys().filter(taken).map(|name| (name.as_str(), weights[name].as_view().into())));
    let Value::Int32Tensor(correct) = &evaluate.run(inputs)["correct"] else { panic!("not a count") };
    assert_eq!(correct.shape(), &[1]);
    let accuracy = f64::from(correct[[0]]) / HELD_OUT as f64;
    println!("accuracy on {HELD_OUT} digits that were held out: {accuracy}");
    assert!(accuracy >= 0.95, "accuracy on the held-out digits is {accuracy}");
}
