//! The registry: plugins and models, served by the OCI distribution API.
//!
//! ```text
//!  sedge plugin|model push, oras, docker ──/v2/…──▶ http ──▶ uploads ──▶ store (blobs on disk, by sha256)
//!  nodes ◀──────────────────────────────/v2/…────── http ◀───────────────┘ ▲
//!                                    a manifest is put: │                  │ resolve, plugin, model
//!             manifest, plugin/component, model/onnx/weights judge it   catalog (reconcilers)
//! ```
//! Everything streams; only manifests, and one component at a time while it is judged, are held whole. A
//! blob is reachable only through a repository that it was pushed or mounted to. Nothing is ever deleted:
//! what a digest named yesterday it names tomorrow.

pub mod client;
pub mod component;
mod http;
mod manifest;
mod model;
mod names;
mod onnx;
mod plugin;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod uploads;
mod weights;

use std::fmt::Display;
use std::io::{self, Read as _};
use std::sync::Arc;

use cap_std::fs::{Dir, File};
use sedge_api::artifact::{MAX_MANIFEST_BYTES, model_repository, plugin_repository};
use sedge_api::{Digest, InvalidName};
use thiserror::Error;
use tokio::sync::{Semaphore, watch};

pub use http::Access;
pub use manifest::{Descriptor, Manifest, ManifestError};
pub use model::{ModelError, ModelFacts};
pub use names::{Kind, Reference, Repository, Tag};
pub use onnx::GraphError;
pub use plugin::{PluginError, PluginFacts};
pub use weights::{WeightsError, WeightsHeader};

/// Why the registry could not answer.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// A name that cannot be.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// Its disk.
    #[error("the registry cannot {action} {what}: {source}")]
    Disk {
        /// What it was about to do.
        action: &'static str,
        /// With which file.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// A manifest on disk is larger than any that was accepted.
    #[error("the manifest {0} is damaged on the registry's disk")]
    Damaged(Digest),
}

impl RegistryError {
    fn disk(action: &'static str, what: impl Display, source: io::Error) -> Self {
        Self::Disk { action, what: what.to_string(), source }
    }
}

/// A manifest as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// What it is.
    pub media_type: String,
    /// Its JSON, to the byte.
    pub bytes: Vec<u8>,
}

/// The registry; clones share it.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<store::Store>,
    uploads: Arc<uploads::Uploads>,
    pushes: watch::Sender<u64>,
    /// Who judges a manifest holds this: one component in memory at a time.
    judging: Arc<Semaphore>,
}

/// All methods block for short reads of the disk ([`Registry::plugin`] for as long as it takes to validate a
/// component): async callers go through `spawn_blocking`.
impl Registry {
    /// Open the registry in `dir`, which it has to itself, and remove uploads that an earlier run left.
    pub fn open(dir: Dir) -> Result<Self, RegistryError> {
        let store = Arc::new(store::Store::open(&dir)?);
        let uploads = uploads::Uploads::new(Arc::clone(&store));
        let inner =
            Inner { store, uploads, pushes: watch::Sender::new(0), judging: Arc::new(Semaphore::new(1)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The routes under `/v2/`.
    pub fn router(&self, access: Access) -> axum::Router {
        http::router(self.clone(), access)
    }

    /// What the tag points at now.
    pub fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        self.inner.store.tag(&repository.parse()?, &tag.parse()?)
    }

    /// The manifest `digest` of a repository.
    pub fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        self.manifest_of(&repository.parse()?, digest)
    }

    fn manifest_of(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        let Some(media_type) = self.inner.store.manifest(repository, digest)? else { return Ok(None) };
        let Some((size, file)) = self.blob(digest)? else { return Err(RegistryError::Damaged(*digest)) };
        let mut bytes = Vec::new();
        file.take(MAX_MANIFEST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|source| RegistryError::disk("read manifest", digest, source))?;
        if bytes.len() as u64 != size {
            return Err(RegistryError::Damaged(*digest));
        }
        Ok(Some(StoredManifest { media_type, bytes }))
    }

    /// A blob's size and its content, open at the beginning, whatever repository it lies in.
    pub fn blob(&self, digest: &Digest) -> Result<Option<(u64, File)>, RegistryError> {
        self.inner.store.blob(digest)
    }

    /// What is known of the plugin `name` with the manifest `digest`; none where it is not there.
    pub fn plugin(&self, name: &str, digest: &Digest) -> Result<Option<PluginFacts>, PluginError> {
        match self.manifest(&plugin_repository(name), digest)? {
            Some(found) => plugin::examine(&self.inner.store, &Manifest::parse(&found.bytes)?).map(Some),
            None => Ok(None),
        }
    }

    /// What is known of the model `name` with the manifest `digest`; none where it is not there.
    pub fn model(&self, name: &str, digest: &Digest) -> Result<Option<ModelFacts>, ModelError> {
        match self.manifest(&model_repository(name), digest)? {
            Some(found) => model::examine(&self.inner.store, &Manifest::parse(&found.bytes)?).map(Some),
            None => Ok(None),
        }
    }

    /// A number that moves with each manifest put.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.inner.pushes.subscribe()
    }
}
