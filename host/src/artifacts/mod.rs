//! Plugins and models on this node: fetched from the registry by digest, verified, kept.
//!
//! ```text
//!  worker ──component / model──▶ Artifacts ──▶ store (blobs/HEX)
//!  worker ──push_model──────────▶  ▲  └──────▶ registry (OCI distribution API)
//!  learner ─keep_model, upload_model┘
//! ```
//! What is in the store needs no registry; the rest is fetched once, however many ask, and tried again
//! with backoff for as long as somebody waits for it.

pub(crate) mod durable;
mod error;
mod made;
mod manifest;
mod registry;
mod store;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cap_std::fs::Dir;
use parking_lot::Mutex;
use sedge_api::{Digest, artifact, artifact::ModelConfig, artifact::WeightsSummary};
use sha2::Digest as _;

pub use error::ArtifactError;
pub use made::MadeModel;

use self::manifest::{Descriptor, Manifest};
use self::registry::{Registry, Upload};
use self::store::Store;
use crate::link::backoff::Backoff;
use crate::model::{Model, Weights};
use crate::nn::{Graphs, ModelOptions};

/// Something in the registry, pinned by the digest of its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Repository, e.g. `plugins/fedavg`.
    pub repository: String,
    /// Of the manifest.
    pub digest: Digest,
}

impl Artifact {
    /// As the node protocol has it.
    pub fn parse(artifact: &sedge_api::node::Artifact) -> Result<Self, String> {
        if !is_repository(&artifact.repository) {
            return Err(format!("`{}` is not the name of a repository", artifact.repository));
        }
        let digest = artifact.digest.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { repository: artifact.repository.clone(), digest })
    }
}

/// Whether `text` names a repository as OCI has it: it becomes part of a URL.
pub(crate) fn is_repository(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 255
        && text.split('/').all(|part| {
            let part = part.as_bytes();
            part.iter().all(|b| inner(*b)) && edge(part.first()) && edge(part.last())
        })
}

/// A file with weights to push, and what is known of them.
pub struct WeightsFile<'a> {
    /// The folder.
    pub dir: &'a Dir,
    /// The safetensors file in it.
    pub name: &'a str,
    /// The same weights, loaded.
    pub weights: &'a Weights,
}

/// The node's plugins and models.
pub struct Artifacts {
    store: Store,
    registry: Registry,
    /// One fetch per digest; who comes second waits and finds it in the store.
    flights: Mutex<HashMap<Digest, Arc<tokio::sync::Mutex<()>>>>,
}

impl Artifacts {
    /// Open the store below the node's data directory; `token` is shown to the registry.
    pub fn open(data: &Dir, token: String) -> Result<Arc<Self>, ArtifactError> {
        let store = Store::open(data).map_err(ArtifactError::disk("opening the artifact store"))?;
        Ok(Arc::new(Self { store, registry: Registry::new(token)?, flights: Mutex::default() }))
    }

    /// Where the registry is, as `http://host:port`.
    pub fn set_registry(&self, base: &str) -> Result<(), ArtifactError> {
        self.registry.set_base(base)
    }

    /// Digest of a plugin's component and how to read it (blocking, for whoever has it not compiled yet).
    ///
    /// `waiting` hears why it is not there yet, before each further try.
    pub async fn component(
        self: &Arc<Self>,
        plugin: &Artifact,
        waiting: &(dyn Fn(&ArtifactError) + Sync),
    ) -> Result<(Digest, impl FnOnce() -> io::Result<Bytes> + Send + use<>), ArtifactError> {
        let manifest = self.manifest(plugin, waiting).await?;
        let layer = manifest.component(&plugin.repository)?;
        let digest = layer.digest;
        self.fetch(&plugin.repository, layer, waiting).await?;
        let this = Arc::clone(self);
        Ok((digest, move || this.store.read(&digest, artifact::MAX_PLUGIN_BYTES)))
    }

    /// A model, its graphs loaded as `options` say and its weights mapped.
    pub async fn model(
        self: &Arc<Self>,
        model: &Artifact,
        graphs: &Arc<Graphs>,
        options: &ModelOptions,
        waiting: &(dyn Fn(&ArtifactError) + Sync),
    ) -> Result<Model, ArtifactError> {
        let what = &model.repository;
        let manifest = self.manifest(model, waiting).await?;
        let config = self.model_config(model, &manifest, waiting).await?;
        for digest in config.graphs.values() {
            self.fetch(what, manifest.layer(what, digest, artifact::MODEL_GRAPH)?, waiting).await?;
        }
        if let Some(weights) = &config.weights {
            let layer = manifest.layer(what, &weights.digest, artifact::MODEL_WEIGHTS)?;
            self.fetch(what, layer, waiting).await?;
        }
        let (this, graphs, options, what) =
            (Arc::clone(self), Arc::clone(graphs), options.clone(), what.clone());
        let loaded = tokio::task::spawn_blocking(move || {
            let mut model = Model::default();
            for (name, digest) in config.graphs {
                let read = || this.store.graph(&digest, artifact::MAX_MODEL_LAYER_BYTES);
                let loaded = graphs.load(&digest, options.of(&name), read).map_err(|error| {
                    ArtifactError::Graph { what: format!("graph `{name}` of {what}"), error }
                })?;
                model.choices.insert(name.clone(), loaded.choice);
                model.graphs.insert(name, loaded.graph);
            }
            if let Some(summary) = config.weights {
                let weights = Weights::map(this.store.dir(), &summary.digest.hex()).map_err(|error| {
                    ArtifactError::malformed(format!("weights of {what}"), error.to_string())
                })?;
                model.weights = Some(weights);
            }
            Ok(model)
        });
        loaded.await.unwrap_or_else(|error| Err(ArtifactError::malformed("model", error.to_string())))
    }

    /// Push the model `base` with other weights as `repository:tag`; gives the digest of its manifest.
    ///
    /// One try; pushed again, the same weights give the same digest.
    pub async fn push_model(
        self: &Arc<Self>,
        base: &Artifact,
        weights: WeightsFile<'_>,
        repository: &str,
        tag: &str,
    ) -> Result<Digest, ArtifactError> {
        let silent = |_: &ArtifactError| {};
        let manifest = self.manifest(base, &silent).await?;
        let mut config = self.model_config(base, &manifest, &silent).await?;
        let mut layers = Vec::new();
        for (name, digest) in &config.graphs {
            let layer = manifest.layer(&base.repository, digest, artifact::MODEL_GRAPH)?;
            let body = self.stored(layer).map_err(ArtifactError::disk(format!("reading graph `{name}`")))?;
            self.registry.push_blob(repository, digest, Some(&base.repository), body).await?;
            layers.push(Descriptor::new(artifact::MODEL_GRAPH, *digest, layer.size).titled(name));
        }

        let disk = |error| ArtifactError::Disk { what: format!("reading {}", weights.name), source: error };
        let file = weights.dir.open(weights.name).map_err(disk)?;
        let (digest, length, file) = hash(file).await.map_err(disk)?;
        self.registry.push_blob(repository, &digest, None, Upload::File { file, length }).await?;
        layers.push(Descriptor::new(artifact::MODEL_WEIGHTS, digest, length).titled("weights"));

        config.weights = Some(WeightsSummary {
            digest,
            tensors: weights.weights.tensors().len() as u64,
            parameters: weights.weights.parameters(),
        });
        let (config, manifest) = made::documents(repository, &config, layers)?;
        let config_digest = Digest::of(&config);
        self.registry.push_blob(repository, &config_digest, None, Upload::Bytes(config)).await?;
        let digest = Digest::of(&manifest);
        self.registry.push_manifest(repository, tag, manifest).await?;
        Ok(digest)
    }

    fn stored(&self, layer: &Descriptor) -> io::Result<Upload> {
        Ok(Upload::File { file: self.store.open_blob(&layer.digest)?, length: layer.size })
    }

    async fn model_config(
        self: &Arc<Self>,
        model: &Artifact,
        manifest: &Manifest,
        waiting: &(dyn Fn(&ArtifactError) + Sync),
    ) -> Result<ModelConfig, ArtifactError> {
        let what = &model.repository;
        if manifest.config.media_type != artifact::MODEL_CONFIG {
            let why = format!("its config is {}, not {}", manifest.config.media_type, artifact::MODEL_CONFIG);
            return Err(ArtifactError::malformed(what, why));
        }
        let layer = manifest.config.at_most(artifact::MAX_MANIFEST_BYTES)?;
        self.fetch(what, layer, waiting).await?;
        let bytes = self
            .store
            .read(&layer.digest, artifact::MAX_MANIFEST_BYTES)
            .map_err(ArtifactError::disk(format!("reading the config of {what}")))?;
        serde_json::from_slice(&bytes).map_err(|error| ArtifactError::malformed(what, error.to_string()))
    }

    async fn manifest(
        self: &Arc<Self>,
        artifact: &Artifact,
        waiting: &(dyn Fn(&ArtifactError) + Sync),
    ) -> Result<Manifest, ArtifactError> {
        let (digest, what) = (&artifact.digest, &artifact.repository);
        let _flight = self.flight(digest).await;
        let mut backoff = backoff();
        while !self.store.contains(digest) {
            let tried = match self.registry.manifest(what, digest).await {
                Ok(bytes) => self
                    .store
                    .receive(*digest, artifact::MAX_MANIFEST_BYTES)
                    .map_err(ArtifactError::disk(format!("keeping {digest}")))
                    .and_then(|mut incoming| incoming.write(&bytes).and_then(|()| incoming.keep())),
                Err(error) => Err(error),
            };
            self.after(tried, &mut backoff, waiting).await?;
        }
        let bytes = self
            .store
            .read(digest, artifact::MAX_MANIFEST_BYTES)
            .map_err(ArtifactError::disk(format!("reading {digest}")))?;
        Manifest::parse(what, &bytes)
    }

    /// Have a blob in the store.
    async fn fetch(
        self: &Arc<Self>,
        repository: &str,
        blob: &Descriptor,
        waiting: &(dyn Fn(&ArtifactError) + Sync),
    ) -> Result<(), ArtifactError> {
        let digest = &blob.digest;
        let _flight = self.flight(digest).await;
        let mut backoff = backoff();
        let mut partial = None;
        while !self.store.contains(digest) {
            let incoming = match partial.take() {
                Some(incoming) => Ok(incoming),
                None => self.store.receive(*digest, blob.size),
            };
            let tried = match incoming {
                Ok(incoming) => {
                    let (incoming, received) = self.registry.blob(repository, digest, incoming).await;
                    match (incoming, received) {
                        (Some(incoming), Ok(())) => incoming.keep(),
                        (incoming, received) => {
                            partial = incoming;
                            received
                        }
                    }
                }
                Err(error) => Err(ArtifactError::disk(format!("receiving {digest}"))(error)),
            };
            self.after(tried, &mut backoff, waiting).await?;
        }
        Ok(())
    }

    /// After a try: go on at once, wait for the next, or give up.
    async fn after(
        &self,
        tried: Result<(), ArtifactError>,
        backoff: &mut Backoff,
        waiting: &(dyn Fn(&ArtifactError) + Sync),
    ) -> Result<(), ArtifactError> {
        match tried {
            Err(error) if error.is_temporary() => {
                tracing::debug!(%error, "artifact not there yet");
                waiting(&error);
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    () = self.registry.moved() => {}
                }
                Ok(())
            }
            other => other,
        }
    }

    async fn flight(&self, digest: &Digest) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut flights = self.flights.lock();
            flights.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(flights.entry(*digest).or_default())
        };
        lock.lock_owned().await
    }
}

const fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(15))
}

/// Digest and length of a file, which is given back rewound. Off the async executor.
async fn hash(file: cap_std::fs::File) -> io::Result<(Digest, u64, cap_std::fs::File)> {
    let work = tokio::task::spawn_blocking(move || {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = file;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut length = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    length += read as u64;
                }
            }
        }
        file.seek(SeekFrom::Start(0))?;
        Ok((Digest::from_sha256(hasher.finalize().into()), length, file))
    });
    work.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests;
