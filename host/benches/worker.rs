//! What a worker costs beside its arithmetic: instances, steps through guest and `wasi:nn`, folds.
//!
//! Run by `cargo xtask bench`, which says in SEDGE_PLUGINS where the plugins are and prints the table.

#[path = "../tests/observers/mod.rs"]
mod observers;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sedge_api::Digest;
use sedge_host::data::{Dataset, Description, Split};
use sedge_host::model::{Model, Weights};
use sedge_host::nn::{Graph, GraphOptions, Graphs, Tensor};
use sedge_host::runtime::{Aggregator, Component, Grants, Runtime, Trainer, Update};
use tokio_util::sync::CancellationToken;

use self::observers::Printed;

/// Layers of the classifier whose training step is measured.
const LAYERS: [usize; 4] = [784, 1024, 1024, 10];
const BATCH: usize = 64;
/// Steps of one measured call, so that what a call costs once does not count.
const STEPS: usize = 8;

/// A worker's surroundings.
struct Bench {
    executor: tokio::runtime::Runtime,
    runtime: Runtime,
    _cache: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let runtime = Runtime::new(cache.path(), Arc::new(Graphs::new(1))).expect("the engine starts");
        let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { executor: executor.expect("an executor"), runtime, _cache: cache }
    }

    fn plugin(&self, name: &str) -> Component {
        let folder =
            std::env::var_os("SEDGE_PLUGINS").expect("SEDGE_PLUGINS is set: run `cargo xtask bench`");
        let path = PathBuf::from(folder).join(name).with_extension("wasm");
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.runtime.component(&Digest::of(&bytes), || Ok(Bytes::from(bytes))).expect("the plugin compiles")
    }

    fn grants(&self, parameters: &str) -> Grants {
        Grants {
            parameters: parameters.to_owned(),
            datasets: BTreeMap::new(),
            model: None,
            memory_bytes: 2 << 30,
            call: Duration::from_secs(600),
            observer: Arc::new(Printed),
            cancel: CancellationToken::new(),
        }
    }
}

/// Random weights of an MLP with these layers, `w0 b0 w1 b1 …`.
fn weights(layers: &[usize]) -> Weights {
    let mut tensors = Vec::new();
    for (layer, sizes) in layers.windows(2).enumerate() {
        let scale = (2.0 / sizes[0] as f32).sqrt();
        tensors.push((format!("w{layer}"), noise(&[sizes[0], sizes[1]], scale)));
        tensors.push((format!("b{layer}"), noise(&[sizes[1]], 0.0)));
    }
    Weights::new(tensors).expect("the names differ")
}

/// Values that look random, between ±`scale`.
fn noise(shape: &[usize], scale: f32) -> Tensor {
    let mut state = 1_u32;
    let values = (0..shape.iter().product()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 * scale - scale
    });
    Tensor::from_vec(shape, values.collect()).expect("as many values as the shape says")
}

/// A dataset of that many samples for the classifier.
fn dataset(folder: &Path, samples: usize) -> Arc<Dataset> {
    let mut text = (0..LAYERS[0]).map(|column| format!("p{column},")).collect::<String>() + "label\n";
    for sample in 0..samples {
        for pixel in 0..LAYERS[0] {
            text += if (sample * 31 + pixel * 17) % 7 == 0 { "1," } else { "0," };
        }
        text += &format!("{}\n", sample % 10);
    }
    std::fs::write(folder.join("samples.csv"), text).expect("the file is written");
    let dir = Dir::open_ambient_dir(folder, ambient_authority()).expect("the folder is there");
    let description = Description { label: Some("label".to_owned()), ..Description::default() };
    Arc::new(Dataset::open(&dir, "samples.csv", description).expect("the dataset reads"))
}

fn instantiate(criterion: &mut Criterion) {
    let bench = Bench::new();
    let trainer =
        Trainer::new(&bench.runtime, &bench.plugin("noop_trainer"), bench.grants("{}")).expect("a trainer");
    let start = weights(&[64, 64, 10]);
    criterion.bench_function("worker/instantiate and first call", |b| {
        b.iter(|| bench.executor.block_on(trainer.train(1, start.clone())).expect("it answers"));
    });
    criterion.bench_function("worker/thread hand-over alone", |b| {
        b.iter(|| bench.executor.block_on(async { tokio::task::spawn_blocking(|| black_box(1)).await }));
    });
}

fn step(criterion: &mut Criterion) {
    let bench = Bench::new();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let samples = dataset(folder.path(), BATCH * STEPS);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/mlp-784-1024-1024-10/train.onnx");
    let onnx = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (digest, options) = (Digest::of(&onnx), GraphOptions::default());
    let loaded = bench.runtime.graphs().load(&digest, &options, || Ok(Bytes::from(onnx)));
    let graph = loaded.expect("it loads").graph;
    let start = weights(&LAYERS);
    let mut group = criterion.benchmark_group("step 784-1024-1024-10, batch 64");
    group.throughput(Throughput::Elements(STEPS as u64)).sample_size(20);

    group.bench_function("engine called directly", |b| {
        b.iter_batched(|| start.clone(), |start| direct(&*graph, &samples, start), BatchSize::PerIteration);
    });
    let mut grants = bench.grants(r#"{"epochs": 1, "batchSize": 64, "learningRate": 0.01}"#);
    grants.datasets.insert("train".to_owned(), samples.clone());
    let graphs = BTreeMap::from([("train".to_owned(), Arc::clone(&graph))]);
    grants.model = Some(Arc::new(Model { graphs, ..Model::default() }));
    let trainer = Trainer::new(&bench.runtime, &bench.plugin("sgd_trainer"), grants).expect("a trainer");
    group.bench_function("guest and wasi:nn", |b| {
        b.iter(|| bench.executor.block_on(trainer.train(1, start.clone())).expect("it trains"));
    });
    group.finish();
}

/// What the plugin sgd-trainer does, without the sandbox: one epoch.
fn direct(graph: &dyn Graph, samples: &Arc<Dataset>, start: Weights) -> Vec<(String, Tensor)> {
    let mut weights = start.tensors().to_vec();
    drop(start);
    for mut inputs in samples.batches(Split::Train, BATCH, Some(0)) {
        inputs.push(("lr".to_owned(), Tensor::from_vec(&[1], vec![0.01_f32]).expect("one value")));
        inputs.append(&mut weights);
        for (name, tensor) in graph.compute(inputs).expect("a step") {
            match name.strip_suffix(".next") {
                Some(name) => weights.push((name.to_owned(), tensor)),
                None => _ = black_box(tensor),
            }
        }
    }
    weights
}

fn fold(criterion: &mut Criterion) {
    let bench = Bench::new();
    let aggregator =
        Aggregator::new(&bench.runtime, &bench.plugin("fedavg"), bench.grants("{}")).expect("an aggregator");
    let mut group = criterion.benchmark_group("fold an update (fedavg)");
    group.sample_size(20);
    for (name, layers) in [("1.2 MB", vec![784, 380, 10]), ("40 MB", vec![3160, 3160, 10])] {
        let current = weights(&layers);
        let update = || Update { weights: weights(&layers), samples: 10, metrics: Vec::new() };
        group.throughput(Throughput::Bytes(current.byte_len()));
        group.bench_function(name, |b| {
            b.iter_custom(|folds| {
                let updates: Vec<Update> = (0..folds.min(8)).map(|_| update()).collect();
                bench.executor.block_on(async {
                    let mut aggregate = aggregator.begin(1, current.clone()).await.expect("it begins");
                    // The first two make the memory that later ones are folded into.
                    for _ in 0..2 {
                        aggregate.add(update()).await.expect("it folds").expect("it is taken");
                    }
                    let start = Instant::now();
                    for at in 0..folds {
                        let update = updates[at as usize % updates.len()].clone();
                        aggregate.add(update).await.expect("it folds").expect("it is taken");
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, instantiate, step, fold);
criterion_main!(benches);
