//! One graph in the engine, and a run of it.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ort::AsPointer as _;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session as OrtSession, SharedSessionInner};
use ort::sys;

use super::error::{check, of_binding};
use super::memory::Sweeper;
use super::value::{Borrowed, Value};
use crate::nn::interrupt::Stop;
use crate::nn::{GraphOptions, NnError, Optimization, Provider};

/// Threads of a session.
#[derive(Debug, Clone, Copy)]
pub struct Threads {
    /// That take part in one compute, the caller's among them.
    pub count: usize,
    /// Whether they are those of the environment's pool.
    pub shared: bool,
}

/// A loaded graph.
pub struct Session {
    /// None while it is dropped.
    inner: Option<Arc<SharedSessionInner>>,
    /// Gives memory back once the graph is gone.
    sweeper: Option<Arc<Sweeper>>,
}

impl Session {
    /// Load `onnx`, with or without patterns of memory. `sweeper` is called when the graph is dropped.
    pub fn load(
        environment: &Environment,
        onnx: &[u8],
        options: &GraphOptions,
        threads: Threads,
        patterns: bool,
        sweeper: Option<Arc<Sweeper>>,
    ) -> Result<Self, NnError> {
        let mut builder =
            builder(environment, options, threads, patterns).map_err(|error| of_binding(&error))?;
        if options.provider == Provider::Cuda {
            append_cuda(&mut builder)?;
        }
        let session = builder.commit_from_memory(onnx).map_err(|error| load_error(&error))?;
        Ok(Self { inner: Some(session.inner()), sweeper })
    }

    /// Compute. Any number of threads at once, where the session's provider computes on the processor.
    #[allow(unsafe_code)]
    pub fn run<'a>(
        &self,
        input_names: impl Iterator<Item = &'a CStr>,
        inputs: &[Borrowed<'_>],
        output_names: impl Iterator<Item = &'a CStr>,
        run_options: Option<&RunOptions>,
    ) -> Result<Vec<Value>, NnError> {
        let input_names: Vec<_> = input_names.map(CStr::as_ptr).collect();
        let output_names: Vec<_> = output_names.map(CStr::as_ptr).collect();
        assert_eq!(input_names.len(), inputs.len(), "a name for each input");
        let inputs: Vec<_> = inputs.iter().map(Borrowed::as_ptr).collect();
        let mut outputs = vec![ptr::null_mut(); output_names.len()];
        let session = self.inner.as_ref().expect("a session is there until it is dropped").ptr().cast_mut();
        // SAFETY: the session is valid for as long as `inner`; `Run` may be called on it by several threads at
        // once (that is what ONNX Runtime's documentation says of `OrtApi::Run`, and callers lock for other
        // providers than the processor's). Names are C strings that outlive the call, inputs are valid values
        // that it reads, each list is as long as it says; null outputs are for the engine to allocate.
        let status = unsafe {
            (ort::api().Run)(
                session,
                run_options.map_or(ptr::null(), |options| options.options.as_ptr().cast_const()),
                input_names.as_ptr(),
                inputs.as_ptr(),
                inputs.len(),
                output_names.as_ptr(),
                output_names.len(),
                outputs.as_mut_ptr(),
            )
        };
        // SAFETY: what the engine has written there is a value made for us, also where it failed later on.
        let values = outputs
            .into_iter()
            .map(|value| NonNull::new(value).map(|value| unsafe { Value::from_raw(value) }));
        let values: Vec<_> = values.collect();
        check(status)?;
        let all = values.into_iter().collect::<Option<Vec<_>>>();
        all.ok_or_else(|| NnError::runtime("ONNX Runtime left an output out"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // First the graph, then the memory that it leaves free.
        self.inner = None;
        if let Some(sweeper) = &self.sweeper {
            sweeper.sweep();
        }
    }
}

fn builder(
    environment: &Environment,
    options: &GraphOptions,
    threads: Threads,
    patterns: bool,
) -> ort::Result<SessionBuilder> {
    let level = match options.optimization {
        Some(Optimization::None) => GraphOptimizationLevel::Disable,
        Some(Optimization::Basic) => GraphOptimizationLevel::Level1,
        Some(Optimization::Extended) => GraphOptimizationLevel::Level2,
        Some(Optimization::All) | None => GraphOptimizationLevel::All,
    };
    let mut builder = OrtSession::builder(environment)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?
        .with_log_level(LogLevel::Warning)?
        .with_optimization_level(level)?
        .with_env_allocators()?
        .with_memory_pattern(patterns)?
        .with_intra_op_spinning(false)?
        .with_intra_threads(threads.count)?;
    if !threads.shared {
        builder = builder.with_independent_thread_pool()?;
    }
    Ok(builder)
}

/// The first GPU.
#[allow(unsafe_code)]
fn append_cuda(builder: &mut SessionBuilder) -> Result<(), NnError> {
    let api = ort::api();
    let mut cuda = ptr::null_mut();
    // SAFETY: the options are made, lent to the session's options, which copy them, and released once.
    let appended = unsafe {
        check((api.CreateCUDAProviderOptions)(&mut cuda)).and_then(|()| {
            let appended =
                check((api.SessionOptionsAppendExecutionProvider_CUDA_V2)(builder.ptr_mut(), cuda));
            (api.ReleaseCUDAProviderOptions)(cuda);
            appended
        })
    };
    appended.map_err(|NnError { message, .. }| {
        NnError::unsupported(format!(
            "the provider cuda is not there ({message}): point --onnxruntime at a library built for CUDA, such as \
             the one in the Python package onnxruntime-gpu, or let the model's provider be cpu"
        ))
    })
}

/// A graph that is refused is no graph of this engine's, whatever it calls the reason.
fn load_error(error: &ort::Error) -> NnError {
    super::error::loading(error.code(), error.message())
}

/// How to run.
pub struct RunOptions {
    options: NonNull<sys::OrtRunOptions>,
    /// Whether a run that they are given to ends at once.
    terminated: AtomicBool,
}

impl RunOptions {
    /// As the engine has them.
    #[allow(unsafe_code)]
    pub fn new() -> Result<Self, NnError> {
        let mut options = ptr::null_mut();
        // SAFETY: the call writes `options`, which are released when `Self` is dropped.
        check(unsafe { (ort::api().CreateRunOptions)(&mut options) })?;
        let options = NonNull::new(options);
        let options = options.ok_or_else(|| NnError::runtime("ONNX Runtime made no options"))?;
        Ok(Self { options, terminated: AtomicBool::new(false) })
    }

    /// With one entry of configuration.
    #[allow(unsafe_code)]
    pub fn with(key: &CStr, value: &CStr) -> Result<Self, NnError> {
        let options = Self::new()?;
        // SAFETY: the options are valid, and both texts are C strings that the call copies.
        check(unsafe {
            (ort::api().AddRunConfigEntry)(options.options.as_ptr(), key.as_ptr(), value.as_ptr())
        })?;
        Ok(options)
    }

    /// Whether they were used to end a run, and are good for no other.
    pub fn are_terminated(&self) -> bool {
        self.terminated.load(Ordering::Relaxed)
    }
}

impl Stop for RunOptions {
    #[allow(unsafe_code)]
    fn stop(&self) {
        self.terminated.store(true, Ordering::Relaxed);
        // SAFETY: the options are valid; the call sets a flag that runs look at, and is meant for other threads
        // than the run's.
        if let Err(error) = check(unsafe { (ort::api().RunOptionsSetTerminate)(self.options.as_ptr()) }) {
            tracing::debug!(%error, "a run was not told to end");
        }
    }
}

#[allow(unsafe_code)]
// SAFETY: they belong to no thread.
unsafe impl Send for RunOptions {}
#[allow(unsafe_code)]
// SAFETY: once they are made nothing of them is written but the flag that ends a run, which the engine has threads
// write and read at once.
unsafe impl Sync for RunOptions {}

impl Drop for RunOptions {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `new`, released here alone.
        unsafe { (ort::api().ReleaseRunOptions)(self.options.as_ptr()) }
    }
}
