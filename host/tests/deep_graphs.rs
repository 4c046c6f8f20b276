//! A graph as deep as is allowed computes; a deeper one is refused before an engine's recursion meets it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::nn::{ErrorCode, Graph, GraphOptions, Graphs, NnError, STACK, Tensor};

/// A protobuf field with that content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut len = content.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(content);
    bytes
}

/// An ONNX file whose `y` is `x`, negated by that many nodes in a row.
fn chain(nodes: usize) -> Vec<u8> {
    let name = |at: usize| match at {
        0 => "x".to_owned(),
        at if at == nodes => "y".to_owned(),
        at => format!("v{at}"),
    };
    let node = |at| {
        let node = [field(1, name(at).as_bytes()), field(2, name(at + 1).as_bytes()), field(4, b"Neg")];
        field(1, &node.concat())
    };
    // f32, of any shape.
    let port = |name: &str| [field(1, name.as_bytes()), field(2, &field(1, &[1 << 3, 1]))].concat();
    let mut graph: Vec<u8> = (0..nodes).flat_map(node).collect();
    graph.extend(field(11, &port("x")));
    graph.extend(field(12, &port("y")));
    // The version of the format, the graph, the version of the operators.
    [vec![1 << 3, 8], field(7, &graph), field(8, &[2 << 3, 17])].concat()
}

fn load(nodes: usize) -> Result<Arc<dyn Graph>, NnError> {
    let file = Bytes::from(chain(nodes));
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
