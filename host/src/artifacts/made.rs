//! Models that this node makes: kept in the store like those that it fetched, so that whoever loads one by its digest needs
//! no registry; uploaded when there is one.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use sedge_api::Digest;
use sedge_api::artifact::{self, ModelConfig, WeightsSummary};
use sha2::Digest as _;

use super::manifest::{Descriptor, Manifest};
use super::registry::Upload;
use super::{Artifact, ArtifactError, Artifacts};
use crate::model::Weights;

/// A model that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeModel {
    /// It, as others fetch it once it is uploaded.
    pub artifact: Artifact,
    /// Of its weights.
    pub weights: Digest,
}

impl Artifacts {
    /// Keep the model `base` with other weights, as one of `repository`. The same weights give the same model.
    pub async fn keep_model(
        self: &Arc<Self>,
        base: &Artifact,
        weights: Weights,
        repository: &str,
    ) -> Result<MadeModel, ArtifactError> {
        let silent = |_: &ArtifactError| {};
        let manifest = self.manifest(base, &silent).await?;
        let mut config = self.model_config(base, &manifest, &silent).await?;
        let mut layers = Vec::new();
        for (name, digest) in &config.graphs {
            let layer = manifest.layer(&base.repository, digest, artifact::MODEL_GRAPH)?;
            self.fetch(&base.repository, layer, &silent).await?;
            layers.push(Descriptor::new(artifact::MODEL_GRAPH, *digest, layer.size).titled(name));
        }
        let (this, repository) = (Arc::clone(self), repository.to_owned());
        let work = tokio::task::spawn_blocking(move || {
            let parts = weights.to_safetensors();
            let mut hasher = sha2::Sha256::new();
            parts.iter().for_each(|part| hasher.update(part));
            let digest = Digest::from_sha256(hasher.finalize().into());
            let length = parts.iter().map(|part| part.len() as u64).sum();
            this.store.put(digest, &parts)?;
            layers.push(Descriptor::new(artifact::MODEL_WEIGHTS, digest, length).titled("weights"));
            config.weights = Some(WeightsSummary {
                digest,
                tensors: weights.tensors().len() as u64,
                parameters: weights.parameters(),
            });
            let (config, manifest) = documents(&repository, &config, layers)?;
            this.store.put(Digest::of(&config), &[config])?;
            let artifact = Artifact { repository, digest: Digest::of(&manifest) };
            // Last, so that a model whose manifest is there is whole.
            this.store.put(artifact.digest, &[manifest])?;
            Ok(MadeModel { artifact, weights: digest })
        });
        work.await.unwrap_or_else(|error| Err(broken(error)))
    }

    /// Upload a model that is kept here, as `tag` of its repository. Its graphs may lie in `base`'s repository already. One
    /// try; once more does no harm.
    pub async fn upload_model(
        self: &Arc<Self>,
        model: &Artifact,
        base: &Artifact,
        tag: &str,
    ) -> Result<(), ArtifactError> {
        let Artifact { repository, digest } = model;
        let limit = artifact::MAX_MANIFEST_BYTES;
        let read = |digest: &Digest| {
            self.store.read(digest, limit).map_err(ArtifactError::disk(format!("reading {digest}")))
        };
        let bytes = read(digest)?;
        let manifest = Manifest::parse(repository, &bytes)?;
        for layer in &manifest.layers {
            let from = (layer.media_type == artifact::MODEL_GRAPH).then_some(base.repository.as_str());
            let body =
                self.stored(layer).map_err(ArtifactError::disk(format!("reading {}", layer.digest)))?;
            self.registry.push_blob(repository, &layer.digest, from, body).await?;
        }
        let config = read(&manifest.config.digest)?;
        self.registry.push_blob(repository, &manifest.config.digest, None, Upload::Bytes(config)).await?;
        self.registry.push_manifest(repository, tag, bytes.to_vec()).await
    }

    /// Remove what a model has for itself alone: manifest, config and weights. Graphs are other models' too.
    pub async fn forget_model(self: &Arc<Self>, model: &Artifact) -> Result<(), ArtifactError> {
        let (this, model) = (Arc::clone(self), model.clone());
        let work = tokio::task::spawn_blocking(move || {
            if !this.store.contains(&model.digest) {
                return Ok(());
            }
            let disk = |digest: &Digest| ArtifactError::disk(format!("removing {digest}"));
            let bytes = this
                .store
                .read(&model.digest, artifact::MAX_MANIFEST_BYTES)
                .map_err(ArtifactError::disk(format!("reading {}", model.digest)))?;
            let manifest = Manifest::parse(&model.repository, &bytes)?;
            // First, so that a model is never there by half.
            this.store.remove(&model.digest).map_err(disk(&model.digest))?;
            let weights = manifest.layers.iter().filter(|layer| layer.media_type == artifact::MODEL_WEIGHTS);
            for digest in weights.map(|layer| layer.digest).chain([manifest.config.digest]) {
                this.store.remove(&digest).map_err(disk(&digest))?;
            }
            Ok(())
        });
        work.await.unwrap_or_else(|error| Err(broken(error)))
    }
}

/// Config and manifest of a model.
pub(super) fn documents(
    what: &str,
    config: &ModelConfig,
    layers: Vec<Descriptor>,
) -> Result<(Bytes, Vec<u8>), ArtifactError> {
    let json = |error: serde_json::Error| ArtifactError::malformed(what, error.to_string());
    let config = Bytes::from(serde_json::to_vec(config).map_err(json)?);
    let manifest = Manifest {
        schema_version: 2,
        media_type: artifact::MANIFEST.to_owned(),
        artifact_type: Some(artifact::MODEL_CONFIG.to_owned()),
        config: Descriptor::new(artifact::MODEL_CONFIG, Digest::of(&config), config.len() as u64),
        layers,
        annotations: Default::default(),
    };
    let manifest = serde_json::to_vec(&manifest).map_err(json)?;
    Ok((config, manifest))
}

fn broken(error: tokio::task::JoinError) -> ArtifactError {
    ArtifactError::disk("the store")(io::Error::other(error))
}
