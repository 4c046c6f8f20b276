//! The plugin `bench-step`, run as a worker: what tests of tensors see of a guest.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::model::{Model, Weights};
use sedge_host::nn::{Graph, GraphOptions, Graphs};
use sedge_host::runtime::{Failure, Grants, Metric, Observer, Runtime, Trainer};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A runtime with a cache of its own.
pub struct Guest {
    runtime: Runtime,
    _folder: TempDir,
}

impl Guest {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { runtime: Runtime::new(folder.path(), Arc::new(Graphs::new(1))).unwrap(), _folder: folder }
    }

    /// Loads a graph of the repository's test data.
    pub fn graph(&self, onnx: &[u8]) -> Arc<dyn Graph> {
        let read = || Ok(Bytes::copy_from_slice(onnx));
        self.runtime.graphs().load(&Digest::of(onnx), &GraphOptions::default(), read).unwrap().graph
    }

    /// `bench-step` with those parameters, which may load `graphs`, from `start`: the weights that it ends with.
    pub async fn run(
        &self,
        parameters: &str,
        graphs: BTreeMap<String, Arc<dyn Graph>>,
        start: Weights,
    ) -> Result<Weights, Failure> {
        let folder = std::env::var_os("SEDGE_PLUGINS").expect("SEDGE_PLUGINS is set: run `cargo xtask test`");
        let plugin = std::fs::read(PathBuf::from(folder).join("bench_step.wasm")).unwrap();
        let component = self.runtime.component(&Digest::of(&plugin), || Ok(Bytes::from(plugin)))?;
        let grants = Grants {
            parameters: parameters.to_owned(),
            datasets: BTreeMap::new(),
            model: Some(Arc::new(Model { graphs, ..Model::default() })),
            memory_bytes: 256 << 20,
            call: Duration::from_secs(120),
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
        };
        Ok(Trainer::new(&self.runtime, &component, grants)?.train(1, start).await?.weights)
    }
}

struct Silent;

impl Observer for Silent {
    fn log(&self, _: &str) {}
    fn progress(&self, _: u64, _: u64, _: &[Metric]) {}
    fn should_stop(&self) -> bool {
        false
    }
}
