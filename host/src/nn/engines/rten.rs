//! rten: a pure-Rust engine that needs nothing installed.
//!
//! What is special about it: integers and booleans of an ONNX file are `i32` inside, so `i64` is narrowed on
//! the way in (values that do not fit are an error) and widened on the way out, as the file declares it.
//! An owned value can be computed over in place; a vector of which the caller gave the only handle goes in
//! owned, and everything else as a view. Outputs are taken as they are, but for a shape that the file declares in
//! full: the engine puts a scalar out where one of the two numbers that it broadcasts had a dimension of one.
//!
//! It computes on threads of its own, even where that is one, so each compute is handed over and waited for: some
//! ten microseconds. A worker, which computes many times, runs on such a thread from the start ([`Engine::attend`]).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rten::{
    LoadErrorKind, Model, ModelOptions, NodeId, RunErrorKind, RunOptions, ThreadPool, Value, ValueOrView,
    ValueView,
};

use rten_tensor::Layout as _;
use sedge_onnx::{Declared, ElementType};

use super::{guard, with_stack};
use crate::nn::{
    DType, Element, Engine, ErrorCode, Graph, GraphOptions, NnError, Optimization, Port, Provider, Tensor,
    check_inputs, copies,
};

/// The engine's name.
const NAME: &str = "rten";

/// The engine.
pub struct Rten {
    threads: usize,
    /// By their threads; those of graphs that ask for another number than the node's are made with the first.
    pools: Mutex<HashMap<usize, Arc<Pools>>>,
}

impl Rten {
    /// `threads` per compute.
    pub fn new(threads: usize) -> Self {
        Self { threads, pools: Mutex::default() }
    }

    fn pools(&self, options: &GraphOptions) -> Arc<Pools> {
        let threads = options.threads.map_or(self.threads, |threads| usize::from(threads.get()));
        let new = || Arc::new(Pools { threads, idle: Mutex::default() });
        self.pools.lock().entry(threads).or_insert_with(new).clone()
    }
}

impl Engine for Rten {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        // Of the crate, whose version the workspace names.
        "0.27"
    }

    fn load(&self, onnx: Bytes, options: &GraphOptions) -> Result<Arc<dyn Graph>, NnError> {
        if options.provider != Provider::Cpu {
            return Err(NnError::unsupported("the engine rten computes on the processor alone"));
        }
        let signature = sedge_onnx::signature(&onnx)?;
        // It believes what a file says of shapes.
        let onnx = sedge_onnx::without_hints(onnx)?;
        let optimize = options.optimization != Some(Optimization::None);
        let load = || {
            guard(NAME, "loading the graph", || {
                ModelOptions::with_all_ops().enable_optimization(optimize).load(onnx.into())
            })
        };
        let model = with_stack(load)??.map_err(load_error)?;
        let ends = |declared: Vec<Declared>, what: &str| -> Result<Vec<End>, NnError> {
            declared.into_iter().map(|declared| End::new(&model, declared, what)).collect()
        };
        let inputs = ends(signature.inputs, "input")?;
        let outputs = ends(signature.outputs, "output")?;
        Ok(Arc::new(RtenGraph {
            input_ports: inputs.iter().map(|end| end.port.clone()).collect(),
            output_ports: outputs.iter().map(|end| end.port.clone()).collect(),
            output_ids: outputs.iter().map(|end| end.id).collect(),
            inputs,
            outputs,
            pools: self.pools(options),
            model,
        }))
    }

    fn attend<'a>(&self, work: Box<dyn FnOnce() + Send + 'a>) {
        let pools = self.pools(&GraphOptions::default());
        let threads = pools.threads;
        pools.with(|pool| {
            pool.clone().run(move || {
                ATTENDED.set(Some((threads, pool)));
                // Also when the work panics: the thread is the pool's, and the next work's.
                let _guard = Leave;
                work();
            });
        });
    }
}

thread_local! {
    /// Of a thread on which [`Engine::attend`] runs work: the pool that it belongs to, and the pool's threads.
    static ATTENDED: RefCell<Option<(usize, Arc<ThreadPool>)>> = const { RefCell::new(None) };
}

struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        ATTENDED.set(None);
    }
}

/// Thread pools, one for each compute that goes on at the same time: several computes in one pool would wait
/// for each other.
struct Pools {
    threads: usize,
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

/// Pools that are kept for later computes; more computes at a time make theirs and drop it.
const KEPT_POOLS: usize = 16;

impl Pools {
    fn with<R>(&self, compute: impl FnOnce(Arc<ThreadPool>) -> R) -> R {
        let ours =
            |(threads, pool): &(usize, Arc<ThreadPool>)| (*threads == self.threads).then(|| pool.clone());
        if let Some(pool) = ATTENDED.with_borrow(|attended| attended.as_ref().and_then(ours)) {
            // This is a thread of that pool: nothing is handed to another.
            return compute(pool);
        }
        let idle = self.idle.lock().pop();
        let pool = idle.unwrap_or_else(|| Arc::new(ThreadPool::with_num_threads(self.threads)));
        let result = compute(pool.clone());
        let mut idle = self.idle.lock();
        if idle.len() < KEPT_POOLS {
            idle.push(pool);
        }
        result
    }
}

/// An input or output of a graph.
struct End {
    port: Port,
    element: Option<ElementType>,
    id: NodeId,
}

impl End {
    fn new(model: &Model, declared: Declared, what: &str) -> Result<Self, NnError> {
        let Declared { name, element, shape } = declared;
        let dtype = element.map(|element| match element {
            ElementType::F32 => Ok(DType::F32),
            // `wasi:nn` has no type for a truth value; ONNX keeps it in a byte as well.
            ElementType::U8 | ElementType::Bool => Ok(DType::U8),
            ElementType::I32 => Ok(DType::I32),
            ElementType::I64 => Ok(DType::I64),
            ElementType::F16 | ElementType::F64 | ElementType::Bf16 | ElementType::Other(_) => {
                Err(NnError::unsupported(format!(
                    "{what} \"{name}\" is {}, which the engine rten does not compute with",
                    element.name()
                )))
            }
        });
        let id = model.node_id(&name).map_err(|_| {
            NnError::encoding(format!("the ONNX file has no value for its graph's {what} \"{name}\""))
        })?;
        Ok(Self { port: Port { name, dtype: dtype.transpose()?, shape }, element, id })
    }

    /// What the engine takes for `tensor`.
    fn hold(&self, tensor: Tensor) -> Result<Held, NnError> {
        match (self.element, tensor.dtype()) {
            (Some(ElementType::Bool), DType::U8) => {
                value(tensor.shape(), converted(tensor.as_slice::<u8>()?, |byte| i32::from(byte != 0)))
            }
            (_, DType::F32) => owned_or_view::<f32>(tensor),
            (_, DType::I32) => owned_or_view::<i32>(tensor),
            (_, DType::U8) => owned_or_view::<u8>(tensor),
            (_, DType::I64) => value(tensor.shape(), self.narrow(tensor.as_slice()?)?),
            (_, other) => Err(NnError::unsupported(format!(
                "input \"{}\": the engine rten does not compute with {other}",
                self.port.name
            ))),
        }
    }

    fn narrow(&self, values: &[i64]) -> Result<Vec<i32>, NnError> {
        let narrow = |(at, &value)| {
            i32::try_from(value).map_err(|_| {
                NnError::invalid(format!(
                    "input \"{}\": the value {value} at {at} does not fit the 32-bit integers of rten",
                    self.port.name
                ))
            })
        };
        copies::count(size_of_val(values) / 2);
        values.iter().enumerate().map(narrow).collect()
    }

    /// The tensor of an output, of the dtype and shape that the file declares.
    fn take(&self, value: Value) -> Result<Tensor, NnError> {
        let tensor = self.tensor(value)?;
        // The engine drops a dimension of one where it broadcasts it to a scalar.
        match self.port.shape.iter().flatten().copied().collect::<Option<Vec<_>>>() {
            Some(shape) if self.port.shape.is_some() && shape != tensor.shape() => {
                Ok(tensor.clone().reshaped(&shape).unwrap_or(tensor))
            }
            _ => Ok(tensor),
        }
    }

    fn tensor(&self, value: Value) -> Result<Tensor, NnError> {
        match value {
            Value::FloatTensor(tensor) => tensor_of(&Vec::from(tensor.shape()), tensor.into_data()),
            Value::UInt8Tensor(tensor) => tensor_of(&Vec::from(tensor.shape()), tensor.into_data()),
            Value::Int32Tensor(tensor) => {
                let shape = tensor.shape().to_vec();
                let values = tensor.into_data();
                match self.element {
                    Some(ElementType::I64) => tensor_of(&shape, converted(&values, i64::from)),
                    Some(ElementType::Bool) => {
                        tensor_of(&shape, converted(&values, |value| u8::from(value != 0)))
                    }
                    _ => tensor_of(&shape, values),
                }
            }
            other => Err(NnError::unsupported(format!(
                "output \"{}\" is a {}, for which wasi:nn has no type",
                self.port.name,
                other.dtype()
            ))),
        }
    }
}

/// An input while the engine computes.
enum Held {
    /// Until it is handed over.
    Owned(Option<Value>),
    View(Tensor),
}

/// A copy of `values` in another type.
fn converted<T: Copy, U>(values: &[T], convert: impl Fn(T) -> U) -> Vec<U> {
    copies::count(values.len() * size_of::<U>());
    values.iter().map(|&value| convert(value)).collect()
}

fn owned_or_view<T: Element>(tensor: Tensor) -> Result<Held, NnError>
where
    Value: From<rten_tensor::Tensor<T>>,
{
    let shape = tensor.shape().to_vec();
    match tensor.into_vec::<T>() {
        Ok(values) => value(&shape, values),
        Err(shared) => Ok(Held::View(shared)),
    }
}

fn value<T>(shape: &[usize], values: Vec<T>) -> Result<Held, NnError>
where
    Value: From<rten_tensor::Tensor<T>>,
{
    let value = Value::from_shape(shape, values).map_err(|error| NnError::invalid(error.to_string()))?;
    Ok(Held::Owned(Some(value)))
}

impl Held {
    fn give(&mut self) -> Result<ValueOrView<'_>, NnError> {
        match self {
            Self::Owned(value) => Ok(ValueOrView::Value(value.take().expect("handed over once"))),
            Self::View(tensor) => match tensor.dtype() {
                DType::F32 => view::<f32>(tensor),
                DType::I32 => view::<i32>(tensor),
                DType::U8 => view::<u8>(tensor),
                other => unreachable!("{other} is never held as a view"),
            },
        }
    }
}

fn view<T: Element>(tensor: &Tensor) -> Result<ValueOrView<'_>, NnError>
where
    for<'a> ValueView<'a>: From<rten_tensor::TensorView<'a, T>>,
{
    let view = ValueView::from_shape(tensor.shape(), tensor.as_slice::<T>()?)
        .map_err(|error| NnError::invalid(error.to_string()))?;
    Ok(view.into())
}

fn tensor_of<T: Element>(shape: &[usize], mut values: Vec<T>) -> Result<Tensor, NnError> {
    // The engine reuses larger buffers for smaller outputs; memory that no one counts would be held by them.
    if values.capacity() - values.len() > values.len() / 4 {
        let before = values.as_ptr();
        values.shrink_to_fit();
        // Mostly they stay where they are.
        if values.as_ptr() != before {
            copies::count(size_of_val(values.as_slice()));
        }
    }
    Tensor::from_vec(shape, values)
}

struct RtenGraph {
    model: Model,
    inputs: Vec<End>,
    outputs: Vec<End>,
    input_ports: Vec<Port>,
    output_ports: Vec<Port>,
    output_ids: Vec<NodeId>,
    pools: Arc<Pools>,
}

impl Graph for RtenGraph {
    fn inputs(&self) -> &[Port] {
        &self.input_ports
    }

    fn outputs(&self) -> &[Port] {
        &self.output_ports
    }

    fn accepts(&self, declared: DType, given: DType) -> bool {
        declared == given || (declared == DType::I64 && given == DType::I32)
    }

    fn compute(&self, inputs: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>, NnError> {
        let tensors = check_inputs(self, inputs)?;
        let mut held = self
            .inputs
            .iter()
            .zip(tensors)
            .map(|(end, tensor)| end.hold(tensor))
            .collect::<Result<Vec<_>, _>>()?;
        let given = self
            .inputs
            .iter()
            .zip(&mut held)
            .map(|(end, held)| Ok((end.id, held.give()?)))
            .collect::<Result<Vec<_>, NnError>>()?;

        let values = self.pools.with(|pool| {
            let options = RunOptions::default().with_thread_pool(Some(pool));
            guard(NAME, "computing", || self.model.run(given, &self.output_ids, Some(options)))
        })?;
        let values = values.map_err(run_error)?;
        self.outputs
            .iter()
            .zip(values)
            .map(|(end, value)| Ok((end.port.name.clone(), end.take(value)?)))
            .collect()
    }
}

fn load_error(error: rten::LoadError) -> NnError {
    let code = match error.kind() {
        LoadErrorKind::OperatorInvalid => ErrorCode::UnsupportedOperation,
        LoadErrorKind::ExternalDataError => ErrorCode::Security,
        _ => ErrorCode::InvalidEncoding,
    };
    NnError::new(code, format!("the engine rten cannot load the graph: {error}"))
}

fn run_error(error: rten::RunError) -> NnError {
    let code = match error.kind() {
        RunErrorKind::InvalidInput => ErrorCode::InvalidArgument,
        _ => ErrorCode::RuntimeError,
    };
    NnError::new(code, error.to_string())
}

#[cfg(test)]
mod tests;
