//! What the sandbox holds, seen from the host: real plugins, most of them `faulty`, against each limit.
//!
//! `cargo xtask test` builds the plugins and says in SEDGE_PLUGINS where they are.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod guest;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use guest::observers::Heard;
use guest::plugin;
use sedge_api::Digest;
use sedge_host::model::Weights;
use sedge_host::nn::{Graphs, Tensor};
use sedge_host::runtime::{Aggregator, Component, Failure, Grants, Reason, Runtime, Trainer, Update};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// An engine with a cache of its own.
struct Sandbox {
    runtime: Runtime,
    folder: TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { runtime: runtime(&folder), folder }
    }

    fn component(&self, bytes: Vec<u8>) -> Result<Component, Failure> {
        self.runtime.component(&Digest::of(&bytes), || Ok(Bytes::from(bytes)))
    }

    /// `faulty` with that fault, and 20,000 samples to train on.
    fn trainer(&self, fault: &str, change: impl FnOnce(&mut Grants)) -> Trainer {
        let mut grants = grants(&format!("{{\"fault\": \"{fault}\"}}"));
        grants.datasets.insert("train".to_owned(), guest::dataset(&self.folder));
        change(&mut grants);
        Trainer::new(&self.runtime, &self.component(plugin("faulty")).unwrap(), grants).unwrap()
    }
}

fn runtime(folder: &TempDir) -> Runtime {
    Runtime::new(folder.path(), Arc::new(Graphs::new(1))).unwrap()
}

fn grants(parameters: &str) -> Grants {
    Grants { memory_bytes: 16 << 20, ..guest::grants(parameters) }
}

fn weights(values: &[f32]) -> Weights {
    let w = Tensor::from_vec(&[values.len()], values.to_vec()).unwrap();
    Weights::new(vec![("w".to_owned(), w)]).unwrap()
}

async fn failure(trainer: &Trainer) -> Failure {
    trainer.train(1, weights(&[1.0])).await.err().expect("the fault ends the call")
}

#[tokio::test]
async fn whatever_the_host_keeps_for_a_guest_counts_as_its_memory() {
    let sandbox = Sandbox::new();
    for fault in ["memory", "tensors", "dimensions", "names", "graphs", "orders"] {
        let failure = failure(&sandbox.trainer(fault, |_| {})).await;
        assert_eq!(failure.reason, Reason::OutOfMemory, "{fault}: {failure}");
    }
}

#[tokio::test]
async fn a_guest_that_does_not_fit_does_not_start() {
    let sandbox = Sandbox::new();
    let failure = failure(&sandbox.trainer("trap", |grants| grants.memory_bytes = 64 << 10)).await;
    assert_eq!(failure.reason, Reason::OutOfMemory, "{failure}");
    assert!(failure.message.contains("memory limit of 65536 bytes"), "{failure}");
}

#[tokio::test]
async fn stack_and_handles_have_limits_of_their_own() {
    let sandbox = Sandbox::new();
    for (fault, words) in [("recursion", "call stack exhausted"), ("handles", "no free keys")] {
        let failure = failure(&sandbox.trainer(fault, |_| {})).await;
        assert_eq!(failure.reason, Reason::Trapped, "{fault}: {failure}");
        assert!(failure.message.contains(words), "{fault}: {failure}");
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_or_when_it_is_told_to() {
    let sandbox = Sandbox::new();
    for fault in ["loop", "sleep", "stdout"] {
        let brief = sandbox.trainer(fault, |grants| grants.call = Duration::from_millis(50));
        assert_eq!(failure(&brief).await.reason, Reason::DeadlineExceeded, "{fault}");

        let cancel = CancellationToken::new();
        let trainer = sandbox.trainer(fault, |grants| grants.cancel = cancel.clone());
        let (failed, ()) = tokio::join!(failure(&trainer), async { cancel.cancel() });
        assert_eq!(failed.reason, Reason::Cancelled, "{fault}");
    }
}

#[tokio::test]
async fn what_a_guest_does_wrong_with_tensors_is_an_error_that_helps() {
    let sandbox = Sandbox::new();
    let heard = Arc::new(Heard::default());
    let trainer = sandbox.trainer("misuse", |grants| grants.observer = Arc::clone(&heard) as _);

    let update = trainer.train(1, weights(&[1.0])).await.unwrap();

    assert_eq!(update.weights.get("w").unwrap().as_slice::<f32>().unwrap(), [1.0], "it went on");
    let lerp = "graph sedge:lerp: ";
    let expected = [
        "load: security: graphs are loaded by name: put the graph into the job's model and use load-by-name",
        "unknown graph: graph nowhere: not-found: no graph `nowhere` in the job's model, which has none of its own",
        "bind to unknown graph: graph nowhere: no graph `nowhere` in the job's model, which has none of its own",
        "bind to graph without weights: graph sedge:lerp: the graph takes none of the weights: no input bears the name of one",
        &format!(
            "overflowing size: {lerp}too-large: input `x`: f32[4294967295, 4294967295, 4294967295, 4294967295] is larger than the address space"
        ),
        &format!("short bytes: {lerp}invalid-argument: input `x`: f32[2, 3] takes 24 bytes, got 23"),
        &format!(
            "many dimensions: {lerp}too-large: input `x`: a tensor has at most 32 dimensions, this one has 33"
        ),
        &format!(
            "wrong name: {lerp}invalid-argument: unknown input \"z\"; the graph takes \"x\", \"y\", \"t\""
        ),
        &format!("missing input: {lerp}invalid-argument: missing input \"y\""),
        &format!("given twice: {lerp}invalid-argument: input \"x\" is given twice"),
        &format!(
            "wrong type: {lerp}invalid-argument: inputs \"x\" and \"y\": expected one type and shape, got f16[1] and f32[1]"
        ),
        &format!(
            "wrong shape: {lerp}invalid-argument: inputs \"x\" and \"y\": expected one type and shape, got f32[2, 3] and f32[3, 2]"
        ),
        "unknown dataset: dataset nowhere: no dataset `nowhere` was granted to this worker; granted: train",
        "empty batches: dataset train: a batch has at least one sample",
    ];
    let said = heard.lines();
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert_eq!(said, expected);
    }
}

#[tokio::test]
async fn an_update_that_is_refused_leaves_the_fold_as_it_was() {
    let sandbox = Sandbox::new();
    let component = sandbox.component(plugin("fedavg")).unwrap();
    let aggregator = Aggregator::new(&sandbox.runtime, &component, grants("{}")).unwrap();
    let mut fold = aggregator.begin(1, weights(&[0.0, 0.0])).await.unwrap();
    let update = |values: &[f32], samples| Update { weights: weights(values), samples, metrics: Vec::new() };

    fold.add(update(&[1.0, 2.0], 10)).await.unwrap().unwrap();
    for (refused, words) in [
        (update(&[f32::NAN, 2.0], 10), "weight w has 1 values that are NaN or infinite"),
        (update(&[1.0], 10), "weight w is f32[1], not f32[2]"),
        (update(&[1.0, 2.0], 0), "rests on no samples"),
    ] {
        let refusal = fold.add(refused).await.unwrap().unwrap_err();
        assert!(refusal.contains(words), "{refusal}");
    }
    fold.add(update(&[5.0, -2.0], 30)).await.unwrap().unwrap();

    let mean = fold.finish().await.unwrap();
    assert_eq!(mean.get("w").unwrap().as_slice::<f32>().unwrap(), [4.0, -1.0]);
}

#[test]
fn a_component_of_another_world_is_refused_with_what_it_lacks() {
    let sandbox = Sandbox::new();
    let fedavg = sandbox.component(plugin("fedavg")).unwrap();
    let failure = Trainer::new(&sandbox.runtime, &fedavg, grants("{}")).err().unwrap();
    assert_eq!(failure.reason, Reason::InvalidPlugin);
    assert!(failure.message.contains("sedge:worker/training@0.1.0"), "{failure}");

    let trainer = sandbox.component(plugin("noop_trainer")).unwrap();
    let failure = Aggregator::new(&sandbox.runtime, &trainer, grants("{}")).err().unwrap();
    assert!(failure.message.contains("sedge:worker/"), "{failure}");
}

#[test]
fn a_component_that_would_take_what_others_need_is_refused() {
    let sandbox = Sandbox::new();
    let of = |module: &str, count: usize| {
        format!("(component (core module $m {module}) {})", "(core instance (instantiate $m))".repeat(count))
    };
    let cases = [
        (of("", 65), "core"),
        (of("(memory 1)", 5), "memor"),
        (of("(table 1 funcref)", 9), "table"),
        (of("(table 200000 funcref)", 1), "table"),
        (of("(memory 1) (memory 1)", 1), "memor"),
    ];
    for (text, word) in cases {
        let failure = sandbox.component(wat::parse_str(&text).unwrap()).err().expect(word);
        assert_eq!(failure.reason, Reason::InvalidPlugin, "{failure}");
        assert!(failure.message.contains(word), "{word}: {failure}");
    }
    for bytes in [b"\0asm\x01\0\0\0".to_vec(), b"(component)".to_vec(), plugin("faulty")[..1000].to_vec()] {
        assert_eq!(sandbox.component(bytes).err().unwrap().reason, Reason::InvalidPlugin);
    }
}

#[test]
fn a_component_is_compiled_once_and_again_when_its_code_was_damaged() {
    let bytes = plugin("noop_trainer");
    let digest = Digest::of(&bytes);
    let folder = tempfile::tempdir().unwrap();
    // Whether a fresh engine, as after a restart, asks for the bytes.
    let compiles = || {
        let mut asked = false;
        let read = || {
            asked = true;
            Ok(Bytes::from(bytes.clone()))
        };
        runtime(&folder).component(&digest, read).unwrap();
        asked
    };
    assert!(compiles());
    assert!(!compiles(), "it is mapped");

    let engine = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let code = engine.join(digest.hex()).with_extension("cwasm");
    let mut damaged = std::fs::read(&code).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&code, damaged).unwrap();
    assert!(compiles(), "it is damaged");
    assert!(!compiles(), "it is sound again");
}
