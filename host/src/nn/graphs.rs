//! The graphs that a node has loaded: one per digest and options, however many workers compute with it, and
//! which engine computes each.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_api::Digest;

use super::builtin;
use super::engines::{self, Missing};
use super::error::{ErrorCode, NnError};
use super::freezer::{Freezer, Frozen};
use super::graph::{Engine, Graph};
use super::load::{self, Source};
use super::options::{EngineSettings, GraphOptions};

/// Graphs of a node: each loaded once per digest and options, dropped with its last user.
pub struct Graphs {
    /// The preferred one first.
    engines: Vec<Arc<dyn Engine>>,
    /// Engines of this build that this node does not have.
    missing: Vec<Missing>,
    loaded: Mutex<HashMap<(Digest, GraphOptions), Arc<Slot>>>,
    /// Those with weights in them.
    frozen: Arc<Frozen>,
    /// Per compute, where options do not say.
    threads: usize,
}

/// Bytes of weights in frozen graphs that are kept although no one uses them: enough for the last few versions of
/// what a node serves.
const KEPT_FROZEN: u64 = 256 << 20;

/// A graph, and the engine that computes it.
#[derive(Clone)]
pub struct Loaded {
    /// To compute with.
    pub graph: Arc<dyn Graph>,
    /// Whose it is.
    pub choice: Arc<Choice>,
}

/// Which engine computes a graph, and why no other does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// e.g. `onnxruntime`.
    pub engine: String,
    /// Those that would have been taken rather.
    pub passed_over: Vec<PassedOver>,
}

/// An engine that does not compute a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// e.g. `onnxruntime`.
    pub engine: String,
    /// What it lacks, and what to do.
    pub reason: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.engine, self.reason)
    }
}

/// One graph. Locked while it is loaded, so that whoever wants it meanwhile waits and shares it.
type Slot = Mutex<Option<(Weak<dyn Graph>, Arc<Choice>)>>;

impl Graphs {
    /// With the engines that need nothing installed; `threads` per compute (at least one).
    pub fn new(threads: usize) -> Self {
        Self::with(&EngineSettings::builtin(threads))
    }

    /// With the engines that `settings` finds.
    pub fn with(settings: &EngineSettings) -> Self {
        let (engines, missing) = engines::all(settings);
        Self { missing, threads: settings.threads.max(1), ..Self::with_engines(engines) }
    }

    fn with_engines(engines: Vec<Box<dyn Engine>>) -> Self {
        Self {
            engines: engines.into_iter().map(Arc::from).collect(),
            missing: Vec::new(),
            loaded: Mutex::default(),
            frozen: Frozen::new(KEPT_FROZEN),
            threads: 1,
        }
    }

    /// Names and versions of the engines, the preferred one first: `rten 0.27.0`.
    pub fn engines(&self) -> Vec<String> {
        self.engines.iter().map(|engine| format!("{} {}", engine.name(), engine.version())).collect()
    }

    /// Load or share. `read` is called only where it is not loaded yet. Blocking. The graph keeps what it read, so
    /// large files are best mapped.
    ///
    /// The engine that the options name loads it, or none; where they name none, the preferred one of those
    /// that can.
    pub fn load(
        &self,
        digest: &Digest,
        options: &GraphOptions,
        read: impl FnOnce() -> std::io::Result<Bytes>,
    ) -> Result<Loaded, NnError> {
        let slot = self.slot(digest, options);
        let mut loaded = slot.lock();
        if let Some((graph, choice)) = loaded.as_ref()
            && let Some(graph) = graph.upgrade()
        {
            return Ok(Loaded { graph, choice: choice.clone() });
        }
        let onnx = read().map_err(|error| {
            let code = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorCode::NotFound,
                _ => ErrorCode::RuntimeError,
            };
            NnError::new(code, format!("cannot read the graph {digest}: {error}"))
        })?;
        let source = Source::check(onnx)?;
        let fresh = match &options.engine {
            Some(name) => self.load_with(name, digest, source, options)?,
            None => self.load_with_any(digest, &source, options)?,
        };
        *loaded = Some((Arc::downgrade(&fresh.graph), fresh.choice.clone()));
        Ok(fresh)
    }

    /// Runs `work`, in which one thread computes many times over, on a thread from which its engines do so with the
    /// least ado. Blocking. What computes on another thread costs more, and is right all the same.
    pub fn attend<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let mut result = None;
        let mut attended: Box<dyn FnOnce() + Send + '_> = Box::new(|| result = Some(work()));
        for engine in &self.engines {
            let inner = attended;
            attended = Box::new(move || engine.attend(inner));
        }
        attended();
        result.expect("every engine runs the work that it is given")
    }

    /// The host's own graphs (`sedge:lerp`, `sedge:non-finite`).
    pub fn builtin(&self, name: &str) -> Option<Arc<dyn Graph>> {
        builtin::graph(name)
    }

    /// The slot of `digest` with `options`; forgets those that no one uses any more.
    fn slot(&self, digest: &Digest, options: &GraphOptions) -> Arc<Slot> {
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, slot| {
            // Another holder of the slot is just loading it.
            Arc::strong_count(slot) > 1
                || slot.lock().as_ref().is_some_and(|(graph, _)| graph.strong_count() > 0)
        });
        loaded.entry((*digest, options.clone())).or_default().clone()
    }

    fn load_by(
        &self,
        engine: &Arc<dyn Engine>,
        digest: &Digest,
        source: Source,
        options: &GraphOptions,
    ) -> Result<Arc<dyn Graph>, NnError> {
        let freezer = Freezer {
            digest: *digest,
            file: source.file.clone(),
            engine: Arc::clone(engine),
            options: options.clone(),
            threads: self.threads,
            frozen: Arc::clone(&self.frozen),
        };
        load::with(engine, source, options, self.threads, Some(freezer))
    }

    /// The engine of that name and no other.
    fn load_with(
        &self,
        name: &str,
        digest: &Digest,
        source: Source,
        options: &GraphOptions,
    ) -> Result<Loaded, NnError> {
        let Some(engine) = self.engines.iter().find(|engine| engine.name() == name) else {
            let why = match self.missing.iter().find(|missing| missing.engine == name) {
                Some(missing) => missing.reason.clone(),
                None => format!("this node has {}", self.engines().join(", ")),
            };
            let message = format!("the model asks for the engine {name:.40}, which this node lacks: {why}");
            return Err(NnError::new(ErrorCode::NotFound, message));
        };
        let graph = self.load_by(engine, digest, source, options).map_err(|NnError { code, message }| {
            NnError::new(code, format!("the engine {name}, which the model asks for, refuses it: {message}"))
        })?;
        let choice = Choice { engine: name.to_owned(), passed_over: Vec::new() };
        Ok(Loaded { graph, choice: Arc::new(choice) })
    }

    /// The first engine that can; the preferred one's error where none can.
    fn load_with_any(
        &self,
        digest: &Digest,
        source: &Source,
        options: &GraphOptions,
    ) -> Result<Loaded, NnError> {
        let absent = |missing: &Missing| PassedOver {
            engine: missing.engine.to_owned(),
            reason: missing.reason.clone(),
        };
        let mut passed_over: Vec<_> =
            self.missing.iter().filter(|missing| missing.preferred).map(absent).collect();
        let mut refusal = None;
        for engine in &self.engines {
            match self.load_by(engine, digest, source.clone(), options) {
                Ok(graph) => {
                    let choice = Choice { engine: engine.name().to_owned(), passed_over };
                    return Ok(Loaded { graph, choice: Arc::new(choice) });
                }
                Err(error) => {
                    let reason = error.message.clone();
                    passed_over.push(PassedOver { engine: engine.name().to_owned(), reason });
                    refusal = refusal.or(Some(error));
                }
            }
        }
        Err(refusal.unwrap_or_else(|| NnError::unsupported("this build has no tensor engine")))
    }
}

impl std::fmt::Debug for Graphs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graphs").field("engines", &self.engines()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Counting(Arc<AtomicUsize>);

    impl Engine for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }
        fn version(&self) -> &str {
            "1"
        }
        fn load(&self, _: Bytes, _: &GraphOptions) -> Result<Arc<dyn Graph>, NnError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(builtin::graph("sedge:lerp").unwrap())
        }
    }

    /// Can nothing.
    struct Refusing;

    impl Engine for Refusing {
        fn name(&self) -> &'static str {
            "refusing"
        }
        fn version(&self) -> &str {
            "2"
        }
        fn load(&self, _: Bytes, _: &GraphOptions) -> Result<Arc<dyn Graph>, NnError> {
            Err(NnError::unsupported("it has no operators"))
        }
    }

    /// Some graph.
    fn file() -> Bytes {
        Bytes::from_static(include_bytes!("../../tests/data/train-4-8-3.onnx"))
    }

    fn plain() -> GraphOptions {
        GraphOptions::default()
    }

    fn counting() -> (Arc<AtomicUsize>, Graphs) {
        let loads = Arc::new(AtomicUsize::new(0));
        (loads.clone(), Graphs::with_engines(vec![Box::new(Counting(loads))]))
    }

    #[test]
    fn a_graph_is_loaded_once_while_it_is_used() {
        let (loads, graphs) = counting();
        let digest = Digest::of(b"graph");
        let first = graphs.load(&digest, &plain(), || Ok(file())).unwrap();
        let second = graphs.load(&digest, &plain(), || unreachable!("it is loaded")).unwrap();
        assert!(Arc::ptr_eq(&first.graph, &second.graph));

        drop((first, second));
        let _again = graphs.load(&digest, &plain(), || Ok(file())).unwrap();
        assert_eq!(loads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn workers_that_start_together_load_a_graph_once() {
        let (loads, graphs) = counting();
        let (digest, together) = (Digest::of(b"graph"), Barrier::new(8));
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        let graph = graphs.load(&digest, &plain(), || Ok(file())).unwrap();
                        together.wait();
                        graph
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| drop(worker.join().unwrap()));
        });
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_read_is_tried_again_by_the_next() {
        let (_, graphs) = counting();
        let digest = Digest::of(b"graph");
        let missing = || Err(std::io::ErrorKind::NotFound.into());
        assert_eq!(graphs.load(&digest, &plain(), missing).err().unwrap().code, ErrorCode::NotFound);
        assert!(graphs.load(&digest, &plain(), || Ok(file())).is_ok());
    }

    #[test]
    fn other_options_are_another_graph() {
        let (loads, graphs) = counting();
        let digest = Digest::of(b"graph");
        let two = GraphOptions { threads: NonZeroU16::new(2), ..plain() };
        let _held = [plain(), two.clone(), plain(), two]
            .map(|options| graphs.load(&digest, &options, || Ok(file())).unwrap());
        assert_eq!(loads.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn the_first_engine_that_can_is_taken_and_says_who_could_not() {
        let loads = Arc::new(AtomicUsize::new(0));
        let mut graphs = Graphs::with_engines(vec![Box::new(Refusing), Box::new(Counting(loads))]);
        graphs.missing.push(Missing {
            engine: "absent",
            reason: "no library found".to_owned(),
            preferred: true,
        });
        assert_eq!(graphs.engines(), ["refusing 2", "counting 1"]);
        let load = |engine: Option<&str>| {
            let options = GraphOptions { engine: engine.map(str::to_owned), ..plain() };
            graphs.load(&Digest::of(b"graph"), &options, || Ok(file()))
        };

        let choice = load(None).unwrap().choice;
        assert_eq!(choice.engine, "counting");
        let passed_over: Vec<_> = choice.passed_over.iter().map(ToString::to_string).collect();
        assert_eq!(passed_over, ["absent: no library found", "refusing: it has no operators"]);

        assert_eq!(load(Some("counting")).unwrap().choice.passed_over, []);
        let refused = |engine| load(Some(engine)).err().unwrap().message;
        assert_eq!(
            refused("refusing"),
            "the engine refusing, which the model asks for, refuses it: it has no operators"
        );
        assert_eq!(
            refused("absent"),
            "the model asks for the engine absent, which this node lacks: no library found"
        );
        assert_eq!(
            refused("other"),
            "the model asks for the engine other, which this node lacks: this node has refusing 2, counting 1"
        );
    }
}
