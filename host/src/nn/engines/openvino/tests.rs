//! With the library where it is found; skipped, with a line that says so, where it is not.

use std::path::Path;

use super::*;

fn engine() -> Option<OpenVino> {
    let engine = OpenVino::open(&crate::nn::engines::tests::settings(1));
    engine.inspect_err(|why| crate::found::skipped(NAME, why)).ok()
}

fn load(engine: &OpenVino, path: &str) -> Arc<dyn Graph> {
    let file = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    engine.load(file.into(), &GraphOptions::default()).unwrap()
}

/// One number for each element of every input that is of f32, classes for those of i64; `rows` for sizes that
/// the graph leaves open.
fn inputs(graph: &dyn Graph, rows: usize) -> Vec<(String, Tensor)> {
    let input = |port: &Port| {
        let shape: Vec<_> = port.shape.iter().flatten().map(|dim| dim.unwrap_or(rows)).collect();
        let count: usize = shape.iter().product();
        let tensor = match port.dtype {
            Some(DType::I64) => Tensor::from_vec(&shape, (0..count).map(|at| at as i64 % 3).collect()),
            _ => Tensor::from_vec(
                &shape,
                (0..count).map(|at| (at * 2_654_435_761 % 1009) as f32 / 1009.0 - 0.5).collect(),
            ),
        };
        (port.name.clone(), tensor.unwrap())
    };
    graph.inputs().iter().map(input).collect()
}

const DIGITS: [&str; 3] = [
    "../tests/data/digits-mlp/train.onnx",
    "../tests/data/digits-mlp/evaluate.onnx",
    "../tests/data/digits-mlp/infer.onnx",
];

#[test]
fn the_digits_graphs_give_what_rten_gives() {
    let Some(engine) = engine() else { return };
    let rten = crate::nn::engines::rten::Rten::new(1);
    for path in DIGITS {
        let graph = load(&engine, path);
        let file = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let other = rten.load(file.into(), &GraphOptions::default()).unwrap();
        // The second compute is in the first one's context, with another number of rows.
        for rows in [32, 5] {
            let (ours, theirs) = (
                graph.compute(inputs(&*graph, rows)).unwrap(),
                other.compute(inputs(&*graph, rows)).unwrap(),
            );
            assert_eq!(ours.len(), theirs.len());
            for ((name, ours), (other, theirs)) in ours.iter().zip(&theirs) {
                let what = format!("{path}, {rows} rows: {name}");
                assert_eq!(
                    (name, ours.dtype(), ours.shape()),
                    (other, theirs.dtype(), theirs.shape()),
                    "{what}"
                );
                if ours.dtype() != DType::F32 {
                    assert_eq!(ours.bytes(), theirs.bytes(), "{what}");
                    continue;
                }
                let (ours, theirs) = (ours.as_slice::<f32>().unwrap(), theirs.as_slice::<f32>().unwrap());
                let largest = ours.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
                let apart = ours.iter().zip(theirs).fold(0f32, |apart, (a, b)| apart.max((a - b).abs()));
                assert!(apart <= 2e-5 * largest, "{what}: {apart} apart, where the largest is {largest}");
            }
        }
    }
}

#[test]
fn computes_of_one_graph_go_on_at_once() {
    let Some(engine) = engine() else { return };
    let graph = load(&engine, DIGITS[0]);
    let compute = || graph.compute(inputs(&*graph, 16)).unwrap();
    let expected = compute();
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..KEPT_CONTEXTS + 2).map(|_| scope.spawn(|| (compute(), compute()))).collect();
        for outputs in threads.into_iter().map(|thread| thread.join().unwrap()) {
            for outputs in [outputs.0, outputs.1] {
                for ((name, one), (_, other)) in expected.iter().zip(&outputs) {
                    assert_eq!(one.bytes(), other.bytes(), "{name}");
                }
            }
        }
    });
}

#[test]
fn tensors_without_elements_are_an_error_and_the_graph_goes_on() {
    let Some(engine) = engine() else { return };
    let graph = load(&engine, DIGITS[2]);
    let refused = graph.compute(inputs(&*graph, 0)).unwrap_err().message;
    assert!(refused.ends_with("[0, 64]: the engine openvino takes no tensors without elements"), "{refused}");
    assert_eq!(graph.compute(inputs(&*graph, 2)).unwrap()[0].1.shape(), [2, 10]);

    let graph = engine.load(non_zero(), &GraphOptions::default()).unwrap();
    let of = |values: [f32; 3]| {
        graph.compute(vec![("x".to_owned(), Tensor::from_vec(&[3], values.to_vec()).unwrap())])
    };
    assert_eq!(of([0.0, 1.0, 2.0]).unwrap()[0].1.as_slice::<i64>().unwrap(), [1, 2]);
    assert_eq!(
        of([0.0; 3]).unwrap_err().message,
        "output \"y\" has no elements, which the engine openvino cannot give"
    );
    assert_eq!(of([1.0, 0.0, 0.0]).unwrap()[0].1.as_slice::<i64>().unwrap(), [0]);
}

/// `y = NonZero(x)`.
fn non_zero() -> Bytes {
    use proto::tensor_shape_proto::{Dimension, dimension};
    let value = |name: &str, dims: &[Option<i64>], elem_type: proto::tensor_proto::DataType| {
        let dim = dims.iter().map(|dim| Dimension {
            value: Some(match dim {
                Some(dim) => dimension::Value::DimValue(*dim),
                None => dimension::Value::DimParam("n".to_owned()),
            }),
            ..Default::default()
        });
        let shape = Some(proto::TensorShapeProto { dim: dim.collect() });
        let tensor = proto::type_proto::Tensor { elem_type: Some(elem_type as i32), shape };
        let value = Some(proto::type_proto::Value::TensorType(tensor));
        let r#type = Some(proto::TypeProto { value, ..Default::default() });
        ValueInfoProto { name: Some(name.to_owned()), r#type, ..Default::default() }
    };
    let node = NodeProto {
        op_type: Some("NonZero".to_owned()),
        input: vec!["x".to_owned()],
        output: vec!["y".to_owned()],
        ..Default::default()
    };
    let graph = proto::GraphProto {
        name: Some("non-zero".to_owned()),
        node: vec![node],
        input: vec![value("x", &[Some(3)], proto::tensor_proto::DataType::Float)],
        output: vec![value("y", &[Some(1), None], proto::tensor_proto::DataType::Int64)],
        ..Default::default()
    };
    let opset = proto::OperatorSetIdProto { version: Some(17), ..Default::default() };
    sedge_onnx::write(&proto::ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset],
        ..Default::default()
    })
}

#[test]
fn what_it_does_not_take_is_said() {
    let Some(engine) = engine() else { return };
    let graph = load(&engine, DIGITS[0]);
    let with = |name: &str, tensor: Tensor| {
        let mut inputs = inputs(&*graph, 2);
        inputs.iter_mut().find(|(input, _)| input == name).unwrap().1 = tensor;
        graph.compute(inputs).unwrap_err().message
    };
    let x = Tensor::from_vec(&[2, 64], vec![0f64; 128]).unwrap();
    assert_eq!(with("x", x), "input \"x\": expected f32[?, 64], got f64[2, 64]");
    let y = Tensor::from_vec(&[2], vec![0, 1i64 << 40]).unwrap();
    assert_eq!(
        with("y", y),
        "input \"y\": the value 1099511627776 does not fit the 32-bit integers of OpenVINO"
    );

    let double = Declared { name: "d".to_owned(), element: Some(ElementType::F64), shape: None };
    assert_eq!(
        port(double, "input").unwrap_err().message,
        "input \"d\" is f64, which the engine openvino would compute as f32"
    );
    let scalar = Declared { name: "s".to_owned(), element: Some(ElementType::F32), shape: Some(Vec::new()) };
    assert!(port(scalar, "output").unwrap_err().message.starts_with("output \"s\" is a scalar"));
    let threads = GraphOptions { threads: std::num::NonZeroU16::new(2), ..GraphOptions::default() };
    let refused = engine.load(Bytes::new(), &threads).err().unwrap();
    assert!(refused.message.contains("cannot be told threads"), "{}", refused.message);
    let refused = engine.load(Bytes::from_static(b"no graph"), &GraphOptions::default());
    assert!(refused.is_err());
}

#[test]
fn every_type_has_a_name_of_the_backends() {
    for dtype in [DType::F16, DType::F32, DType::F64, DType::BF16, DType::U8, DType::I32, DType::I64] {
        assert_eq!(of_type(to_type(dtype)), dtype);
    }
}
