//! The bound on a compute's memory against what rten really allocates: never below it, and not absurdly above.
//!
//! One test alone in its file, for it counts what the whole process allocates.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::nn::{DType, Graph, GraphOptions, Graphs, Port, Tensor};

/// Counts bytes.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);
static MOST: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
}

#[allow(unsafe_code)]
// SAFETY: everything is the system's allocator's; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that a bound may lie above that: rten keeps small buffers of the compute before, packed matrices of an LSTM among
/// them, which are not allocated anew.
const SMALL: u64 = 1 << 20;

fn load(file: &'static [u8]) -> Arc<dyn Graph> {
    let load = || Ok(Bytes::from_static(file));
    Graphs::new(1).load(&Digest::of(file), &GraphOptions::default(), load).unwrap().graph
}

/// What a model takes, where its file leaves it open: by an input's name its shape, or the value of a scalar.
type Given = HashMap<String, Vec<usize>>;

/// Some tensor for an input; unknown sizes are `batch`.
fn tensor(port: &Port, batch: usize, given: &Given) -> Tensor {
    let given = given.get(&port.name);
    let sizes: Vec<_> = port.shape.iter().flatten().map(|size| size.unwrap_or(batch)).collect();
    let scalar = port.shape.as_ref().is_some_and(Vec::is_empty);
    let shape = given.filter(|_| !scalar).cloned().unwrap_or(sizes);
    let count = shape.iter().product();
    match port.dtype {
        Some(DType::I64) => {
            let value = given.filter(|_| scalar).map_or(1, |value| value[0] as i64);
            Tensor::from_vec(&shape, vec![value; count]).unwrap()
        }
        Some(DType::I32) => Tensor::from_vec(&shape, vec![1i32; count]).unwrap(),
        Some(DType::U8) => Tensor::from_vec(&shape, vec![1u8; count]).unwrap(),
        _ => Tensor::from_vec(&shape, vec![0.01f32; count]).unwrap(),
    }
}

fn inputs(graph: &dyn Graph, batch: usize, given: &Given) -> Vec<(String, Tensor)> {
    graph.inputs().iter().map(|port| (port.name.clone(), tensor(port, batch, given))).collect()
}

fn bound(graph: &dyn Graph, inputs: &[(String, Tensor)]) -> u64 {
    graph.memory(&mut inputs.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap().bytes
}

#[test]
fn the_bound_lies_between_what_is_allocated_and_four_times_that() {
    let files: [(&str, &[u8], &[usize]); 6] = [
        ("digits train", include_bytes!("../../tests/data/digits-mlp/train.onnx"), &[256, 4096]),
        ("digits evaluate", include_bytes!("../../tests/data/digits-mlp/evaluate.onnx"), &[1797]),
        ("digits infer", include_bytes!("../../tests/data/digits-mlp/infer.onnx"), &[1797, 16384]),
        ("large train", include_bytes!("../../tests/data/mlp-784-1024-1024-10/train.onnx"), &[64, 512]),
        ("CNN train", include_bytes!("../../tests/data/cnn-28x28/train.onnx"), &[8, 32, 256]),
        ("CNN infer", include_bytes!("../../tests/data/cnn-28x28/infer.onnx"), &[1, 32, 256]),
    ];
    // Others that lie on this machine, such as those of the PyPI packages silero-vad and magika, as PATH or
    // PATH@INPUT=SIZES,… for what a file leaves open: silero_vad.onnx@input=1x576,state=2x1x128,sr=16000
    let others = std::env::var("SEDGE_MEMORY_MODELS").unwrap_or_default();
    let others = others.split_terminator(':').map(|all| {
        let (path, given) = all.split_once('@').unwrap_or((all, ""));
        let sizes = |sizes: &str| sizes.split('x').map(|size| size.parse().unwrap()).collect();
        let given = given.split_terminator(',').map(|one| one.split_once('=').unwrap());
        let given: Given = given.map(|(name, all)| (name.to_owned(), sizes(all))).collect();
        let batches: &[usize] = if given.is_empty() { &[1, 16] } else { &[1] };
        let file: &'static [u8] = std::fs::read(path).unwrap().leak();
        (all, file, batches, given)
    });
    let files = files.map(|(name, file, batches)| (name, file, batches, Given::new()));
    let mut lines = Vec::new();
    for (name, file, batches, given) in files.into_iter().chain(others) {
        let graph = load(file);
        for &batch in batches {
            // Once before: plans and pools are made by the first compute.
            drop(graph.compute(inputs(&*graph, batch, &given)).unwrap());
            let given = inputs(&*graph, batch, &given);
            let bound = bound(&*graph, &given);
            // Weights that someone else holds are not given up, which is when most is held.
            let held = given.clone();
            let before = HELD.load(Ordering::Relaxed);
            MOST.store(before, Ordering::Relaxed);
            let outputs = graph.compute(given).unwrap();
            let real = (MOST.load(Ordering::Relaxed) - before) as u64;
            drop((outputs, held));
            lines.push(format!(
                "{name}, batch {batch}: bound {bound}, real {real}, ×{:.2}",
                bound as f64 / real as f64
            ));
            assert!(bound >= real, "{lines:#?}");
            assert!(bound <= 4 * real + SMALL, "{lines:#?}");
        }
    }
    println!("{lines:#?}");
}
