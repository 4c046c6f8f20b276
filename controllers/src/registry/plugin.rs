//! What makes an artifact in `plugins/NAME` a plugin: the wasm config, and one layer with a component that
//! nodes can run. Asked at every push, and again when a Plugin resource names the artifact.

use std::io::Read as _;

use sedge_api::Digest;
use sedge_api::artifact::{MAX_PLUGIN_BYTES, PLUGIN_CONFIG, PLUGIN_LAYER};
use thiserror::Error;

use super::RegistryError;
use super::component::{ComponentError, ComponentSummary, inspect};
use super::manifest::{Manifest, ManifestError};
use super::store::Store;

/// What is known of a plugin in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFacts {
    /// Digest of the layer with the component.
    pub component: Digest,
    /// Its size.
    pub bytes: u64,
    /// Roles, imports, exports.
    pub summary: ComponentSummary,
}

/// Why an artifact is no plugin.
#[derive(Debug, Error)]
pub enum PluginError {
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Another kind of artifact.
    #[error("a plugin's config is of type `{PLUGIN_CONFIG}`; this one is `{0}`")]
    Config(String),
    /// Not one component.
    #[error("a plugin has one layer, of type `{PLUGIN_LAYER}`; this one has {0}")]
    Layers(String),
    /// The manifest's layer is not in the registry.
    #[error("its layer {0} is not in the registry")]
    Gone(Digest),
    /// The component is of no use.
    #[error("the component {digest}: {source}")]
    Component {
        /// Its layer.
        digest: Digest,
        /// What is wrong with it.
        source: ComponentError,
    },
    /// The registry's own trouble.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Look into a plugin. Blocks, and holds the whole component in memory.
pub(super) fn examine(store: &Store, manifest: &Manifest) -> Result<PluginFacts, PluginError> {
    if manifest.config.media_type != PLUGIN_CONFIG {
        return Err(PluginError::Config(manifest.config.media_type.clone()));
    }
    let [layer] = manifest.layers.as_slice() else {
        return Err(PluginError::Layers(manifest.layers.len().to_string()));
    };
    if layer.media_type != PLUGIN_LAYER {
        return Err(PluginError::Layers(format!("one of type `{}`", layer.media_type)));
    }
    let of_component = |source| PluginError::Component { digest: layer.digest, source };
    let (bytes, file) = store.blob(&layer.digest)?.ok_or(PluginError::Gone(layer.digest))?;
    if bytes > MAX_PLUGIN_BYTES {
        return Err(of_component(ComponentError::TooLarge(bytes)));
    }
    let mut content = Vec::new();
    file.take(bytes)
        .read_to_end(&mut content)
        .map_err(|source| RegistryError::disk("read blob", layer.digest, source))?;
    let summary = inspect(&content).map_err(of_component)?;
    Ok(PluginFacts { component: layer.digest, bytes, summary })
}
