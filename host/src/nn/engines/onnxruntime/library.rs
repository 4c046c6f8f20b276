//! The library of ONNX Runtime: found, looked at before it is loaded, and loaded once.
//!
//! A process has one: the binding keeps it and its functions for all. A second node in the process shares it,
//! and is refused another file.

use std::ffi::CStr;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
use parking_lot::Mutex;

use super::memory::{self, Sweeper};
use super::patterns::Patterned;
use super::search;
use super::session::{Session, Threads};
use crate::nn::engines::elf;
use crate::nn::{EngineSettings, GraphOptions, NnError};

/// The loaded library and its environment.
pub struct Library {
    path: PathBuf,
    version: String,
    /// Of the pool that sessions share.
    threads: usize,
    sweeper: Arc<Sweeper>,
    /// Never dropped: the binding allows one in a process's life.
    environment: Environment,
}

/// What has come of loading one.
enum State {
    Untried,
    Loaded(&'static Library),
    /// The binding holds a library that does not work; there is no second chance in this process.
    Spoilt(String),
}

static STATE: Mutex<State> = Mutex::new(State::Untried);

impl Library {
    /// The process's library, loaded if none is; Err says why there is none and what to do.
    pub fn open(settings: &EngineSettings) -> Result<&'static Self, String> {
        let candidates = search::candidates(settings)?;
        let mut state = STATE.lock();
        match &*state {
            State::Loaded(library) => {
                return match candidates.iter().any(|path| same(path, &library.path)) {
                    true => Ok(*library),
                    false => Err(format!(
                        "this process has {} loaded already, and can have no other",
                        library.path.display()
                    )),
                };
            }
            State::Spoilt(why) => return Err(why.clone()),
            State::Untried => {}
        }
        let mut reasons = Vec::new();
        for path in &candidates {
            match load(path, settings) {
                Ok(library) => {
                    let library = Box::leak(Box::new(library));
                    tracing::info!(version = library.version, path = %path.display(), "ONNX Runtime is loaded");
                    *state = State::Loaded(library);
                    return Ok(library);
                }
                Err(Unloaded::Refused(why)) => reasons.push(format!("{}: {why}", path.display())),
                Err(Unloaded::Broken(why)) => {
                    let why = format!("{}: {why}", path.display());
                    *state = State::Spoilt(why.clone());
                    reasons.push(why);
                    break;
                }
            }
        }
        let reason = reasons.join("; ");
        tracing::warn!(%reason, "ONNX Runtime is not used");
        Err(reason)
    }

    /// e.g. `1.32.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The graph, loaded; `threads` where the options name no number.
    pub fn load(
        &'static self,
        onnx: Bytes,
        options: &GraphOptions,
        threads: usize,
    ) -> Result<Patterned, NnError> {
        let count = options.threads.map_or(threads, |threads| usize::from(threads.get()));
        let threads = Threads { count, shared: count == self.threads };
        let options = options.clone();
        let load = move |onnx: &[u8], patterns| self.session(onnx, &options, threads, patterns);
        Patterned::load(onnx, Box::new(load))
    }

    /// One session of the graph.
    pub fn session(
        &self,
        onnx: &[u8],
        options: &GraphOptions,
        threads: Threads,
        patterns: bool,
    ) -> Result<Session, NnError> {
        Session::load(&self.environment, onnx, options, threads, patterns, Some(self.sweeper.clone()))
    }
}

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ONNX Runtime {} ({})", self.version, self.path.display())
    }
}

/// Whether both name the same file.
fn same(left: &Path, right: &Path) -> bool {
    left == right
        || left.canonicalize().ok().is_some_and(|left| right.canonicalize().is_ok_and(|right| left == right))
}

/// Why a file is not the process's library.
enum Unloaded {
    /// Another may be tried.
    Refused(String),
    /// None can be any more.
    Broken(String),
}

fn load(path: &Path, settings: &EngineSettings) -> Result<Library, Unloaded> {
    elf::check(path).map_err(Unloaded::Refused)?;
    let version = probe(path).map_err(Unloaded::Refused)?;
    let builder = ort::init_from(path).map_err(|error| Unloaded::Refused(error.to_string()))?;
    let threads = settings.threads.max(1);
    // The binding asserts some of what it expects of a library.
    let started = catch_unwind(AssertUnwindSafe(|| -> ort::Result<Environment> {
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            .with_spin_control(false)?;
        let environment = builder
            .with_name("sedge")
            .with_telemetry(false)
            .with_logger(Arc::new(log))
            .with_global_thread_pool(pool)
            .build()?;
        // The binding sets out with every line there is.
        environment.set_log_level(LogLevel::Warning);
        Ok(environment)
    }));
    let environment = match started {
        Ok(Ok(environment)) => environment,
        Ok(Err(error)) => return Err(Unloaded::Broken(format!("it did not start: {}", error.message()))),
        Err(_) => return Err(Unloaded::Broken("it lacks what its version promises".to_owned())),
    };
    let broken = |error: NnError| Unloaded::Broken(error.message);
    memory::register(&environment, settings.memory_bytes).map_err(broken)?;
    let sweeper = Arc::new(Sweeper::new(&environment).map_err(broken)?);
    Ok(Library { path: path.to_owned(), version, threads, sweeper, environment })
}

/// The version of the library at `path`, if it is one that the binding takes; asked before the binding does,
/// which would hold on to a library that is none, or give up over it.
#[allow(unsafe_code)]
fn probe(path: &Path) -> Result<String, String> {
    // SAFETY: loading a library runs what its author lets run then. The file is one that the node's operator
    // named, or lies in a folder that only an administrator or the operator writes to.
    let library = unsafe { libloading::Library::new(path) };
    let library = library.map_err(|error| format!("it cannot be loaded: {error}"))?;
    let none = || "it is no library of ONNX Runtime".to_owned();
    // SAFETY: in ONNX Runtime, whose libraries alone have the symbol, it is a function of this type; what it
    // returns lives as long as the library, which is kept until the end of this function.
    let (version, has_api) = unsafe {
        let base = library
            .get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase")
            .map_err(|_| none())?;
        let base = base().as_ref().ok_or_else(none)?;
        let version = CStr::from_ptr((base.GetVersionString)()).to_string_lossy().into_owned();
        (version, !(base.GetApi)(ort::MINOR_VERSION).is_null())
    };
    if !has_api {
        let needed = ort::MINOR_VERSION;
        return Err(format!("it is ONNX Runtime {version:.20}, and 1.{needed} or newer is needed"));
    }
    Ok(version)
}

/// Lines of the engine's log. Its errors are the callers' errors as well, and guests could write them at will.
fn log(level: LogLevel, category: &str, _id: &str, place: &str, message: &str) {
    match level {
        LogLevel::Fatal => tracing::error!(target: "onnxruntime", category, place, "{message}"),
        LogLevel::Error | LogLevel::Warning => {
            tracing::debug!(target: "onnxruntime", category, place, "{message}");
        }
        LogLevel::Info | LogLevel::Verbose => {
            tracing::trace!(target: "onnxruntime", category, place, "{message}");
        }
    }
}
