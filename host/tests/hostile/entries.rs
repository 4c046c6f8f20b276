//! Where files from outside come in.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::model::Weights;
use sedge_host::nn::{Buffer, DType, Graph, GraphOptions, Graphs, NnError, STACK, Tensor};
use sedge_onnx::{Outline, Weight};

/// An entry point.
pub struct Entry {
    pub name: &'static str,
    /// The folder of its corpus.
    pub kind: &'static str,
    pub run: fn(&[u8]),
}

pub const ENTRIES: [Entry; 3] = [
    Entry { name: "onnx", kind: "onnx", run: onnx },
    Entry { name: "engine", kind: "onnx", run: engine },
    Entry { name: "safetensors", kind: "safetensors", run: safetensors },
];

/// Memory that a compute here may take: as a small worker's.
const MAX_MEMORY: u64 = 64 << 20;

/// Everything that is done with a file without an engine.
fn onnx(file: &[u8]) {
    let file = Bytes::copy_from_slice(file);
    if let Ok(model) = sedge_onnx::read(file.clone()) {
        assert_eq!(sedge_onnx::read(sedge_onnx::write(&model)).as_ref(), Ok(&model), "it is the same again");
    }
    let signature = sedge_onnx::signature(&file);
    let Ok(outline) = Outline::of(&file) else { return };
    outline.load_bound();
    outline.deciding();
    for threads in [1, 4] {
        outline.bound(&[], threads);
    }
    let bare = sedge_onnx::without_hints(file.clone()).expect("what was read is written");
    Outline::of(&bare).expect("hints are no part of what a graph computes");
    if let Ok(signature) = signature
        && let Some(input) = signature.inputs.first()
    {
        let element = input.element.unwrap_or(sedge_onnx::ElementType::F32);
        let weight = Weight { name: &input.name, element, shape: &[1], bytes: &[0; 4] };
        if let Ok(frozen) = sedge_onnx::freeze(file, &[weight]) {
            let after = sedge_onnx::signature(&frozen).expect("a frozen graph is a graph");
            assert!(after.inputs.iter().all(|other| other.name != input.name), "{} is frozen", input.name);
        }
    }
}

/// Loaded by the engine that is always there, and computed with, as a worker would.
fn engine(file: &[u8]) {
    static GRAPHS: LazyLock<Graphs> = LazyLock::new(|| Graphs::new(1));
    let load = || Ok(Bytes::copy_from_slice(file));
    let Ok(loaded) = GRAPHS.load(&Digest::of(file), &GraphOptions::default(), load) else { return };
    let compute = move || drop(compute(&*loaded.graph));
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(compute).expect("a thread");
    thread.join().expect("no panic but the engine's own, which are caught");
}

fn compute(graph: &dyn Graph) -> Result<(), NnError> {
    let mut inputs = Vec::new();
    for port in graph.inputs() {
        let shape: Vec<usize> = port.shape.iter().flatten().map(|size| size.unwrap_or(2)).collect();
        let count = sedge_host::nn::element_count(DType::I64, &shape)?;
        if count > 1 << 16 {
            return Ok(());
        }
        let tensor = match port.dtype {
            Some(DType::I64) => Tensor::from_vec(&shape, vec![1i64; count])?,
            Some(DType::I32) => Tensor::from_vec(&shape, vec![1i32; count])?,
            Some(DType::U8) => Tensor::from_vec(&shape, vec![1u8; count])?,
            _ => Tensor::from_vec(&shape, vec![0.5f32; count])?,
        };
        inputs.push((port.name.clone(), tensor));
    }
    let memory = graph.memory(&mut inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)))?;
    if memory.bytes > MAX_MEMORY {
        return Ok(());
    }
    graph.compute(inputs).map(drop)
}

fn safetensors(file: &[u8]) {
    let Ok(buffer) = Buffer::copy_of(file) else { return };
    let Ok(weights) = Weights::from_buffer(buffer) else { return };
    let again: Vec<u8> = weights.to_safetensors().concat();
    assert_eq!(again.len() as u64, weights.safetensors_len());
    let again = Weights::from_buffer(Buffer::copy_of(&again).expect("as large as what was read"));
    let again = again.expect("what was written is read");
    weights.check_layout(&again).expect("it has the same layout");
    for ((_, a), (_, b)) in weights.tensors().iter().zip(again.tensors()) {
        assert_eq!(a.bytes(), b.bytes());
    }
}

/// Engines' own panics, which are caught, are not printed.
pub fn quiet() {
    let print = Arc::new(std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|at| at.file().contains("/rten")) {
            print(info);
        }
    }));
}
