//! All engines of this machine on the same graphs: the same outputs, and back in again.
//!
//! Engines whose library is not found are left out, and a line says so.

#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

#[path = "found/mod.rs"]
mod found;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::nn::{DType, EngineSettings, Graph, GraphOptions, Graphs, Port, Tensor};

/// How far outputs may lie apart, in parts of the largest of the tensor: sums of a thousand products are added
/// up in another order.
const TOLERANCE: f32 = 2e-5;
/// Training steps, each of what the one before put out.
const STEPS: usize = 5;
/// For sizes that the graph leaves open.
const BATCH: usize = 16;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn graphs() -> (Graphs, Vec<String>) {
    let graphs = Graphs::with(&EngineSettings {
        memory_bytes: 1 << 30,
        onnxruntime: found::onnxruntime(),
        folders: found::folders(),
        ..EngineSettings::builtin(1)
    });
    let engines: Vec<_> =
        graphs.engines().iter().map(|engine| engine.split(' ').next().unwrap().to_owned()).collect();
    let wanted = if cfg!(feature = "openvino") { &["onnxruntime", "openvino"][..] } else { &["onnxruntime"] };
    for wanted in wanted.iter().filter(|wanted| !engines.iter().any(|engine| engine == *wanted)) {
        let advice = format!("`cargo xtask setup --engine {wanted}` puts a library where it is found");
        found::skipped(wanted, &advice);
    }
    (graphs, engines)
}

/// What is given for an input, the same for every engine: features, classes, a learning rate, weights.
fn input(port: &Port) -> Tensor {
    let shape: Vec<usize> = port.shape.as_ref().unwrap().iter().map(|dim| dim.unwrap_or(BATCH)).collect();
    let count = shape.iter().product();
    let noise = |at: usize| ((at * 2_654_435_761) % 1009) as f32 / 1009.0 - 0.5;
    match (port.name.as_str(), port.dtype) {
        (_, Some(DType::I64)) => {
            Tensor::from_vec(&shape, (0..count).map(|at| (at % 3) as i64).collect()).unwrap()
        }
        ("lr", _) => Tensor::from_vec(&shape, vec![0.1f32; count]).unwrap(),
        ("x", _) => Tensor::from_vec(&shape, (0..count).map(|at| noise(at).abs()).collect()).unwrap(),
        _ => {
            let scale = 1.0 / (shape[0] as f32).sqrt();
            Tensor::from_vec(&shape, (0..count).map(|at| noise(at + shape.len()) * scale).collect()).unwrap()
        }
    }
}

/// The outputs after [`STEPS`] steps; a graph that puts no weights out makes the same step each time.
fn outputs(graph: &dyn Graph) -> Vec<(String, Tensor)> {
    let mut inputs: Vec<_> = graph.inputs().iter().map(|port| (port.name.clone(), input(port))).collect();
    let mut outputs = Vec::new();
    for _ in 0..STEPS {
        outputs = graph.compute(inputs.clone()).unwrap();
        for (name, tensor) in &outputs {
            if let Some(weight) = name.strip_suffix(".next") {
                inputs.iter_mut().find(|(name, _)| name == weight).unwrap().1 = tensor.clone();
            }
        }
    }
    outputs
}

fn compare(engine: &str, path: &str, ours: &[(String, Tensor)], theirs: &[(String, Tensor)]) {
    assert_eq!(ours.len(), theirs.len());
    for ((name, ours), (other, theirs)) in ours.iter().zip(theirs) {
        let what = format!("{path} on {engine}: {name}");
        assert_eq!((name, ours.dtype(), ours.shape()), (other, theirs.dtype(), theirs.shape()), "{what}");
        if ours.dtype() != DType::F32 {
            assert_eq!(ours.bytes(), theirs.bytes(), "{what}");
            continue;
        }
        let (ours, theirs) = (ours.as_slice::<f32>().unwrap(), theirs.as_slice::<f32>().unwrap());
        let largest = ours.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
        let apart = ours.iter().zip(theirs).fold(0f32, |apart, (a, b)| apart.max((a - b).abs()));
        assert!(apart <= TOLERANCE * largest, "{what}: {apart} apart, where the largest is {largest}");
    }
}

#[test]
fn every_engine_gives_the_same() {
    let (graphs, engines) = graphs();
    for path in [
        "tests/data/train-4-8-3.onnx",
        "../tests/data/digits-mlp/train.onnx",
        "../tests/data/digits-mlp/evaluate.onnx",
        "../tests/data/digits-mlp/infer.onnx",
        "../tests/data/mlp-784-1024-1024-10/train.onnx",
    ] {
        let onnx = Bytes::from(std::fs::read(file(path)).unwrap());
        let mut first: Option<Vec<(String, Tensor)>> = None;
        for engine in &engines {
            // It takes no scalars, and this graph puts one out.
            if engine == "openvino" && path.ends_with("train-4-8-3.onnx") {
                continue;
            }
            let options = GraphOptions { engine: Some(engine.clone()), ..GraphOptions::default() };
            let loaded = graphs.load(&Digest::of(&onnx), &options, || Ok(onnx.clone())).unwrap();
            assert_eq!(&loaded.choice.engine, engine);
            let outputs = outputs(&*loaded.graph);
            match &first {
                None => first = Some(outputs),
                Some(first) => compare(engine, path, first, &outputs),
            }
        }
    }
}

#[test]
fn the_outputs_of_one_engine_go_into_another() {
    let (graphs, mut engines) = graphs();
    // The graph puts out a scalar.
    engines.retain(|engine| engine != "openvino");
    let onnx = Bytes::from(std::fs::read(file("tests/data/train-4-8-3.onnx")).unwrap());
    let load = |engine: &String| {
        let options = GraphOptions { engine: Some(engine.clone()), ..GraphOptions::default() };
        graphs.load(&Digest::of(&onnx), &options, || Ok(onnx.clone())).unwrap().graph
    };
    let mut weights: Vec<(String, Tensor)> = Vec::new();
    for engine in engines.iter().chain(&engines) {
        let graph = load(engine);
        let inputs = graph.inputs().iter().map(|port| {
            let weight = weights.iter().find(|(name, _)| name.strip_suffix(".next") == Some(&port.name));
            (port.name.clone(), weight.map_or_else(|| input(port), |(_, tensor)| tensor.clone()))
        });
        weights = graph.compute(inputs.collect()).unwrap();
    }
    let loss = weights.iter().find(|(name, _)| name == "loss").unwrap().1.as_slice::<f32>().unwrap()[0];
    assert!(loss.is_finite());
}
