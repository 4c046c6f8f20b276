//! Pushing plugins and models.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::HeaderValue;
use oci_client::Reference;
use oci_client::errors::OciDistributionError;
use sedge_api::artifact::{
    MANIFEST, MAX_MODEL_LAYER_BYTES, MODEL_CONFIG, MODEL_GRAPH, MODEL_WEIGHTS, ModelConfig, PLUGIN_CONFIG,
    PLUGIN_LAYER, TITLE, WeightsSummary,
};
use sedge_api::{ArtifactRef, Digest};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_util::io::ReaderStream;

use super::{ClientError, Progress, RegistryClient, Sent, Shelf};
use crate::registry::component::{self, ComponentSummary};
use crate::registry::manifest::{Descriptor, Manifest};
use crate::registry::{onnx, weights};

/// Content goes out in pieces of this size.
const PIECE: usize = 256 << 10;

/// A file of a model that was looked through.
struct Checked {
    path: PathBuf,
    size: u64,
    digest: Digest,
}

impl RegistryClient {
    /// Push a component as `plugins/NAME:TAG`, after a look into it. Returns the manifest's digest.
    pub async fn push_plugin(
        &self,
        reference: &ArtifactRef,
        component: Vec<u8>,
        progress: Progress,
    ) -> Result<Digest, ClientError> {
        let work = move || component::inspect(&component).map(|summary| (component, summary));
        let (component, summary) = blocking(work).await??;
        let component = Bytes::from(component);
        let layer = descriptor(PLUGIN_LAYER, &component, Some(&format!("{}.wasm", reference.name())));
        let config = plugin_config(&layer, &summary)?;

        let image = self.image(Shelf::Plugins, reference);
        self.client.store_auth_if_needed(&self.host, &self.auth).await;
        self.send(&image, "component", &layer, &progress, pieces(component)).await?;
        let config = self.send_config(&image, PLUGIN_CONFIG, config, &progress).await?;
        self.put(&image, &Manifest::new(None, config, vec![layer])).await
    }

    /// Push graphs by name and weights as `models/NAME:TAG`. Returns the manifest's digest.
    pub async fn push_model(
        &self,
        reference: &ArtifactRef,
        graphs: BTreeMap<String, PathBuf>,
        weights: Option<PathBuf>,
        progress: Progress,
    ) -> Result<Digest, ClientError> {
        if graphs.is_empty() && weights.is_none() {
            return Err(ClientError::Empty);
        }
        let work = move || {
            let graphs = graphs.into_iter().map(|(name, path)| Ok((name, check_graph(path)?)));
            let graphs = graphs.collect::<Result<BTreeMap<String, Checked>, ClientError>>()?;
            Ok::<_, ClientError>((graphs, weights.map(check_weights).transpose()?))
        };
        let (graphs, weights) = blocking(work).await??;
        let config = ModelConfig {
            graphs: graphs.iter().map(|(name, graph)| (name.clone(), graph.digest)).collect(),
            weights: weights.as_ref().map(|(_, summary)| summary.clone()),
        };

        let image = self.image(Shelf::Models, reference);
        self.client.store_auth_if_needed(&self.host, &self.auth).await;
        let mut layers = Vec::new();
        for (name, graph) in &graphs {
            let layer = graph.layer(MODEL_GRAPH, name);
            self.send(&image, &format!("graph {name}"), &layer, &progress, graph.pieces()).await?;
            layers.push(layer);
        }
        if let Some((file, _)) = &weights {
            let layer = file.layer(MODEL_WEIGHTS, "weights.safetensors");
            self.send(&image, "weights", &layer, &progress, file.pieces()).await?;
            layers.push(layer);
        }
        let config = serde_json::to_vec(&config).map_err(|error| ClientError::Odd(error.to_string()))?;
        let config = self.send_config(&image, MODEL_CONFIG, config, &progress).await?;
        self.put(&image, &Manifest::new(Some(MODEL_CONFIG), config, layers)).await
    }

    async fn send_config(
        &self,
        image: &Reference,
        media_type: &str,
        content: Vec<u8>,
        progress: &Progress,
    ) -> Result<Descriptor, ClientError> {
        let content = Bytes::from(content);
        let config = descriptor(media_type, &content, None);
        self.send(image, "config", &config, progress, pieces(content)).await?;
        Ok(config)
    }

    /// Send a blob, unless the repository has it.
    async fn send(
        &self,
        image: &Reference,
        what: &str,
        blob: &Descriptor,
        progress: &Progress,
        content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), ClientError> {
        let (digest, total) = (blob.digest.to_string(), blob.size);
        progress(Sent { what, sent: 0, total });
        if !self.client.blob_exists(image, &digest).await.map_err(|error| self.explain(error))? {
            let (progress, what, mut sent) = (Arc::clone(progress), what.to_owned(), 0);
            let content = content.map(move |piece| {
                let piece = piece.map_err(OciDistributionError::IoError)?;
                sent += piece.len() as u64;
                progress(Sent { what: &what, sent, total });
                Ok(piece)
            });
            let pushed = self.client.push_blob_stream(image, content, &digest, Some(total)).await;
            pushed.map_err(|error| self.explain(error))?;
        }
        progress(Sent { what, sent: total, total });
        Ok(())
    }

    async fn put(&self, image: &Reference, manifest: &Manifest) -> Result<Digest, ClientError> {
        let bytes = serde_json::to_vec(manifest).map_err(|error| ClientError::Odd(error.to_string()))?;
        let digest = Digest::of(&bytes);
        let put = self.client.push_manifest_raw(image, bytes, HeaderValue::from_static(MANIFEST)).await;
        put.map_err(|error| self.explain(error))?;
        Ok(digest)
    }
}

/// The config of a plugin by CNCF TAG Runtime's wasm OCI artifact layout.
fn plugin_config(layer: &Descriptor, summary: &ComponentSummary) -> Result<Vec<u8>, ClientError> {
    let config = json!({
        // The same component makes the same artifact, whenever it is pushed.
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer.digest],
        "component": { "exports": summary.exports, "imports": summary.imports },
    });
    serde_json::to_vec(&config).map_err(|error| ClientError::Odd(error.to_string()))
}

impl Checked {
    /// Open and hash a file of at most the limit.
    fn open(path: PathBuf) -> Result<(Self, std::fs::File), ClientError> {
        let read = |path: &Path| {
            let mut file = std::fs::File::open(path)?;
            let size = file.metadata()?.len();
            if size > MAX_MODEL_LAYER_BYTES {
                return Ok((size, Digest::of(b""), file));
            }
            let mut hasher = Sha256::new();
            let mut piece = vec![0; PIECE];
            loop {
                let read = file.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                hasher.update(&piece[..read]);
            }
            file.rewind()?;
            Ok((size, Digest::from_sha256(hasher.finalize().into()), file))
        };
        match read(&path) {
            Ok((bytes, ..)) if bytes > MAX_MODEL_LAYER_BYTES => {
                Err(ClientError::TooLarge { path, bytes, limit: MAX_MODEL_LAYER_BYTES })
            }
            Ok((size, digest, file)) => Ok((Self { path, size, digest }, file)),
            Err(source) => Err(ClientError::File { path, source }),
        }
    }

    fn layer(&self, media_type: &str, title: &str) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: self.digest,
            size: self.size,
            annotations: BTreeMap::from([(TITLE.to_owned(), title.to_owned())]),
        }
    }

    /// The file's content. A file that changes on the way is refused by the registry: its digest is another.
    fn pieces(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let path = self.path.clone();
        stream::once(async move { tokio::fs::File::open(path).await }).flat_map(|opened| match opened {
            Ok(file) => ReaderStream::with_capacity(file, PIECE).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        })
    }
}

fn check_graph(path: PathBuf) -> Result<Checked, ClientError> {
    let (checked, file) = Checked::open(path)?;
    match onnx::check(BufReader::new(file), checked.size) {
        Ok(()) => Ok(checked),
        Err(source) => Err(ClientError::Graph { path: checked.path, source }),
    }
}

fn check_weights(path: PathBuf) -> Result<(Checked, WeightsSummary), ClientError> {
    let (checked, file) = Checked::open(path)?;
    match weights::read_header(BufReader::new(file), checked.size) {
        Ok(header) => {
            let summary = WeightsSummary {
                digest: checked.digest,
                tensors: header.tensors,
                parameters: header.parameters,
            };
            Ok((checked, summary))
        }
        Err(source) => Err(ClientError::Weights { path: checked.path, source }),
    }
}

fn descriptor(media_type: &str, content: &[u8], title: Option<&str>) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(content),
        size: content.len() as u64,
        annotations: title.map(|title| (TITLE.to_owned(), title.to_owned())).into_iter().collect(),
    }
}

fn pieces(mut content: Bytes) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::iter(std::iter::from_fn(move || {
        let piece = content.split_to(content.len().min(PIECE));
        (!piece.is_empty()).then_some(Ok(piece))
    }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ClientError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ClientError::Odd(format!("the work broke off: {error}")))
}
