//! Plugins run as workers: what tests of tensors see of a guest.

#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each user takes what it needs")]

#[path = "../observers/mod.rs"]
pub mod observers;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use sedge_api::Digest;
use sedge_host::data::{Dataset, Description};
use sedge_host::model::{Model, Weights};
use sedge_host::nn::{Graph, GraphOptions, Graphs};
use sedge_host::runtime::{Component, Failure, Grants, Runtime, Trainer};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A runtime with a cache of its own.
pub struct Guest {
    pub runtime: Runtime,
    pub folder: TempDir,
}

impl Guest {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { runtime: Runtime::new(folder.path(), Arc::new(Graphs::new(1))).unwrap(), folder }
    }

    /// Loads a graph of the repository's test data.
    pub fn graph(&self, onnx: &[u8]) -> Arc<dyn Graph> {
        let read = || Ok(Bytes::copy_from_slice(onnx));
        self.runtime.graphs().load(&Digest::of(onnx), &GraphOptions::default(), read).unwrap().graph
    }

    /// The plugin of that name.
    pub fn component(&self, name: &str) -> Result<Component, Failure> {
        let plugin = plugin(name);
        self.runtime.component(&Digest::of(&plugin), || Ok(Bytes::from(plugin)))
    }

    /// `bench-step` with those parameters, which may load `graphs`, from `start`: the weights that it ends with.
    pub async fn run(
        &self,
        parameters: &str,
        graphs: BTreeMap<String, Arc<dyn Graph>>,
        start: Weights,
    ) -> Result<Weights, Failure> {
        let model = Some(Arc::new(Model { graphs, ..Model::default() }));
        let grants = Grants { model, ..grants(parameters) };
        let trainer = Trainer::new(&self.runtime, &self.component("bench_step")?, grants)?;
        Ok(trainer.train(1, start).await?.weights)
    }
}

/// The bytes of a plugin that `cargo xtask test` has built.
pub fn plugin(name: &str) -> Vec<u8> {
    let folder = std::env::var_os("SEDGE_PLUGINS").expect("SEDGE_PLUGINS is set: run `cargo xtask test`");
    let path = PathBuf::from(folder).join(name).with_extension("wasm");
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// 20,000 samples of one feature, in a file in `folder`.
pub fn dataset(folder: &TempDir) -> Arc<Dataset> {
    std::fs::write(folder.path().join("d.csv"), "1,0\n".repeat(20_000)).unwrap();
    let dir = Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap();
    let description = Description { label: Some("1".to_owned()), ..Description::default() };
    Arc::new(Dataset::open(&dir, "d.csv", description).unwrap())
}

/// No data and an empty model, memory and time enough.
pub fn grants(parameters: &str) -> Grants {
    Grants {
        parameters: parameters.to_owned(),
        datasets: BTreeMap::new(),
        model: Some(Arc::new(Model::default())),
        memory_bytes: 256 << 20,
        call: Duration::from_secs(120),
        observer: Arc::new(observers::Printed),
        cancel: CancellationToken::new(),
    }
}
