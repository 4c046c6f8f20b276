//! The two ways to compute a case: the engine called directly, and a guest that calls `wasi:nn`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_api::Digest;
use sedge_host::model::{Binding, Model, Weights, bind};
use sedge_host::nn::{
    DType, EngineSettings, Graph, GraphOptions, Graphs, Memory, NnError, Port, Tensor, copies,
};
use sedge_host::runtime::{Component, Grants, Runtime, Trainer};
use tokio_util::sync::CancellationToken;

use super::cases::Case;
use super::found;
use super::observers::Printed;

/// Calls before the first that is looked at: the first makes new weights, later ones write over them.
const SETTLE: usize = 3;

/// The runtime, and the plugin that computes many times over.
pub struct Bench {
    executor: tokio::runtime::Runtime,
    runtime: Runtime,
    plugin: Component,
    _cache: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        let cache = tempfile::tempdir().expect("a temporary folder");
        let graphs = Arc::new(Graphs::with(&EngineSettings {
            onnxruntime: found::onnxruntime(),
            folders: found::folders(),
            ..EngineSettings::builtin(1)
        }));
        let runtime = Runtime::new(cache.path(), graphs).expect("the engine starts");
        let executor = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let folder =
            std::env::var_os("SEDGE_PLUGINS").expect("SEDGE_PLUGINS is set: run `cargo xtask bench tensors`");
        let path = PathBuf::from(folder).join("bench_step.wasm");
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let plugin = runtime.component(&Digest::of(&bytes), || Ok(Bytes::from(bytes)));
        let plugin = plugin.expect("the plugin compiles");
        Self { executor: executor.expect("an executor"), runtime, plugin, _cache: cache }
    }

    /// All that load graphs.
    pub fn graphs(&self) -> &Graphs {
        self.runtime.graphs()
    }

    /// With their versions.
    pub fn engine_names(&self) -> Vec<String> {
        self.runtime.graphs().engines()
    }

    /// The one that needs nothing installed first.
    pub fn engines(&self) -> Vec<String> {
        let names = self.engine_names();
        names.iter().rev().map(|name| name.split(' ').next().unwrap_or(name).to_owned()).collect()
    }

    /// `case` loaded by that engine.
    pub fn ready(&self, case: &Case, engine: &str) -> Result<Ready, String> {
        let onnx = std::fs::read(&case.onnx).map_err(|error| format!("{}: {error}", case.onnx.display()))?;
        let options = GraphOptions { engine: Some(engine.to_owned()), ..GraphOptions::default() };
        let loaded = self.runtime.graphs().load(&Digest::of(&onnx), &options, || Ok(Bytes::from(onnx)));
        let graph = loaded.map_err(|error| format!("{engine}: {error}"))?.graph;
        let given = case.given.clone();
        Ok(Ready { graph, given, weights: case.weights.clone(), train: case.train })
    }
}

/// A case that can be computed.
#[derive(Clone)]
pub struct Ready {
    graph: Arc<dyn Graph>,
    given: Vec<(String, Tensor)>,
    weights: Vec<(String, Tensor)>,
    train: bool,
}

impl Ready {
    pub fn direct(&self) -> Way {
        Way { ready: self.clone(), guest: false }
    }

    pub fn guest(&self) -> Way {
        Way { ready: self.clone(), guest: true }
    }

    /// What one call gives.
    pub fn outputs(&self) -> Vec<Tensor> {
        let inputs = [&self.given[..], &self.weights].concat();
        let outputs = self.graph.compute(inputs).expect("it computes");
        outputs.into_iter().map(|(_, tensor)| tensor).collect()
    }

    /// What the plugin `bench-step` does, without the sandbox.
    fn compute(self, calls: usize) -> Vec<Duration> {
        let Self { graph, given, mut weights, train } = self;
        let clocked = Clocked::of(graph);
        let mut graph = Arc::clone(&clocked) as Arc<dyn Graph>;
        if !train && !weights.is_empty() {
            let weights = Weights::new(std::mem::take(&mut weights)).expect("the names differ");
            graph = bind(graph, &weights, Binding::AtCall).expect("the weights fit");
        }
        for _ in 0..=calls {
            let mut inputs = given.clone();
            inputs.append(&mut weights);
            for (name, tensor) in graph.compute(inputs).expect("it computes") {
                if let Some(name) = name.strip_suffix(".next") {
                    weights.push((name.to_owned(), tensor));
                } else if name == "loss" {
                    black_box(tensor.as_slice::<f32>().expect("a loss is f32")[0]);
                }
            }
        }
        clocked.times()
    }

    /// The plugin, in a worker of its own.
    fn compute_in_guest(self, bench: &Bench, calls: usize) -> Vec<Duration> {
        let names: Vec<&str> = self.given.iter().map(|(name, _)| name.as_str()).collect();
        let bound = !self.train && !self.weights.is_empty();
        let parameters = serde_json::json!({"graph": "g", "steps": calls + 1, "given": names, "bind": bound});
        let clocked = Clocked::of(self.graph);
        let grants = Grants {
            parameters: parameters.to_string(),
            datasets: BTreeMap::new(),
            model: Some(Arc::new(Model {
                graphs: BTreeMap::from([("g".to_owned(), Arc::clone(&clocked) as Arc<dyn Graph>)]),
                ..Model::default()
            })),
            memory_bytes: 2 << 30,
            call: Duration::from_secs(600),
            observer: Arc::new(Printed),
            cancel: CancellationToken::new(),
        };
        let tensors = self.given.into_iter().chain(self.weights).collect();
        let start = Weights::new(tensors).expect("the names differ");
        let trainer = Trainer::new(&bench.runtime, &bench.plugin, grants).expect("a trainer");
        bench.executor.block_on(trainer.train(1, start)).expect("it computes");
        clocked.times()
    }
}

/// A graph that notes when each compute begins. From one to the next is what a call takes with all that is around it,
/// told by the same clock both ways: a guest that looks at its own calls out of the sandbox to do so.
struct Clocked {
    graph: Arc<dyn Graph>,
    begun: Mutex<Vec<Instant>>,
}

impl Clocked {
    fn of(graph: Arc<dyn Graph>) -> Arc<Self> {
        Arc::new(Self { graph, begun: Mutex::new(Vec::with_capacity(1 << 15)) })
    }

    fn times(&self) -> Vec<Duration> {
        self.begun.lock().windows(2).map(|two| two[1] - two[0]).collect()
    }
}

impl Graph for Clocked {
    fn inputs(&self) -> &[Port] {
        self.graph.inputs()
    }

    fn outputs(&self) -> &[Port] {
        self.graph.outputs()
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        self.begun.lock().push(Instant::now());
        self.graph.compute(inputs)
    }

    fn memory<'a>(
        &'a self,
        inputs: &mut dyn Iterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<Memory, NnError> {
        self.graph.memory(inputs)
    }

    fn accepts(&self, declared: DType, given: DType) -> bool {
        self.graph.accepts(declared, given)
    }
}

/// A way to compute a case.
pub struct Way {
    ready: Ready,
    guest: bool,
}

impl Way {
    pub fn name(&self) -> &'static str {
        if self.guest { "guest" } else { "direct" }
    }

    /// How many calls fill that time, roughly.
    pub fn calls(&self, time: Duration) -> usize {
        let mut few = self.ready.clone().compute(SETTLE + 5).split_off(SETTLE);
        few.sort();
        let one = few[few.len() / 2].max(Duration::from_nanos(100));
        (time.as_nanos() / one.as_nanos()).clamp(10, 20_000) as usize
    }

    /// Compute that often, and give each call's time but the first ones'.
    pub fn run(&self, bench: &Bench, calls: usize) -> Vec<Duration> {
        let ready = self.ready.clone();
        let times = if self.guest {
            ready.compute_in_guest(bench, SETTLE + calls)
        } else {
            // On a thread of the kind that workers have: allocators treat the first thread differently, and an engine
            // may have to hand over what is computed from a thread that is not its own.
            let graphs = Arc::clone(bench.runtime.graphs());
            let direct = move || graphs.attend(|| ready.compute(SETTLE + calls));
            bench.executor.block_on(bench.executor.spawn_blocking(direct)).expect("it computes")
        };
        times[SETTLE..].to_vec()
    }

    /// Bytes that one call copies.
    pub fn copied(&self, bench: &Bench) -> u64 {
        const CALLS: u64 = 100;
        let of = |calls: u64| {
            let before = copies::copied();
            self.run(bench, calls as usize);
            copies::copied() - before
        };
        // Beside what a call copies there is what it does once.
        (of(1 + CALLS) - of(1)) / CALLS
    }
}
