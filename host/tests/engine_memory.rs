//! What ONNX Runtime took for a graph goes back to the system with the graph.
//!
//! One test alone in its file, for it looks at the memory of the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

mod found;
mod onnx_files;

use sedge_api::Digest;
use sedge_host::nn::{EngineSettings, GraphOptions, Graphs, Tensor};
use sedge_onnx::proto::GraphProto;
use sedge_onnx::proto::tensor_proto::DataType;

const BYTES: u64 = 400 << 20;

/// Bytes of this process in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

#[test]
fn the_memory_of_a_dropped_graph_goes_back_to_the_system() {
    let graphs = Graphs::with(&EngineSettings {
        memory_bytes: 1 << 30,
        onnxruntime: found::onnxruntime(),
        folders: found::folders(),
        ..EngineSettings::builtin(1)
    });
    // Zeros, as many as the input says.
    let file = onnx_files::file(GraphProto {
        node: vec![onnx_files::node("ConstantOfShape", &["x"], &["y"])],
        input: vec![onnx_files::port("x", DataType::Int64)],
        output: vec![onnx_files::port("y", DataType::Float)],
        ..Default::default()
    });
    let options = GraphOptions { engine: Some("onnxruntime".to_owned()), ..GraphOptions::default() };
    let load = || graphs.load(&Digest::of(&file), &options, || Ok(file.clone()));
    if let Err(error) = load() {
        return found::skipped("onnxruntime", &error.message);
    }
    let before = resident();
    let graph = load().unwrap().graph;
    let count = Tensor::from_vec(&[1], vec![i64::try_from(BYTES / 4).unwrap()]).unwrap();
    let output = graph.compute(vec![("x".to_owned(), count)]).unwrap();
    assert!(resident() > before + BYTES / 2, "{} is resident, before {before}", resident());
    drop((output, graph));
    assert!(resident() < before + BYTES / 2, "{} is resident, before {before}", resident());
}
