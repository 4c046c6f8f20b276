//! OpenVINO, through the backend that wasmtime-wasi-nn has for it; in builds with the feature `openvino`.
//!
//! It is taken where a Model names it, and never of itself, for what the backend costs:
//!
//! - **Copies.** Every input is copied twice (into the backend's bytes, from there into OpenVINO's tensor) and every
//!   output once; weights of a training step too. All of it is counted ([`copies`]).
//! - **Locks.** Graphs are loaded one at a time. Computes of one graph go on at once, each in a context of its own,
//!   but make their contexts under one lock of the graph.
//! - **Threads.** The backend has no setting for them: OpenVINO takes as many as it likes, in a pool of the process,
//!   unless a `plugins.xml` beside its library sets `INFERENCE_NUM_THREADS`. A Model that asks for threads or an
//!   optimisation is refused.
//! - **Memory.** OpenVINO has no maximum; a compute is bounded by what is known of the graph before it begins.
//!
//! On processors OpenVINO computes in f32 and i32 whatever a file says. So f64 is refused; i64 is taken where its
//! values fit, since sizes and classes do, and a value between inputs and outputs that does not fit wraps. f16 and
//! bf16 are widened. A library that would compute f32 in bf16, as it does on processors that have it unless it is
//! told not to, is not taken ([`library`]).
//!
//! The bindings must not read a tensor without elements: OpenVINO gives no memory for it, and they take that for an
//! address. So the graph gets outputs that count the elements of its own, which are read first; an empty one is an
//! error, as is an empty input. Nor do they know shapes of no dimensions: scalars are refused. What the backend has
//! no word for is refused before it is asked: its own checks, and the bindings', end in panics, which are caught all
//! the same.

mod library;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_onnx::proto::{self, NodeProto, ValueInfoProto};
use sedge_onnx::{Declared, ElementType};
use wasmtime_wasi_nn::backend::openvino::OpenvinoBackend;
use wasmtime_wasi_nn::backend::{BackendError, BackendInner, Id};
use wasmtime_wasi_nn::wit::{ExecutionTarget, TensorType};
use wasmtime_wasi_nn::{ExecutionContext, Tensor as BackendTensor};

use super::guard::{guard, with_stack};
use crate::nn::{
    DType, Engine, EngineSettings, ErrorCode, Graph, GraphOptions, NnError, Port, Provider, Tensor,
    check_inputs, copies, describe,
};

/// The engine's name.
pub const NAME: &str = "openvino";

/// Contexts that are kept for later computes, with the tensors of their last one; more computes at a time make
/// theirs and drop it.
const KEPT_CONTEXTS: usize = 4;

/// The engine.
pub struct OpenVino {
    /// Loads one graph at a time.
    backend: Mutex<OpenvinoBackend>,
    version: String,
}

impl OpenVino {
    /// Err says why there is none, and what to do.
    pub fn open(settings: &EngineSettings) -> Result<Self, String> {
        Ok(Self { version: library::load(&settings.folders)?, backend: Mutex::default() })
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
        let onnx = with_counts(onnx)?;
        // Weights are in the ONNX file; the second part is OpenVINO's own format's.
        let load = || {
            guard(NAME, "loading the graph", || self.backend.lock().load(&[&onnx, &[]], ExecutionTarget::Cpu))
        };
        let graph = with_stack(load)??.map_err(|error| failure(ErrorCode::InvalidEncoding, &error))?;
        Ok(Arc::new(OpenVinoGraph { graph, idle: Mutex::default(), inputs, outputs }))
    }
}

fn port(Declared { name, element, shape }: Declared, what: &str) -> Result<Port, NnError> {
    let refused = |element: &str, why: &str| {
        NnError::unsupported(format!("{what} \"{name}\" is {element}, which the engine openvino {why}"))
    };
    if shape.as_ref().is_some_and(Vec::is_empty) {
        return Err(refused("a scalar", "does not take: give it a dimension of one"));
    }
    let dtype = match element {
        Some(ElementType::F16) => DType::F16,
        Some(ElementType::F32) => DType::F32,
        Some(ElementType::Bf16) => DType::BF16,
        Some(ElementType::U8) => DType::U8,
        Some(ElementType::I32) => DType::I32,
        Some(ElementType::I64) => DType::I64,
        Some(ElementType::F64) => return Err(refused("f64", "would compute as f32")),
        Some(other) => return Err(refused(&other.name(), "does not take")),
        None => return Err(refused("of no declared type", "does not take")),
    };
    Ok(Port { name, dtype: Some(dtype), shape })
}

struct OpenVinoGraph {
    graph: wasmtime_wasi_nn::Graph,
    idle: Mutex<Vec<ExecutionContext>>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Graph for OpenVinoGraph {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        let tensors = check_inputs(self, inputs)?;
        let given = self.inputs.iter().zip(&tensors).map(|(port, tensor)| to_backend(port, tensor));
        let given = given.collect::<Result<Vec<_>, NnError>>()?;
        let idle = self.idle.lock().pop();
        // A context in which something failed is dropped.
        let (context, outputs) = guard(NAME, "computing", || {
            let mut context = match idle {
                Some(context) => context,
                None => self.graph.init_execution_context()?,
            };
            for (port, tensor) in self.inputs.iter().zip(&given) {
                context.set_input(Id::Name(port.name.clone()), tensor)?;
            }
            context.compute()?;
            let mut outputs = Vec::with_capacity(self.outputs.len());
            for (at, port) in self.outputs.iter().enumerate() {
                let count = context.get_output(Id::Name(count_name(at)))?;
                let empty = count.data.iter().all(|&byte| byte == 0);
                let read = |name: &String| context.get_output(Id::Name(name.clone()));
                outputs.push((!empty).then_some(&port.name).map(read).transpose()?);
            }
            Ok((context, outputs))
        })?
        .map_err(|error: BackendError| failure(ErrorCode::RuntimeError, &error))?;
        let mut idle = self.idle.lock();
        if idle.len() < KEPT_CONTEXTS {
            idle.push(context);
        }
        drop(idle);
        self.outputs.iter().zip(outputs).map(|(port, output)| of_backend(port, output)).collect()
    }
}

/// Name of the output that says how many elements the output at `at` has.
fn count_name(at: usize) -> String {
    format!("sedge.count.{at}")
}

/// `onnx` with an output more for each that it has: the count of its elements.
fn with_counts(onnx: Bytes) -> Result<Bytes, NnError> {
    let mut model = sedge_onnx::read(onnx)?;
    if let Some(graph) = &mut model.graph {
        let names = graph.node.iter().flat_map(|node| &node.output);
        let names = names.chain(graph.input.iter().flat_map(|input| &input.name));
        let names = names.chain(graph.initializer.iter().flat_map(|weight| &weight.name));
        if let Some(taken) = names.into_iter().find(|name| name.starts_with("sedge.count.")) {
            return Err(NnError::unsupported(format!(
                "the engine openvino has its own use for \"{taken:.40}\""
            )));
        }
        let outputs: Vec<_> =
            graph.output.iter().map(|output| output.name.clone().unwrap_or_default()).collect();
        for (at, output) in outputs.into_iter().enumerate() {
            let mut node = |operator: &str, input: Vec<String>, output: String| {
                let (op_type, output) = (Some(operator.to_owned()), vec![output]);
                graph.node.push(NodeProto { op_type, input, output, ..Default::default() });
            };
            // The bindings do not read the shape of a scalar.
            let (scalar, shape) = (format!("{}.scalar", count_name(at)), format!("{}.shape", count_name(at)));
            node("Size", vec![output], scalar.clone());
            node("Reshape", vec![scalar, shape.clone()], count_name(at));
            graph.initializer.push(proto::TensorProto {
                name: Some(shape),
                dims: vec![1],
                data_type: Some(proto::tensor_proto::DataType::Int64 as i32),
                int64_data: vec![1],
                ..Default::default()
            });
            let tensor = proto::type_proto::Tensor {
                elem_type: Some(proto::tensor_proto::DataType::Int64 as i32),
                shape: None,
            };
            let value = Some(proto::type_proto::Value::TensorType(tensor));
            let r#type = Some(proto::TypeProto { value, ..Default::default() });
            graph.output.push(ValueInfoProto { name: Some(count_name(at)), r#type, ..Default::default() });
        }
    }
    Ok(sedge_onnx::write(&model))
}

/// The backend's name for each type.
const TYPES: [(DType, TensorType); 7] = [
    (DType::F16, TensorType::Fp16),
    (DType::F32, TensorType::Fp32),
    (DType::F64, TensorType::Fp64),
    (DType::BF16, TensorType::Bf16),
    (DType::U8, TensorType::U8),
    (DType::I32, TensorType::I32),
    (DType::I64, TensorType::I64),
];

fn to_type(dtype: DType) -> TensorType {
    TYPES.iter().find(|(ours, _)| *ours == dtype).expect("every type is in the table").1
}

fn of_type(ty: TensorType) -> DType {
    TYPES.iter().find(|(_, theirs)| *theirs == ty).expect("every type is in the table").0
}

fn to_backend(port: &Port, tensor: &Tensor) -> Result<BackendTensor, NnError> {
    if tensor.bytes().is_empty() {
        return Err(NnError::unsupported(format!(
            "input \"{}\" is {}: the engine openvino takes no tensors without elements",
            port.name,
            describe(tensor.dtype(), tensor.shape())
        )));
    }
    if tensor.dtype() == DType::I64 {
        let wide = |value: &&i64| i32::try_from(**value).is_err();
        if let Some(value) = tensor.as_slice::<i64>()?.iter().find(wide) {
            return Err(NnError::invalid(format!(
                "input \"{}\": the value {value} does not fit the 32-bit integers of OpenVINO",
                port.name
            )));
        }
    }
    let size = |&size: &usize| {
        u32::try_from(size)
            .map_err(|_| NnError::too_large(format!("input \"{}\": a dimension of {size}", port.name)))
    };
    let dimensions = tensor.shape().iter().map(size).collect::<Result<_, _>>()?;
    // Here, and in the backend.
    copies::count(2 * tensor.bytes().len());
    Ok(BackendTensor::new(dimensions, to_type(tensor.dtype()), tensor.bytes().to_vec()))
}

fn of_backend(port: &Port, output: Option<BackendTensor>) -> Result<(String, Tensor), NnError> {
    let output = output.ok_or_else(|| {
        let name = &port.name;
        NnError::unsupported(format!(
            "output \"{name}\" has no elements, which the engine openvino cannot give"
        ))
    })?;
    let dtype = of_type(output.ty);
    if port.dtype.is_some_and(|declared| declared != dtype) {
        let (name, declared) = (&port.name, port.describe());
        return Err(NnError::runtime(format!(
            "output \"{name}\" is {declared}, and OpenVINO put out {dtype}"
        )));
    }
    copies::count(output.data.len());
    let shape: Vec<usize> = output.dimensions.iter().map(|&size| size as usize).collect();
    Ok((port.name.clone(), Tensor::from_byte_vec(dtype, &shape, output.data)?))
}

fn failure(code: ErrorCode, error: &BackendError) -> NnError {
    // The backend's own words say no more than that it failed; the cause does.
    let cause = match error {
        BackendError::BackendAccess(cause) => format!("{cause:#}"),
        other => other.to_string(),
    };
    let code = match error {
        BackendError::UnsupportedTensorType(_) => ErrorCode::UnsupportedOperation,
        BackendError::NotEnoughMemory(_) => ErrorCode::TooLarge,
        _ => code,
    };
    NnError::new(code, format!("OpenVINO: {cause}"))
}

#[cfg(test)]
mod tests;
