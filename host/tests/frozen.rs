//! Weights frozen into a graph, and files that have their weights inside.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::model::{Binding, Weights, bind};
use sedge_host::nn::{Buffer, Graph, GraphOptions, Graphs, Tensor};
use sedge_onnx::{ElementType, Weight};

const INFER: &[u8] = include_bytes!("../../tests/data/digits-mlp/infer.onnx");
const WEIGHTS: &[u8] = include_bytes!("../../tests/data/digits-mlp/weights.safetensors");

fn weights() -> Weights {
    Weights::from_buffer(Buffer::copy_of(WEIGHTS).unwrap()).unwrap()
}

/// With one value changed.
fn other_weights() -> Weights {
    let mut bytes = WEIGHTS.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    Weights::from_buffer(Buffer::copy_of(&bytes).unwrap()).unwrap()
}

fn load(graphs: &Graphs, file: Bytes) -> Arc<dyn Graph> {
    graphs.load(&Digest::of(&file), &GraphOptions::default(), || Ok(file)).unwrap().graph
}

fn infer(graph: &dyn Graph) -> Vec<f32> {
    let pixels = (0..64 * 3).map(|at| (at % 17) as f32).collect();
    let outputs = graph.compute(vec![("x".to_owned(), Tensor::from_vec(&[3, 64], pixels).unwrap())]).unwrap();
    outputs[0].1.as_slice().unwrap().to_vec()
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5)
}

#[test]
fn frozen_weights_give_what_bound_ones_give() {
    let graphs = Graphs::new(1);
    let graph = load(&graphs, Bytes::from_static(INFER));
    let bound = bind(Arc::clone(&graph), &weights(), Binding::AtCall).unwrap();
    let frozen = bind(Arc::clone(&graph), &weights(), Binding::Frozen).unwrap();
    let names: Vec<_> = frozen.inputs().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["x"]);
    assert!(near(&infer(&*bound), &infer(&*frozen)));

    let time = |graph: &dyn Graph| {
        let start = Instant::now();
        (0..200).for_each(|_| drop(infer(graph)));
        start.elapsed() / 200
    };
    // Shown, not asserted: times are not for tests.
    println!("bound {:?}, frozen {:?} a call", time(&*bound), time(&*frozen));
}

#[test]
fn a_graph_is_frozen_once_for_the_same_weights() {
    let graphs = Graphs::new(1);
    let graph = load(&graphs, Bytes::from_static(INFER));
    let freeze = |weights: &Weights| bind(Arc::clone(&graph), weights, Binding::Frozen).unwrap();
    let first = freeze(&weights());
    assert!(Arc::ptr_eq(&first, &freeze(&weights())), "the same bytes, though another buffer");
    assert!(!Arc::ptr_eq(&first, &freeze(&other_weights())));
    // Kept for the next, within bounds.
    let kept = Arc::downgrade(&first);
    drop(first);
    assert!(kept.upgrade().is_some());
}

#[test]
fn what_cannot_be_frozen_is_bound_at_each_call() {
    let lerp = Graphs::new(1).builtin("sedge:lerp").unwrap();
    let y = ("y".to_owned(), Tensor::from_vec(&[1], vec![3f32]).unwrap());
    let bound = bind(lerp, &Weights::new(vec![y]).unwrap(), Binding::Frozen).unwrap();
    let one = |name: &str, value| (name.to_owned(), Tensor::from_vec(&[1], vec![value]).unwrap());
    let outputs = bound.compute(vec![one("x", 1f32), one("t", 0.5f32)]).unwrap();
    assert_eq!(outputs[0].1.as_slice::<f32>().unwrap(), [2.0]);
}

#[test]
fn a_file_with_its_weights_inside_needs_none() {
    let held = weights();
    let inside: Vec<_> = held
        .tensors()
        .iter()
        .map(|(name, tensor)| Weight {
            name,
            element: ElementType::F32,
            shape: tensor.shape(),
            bytes: tensor.bytes(),
        })
        .collect();
    let whole = sedge_onnx::freeze(Bytes::from_static(INFER), &inside).unwrap();

    let graphs = Graphs::new(1);
    let graph = load(&graphs, whole);
    let bound = bind(load(&graphs, Bytes::from_static(INFER)), &held, Binding::AtCall).unwrap();
    assert!(near(&infer(&*graph), &infer(&*bound)));
    let none = Weights::new(vec![]).unwrap();
    let same = bind(Arc::clone(&graph), &none, Binding::AtCall).unwrap();
    assert!(Arc::ptr_eq(&same, &graph), "nothing to bind is no error");
    let refused = bind(graph, &held, Binding::AtCall).err().unwrap();
    assert_eq!(refused.message, "the graph takes none of the weights: no input bears the name of one");
}

#[test]
fn weights_are_frozen_into_large_files_too() {
    // Five megabytes that nothing takes.
    let mut model = sedge_onnx::read(Bytes::from_static(INFER)).unwrap();
    let unused = sedge_onnx::proto::TensorProto {
        name: Some("unused".to_owned()),
        dims: vec![5 << 18],
        data_type: Some(1),
        raw_data: Some(vec![0; 5 << 20].into()),
        ..Default::default()
    };
    model.graph.as_mut().unwrap().initializer.push(unused);
    let graphs = Graphs::new(1);
    let graph = load(&graphs, sedge_onnx::write(&model));
    let frozen = bind(Arc::clone(&graph), &weights(), Binding::Frozen).unwrap();
    let again = bind(graph, &weights(), Binding::Frozen).unwrap();
    assert!(Arc::ptr_eq(&frozen, &again), "it is frozen once, which what is bound at each call is not");
    let small = bind(load(&graphs, Bytes::from_static(INFER)), &weights(), Binding::AtCall).unwrap();
    assert!(near(&infer(&*small), &infer(&*frozen)));
}
