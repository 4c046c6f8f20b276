//! A graph that wants a hundred gigabytes, asked for by a guest: an error, and the node goes on.
//!
//! One test alone in its file, for it reads what the whole process holds.

#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

mod guest;

use std::sync::Arc;

use guest::Guest;
use guest::observers::Heard;
use sedge_host::model::{Model, Weights};
use sedge_host::nn::Tensor;
use sedge_host::runtime::{Grants, Trainer};
use sedge_onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use sedge_onnx::proto::{TypeProto, ValueInfoProto, type_proto};

/// What the worker may hold.
const LIMIT: u64 = 16 << 20;

#[tokio::test]
async fn a_graph_that_wants_a_hundred_gigabytes_is_an_error_and_the_node_goes_on() {
    let guest = Guest::new();
    let heard = Arc::new(Heard::default());
    let graphs = [("square".to_owned(), guest.graph(&square()))].into();
    let grants = Grants {
        model: Some(Arc::new(Model { graphs, ..Model::default() })),
        datasets: [("train".to_owned(), guest::dataset(&guest.folder))].into(),
        memory_bytes: LIMIT,
        observer: Arc::clone(&heard) as _,
        ..guest::grants("{\"fault\": \"huge\"}")
    };
    let trainer = Trainer::new(&guest.runtime, &guest.component("faulty").unwrap(), grants).unwrap();

    let before = resident();
    let update = trainer.train(1, weights(&[1.0])).await.unwrap();

    assert_eq!(update.weights.get("w").unwrap().as_slice::<f32>().unwrap(), [1.0], "it went on");
    let said = heard.lines();
    assert_eq!(said.len(), 2, "{said:#?}");
    for words in [
        "a hundred gigabytes: graph square: too-large: computing takes up to 1024",
        "the node that makes \"big\" (ConstantOfShape) makes float32[160000, 160000], 102400000000 bytes",
        &format!("worker's memory limit of {LIMIT} bytes"),
    ] {
        assert!(said[0].contains(words), "{words}: {}", said[0]);
    }
    assert_eq!(said[1], "forty kilobytes: fine");
    // The node's next worker, and nothing kept of the last one.
    trainer.train(2, weights(&[2.0])).await.unwrap();
    let after = resident();
    assert!(after < before + 4 * LIMIT, "{before} bytes, then {after}");
}

fn weights(values: &[f32]) -> Weights {
    let w = Tensor::from_vec(&[values.len()], values.to_vec()).unwrap();
    Weights::new(vec![("w".to_owned(), w)]).unwrap()
}

/// Bytes of memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0) * 1024
}

/// An ONNX file that sums up as many ones as `x` has elements, squared.
fn square() -> Vec<u8> {
    let node = |operator: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>| NodeProto {
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|&name| name.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute,
        ..NodeProto::default()
    };
    let axis =
        AttributeProto { name: Some("axis".to_owned()), i: Some(0), r#type: Some(2), ..Default::default() };
    let port = |name: &str| {
        let tensor = type_proto::Tensor { elem_type: Some(1), shape: None };
        let of = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: Some(name.to_owned()), r#type: Some(of), ..Default::default() }
    };
    let graph = GraphProto {
        node: vec![
            node("Shape", &["x"], "n", vec![]),
            node("Concat", &["n", "n"], "nn", vec![axis]),
            node("ConstantOfShape", &["nn"], "big", vec![]),
            node("ReduceSum", &["big"], "y", vec![]),
        ],
        input: vec![port("x")],
        output: vec![port("y")],
        ..GraphProto::default()
    };
    let import = OperatorSetIdProto { domain: None, version: Some(17) };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![import],
        ..ModelProto::default()
    };
    sedge_onnx::write(&model).to_vec()
}
