//! Bytes that a training loop copies. One test, for the counter is the whole process's.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod guest;

use std::collections::BTreeMap;

use guest::Guest;
use sedge_host::model::Weights;
use sedge_host::nn::{Tensor, copies};

const STEPS: u64 = 10;
const BATCH: usize = 32;

#[tokio::test]
async fn weights_go_round_a_training_loop_uncopied() {
    let guest = Guest::new();
    let graph = guest.graph(include_bytes!("../../tests/data/digits-mlp/train.onnx"));
    let zeros = |shape: &[usize]| Tensor::from_vec(shape, vec![0.01_f32; shape.iter().product()]).unwrap();
    let start = Weights::new(vec![
        ("x".to_owned(), zeros(&[BATCH, 64])),
        ("y".to_owned(), Tensor::from_vec(&[BATCH], vec![3_i64; BATCH]).unwrap()),
        ("lr".to_owned(), zeros(&[1])),
        ("w0".to_owned(), zeros(&[64, 64])),
        ("b0".to_owned(), zeros(&[64])),
        ("w1".to_owned(), zeros(&[64, 10])),
        ("b1".to_owned(), zeros(&[10])),
    ])
    .unwrap();
    let run = async |parameters: String| {
        let before = copies::copied();
        let graphs = BTreeMap::from([("train".to_owned(), graph.clone())]);
        let end = guest.run(&parameters, graphs, start.clone()).await.unwrap();
        (copies::copied() - before, end)
    };
    let given = r#""given": ["x", "y", "lr"]"#;

    // The first step's weights are shared with `start`, so the engine makes new ones; from then on it writes over them.
    let (first, _) = run(format!(r#"{{"steps": 1, {given}}}"#)).await;
    let (all, end) = run(format!(r#"{{"steps": {}, {given}}}"#, 1 + STEPS)).await;
    assert_ne!(end.get("w0").unwrap().bytes(), start.get("w0").unwrap().bytes(), "it learned");
    // Labels, which this engine takes in another type, and the loss, which the guest reads.
    let (labels, loss) = (BATCH as u64 * 4, 2 * 4);
    assert_eq!(all - first, STEPS * (labels + loss));

    // From weights that the guest has made, each of them is copied into it and out of it.
    let (through, _) = run(format!(r#"{{"steps": 1, "throughGuest": true, {given}}}"#)).await;
    assert!(through - first >= 2 * start.byte_len(), "{through} bytes");
}
