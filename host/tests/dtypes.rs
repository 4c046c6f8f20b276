//! Every element type of `wasi:nn` through a guest: read into it, made anew from what it read, and given back.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod guest;

use std::collections::BTreeMap;

use guest::Guest;
use sedge_host::model::Weights;
use sedge_host::nn::{Element, Tensor, bf16, f16};
use sedge_host::runtime::Reason;

fn tensor<T: Element>(values: &[T]) -> Tensor {
    Tensor::from_vec(&[values.len(), 1], values.to_vec()).unwrap()
}

#[tokio::test]
async fn elements_of_every_type_go_into_a_guest_and_come_back() {
    let start = Weights::new(vec![
        ("f16".to_owned(), tensor(&[1.5, -0.0, 65504.0].map(f16::from_f32))),
        ("f32".to_owned(), tensor(&[1.5_f32, f32::NAN, f32::MIN_POSITIVE])),
        ("f64".to_owned(), tensor(&[1.5_f64, f64::INFINITY, f64::MIN_POSITIVE])),
        ("bf16".to_owned(), tensor(&[1.5, 3e38, -1e-38].map(bf16::from_f32))),
        ("u8".to_owned(), tensor(&[0_u8, 1, 255])),
        ("i32".to_owned(), tensor(&[i32::MIN, 0, i32::MAX])),
        ("i64".to_owned(), tensor(&[i64::MIN, 0, i64::MAX])),
        ("none".to_owned(), tensor::<f64>(&[])),
    ])
    .unwrap();

    let parameters = r#"{"steps": 0, "throughGuest": true}"#;
    let back = Guest::new().run(parameters, BTreeMap::new(), start.clone()).await.unwrap();

    for (name, tensor) in start.tensors() {
        let back = back.get(name).unwrap();
        assert_eq!((back.dtype(), back.shape()), (tensor.dtype(), tensor.shape()), "{name}");
        assert_eq!(back.bytes(), tensor.bytes(), "{name}");
        assert!(tensor.is_empty() || !back.same_storage(tensor), "{name} went through the guest");
    }
}

/// One SGD step of a 4-8-3 perceptron, which takes `x` as f32.
#[tokio::test]
async fn a_type_that_a_graph_or_its_engine_does_not_take_is_named() {
    let guest = Guest::new();
    let graph = guest.graph(include_bytes!("data/train-4-8-3.onnx"));
    let x = Tensor::from_vec(&[2, 4], vec![f16::ONE; 8]).unwrap();
    let start = Weights::new(vec![("x".to_owned(), x)]).unwrap();
    let graphs = BTreeMap::from([("train".to_owned(), graph)]);

    let failure = guest.run(r#"{"given": ["x"]}"#, graphs, start).await.unwrap_err();

    assert_eq!(failure.reason, Reason::PluginError);
    assert_eq!(
        failure.message,
        "graph train: invalid-argument: input \"x\": expected f32[?, 4], got f16[2, 4]"
    );
}
