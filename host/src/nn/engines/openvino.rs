//! OpenVINO, through the backend that wasmtime-wasi-nn has for it; in builds with the feature `openvino`.
//!
//! It is taken where a Model names it, and never of itself: its backend copies every tensor on the way in and
//! out, takes as many threads as it likes, and gives outputs by number, which are put back in the file's order
//! here. What it has no word for is refused before it is asked: its own checks end in panics.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_onnx::{Declared, ElementType};
use wasmtime_wasi_nn::ExecutionContext;
use wasmtime_wasi_nn::backend::openvino::OpenvinoBackend;
use wasmtime_wasi_nn::backend::{BackendError, BackendInner, NamedTensor};
use wasmtime_wasi_nn::wit::{ExecutionTarget, TensorType};

use super::{guard, with_stack};
use crate::nn::{
    DType, Engine, EngineSettings, ErrorCode, Graph, GraphOptions, NnError, Port, Provider, Tensor,
    check_inputs,
};

/// The engine's name.
pub const NAME: &str = "openvino";

/// The engine.
pub struct OpenVino {
    /// Loads one graph at a time.
    backend: Mutex<OpenvinoBackend>,
    version: String,
}

impl OpenVino {
    /// Err says why there is none, and what to do.
    pub fn open(settings: &EngineSettings) -> Result<Self, String> {
        let opened = match candidates(&settings.folders).into_iter().next() {
            Some(path) => openvino_sys::library::load_from(path),
            None if settings.folders.is_empty() => return Err("no library was asked for".to_owned()),
            None => openvino_sys::library::load(),
        };
        opened.map_err(|why| {
            format!(
                "{why}; put one there with `cargo xtask setup --engine openvino`, or set OPENVINO_INSTALL_DIR"
            )
        })?;
        let version = guard(NAME, "asked for its version", version).map_err(|error| error.message)??;
        Ok(Self { backend: Mutex::default(), version })
    }
}

/// Files of the library, in `folders` and in folders of its name below them.
fn candidates(folders: &[PathBuf]) -> Vec<PathBuf> {
    let in_folder = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let named = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("libopenvino_c.so") || name == "libopenvino_c.dylib" || name == "openvino_c.dll"
        };
        let mut found: Vec<_> = entries.map(|entry| entry.path()).filter(named).collect();
        found.sort();
        found
    };
    folders.iter().flat_map(|folder| [in_folder(&folder.join(NAME)), in_folder(folder)].concat()).collect()
}

/// `2026.4.1-…`, as the library says it.
#[allow(unsafe_code)]
fn version() -> Result<String, String> {
    let mut said =
        openvino_sys::ov_version_t { buildNumber: std::ptr::null(), description: std::ptr::null() };
    // SAFETY: the library is loaded; the call fills `said` with C strings that live until they are freed, once,
    // after the number is copied.
    unsafe {
        if openvino_sys::ov_get_openvino_version(&mut said) != openvino_sys::ov_status_e::OK
            || said.buildNumber.is_null()
        {
            return Err("the library does not say its version".to_owned());
        }
        let number = std::ffi::CStr::from_ptr(said.buildNumber).to_string_lossy().into_owned();
        openvino_sys::ov_version_free(&mut said);
        Ok(number.split('-').next().unwrap_or_default().to_owned())
    }
}

impl Engine for OpenVino {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn load(&self, onnx: Bytes, options: &GraphOptions) -> Result<Arc<dyn Graph>, NnError> {
        let refused = |what: &str| Err(NnError::unsupported(format!("the engine openvino {what}")));
        if options.provider != Provider::Cpu {
            return refused("computes on the processor alone");
        }
        if options.threads.is_some() || options.optimization.is_some() {
            return refused("cannot be told threads or an optimization: leave them out of the model's spec");
        }
        let signature = sedge_onnx::signature(&onnx)?;
        let ports = |declared: Vec<Declared>, what: &str| {
            declared.into_iter().map(|declared| port(declared, what)).collect::<Result<Vec<_>, _>>()
        };
        let (inputs, outputs) = (ports(signature.inputs, "input")?, ports(signature.outputs, "output")?);
        // Weights are in the ONNX file; the second part is OpenVINO's own format's.
        let load = || {
            guard(NAME, "loading the graph", || self.backend.lock().load(&[&onnx, &[]], ExecutionTarget::Cpu))
        };
        let graph = with_stack(load)??.map_err(|error| failure(ErrorCode::InvalidEncoding, &error))?;
        Ok(Arc::new(OvGraph { graph, idle: Mutex::default(), inputs, outputs }))
    }
}

fn port(Declared { name, element, shape }: Declared, what: &str) -> Result<Port, NnError> {
    let dtype = match element {
        Some(ElementType::F16) => DType::F16,
        Some(ElementType::F32) => DType::F32,
        Some(ElementType::F64) => DType::F64,
        Some(ElementType::Bf16) => DType::BF16,
        Some(ElementType::U8) => DType::U8,
        Some(ElementType::I32) => DType::I32,
        Some(ElementType::I64) => DType::I64,
        other => {
            let element = other.map_or_else(|| "of no declared type".to_owned(), ElementType::name);
            return Err(NnError::unsupported(format!(
                "{what} \"{name}\" is {element}, which the engine openvino does not take"
            )));
        }
    };
    Ok(Port { name, dtype: Some(dtype), shape })
}

/// Contexts that are kept for later computes; more computes at a time make theirs and drop it.
const KEPT_CONTEXTS: usize = 16;

struct OvGraph {
    graph: wasmtime_wasi_nn::Graph,
    idle: Mutex<Vec<ExecutionContext>>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Graph for OvGraph {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        let tensors = check_inputs(self, inputs)?;
        let given =
            self.inputs.iter().zip(&tensors).map(|(port, tensor)| {
                Ok(NamedTensor { name: port.name.clone(), tensor: to_backend(tensor)? })
            });
        let given = given.collect::<Result<Vec<_>, NnError>>()?;
        let idle = self.idle.lock().pop();
        let failed = |error: &BackendError| failure(ErrorCode::RuntimeError, error);
        let (context, outputs) = guard(NAME, "computing", || {
            let mut context = match idle {
                Some(context) => context,
                None => self.graph.init_execution_context().map_err(|error| failed(&error))?,
            };
            let outputs = context.compute(Some(given)).map_err(|error| failed(&error))?;
            Ok::<_, NnError>((context, outputs.unwrap_or_default()))
        })??;
        let mut idle = self.idle.lock();
        if idle.len() < KEPT_CONTEXTS {
            idle.push(context);
        }
        drop(idle);
        if outputs.len() != self.outputs.len() {
            return Err(NnError::runtime("OpenVINO put out another number of tensors than the graph has"));
        }
        let ports = self.outputs.iter();
        ports.zip(outputs).map(|(port, output)| Ok((port.name.clone(), of_backend(output.tensor)?))).collect()
    }
}

type BackendTensor = wasmtime_wasi_nn::wit::Tensor;

fn to_backend(tensor: &Tensor) -> Result<BackendTensor, NnError> {
    let size = |&size: &usize| {
        u32::try_from(size).map_err(|_| NnError::too_large(format!("a dimension of {size} is over 2³² − 1")))
    };
    let ty = match tensor.dtype() {
        DType::F16 => TensorType::Fp16,
        DType::F32 => TensorType::Fp32,
        DType::F64 => TensorType::Fp64,
        DType::BF16 => TensorType::Bf16,
        DType::U8 => TensorType::U8,
        DType::I32 => TensorType::I32,
        DType::I64 => TensorType::I64,
    };
    let dimensions = tensor.shape().iter().map(size).collect::<Result<_, _>>()?;
    Ok(BackendTensor { dimensions, ty, data: tensor.bytes().to_vec() })
}

fn of_backend(tensor: BackendTensor) -> Result<Tensor, NnError> {
    let dtype = match tensor.ty {
        TensorType::Fp16 => DType::F16,
        TensorType::Fp32 => DType::F32,
        TensorType::Fp64 => DType::F64,
        TensorType::Bf16 => DType::BF16,
        TensorType::U8 => DType::U8,
        TensorType::I32 => DType::I32,
        TensorType::I64 => DType::I64,
    };
    let shape: Vec<usize> = tensor.dimensions.iter().map(|&size| size as usize).collect();
    Tensor::from_bytes(dtype, &shape, &tensor.data)
}

fn failure(code: ErrorCode, error: &BackendError) -> NnError {
    // The backend's own words say no more than that it failed; the cause does.
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause:#}")).unwrap_or_default();
    let code = match error {
        BackendError::UnsupportedTensorType(_) => ErrorCode::UnsupportedOperation,
        BackendError::NotEnoughMemory(_) => ErrorCode::TooLarge,
        _ => code,
    };
    NnError::new(code, format!("OpenVINO: {error}{cause}"))
}
