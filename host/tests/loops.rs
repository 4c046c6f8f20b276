//! Loops that go on for longer than anyone waits: they are never gone round while a graph is loaded, and are refused
//! where it is certain that they do not end.

#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

mod found;
mod onnx_files;

use bytes::Bytes;
use onnx_files::{file, inner, node, port, truth};
use sedge_api::Digest;
use sedge_host::nn::{EngineSettings, ErrorCode, GraphOptions, Graphs};
use sedge_onnx::proto::tensor_proto::DataType;
use sedge_onnx::proto::{GraphProto, TensorProto, ValueInfoProto};

/// As exporters declare states of loops.
fn scalar(name: &str, of: DataType) -> ValueInfoProto {
    use sedge_onnx::proto::{TensorShapeProto, type_proto::Value};
    let mut port = port(name, of);
    if let Some(Value::TensorType(tensor)) = port.r#type.as_mut().and_then(|of| of.value.as_mut()) {
        tensor.shape = Some(TensorShapeProto::default());
    }
    port
}

/// `y` after that many rounds (none: without end), of constants alone, plus the input.
fn constant_loop(rounds: Option<i64>) -> Bytes {
    let (float, of_truth) = (DataType::Float, DataType::Bool);
    let body = GraphProto {
        name: Some("body".to_owned()),
        node: vec![node("Identity", &["on"], &["on.next"]), node("Neg", &["s"], &["s.next"])],
        input: vec![scalar("at", DataType::Int64), scalar("on", of_truth), scalar("s", float)],
        output: vec![scalar("on.next", of_truth), scalar("s.next", float)],
        ..Default::default()
    };
    let mut repeat = node("Loop", &[if rounds.is_some() { "n" } else { "" }, "true", "s0"], &["end"]);
    repeat.attribute = vec![inner("body", body)];
    let start = TensorProto {
        name: Some("s0".to_owned()),
        data_type: Some(float.into()),
        float_data: vec![1.0],
        ..Default::default()
    };
    let count = rounds.map(|rounds| TensorProto {
        name: Some("n".to_owned()),
        data_type: Some(DataType::Int64.into()),
        int64_data: vec![rounds],
        ..Default::default()
    });
    file(GraphProto {
        node: vec![repeat, node("Add", &["x", "end"], &["y"])],
        initializer: [truth("true", true), start].into_iter().chain(count).collect(),
        input: vec![scalar("x", float)],
        output: vec![scalar("y", float)],
        ..Default::default()
    })
}

#[test]
fn loading_goes_round_no_loops() {
    let graphs = Graphs::with(&EngineSettings {
        onnxruntime: found::onnxruntime(),
        folders: found::folders(),
        ..EngineSettings::builtin(1)
    });
    for engine in graphs.engines() {
        let name = engine.split(' ').next().unwrap().to_owned();
        let options = GraphOptions { engine: Some(name), ..GraphOptions::default() };
        let load = |onnx: Bytes| graphs.load(&Digest::of(&onnx), &options, || Ok(onnx));
        let graph = load(constant_loop(Some(3))).unwrap().graph;
        let two = sedge_host::nn::Tensor::from_vec(&[], vec![2f32]).unwrap();
        let y = graph.compute(vec![("x".to_owned(), two)]).unwrap();
        assert_eq!(y[0].1.as_slice::<f32>().unwrap(), [1.0], "{engine}");
        // Hours, if it were done.
        load(constant_loop(Some(1 << 36))).unwrap();
        for endless in [constant_loop(None), constant_loop(Some(i64::MAX))] {
            let error = load(endless).err().unwrap();
            assert_eq!(error.code, ErrorCode::UnsupportedOperation);
            assert!(error.message.contains("never ends"), "{error}");
        }
    }
}
