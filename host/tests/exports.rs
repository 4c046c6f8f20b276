//! Models as other tools export them: the same outputs on every engine as the tool's own, and training graphs of them.
//!
//! `data/exports/make.py` made the files, with PyTorch 2.15 (both exporters), Keras 3.15 (tf2onnx 1.17) and scikit-learn
//! 1.9 (skl2onnx 1.20). Engines whose library is not found are left out, and a line says so.

#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

#[path = "found/mod.rs"]
mod found;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::model::Weights;
use sedge_host::nn::{Buffer, DType, EngineSettings, Graph, GraphOptions, Graphs, Tensor};
use sedge_onnx::train::{Loss, Optimizer, Options, Trainable, trainable};

/// How far outputs may lie apart, in parts of the largest: the tools' own sums are in another order.
const TOLERANCE: f32 = 1e-5;

/// What becomes of an export.
struct Export {
    name: &'static str,
    /// Engines that refuse it, and a part of what they say.
    refused: &'static [(&'static str, &'static str)],
    /// Of training graphs: their number of weights, or a part of what is said.
    trains: Result<usize, &'static str>,
}

const TREES: &str = "TreeEnsembleClassifier";

const EXPORTS: [Export; 12] = [
    export("torch-mlp-torchscript", 4),
    export("torch-mlp-dynamo", 4),
    // The scale and the shift of its normalisation were multiplied into the convolution.
    export("torch-cnn-torchscript", 6),
    export("torch-cnn-dynamo", 6),
    // Exported as its documentation begins: weights in a file beside it, a batch of one size.
    Export { trains: Err("5 rows whatever the batch"), ..export("torch-cnn-default", 0) },
    export("keras-mlp", 4),
    // A normalisation behind a convolution is a product and a sum.
    export("keras-cnn", 8),
    Export { refused: &[("rten", "Scaler"), ("openvino", "")], ..export("sklearn-mlp", 4) },
    Export { refused: &[("rten", "LinearClassifier"), ("openvino", "")], ..export("sklearn-logistic", 2) },
    // Probabilities as a list of maps, which skl2onnx gives if nobody asks it not to: no tensor, so nothing for `wasi:nn`.
    Export {
        refused: &[("onnxruntime", "'zipmap': False"), ("rten", "LinearClassifier"), ("openvino", "")],
        ..export("sklearn-logistic-maps", 2)
    },
    Export { refused: &[("rten", "LinearRegressor"), ("openvino", "")], ..export("sklearn-linear", 2) },
    Export {
        refused: &[("rten", TREES), ("openvino", "")],
        trains: Err(TREES),
        ..export("sklearn-forest", 0)
    },
];

const fn export(name: &'static str, weights: usize) -> Export {
    Export { name, refused: &[], trains: Ok(weights) }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exports")
}

/// One file, as `sedge model push` makes of two.
fn file(name: &str) -> Bytes {
    let bytes = std::fs::read(folder().join(name).with_extension("onnx")).unwrap();
    let mut model = sedge_onnx::read(bytes.into()).unwrap();
    sedge_onnx::inline_external(&mut model, |beside, offset, length| {
        let bytes = std::fs::read(folder().join(beside))?;
        Ok(Bytes::copy_from_slice(&bytes[offset as usize..][..length]))
    })
    .unwrap();
    sedge_onnx::write(&model)
}

/// Inputs, and the outputs that the tool itself computed.
fn samples(name: &str) -> [Vec<(String, Tensor)>; 2] {
    let file = std::fs::read(folder().join(name).with_extension("safetensors")).unwrap();
    let all = Weights::from_buffer(Buffer::copy_of(&file).unwrap()).unwrap();
    ["in:", "out:"].map(|which| {
        let of =
            |(name, tensor): &(String, Tensor)| Some((name.strip_prefix(which)?.to_owned(), tensor.clone()));
        all.tensors().iter().filter_map(of).collect()
    })
}

fn graphs() -> Graphs {
    let graphs = Graphs::with(&EngineSettings {
        memory_bytes: 1 << 30,
        onnxruntime: found::onnxruntime(),
        folders: found::folders(),
        ..EngineSettings::builtin(1)
    });
    let (engines, wanted) = (engines(&graphs), ["onnxruntime", "openvino"]);
    for wanted in wanted.iter().filter(|wanted| cfg!(feature = "openvino") || **wanted == "onnxruntime") {
        if !engines.iter().any(|engine| engine == wanted) {
            found::skipped(
                wanted,
                &format!("`cargo xtask setup --engine {wanted}` puts a library where it is found"),
            );
        }
    }
    graphs
}

fn engines(graphs: &Graphs) -> Vec<String> {
    graphs.engines().iter().map(|engine| engine.split(' ').next().unwrap().to_owned()).collect()
}

fn load(graphs: &Graphs, file: &Bytes, engine: &str) -> Result<std::sync::Arc<dyn Graph>, String> {
    let options = GraphOptions { engine: Some(engine.to_owned()), ..GraphOptions::default() };
    let loaded = graphs.load(&Digest::of(file), &options, || Ok(file.clone()));
    loaded.map(|loaded| loaded.graph).map_err(|error| error.to_string())
}

fn assert_near(what: &str, ours: &[(String, Tensor)], theirs: &[(String, Tensor)]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (name, theirs) in theirs {
        let ours = &ours.iter().find(|(other, _)| other == name).unwrap().1;
        assert_eq!((ours.dtype(), ours.shape()), (theirs.dtype(), theirs.shape()), "{what}: {name}");
        if ours.dtype() != DType::F32 {
            assert_eq!(ours.bytes(), theirs.bytes(), "{what}: {name}");
            continue;
        }
        let (ours, theirs) = (ours.as_slice::<f32>().unwrap(), theirs.as_slice::<f32>().unwrap());
        let largest = theirs.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
        let apart = ours.iter().zip(theirs).fold(0f32, |apart, (a, b)| apart.max((a - b).abs()));
        assert!(
            apart <= TOLERANCE * largest,
            "{what}: {name}: {apart} apart, where the largest is {largest}"
        );
    }
}

#[test]
fn every_engine_gives_what_the_tool_gives() {
    let graphs = graphs();
    for export in EXPORTS {
        let (file, [given, expected]) = (file(export.name), samples(export.name));
        for engine in engines(&graphs) {
            let what = format!("{} on {engine}", export.name);
            let refused = export.refused.iter().find(|(name, _)| *name == engine);
            match (load(&graphs, &file, &engine), refused) {
                (Ok(graph), None) => assert_near(&what, &graph.compute(given.clone()).unwrap(), &expected),
                (Err(error), Some((_, words))) => assert!(error.contains(words), "{what}: {error}"),
                (Err(error), None) => panic!("{what}: {error}"),
                (Ok(_), Some(_)) => panic!("{what}: it is computed now"),
            }
        }
    }
}

fn training_graphs(name: &str) -> Result<Trainable, String> {
    let loss = if name == "sklearn-linear" { Loss::Mse } else { Loss::SoftmaxCrossEntropy };
    let options = Options { loss, optimizer: Optimizer::Sgd, freeze: Vec::new(), output: None };
    trainable(sedge_onnx::read(file(name)).unwrap(), &options).map_err(|error| error.to_string())
}

/// What is to be learnt of a batch: the classes that lie the other way round, or twice the numbers.
fn labels(expected: &[(String, Tensor)], name: &str) -> Tensor {
    let scores = expected.iter().find(|(_, tensor)| tensor.dtype() == DType::F32).unwrap();
    let (values, samples) = (scores.1.as_slice::<f32>().unwrap(), scores.1.shape()[0]);
    match name {
        "sklearn-linear" => Tensor::from_vec(&[samples], values.iter().map(|value| 2.0 * value).collect()),
        _ => Tensor::from_vec(&[samples], (0..samples as i64).map(|at| (at + 1) % 3).collect()),
    }
    .unwrap()
}

#[test]
fn training_graphs_of_them_begin_with_what_the_tool_gives_and_learn_on_every_engine() {
    let graphs = graphs();
    for export in EXPORTS {
        let made = match (training_graphs(export.name), export.trains) {
            (Ok(made), Ok(_)) => made,
            (Err(error), Err(words)) => {
                assert!(error.contains(words), "{}: {error}", export.name);
                continue;
            }
            (Err(error), Ok(_)) => panic!("{}: {error}", export.name),
            (Ok(_), Err(words)) => panic!("{}: not refused any more: {words}", export.name),
        };
        assert_eq!(made.weights.len(), export.trains.unwrap(), "{}", export.name);
        let [given, expected] = samples(export.name);
        let weight = |weight: &sedge_onnx::train::Weight| {
            (weight.name.clone(), Tensor::from_vec(&weight.shape, weight.values.clone()).unwrap())
        };
        let first: Vec<_> = made.weights.iter().map(weight).collect();
        for engine in engines(&graphs) {
            let what = format!("{} on {engine}", export.name);
            let infer = load(&graphs, &sedge_onnx::write(&made.infer), &engine);
            match infer {
                Ok(infer) => {
                    let outputs = infer.compute([&given[..], &first].concat()).unwrap();
                    assert_near(&what, &outputs, &expected);
                }
                // What scikit-learn says of labels, beside the scores that are trained.
                Err(error) => assert!(engine == "openvino" && what.starts_with("sklearn"), "{what}: {error}"),
            }
            let train = load(&graphs, &sedge_onnx::write(&made.train), &engine).unwrap();
            let (x, y) = (given[0].1.clone(), labels(&expected, export.name));
            let lr = Tensor::from_vec(&[1], vec![1e-3f32]).unwrap();
            let batch = [("x", x), ("y", y), ("lr", lr)].map(|(name, tensor)| (name.to_owned(), tensor));
            let (mut weights, mut losses) = (first.clone(), Vec::new());
            for _ in 0..10 {
                let outputs = train.compute([&batch[..], &weights].concat()).unwrap();
                let (next, rest): (Vec<_>, Vec<_>) =
                    outputs.into_iter().partition(|(name, _)| name.ends_with(".next"));
                weights = next
                    .into_iter()
                    .map(|(name, tensor)| (name.trim_end_matches(".next").to_owned(), tensor))
                    .collect();
                losses.push(rest[0].1.as_slice::<f32>().unwrap()[0]);
            }
            assert!(losses.is_sorted_by(|before, after| after < before), "{what}: {losses:?}");
        }
    }
}
