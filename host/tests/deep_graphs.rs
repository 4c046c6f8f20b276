//! A graph as deep as is allowed computes; a deeper one is refused before an engine's recursion meets it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod onnx_files;

use std::sync::Arc;

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::nn::{ErrorCode, Graph, GraphOptions, Graphs, NnError, STACK, Tensor};
use sedge_onnx::proto::GraphProto;
use sedge_onnx::proto::tensor_proto::DataType;

/// An ONNX file whose `y` is `x`, negated by that many nodes in a row.
fn chain(nodes: usize) -> Bytes {
    let name = |at: usize| match at {
        0 => "x".to_owned(),
        at if at == nodes => "y".to_owned(),
        at => format!("v{at}"),
    };
    onnx_files::file(GraphProto {
        node: (0..nodes).map(|at| onnx_files::node("Neg", &[&name(at)], &[&name(at + 1)])).collect(),
        input: vec![onnx_files::port("x", DataType::Float)],
        output: vec![onnx_files::port("y", DataType::Float)],
        ..Default::default()
    })
}

fn load(nodes: usize) -> Result<Arc<dyn Graph>, NnError> {
    let file = chain(nodes);
    Graphs::new(1).load(&Digest::of(&file), &GraphOptions::default(), || Ok(file)).map(|loaded| loaded.graph)
}

#[test]
fn a_graph_of_ten_thousand_nodes_in_a_row_computes() {
    let graph = load(10_000).unwrap();
    let compute =
        move || graph.compute(vec![("x".to_owned(), Tensor::from_vec(&[1], vec![1.0f32]).unwrap())]);
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(compute).unwrap();
    let outputs = thread.join().unwrap().unwrap();
    assert_eq!(outputs[0].1.as_slice::<f32>().unwrap(), [1.0]);
}

#[test]
fn more_nodes_are_refused() {
    for nodes in [10_001, 200_000] {
        let error = load(nodes).err().unwrap();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert_eq!(error.message, "the ONNX file has more than 10000 nodes");
    }
}
