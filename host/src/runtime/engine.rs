//! The WebAssembly engine of a node: its settings, its compiled components, its clock.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sedge_api::Digest;
use wasmtime::component::{self, HasSelf, InstancePre, Linker};
use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
};

use super::Grants;
use super::bindings;
use super::cache::Cache;
use super::call::Calls;
use super::failure::{Failure, Reason};
use super::state::State;
use super::watch::Watch;
use crate::nn::{self, Graphs};

/// How often a running guest looks whether it is to end.
const TICK: Duration = Duration::from_millis(10);
/// Workers that may be in a call at once in one process.
const MAX_WORKERS: u32 = 1000;
/// Core modules that one component may be made of: Rust's is of three, an interpreter's of some dozens.
const MAX_MODULES: u32 = 64;
/// Linear memories that one component may have; nearly all have one.
const MAX_MEMORIES: u32 = 4;
/// Tables that one component may have; Rust's has two.
const MAX_TABLES: u32 = 8;
/// Elements of one table; address space for all tables is set aside.
const MAX_TABLE_ELEMENTS: usize = 1 << 17;
/// Bytes of a memory or table that are cleared and kept when its worker's call ends, for the next one's. To give
/// pages back and have them again costs more than the rest of an instance.
const KEEP_RESIDENT: usize = 64 << 10;
/// Stack of a guest's own code, in bytes.
const WASM_STACK: usize = 512 << 10;
/// Stack of a guest and of what it calls on the host, tensor engines among it, in bytes. Address space: memory
/// is taken for what is used.
const FIBER_STACK: usize = WASM_STACK + nn::STACK;

/// The engine, compiled components and their cache; clone copies the handle.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    engine: Engine,
    graphs: Arc<Graphs>,
    cache: Cache,
    components: Mutex<HashMap<Digest, Slot>>,
    linkers: Linkers,
    calls: Calls,
}

/// The lock is held while a component is being compiled, so that those who want the same one wait for it.
type Slot = Arc<Mutex<Weak<Compiled>>>;

struct Compiled(component::Component);

/// A compiled component; clone copies the handle.
#[derive(Clone)]
pub struct Component(Arc<Compiled>);

/// What each role may import, and nothing else.
pub(super) struct Linkers {
    pub miner: Linker<State>,
    /// Aggregators and inferencers: their worlds import the same.
    pub with_model: Linker<State>,
    /// Trainers and evaluators, likewise.
    pub with_datasets: Linker<State>,
}

impl Runtime {
    /// An engine whose precompiled code is kept below the folder `cache`, computing with `graphs`.
    ///
    /// # Errors
    /// When the folder cannot be made or this processor or system lacks what the engine needs.
    pub fn new(cache: &Path, graphs: Arc<Graphs>) -> Result<Self, Failure> {
        let engine = Engine::new(&config())
            .map_err(|error| Failure::host(format!("the WebAssembly engine does not start: {error:#}")))?;
        let linkers = Linkers::new(&engine).map_err(|error| Failure::host(format!("{error:#}")))?;
        let cache = Cache::open(cache, &engine).map_err(|error| {
            Failure::host(format!(
                "{}: the folder for compiled plugins cannot be used: {error}",
                cache.display()
            ))
        })?;
        let watch = Watch::default();
        start_clock(engine.weak(), watch.clone())?;
        let calls = Calls::new(watch, Arc::clone(&graphs));
        Ok(Self(Arc::new(Shared { engine, graphs, cache, components: Mutex::default(), linkers, calls })))
    }

    /// The graphs that workers compute with.
    pub fn graphs(&self) -> &Arc<Graphs> {
        &self.0.graphs
    }

    /// The component whose bytes have `digest`: the one in use, or mapped from the cache, or compiled from
    /// what `read` gives. Blocks for as long as compiling takes.
    ///
    /// # Errors
    /// `InvalidPlugin` when the bytes are no component; `HostError` when they cannot be read.
    pub fn component(
        &self,
        digest: &Digest,
        read: impl FnOnce() -> io::Result<Bytes>,
    ) -> Result<Component, Failure> {
        let slot = self.slot(digest);
        let mut held = slot.lock();
        if let Some(compiled) = held.upgrade() {
            return Ok(Component(compiled));
        }
        let component = match self.0.cache.load(&self.0.engine, digest) {
            Some(component) => component,
            None => self.compile(digest, read)?,
        };
        let compiled = Arc::new(Compiled(component));
        *held = Arc::downgrade(&compiled);
        Ok(Component(compiled))
    }

    fn slot(&self, digest: &Digest) -> Slot {
        let mut components = self.0.components.lock();
        components.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_none_or(|held| held.strong_count() > 0)
        });
        Arc::clone(components.entry(*digest).or_default())
    }

    fn compile(
        &self,
        digest: &Digest,
        read: impl FnOnce() -> io::Result<Bytes>,
    ) -> Result<component::Component, Failure> {
        let bytes = read().map_err(|error| Failure::host(format!("plugin {digest}: {error}")))?;
        if Digest::of(&bytes) != *digest {
            return Err(Failure::host(format!("plugin {digest}: the bytes have another digest")));
        }
        // `from_binary`, as `new` would take text too.
        let component = component::Component::from_binary(&self.0.engine, &bytes)
            .map_err(|error| Failure::new(Reason::InvalidPlugin, format!("plugin {digest}: {error:#}")))?;
        let kept = component
            .serialize()
            .map_err(|error| format!("{error:#}"))
            .and_then(|code| self.0.cache.store(digest, &code).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            tracing::warn!(%digest, error, "a compiled component could not be kept for the next start");
        }
        Ok(component)
    }

    pub(super) fn linkers(&self) -> &Linkers {
        &self.0.linkers
    }

    /// What the calls of workers share.
    pub(super) fn calls(&self) -> &Calls {
        &self.0.calls
    }

    /// A fresh store for a worker with these grants.
    pub(super) fn store(&self, grants: Grants) -> Store<State> {
        let memory = usize::try_from(grants.memory_bytes).unwrap_or(usize::MAX);
        let mut store = Store::new(&self.0.engine, State::new(grants, Arc::clone(&self.0.graphs)));
        store.limiter(|state| &mut state.limiter);
        // What a guest passes in one call is copied once: it cannot be more than the guest may hold.
        store.set_hostcall_fuel(memory);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }
}

impl Linkers {
    fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut miner = Linker::new(engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut miner)?;
        bindings::nn::tensor::add_to_linker::<_, HasSelf<State>>(&mut miner, |state| state)?;
        bindings::nn::errors::add_to_linker::<_, HasSelf<State>>(&mut miner, |state| state)?;
        bindings::nn::graph::add_to_linker::<_, HasSelf<State>>(&mut miner, |state| state)?;
        bindings::nn::inference::add_to_linker::<_, HasSelf<State>>(&mut miner, |state| state)?;
        bindings::job::add_to_linker::<_, HasSelf<State>>(&mut miner, |state| state)?;
        let mut with_model = miner.clone();
        bindings::model::add_to_linker::<_, HasSelf<State>>(&mut with_model, |state| state)?;
        let mut with_datasets = with_model.clone();
        bindings::dataset::add_to_linker::<_, HasSelf<State>>(&mut with_datasets, |state| state)?;
        Ok(Self { miner, with_model, with_datasets })
    }
}

impl Component {
    /// Resolve the component's imports; the error names what is missing.
    pub(super) fn link(&self, linker: &Linker<State>) -> Result<InstancePre<State>, Failure> {
        linker.instantiate_pre(&self.0.0).map_err(invalid)
    }
}

/// What `error` says of a component that does not fit its role.
pub(super) fn invalid(error: wasmtime::Error) -> Failure {
    Failure::new(Reason::InvalidPlugin, format!("{error:#}"))
}

fn config() -> Config {
    // Limits per component keep one worker from taking what others need; whatever has a size of its own is
    // on the worker's ledger as well.
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_WORKERS)
        .total_core_instances(MAX_WORKERS * MAX_MODULES)
        .total_memories(MAX_WORKERS)
        .total_tables(MAX_WORKERS * 2)
        .total_stacks(MAX_WORKERS)
        .max_core_instances_per_component(MAX_MODULES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .table_elements(MAX_TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT)
        // Where the kernel can say which pages were written (Linux 6.7), only those are cleared.
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK);
    config
}

/// Moves the engine's epoch on and looks after the calls under way, for as long as the engine lives.
fn start_clock(engine: EngineWeak, watch: Watch) -> Result<(), Failure> {
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            watch.tick();
            drop(engine);
            std::thread::sleep(TICK);
        }
    };
    std::thread::Builder::new()
        .name("sedge-epoch".to_owned())
        .spawn(tick)
        .map(drop)
        .map_err(|error| Failure::host(format!("no thread for the engine's clock: {error}")))
}
