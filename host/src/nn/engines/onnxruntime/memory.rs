//! The memory that all sessions allocate from: one arena with a maximum.
//!
//! Weights, what the engine packs of them, what a compute needs on the way and outputs come from it; an output
//! gives its piece back when its tensor is dropped. The arena grows by what is asked for and keeps what is
//! given back, for the next compute wants the same again: a training loop allocates from the system in its
//! first step alone. When a graph is dropped the [`Sweeper`] gives the system what no one uses.
//!
//! An allocator of our own is no way: the engine takes its word that memory is there, and computes over a null
//! pointer where it says that there is none.

use std::ffi::CStr;
use std::ptr;

use ort::AsPointer as _;
use ort::environment::Environment;
use ort::sys;
use prost::Message as _;
use sedge_onnx::ElementType;
use sedge_onnx::proto::tensor_shape_proto::Dimension;
use sedge_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_proto, type_proto,
};

use super::error::check;
use super::session::{RunOptions, Session, Threads};
use super::value::Input;
use crate::nn::{GraphOptions, NnError, Tensor};

/// Beyond this the arena does not double what it has, but grows by what is asked for.
const GROWTH: usize = 16 << 20;

/// Register the arena; `maximum` bytes for all sessions.
#[allow(unsafe_code)]
pub fn register(environment: &Environment, maximum: u64) -> Result<(), NnError> {
    let api = ort::api();
    let keys = [c"max_mem".as_ptr(), c"max_power_of_two_extend_bytes".as_ptr()];
    let values = [usize::try_from(maximum).unwrap_or(usize::MAX), GROWTH];
    let (kind, place) = (sys::OrtAllocatorType::OrtArenaAllocator, sys::OrtMemType::OrtMemTypeDefault);
    let (mut info, mut arena) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: each call writes what its pointer points to; keys and values are as many as it says; both things
    // made are copied by the registration and released once. An environment may be told of allocators through
    // a shared reference: it locks.
    unsafe {
        check((api.CreateCpuMemoryInfo)(kind, place, &mut info))?;
        let registered =
            check((api.CreateArenaCfgV2)(keys.as_ptr(), values.as_ptr(), keys.len(), &mut arena)).and_then(
                |()| {
                    let environment = environment.ptr().cast_mut();
                    let registered = check((api.CreateAndRegisterAllocator)(environment, info, arena));
                    (api.ReleaseArenaCfg)(arena);
                    registered
                },
            );
        (api.ReleaseMemoryInfo)(info);
        registered
    }
}

/// Whether the engine's message says that the arena's maximum is reached, or the system's.
pub fn is_exhausted(message: &str) -> bool {
    ["Available memory of", "Failed to allocate memory", "bad_alloc", "BFCArena", "size overflow"]
        .iter()
        .any(|words| message.contains(words))
}

/// Has the arena give back what no one uses: the engine does so after a run that asks for it, so a graph that
/// does nothing is run.
pub struct Sweeper {
    session: Session,
    shrink: RunOptions,
    input: Input,
}

const X: &CStr = c"x";
const Y: &CStr = c"y";

impl Sweeper {
    /// For the arena of `environment`.
    pub fn new(environment: &Environment) -> Result<Self, NnError> {
        let threads = Threads { count: 1, shared: false };
        let session =
            Session::load(environment, &identity(), &GraphOptions::default(), threads, false, None)?;
        let input = Input::of(Tensor::from_vec(&[1], vec![0f32])?, ElementType::F32)?;
        let shrink = RunOptions::with(c"memory.enable_memory_arena_shrinkage", c"cpu:0")?;
        Ok(Self { session, shrink, input })
    }

    /// Once.
    pub fn sweep(&self) {
        let swept = self.input.borrow().and_then(|input| {
            let names = [X].into_iter();
            self.session.run(names, &[input], [Y].into_iter(), Some(&self.shrink))
        });
        if let Err(error) = swept {
            tracing::debug!(%error, "the engine gave no memory back");
        }
    }
}

/// `y = x`, a vector of `float32`.
fn identity() -> Vec<u8> {
    let text = |name: &CStr| name.to_string_lossy().into_owned();
    let port = |name: &CStr| {
        let tensor = type_proto::Tensor {
            elem_type: Some(tensor_proto::DataType::Float.into()),
            shape: Some(TensorShapeProto { dim: vec![Dimension::default()] }),
        };
        let of_type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
        ValueInfoProto { name: Some(text(name)), r#type: Some(of_type), ..Default::default() }
    };
    let graph = GraphProto {
        name: Some("sweep".to_owned()),
        node: vec![NodeProto {
            op_type: Some("Identity".to_owned()),
            input: vec![text(X)],
            output: vec![text(Y)],
            ..Default::default()
        }],
        input: vec![port(X)],
        output: vec![port(Y)],
        ..Default::default()
    };
    let opset = OperatorSetIdProto { version: Some(13), ..Default::default() };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset],
        ..Default::default()
    };
    model.encode_to_vec()
}
