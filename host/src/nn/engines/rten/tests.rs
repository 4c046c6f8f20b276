//! Tests of the module above.

use super::*;
use crate::nn::engines::tests::{DOUBLE, TRAIN, batch, check_steps_lower_the_loss, step, weights};

fn load(onnx: &'static [u8]) -> Result<Arc<dyn Graph>, NnError> {
    Rten::new(1).load(Bytes::from_static(onnx), &GraphOptions::default())
}

#[test]
fn steps_lower_the_loss() {
    check_steps_lower_the_loss(&*load(TRAIN).unwrap());
}

#[test]
fn weights_go_round_in_the_same_memory() {
    let graph = load(TRAIN).unwrap();
    let (_, _, weights) = step(&*graph, weights());
    let before = weights[0].1.bytes().as_ptr();
    let (_, _, weights) = step(&*graph, weights);
    assert_eq!(weights[0].1.bytes().as_ptr(), before);
}

#[test]
fn shared_weights_are_left_as_they_are() {
    let graph = load(TRAIN).unwrap();
    let weights = weights();
    let before = weights[0].1.bytes().to_vec();
    let (first, ..) = step(&*graph, weights.clone());
    let (again, ..) = step(&*graph, weights.clone());
    assert_eq!(weights[0].1.bytes(), before);
    assert_eq!(first, again);
}

#[test]
fn integers_of_64_bits_are_taken_in_32_and_refused_where_they_do_not_fit() {
    let graph = load(TRAIN).unwrap();
    let with = |y: Tensor| {
        let mut inputs = batch();
        inputs[1].1 = y;
        graph.compute(inputs.into_iter().chain(weights()).collect())
    };
    assert!(with(Tensor::from_vec(&[12], vec![1i32; 12]).unwrap()).is_ok());
    let mut labels = vec![0i64; 12];
    labels[3] = 1 << 32;
    let error = with(Tensor::from_vec(&[12], labels).unwrap()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert_eq!(
        error.message,
        "input \"y\": the value 4294967296 at 3 does not fit the 32-bit integers of rten"
    );
}

#[test]
fn a_graph_computes_for_several_workers_at_a_time() {
    let graph = load(TRAIN).unwrap();
    let (alone, ..) = step(&*graph, weights());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| step(&*graph, weights()).0)).collect();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), alone);
        }
    });
}

#[test]
fn what_the_engine_cannot_do_is_said() {
    let error = load(DOUBLE).err().unwrap();
    assert_eq!(error.code, ErrorCode::UnsupportedOperation);
    assert_eq!(error.message, "input \"x\" is float64, which the engine rten does not compute with");
    assert_eq!(load(b"no graph at all").err().unwrap().code, ErrorCode::InvalidEncoding);
    assert_eq!(load(&TRAIN[..TRAIN.len() / 2]).err().unwrap().code, ErrorCode::InvalidEncoding);
}

#[test]
fn inconsistent_batches_are_an_error() {
    let mut inputs = batch();
    inputs[1].1 = Tensor::from_vec(&[5], vec![0i64; 5]).unwrap();
    let error = load(TRAIN).unwrap().compute(inputs.into_iter().chain(weights()).collect()).unwrap_err();
    assert_eq!(error.code, ErrorCode::RuntimeError);
}

proptest::proptest! {
    #[test]
    fn a_damaged_file_is_loaded_or_refused(at in 0..TRAIN.len(), byte in proptest::prelude::any::<u8>()) {
        let mut damaged = TRAIN.to_vec();
        damaged[at] = byte;
        let _ = Rten::new(1).load(damaged.into(), &GraphOptions::default());
    }
}

#[test]
fn a_thread_that_is_attended_computes_by_itself() {
    let engine = Rten::new(1);
    let graph = engine.load(Bytes::from_static(TRAIN), &GraphOptions::default()).unwrap();
    let (alone, ..) = step(&*graph, weights());
    let mut attended = None;
    engine.attend(Box::new(|| {
        let (loss, ..) = step(&*graph, weights());
        // Its pool is in use as long as it attends, and no other was made.
        let idle = graph_pools(&engine).idle.lock().len();
        attended = Some((loss, idle));
    }));
    assert_eq!(attended, Some((alone, 0)));
    assert!(ATTENDED.with_borrow(Option::is_none), "this thread is none of a pool");
}

fn graph_pools(engine: &Rten) -> Arc<Pools> {
    engine.pools(&GraphOptions::default())
}
