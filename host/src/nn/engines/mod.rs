//! The tensor engines of this build, one file each; nothing else names them.
//!
//! `onnxruntime` comes first: it is the fastest, at the smallest graphs too, and takes the most operators. It
//! needs a library of ONNX Runtime, which is loaded when the node starts. `rten` is compiled in. `openvino`,
//! in builds with the feature of that name, comes last: it is there for Models that name it.
//!
//! # Why rten is the one that is compiled in
//!
//! Compared with tract, the other engine in Rust, and ONNX Runtime, each called directly in a process of its own, on
//! one thread, outputs held against ONNX Runtime's (largest difference, relative to the largest value). Medians in µs on
//! a Xeon with AVX-512; memory is what the process grew by, in MB:
//!
//! | graph | ONNX Runtime 1.32 | rten 0.27 | tract 0.23.9 | difference rten, tract |
//! | --- | --- | --- | --- | --- |
//! | MLP 64-64-10, batch 32: train | 35; 30 MB | 42; 4 MB | 74; 11 MB | 1e-7, 2e-7 |
//! | MLP 64-64-10, one sample: infer | 4.3; 29 MB | 4.6; 4 MB | 8.5; 9 MB | 1e-7, 1e-7 |
//! | MLP 784-1024-1024-10, batch 64: train | 5,960; 53 MB | 6,630; 14 MB | 9,290; 99 MB | 3e-7, 4e-7 |
//! | CNN 28×28, batch 32: train | 6,870; 40 MB | 6,690; 9 MB | 15,300; 22 MB | 2e-7, 2e-7 |
//! | CNN 28×28, batch 32: infer | 660; 31 MB | 1,040; 5 MB | 2,140; 13 MB | 1e-7, 8e-7 |
//! | Silero VAD 6.2.3, 32 ms of speech | 94; 45 MB | 172; 10 MB | refused | 2e-6, – |
//! | Magika 1.0.3, one file | 6,350; 43 MB | 8,070; 11 MB | 9,760; 27 MB | 2e-7, 4e-7 |
//!
//! `cargo xtask bench tensors` prints rten beside ONNX Runtime anew: times, how far outputs lie apart, memory, and how many of
//! ONNX's own node tests each computes: of 1,551 of `wasi:nn`'s types (onnx 1.23.2) rten computes 893 right, refuses 640 and
//! puts 18 out otherwise; ONNX Runtime 1,459, 72 and 20.
//!
//! Loading takes rten 1 to 13 ms, tract 2 to 19, ONNX Runtime 24 to 61. tract refuses all three of Silero's files that
//! were tried (`If` whose branches differ in rank, and a `Pad` within one); rten computes them. tract plans for one
//! shape of inputs, rten takes any. rten adds 5 MB to a binary, tract 31. So rten serves by itself, tract has no place
//! beside it, and ONNX Runtime is the faster one, foremost at inference. Two things to know of rten: a `Conv` without
//! the attribute `kernel_shape` needs `strides` and `dilations` spelt out, and it computes on threads of its own, so
//! that a caller on another thread pays some ten microseconds a call, and more on a busy machine ([`Engine::attend`]).

mod elf;
mod guard;
mod onnxruntime;
#[cfg(feature = "openvino")]
mod openvino;
mod rten;

use self::guard::{guard, with_stack};
use super::graph::Engine;
use super::options::EngineSettings;

/// An engine of this build that this node does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub engine: &'static str,
    /// What is missing, and what to do.
    pub reason: String,
    /// Whether it would be taken for graphs of which nobody says which engine is to compute them.
    pub preferred: bool,
}

/// The preferred one first, and those that are not there.
pub fn all(settings: &EngineSettings) -> (Vec<Box<dyn Engine>>, Vec<Missing>) {
    let (mut engines, mut missing) = (Vec::<Box<dyn Engine>>::new(), Vec::new());
    match onnxruntime::OnnxRuntime::open(settings) {
        Ok(engine) => engines.push(Box::new(engine)),
        Err(reason) => missing.push(Missing { engine: onnxruntime::NAME, reason, preferred: true }),
    }
    engines.push(Box::new(rten::Rten::new(settings.threads.max(1))));
    #[cfg(feature = "openvino")]
    match openvino::OpenVino::open(settings) {
        Ok(engine) => engines.push(Box::new(engine)),
        Err(reason) => missing.push(Missing { engine: openvino::NAME, reason, preferred: false }),
    }
    #[cfg(not(feature = "openvino"))]
    missing.push(Missing {
        engine: "openvino",
        reason: "this program was built without it: build it with `--features openvino`".to_owned(),
        preferred: false,
    });
    (engines, missing)
}

#[cfg(test)]
mod tests;
