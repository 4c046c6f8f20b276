//! What may be chosen for a graph, and what a node's engines start with.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;

/// How one graph is to be computed; what is absent is the node's choice. From the Model's spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct GraphOptions {
    /// Name of the engine, and no other.
    pub engine: Option<String>,
    /// Threads of one compute.
    pub threads: Option<NonZeroU16>,
    /// How much of the graph the engine may rewrite.
    pub optimization: Option<Optimization>,
    /// What the engine computes on.
    pub provider: Provider,
}

/// How a model's graphs are to be computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelOptions {
    /// Graphs that have none of their own.
    pub default: GraphOptions,
    /// By name of the graph.
    pub graphs: BTreeMap<String, GraphOptions>,
}

impl ModelOptions {
    /// Of the graph called `name`.
    pub fn of(&self, name: &str) -> &GraphOptions {
        self.graphs.get(name).unwrap_or(&self.default)
    }
}

/// How much of a graph an engine may rewrite when it loads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Optimization {
    /// Nothing.
    None,
    /// What keeps the operators: folding constants, dropping what has no effect.
    Basic,
    /// Also several operators into one.
    Extended,
    /// Also other layouts of tensors in memory.
    All,
}

/// What an engine computes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU, where the engine's library has support for it.
    Cuda,
}

/// What a node's engines start with. Whoever starts a node says where libraries lie: nothing here looks at the
/// environment.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Threads of one compute, at least one.
    pub threads: usize,
    /// The file of ONNX Runtime's library; absent: looked for in `folders`.
    pub onnxruntime: Option<PathBuf>,
    /// Folders that engines' libraries are looked for in, in this order.
    pub folders: Vec<PathBuf>,
    /// Bytes that an engine that keeps memory of its own may hold for all graphs together.
    pub memory_bytes: u64,
}

impl EngineSettings {
    /// The engines that need nothing installed.
    pub fn builtin(threads: usize) -> Self {
        Self { threads, onnxruntime: None, folders: Vec::new(), memory_bytes: default_memory() }
    }
}

/// Three quarters of the machine's memory: the rest is the node's, its workers' and the system's.
fn default_memory() -> u64 {
    match crate::machine::memory_bytes() {
        0 => 4 << 30,
        bytes => bytes / 4 * 3,
    }
}
