//! Bindings generated from `wit/`: the capabilities once, and each role's exports.
//!
//! A world's component type is put into a component only where its `export!` is used. What a plugin never calls, the
//! linker drops and the component does not import: an aggregator does not import datasets because another role
//! may read them.
#![allow(missing_docs, unsafe_code, clippy::all, clippy::unwrap_used)]

/// All that a role may import.
pub mod capabilities {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package sedge:sdk;

            world capabilities {
                include wasi:nn/ml@0.2.0-rc-2024-10-28;
                import sedge:worker/job@0.1.0;
                import sedge:worker/dataset@0.1.0;
                import sedge:worker/model@0.1.0;
            }
        ",
        generate_all,
    });
}

/// The world `trainer`; its imports are those of [`capabilities`].
pub mod trainer {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "trainer",
        with: {
            "wasi:nn/tensor@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::tensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::graph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::inference,
            "wasi:nn/errors@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::errors,
            "sedge:worker/job@0.1.0": crate::bindings::capabilities::sedge::worker::job,
            "sedge:worker/dataset@0.1.0": crate::bindings::capabilities::sedge::worker::dataset,
            "sedge:worker/model@0.1.0": crate::bindings::capabilities::sedge::worker::model,
            "sedge:worker/training@0.1.0": generate,
        },
        default_bindings_module: "sedge_sdk::bindings::trainer",
        pub_export_macro: true,
    });
}

/// The world `evaluator`; its imports are those of [`capabilities`].
pub mod evaluator {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "evaluator",
        with: {
            "wasi:nn/tensor@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::tensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::graph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::inference,
            "wasi:nn/errors@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::errors,
            "sedge:worker/job@0.1.0": crate::bindings::capabilities::sedge::worker::job,
            "sedge:worker/dataset@0.1.0": crate::bindings::capabilities::sedge::worker::dataset,
            "sedge:worker/model@0.1.0": crate::bindings::capabilities::sedge::worker::model,
            "sedge:worker/evaluation@0.1.0": generate,
        },
        default_bindings_module: "sedge_sdk::bindings::evaluator",
        pub_export_macro: true,
    });
}

/// The world `inferencer`; its imports are those of [`capabilities`].
pub mod inferencer {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "inferencer",
        with: {
            "wasi:nn/tensor@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::tensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::graph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::inference,
            "wasi:nn/errors@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::errors,
            "sedge:worker/job@0.1.0": crate::bindings::capabilities::sedge::worker::job,
            "sedge:worker/model@0.1.0": crate::bindings::capabilities::sedge::worker::model,
            "sedge:worker/inferring@0.1.0": generate,
        },
        default_bindings_module: "sedge_sdk::bindings::inferencer",
        pub_export_macro: true,
    });
}

/// The world `miner`; its imports are those of [`capabilities`].
pub mod miner {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "miner",
        with: {
            "wasi:nn/tensor@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::tensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::graph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::inference,
            "wasi:nn/errors@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::errors,
            "sedge:worker/job@0.1.0": crate::bindings::capabilities::sedge::worker::job,
            "sedge:worker/mining@0.1.0": generate,
        },
        default_bindings_module: "sedge_sdk::bindings::miner",
        pub_export_macro: true,
    });
}

/// The world `aggregator`; its imports are those of [`capabilities`].
pub mod aggregator {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "aggregator",
        with: {
            "wasi:nn/tensor@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::tensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::graph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::inference,
            "wasi:nn/errors@0.2.0-rc-2024-10-28": crate::bindings::capabilities::wasi::nn::errors,
            "sedge:worker/job@0.1.0": crate::bindings::capabilities::sedge::worker::job,
            "sedge:worker/model@0.1.0": crate::bindings::capabilities::sedge::worker::model,
            "sedge:worker/aggregation@0.1.0": generate,
        },
        default_bindings_module: "sedge_sdk::bindings::aggregator",
        pub_export_macro: true,
    });
}
