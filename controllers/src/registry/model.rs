//! What makes an artifact in `models/NAME` a model: a [`ModelConfig`], one ONNX layer for each graph that it
//! names, and the safetensors layer with the weights that it describes. Asked at every push, and again when a
//! Model resource names the artifact.

use std::io::{BufReader, Read as _};

use sedge_api::Digest;
use sedge_api::artifact::{
    MAX_MODEL_LAYER_BYTES, MODEL_CONFIG, MODEL_GRAPH, MODEL_WEIGHTS, ModelConfig, WeightsSummary,
};
use thiserror::Error;

use super::RegistryError;
use super::manifest::{Descriptor, Manifest, ManifestError};
use super::onnx::{self, GraphError};
use super::store::Store;
use super::weights::{self, WeightsError, WeightsHeader};

/// A config names graphs and one file of weights.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// What is known of a model in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// Names of its graphs, sorted.
    pub graphs: Vec<String>,
    /// Number of elements in its weights.
    pub parameters: Option<u64>,
    /// Size of its weights.
    pub weights_bytes: Option<u64>,
}

/// Why an artifact is no model.
#[derive(Debug, Error)]
pub enum ModelError {
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Another kind of artifact.
    #[error("a model's config is of type `{MODEL_CONFIG}`; this one is `{0}`")]
    ConfigType(String),
    /// The config cannot be read.
    #[error("the model's config cannot be read: {0}")]
    Config(String),
    /// Nothing in it.
    #[error("the model has neither graphs nor weights")]
    Empty,
    /// A layer that does not belong.
    #[error("the layer {digest} of type `{media_type}` is not one that the model's config names")]
    Layer {
        /// The layer.
        digest: Digest,
        /// What it says it is.
        media_type: String,
    },
    /// A layer that should be there.
    #[error(
        "the model's config names {what} with digest {digest}, and no layer of type `{media_type}` has it"
    )]
    Missing {
        /// Which.
        what: String,
        /// Its digest.
        digest: Digest,
        /// What it should be.
        media_type: &'static str,
    },
    /// A layer under another's name.
    #[error(
        "the layer {digest} is titled `{title}`, and the model's config names no graph so with that digest"
    )]
    Title {
        /// The layer.
        digest: Digest,
        /// Its title.
        title: String,
    },
    /// Two of them.
    #[error("the model has {0} layers of weights; it may have one")]
    Weights(usize),
    /// The manifest's layer is not in the registry.
    #[error("its layer {0} is not in the registry")]
    Gone(Digest),
    /// Over the limit.
    #[error("the layer {digest} has {bytes} bytes; it may have {MAX_MODEL_LAYER_BYTES}")]
    TooLarge {
        /// The layer.
        digest: Digest,
        /// Its size.
        bytes: u64,
    },
    /// A graph that is none.
    #[error("the graph `{graph}`: {source}")]
    Graph {
        /// Its name.
        graph: String,
        /// What is wrong with it.
        source: GraphError,
    },
    /// Weights that are none.
    #[error("the weights: {0}")]
    BadWeights(#[from] WeightsError),
    /// The config describes other weights.
    #[error(
        "the model's config tells of {} tensors and {} parameters, its weights hold {} and {}",
        .config.0, .config.1, .found.tensors, .found.parameters
    )]
    Summary {
        /// Tensors and parameters by the config.
        config: (u64, u64),
        /// By the weights.
        found: WeightsHeader,
    },
    /// The registry's own trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Look into a model. Blocks; of graphs and weights it reads no more than their structure.
pub(super) fn examine(store: &Store, manifest: &Manifest) -> Result<ModelFacts, ModelError> {
    let config = read_config(store, manifest)?;
    if config.graphs.is_empty() && config.weights.is_none() {
        return Err(ModelError::Empty);
    }
    for layer in &manifest.layers {
        check_belongs(layer, &config)?;
    }
    for (graph, digest) in &config.graphs {
        check_graph(store, manifest, graph, digest)?;
    }
    let weights_bytes = match &config.weights {
        Some(summary) => Some(check_weights(store, manifest, summary)?),
        None => None,
    };
    Ok(ModelFacts {
        graphs: config.graphs.into_keys().collect(),
        parameters: config.weights.map(|weights| weights.parameters),
        weights_bytes,
    })
}

fn read_config(store: &Store, manifest: &Manifest) -> Result<ModelConfig, ModelError> {
    let config = &manifest.config;
    if config.media_type != MODEL_CONFIG {
        return Err(ModelError::ConfigType(config.media_type.clone()));
    }
    let (bytes, file) = store.blob(&config.digest)?.ok_or(ModelError::Gone(config.digest))?;
    if bytes > MAX_CONFIG_BYTES {
        return Err(ModelError::Config(format!("it has {bytes} bytes; it may have {MAX_CONFIG_BYTES}")));
    }
    let mut content = Vec::new();
    file.take(bytes)
        .read_to_end(&mut content)
        .map_err(|source| RegistryError::disk("read blob", config.digest, source))?;
    serde_json::from_slice(&content).map_err(|error| ModelError::Config(error.to_string()))
}

fn check_belongs(layer: &Descriptor, config: &ModelConfig) -> Result<(), ModelError> {
    let belongs = match layer.media_type.as_str() {
        MODEL_GRAPH => config.graphs.values().any(|digest| *digest == layer.digest),
        MODEL_WEIGHTS => config.weights.as_ref().is_some_and(|w| w.digest == layer.digest),
        _ => false,
    };
    if !belongs {
        let media_type = layer.media_type.clone();
        return Err(ModelError::Layer { digest: layer.digest, media_type });
    }
    match layer.title() {
        Some(title) if layer.media_type == MODEL_GRAPH && config.graphs.get(title) != Some(&layer.digest) => {
            Err(ModelError::Title { digest: layer.digest, title: title.to_owned() })
        }
        _ => Ok(()),
    }
}

fn check_graph(store: &Store, manifest: &Manifest, graph: &str, digest: &Digest) -> Result<(), ModelError> {
    // Two names may stand for one graph, with one layer or two.
    if !layers(manifest, MODEL_GRAPH).any(|layer| layer.digest == *digest) {
        let what = format!("the graph `{graph}`");
        return Err(ModelError::Missing { what, digest: *digest, media_type: MODEL_GRAPH });
    }
    let (bytes, file) = open(store, digest)?;
    onnx::check(BufReader::new(file), bytes)
        .map_err(|source| ModelError::Graph { graph: graph.to_owned(), source })
}

fn check_weights(store: &Store, manifest: &Manifest, summary: &WeightsSummary) -> Result<u64, ModelError> {
    let found = layers(manifest, MODEL_WEIGHTS).count();
    if found == 0 {
        let what = "weights".to_owned();
        return Err(ModelError::Missing { what, digest: summary.digest, media_type: MODEL_WEIGHTS });
    }
    if found > 1 {
        return Err(ModelError::Weights(found));
    }
    let (bytes, file) = open(store, &summary.digest)?;
    let header = weights::read_header(BufReader::new(file), bytes)?;
    if (header.tensors, header.parameters) != (summary.tensors, summary.parameters) {
        let config = (summary.tensors, summary.parameters);
        return Err(ModelError::Summary { config, found: header });
    }
    Ok(bytes)
}

fn layers<'a>(manifest: &'a Manifest, media_type: &str) -> impl Iterator<Item = &'a Descriptor> {
    manifest.layers.iter().filter(move |layer| layer.media_type == media_type)
}

fn open(store: &Store, digest: &Digest) -> Result<(u64, cap_std::fs::File), ModelError> {
    let (bytes, file) = store.blob(digest)?.ok_or(ModelError::Gone(*digest))?;
    if bytes > MAX_MODEL_LAYER_BYTES {
        return Err(ModelError::TooLarge { digest: *digest, bytes });
    }
    Ok((bytes, file))
}
