//! ONNX Runtime: the fast engine, where a library of it is found.
//!
//! ```text
//!  settings ──▶ library (found, looked at, loaded once per process) ──▶ environment: log, threads, memory
//!  ONNX bytes, options ──▶ session ──▶ compute: tensors as values over their own memory ──▶ run
//!                                       ▲                                                    │
//!                                       └────── outputs: the engine's values, as they are ◀──┘
//! ```
//!
//! **One session per graph, computing for all.** `OrtApi::Run` may be called on a session by several threads at
//! once; it is the Rust binding that asks for `&mut`, because that is not so with every execution provider.
//! Sessions that compute on the processor are shared without a lock: weights in the file and what the engine
//! packed of them lie in memory once, however many workers compute. Others compute one call at a time.
//!
//! **Threads.** A graph with as many threads as the node's default takes part in one pool of all such graphs;
//! one thread is the caller's own and no pool. Idle threads sleep, they do not spin: workers share processors.
//!
//! **Memory.** All sessions allocate from one arena with a maximum ([`memory`]): more is an error, not the end
//! of the node.
//!
//! **Ends.** A compute of a call that is over its time, or cancelled, stops after the node that it is at
//! ([`crate::nn::Interrupt`]).
//!
//! **No copies.** Inputs are values over the tensors' own memory while `Run` goes on, outputs become tensors
//! over the engine's memory ([`value`]), and one of these given back goes in as the very value that came out.

mod error;
mod library;
mod memory;
mod patterns;
mod search;
mod session;
mod value;

use std::ffi::CString;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_onnx::{Declared, ElementType};

use self::library::Library;
use self::patterns::Patterned;
use self::session::RunOptions;
use self::value::{Borrowed, Input};
use super::{guard, with_stack};
use crate::nn::interrupt;
use crate::nn::{
    DType, Engine, EngineSettings, Graph, GraphOptions, NnError, Port, Provider, Tensor, check_inputs,
};

/// The engine's name.
pub const NAME: &str = "onnxruntime";

/// The engine.
pub struct OnnxRuntime {
    library: &'static Library,
    threads: usize,
}

impl OnnxRuntime {
    /// Err says why there is none, and what to do.
    pub fn open(settings: &EngineSettings) -> Result<Self, String> {
        Ok(Self { library: Library::open(settings)?, threads: settings.threads.max(1) })
    }
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn bounds_its_memory(&self) -> bool {
        true
    }

    fn version(&self) -> &str {
        self.library.version()
    }

    fn load(&self, onnx: Bytes, options: &GraphOptions) -> Result<Arc<dyn Graph>, NnError> {
        let signature = sedge_onnx::signature(&onnx)?;
        let inputs = ends(signature.inputs, "input")?;
        let outputs = ends(signature.outputs, "output")?;
        let load = || guard(NAME, "loading the graph", || self.library.load(onnx, options, self.threads));
        let session = with_stack(load)???;
        Ok(Arc::new(OrtGraph {
            session,
            alone: (options.provider != Provider::Cpu).then(Mutex::default),
            input_ports: inputs.iter().map(|end| end.port.clone()).collect(),
            output_ports: outputs.iter().map(|end| end.port.clone()).collect(),
            inputs,
            outputs,
            idle: Mutex::default(),
        }))
    }
}

/// An input or output of a graph.
struct End {
    port: Port,
    element: ElementType,
    name: CString,
}

fn ends(declared: Vec<Declared>, what: &str) -> Result<Vec<End>, NnError> {
    declared.into_iter().map(|declared| End::new(declared, what)).collect()
}

impl End {
    fn new(Declared { name, element, shape }: Declared, what: &str) -> Result<Self, NnError> {
        let Some(element) = element else {
            let message = format!(
                "{what} \"{name}\" is not a tensor of a declared type, and a graph takes and gives nothing else here: \
                 export scikit-learn's classifiers with options={{'zipmap': False}}"
            );
            return Err(NnError::unsupported(message));
        };
        let dtype = match element {
            ElementType::F16 => DType::F16,
            ElementType::F32 => DType::F32,
            ElementType::F64 => DType::F64,
            ElementType::Bf16 => DType::BF16,
            // `wasi:nn` has no type for a truth value; ONNX keeps it in a byte as well.
            ElementType::U8 | ElementType::Bool => DType::U8,
            ElementType::I32 => DType::I32,
            ElementType::I64 => DType::I64,
            ElementType::Other(_) => {
                return Err(NnError::unsupported(format!(
                    "{what} \"{name}\" is {}, for which wasi:nn has no type",
                    element.name()
                )));
            }
        };
        let c_name = CString::new(name.as_str())
            .map_err(|_| NnError::encoding(format!("{what} {name:?}: the name has a zero byte")))?;
        Ok(Self { port: Port { name, dtype: Some(dtype), shape }, element, name: c_name })
    }
}

struct OrtGraph {
    session: Patterned,
    /// Held while a provider computes that does so for one caller at a time.
    alone: Option<Mutex<()>>,
    inputs: Vec<End>,
    outputs: Vec<End>,
    input_ports: Vec<Port>,
    output_ports: Vec<Port>,
    /// Of computes that are over: to make options takes half a microsecond, and a compute that can be ended has some.
    idle: Mutex<Vec<Arc<RunOptions>>>,
}

/// Options that a graph keeps; more computes at a time make theirs and drop them.
const KEPT_OPTIONS: usize = 8;

impl OrtGraph {
    fn options(&self) -> Result<Arc<RunOptions>, NnError> {
        let idle = self.idle.lock().pop();
        idle.map_or_else(|| RunOptions::new().map(Arc::new), Ok)
    }

    /// For a later compute; nobody else holds them.
    fn keep(&self, options: Arc<RunOptions>) {
        let mut idle = self.idle.lock();
        if idle.len() < KEPT_OPTIONS && !options.are_terminated() {
            idle.push(options);
        }
    }
}

impl Graph for OrtGraph {
    fn inputs(&self) -> &[Port] {
        &self.input_ports
    }

    fn outputs(&self) -> &[Port] {
        &self.output_ports
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        let tensors = check_inputs(self, inputs)?;
        let session = self.session.session(&tensors)?;
        let inputs = self
            .inputs
            .iter()
            .zip(tensors)
            .map(|(end, tensor)| Input::of(tensor, end.element))
            .collect::<Result<Vec<_>, _>>()?;
        let borrowed = inputs.iter().map(Input::borrow).collect::<Result<Vec<Borrowed<'_>>, _>>()?;
        let input_names = self.inputs.iter().map(|end| &*end.name);
        let output_names = self.outputs.iter().map(|end| &*end.name);
        let _alone = self.alone.as_ref().map(Mutex::lock);
        let mut used = None;
        let make = || {
            let options = self.options()?;
            used = Some(Arc::clone(&options));
            Ok(options)
        };
        let run = |options: Option<&RunOptions>| session.run(input_names, &borrowed, output_names, options);
        let values = interrupt::under_way(make, run)?;
        if let Some(options) = used {
            self.keep(options);
        }
        self.outputs
            .iter()
            .zip(values)
            .map(|(end, value)| Ok((end.port.name.clone(), value.into_tensor(&end.port.name, &borrowed)?)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
