//! What `wit/` says, as Rust: one module per role, all sharing the imports of the first.

/// A trainer's world; its imports are those that every other world picks from.
pub mod trainer {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "trainer",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:nn/tensor.tensor": crate::runtime::tensors::GuestTensor,
            "wasi:nn/errors.error": crate::runtime::tensors::GuestError,
            "wasi:nn/graph.graph": crate::runtime::graphs::GuestGraph,
            "wasi:nn/inference.graph-execution-context": crate::runtime::graphs::GuestContext,
            "sedge:worker/dataset.batches": crate::runtime::datasets::GuestBatches,
            "sedge:worker/model.weights": crate::runtime::weights::GuestWeights,
        },
    });
}

/// An evaluator's world.
pub mod evaluator {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "evaluator",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:nn": super::trainer::wasi::nn,
            "sedge:worker/job": super::trainer::sedge::worker::job,
            "sedge:worker/dataset": super::trainer::sedge::worker::dataset,
            "sedge:worker/model": super::trainer::sedge::worker::model,
        },
    });
}

/// An aggregator's world.
pub mod aggregator {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "aggregator",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:nn": super::trainer::wasi::nn,
            "sedge:worker/job": super::trainer::sedge::worker::job,
            "sedge:worker/model": super::trainer::sedge::worker::model,
        },
    });
}

/// An inferencer's world.
pub mod inferencer {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "inferencer",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:nn": super::trainer::wasi::nn,
            "sedge:worker/job": super::trainer::sedge::worker::job,
            "sedge:worker/model": super::trainer::sedge::worker::model,
        },
    });
}

/// A miner's world.
pub mod miner {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "miner",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:nn": super::trainer::wasi::nn,
            "sedge:worker/job": super::trainer::sedge::worker::job,
        },
    });
}

pub use trainer::sedge::worker::{dataset, job, model};
pub use trainer::wasi::nn;
