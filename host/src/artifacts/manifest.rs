//! OCI image manifests, as far as plugins and models use them.

use std::collections::BTreeMap;

use sedge_api::{Digest, artifact};
use serde::{Deserialize, Serialize};

use super::ArtifactError;

/// An OCI image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    pub(super) config: Descriptor,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// What a manifest says of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new() }
    }

    pub(super) fn titled(mut self, title: &str) -> Self {
        self.annotations.insert(artifact::TITLE.to_owned(), title.to_owned());
        self
    }

    /// Err where the blob is larger than `limit`.
    pub(super) fn at_most(&self, limit: u64) -> Result<&Self, ArtifactError> {
        if self.size > limit {
            let what = format!("{} ({})", self.digest, self.media_type);
            return Err(ArtifactError::TooLarge { what, bytes: self.size, limit });
        }
        Ok(self)
    }
}

impl Manifest {
    pub(super) fn parse(what: &str, bytes: &[u8]) -> Result<Self, ArtifactError> {
        serde_json::from_slice(bytes)
            .map_err(|error| ArtifactError::malformed(what, format!("not an OCI image manifest: {error}")))
    }

    /// The component of a plugin: its only layer.
    pub(super) fn component(&self, what: &str) -> Result<&Descriptor, ArtifactError> {
        match self.layers.as_slice() {
            [layer] if layer.media_type == artifact::PLUGIN_LAYER => {
                layer.at_most(artifact::MAX_PLUGIN_BYTES)
            }
            layers => Err(ArtifactError::malformed(
                what,
                format!(
                    "a plugin has one layer of type {}; this has {:?}",
                    artifact::PLUGIN_LAYER,
                    layers.iter().map(|layer| &layer.media_type).collect::<Vec<_>>()
                ),
            )),
        }
    }

    /// The layer with this digest and media type.
    pub(super) fn layer(
        &self,
        what: &str,
        digest: &Digest,
        media_type: &str,
    ) -> Result<&Descriptor, ArtifactError> {
        self.layers
            .iter()
            .find(|layer| layer.digest == *digest && layer.media_type == media_type)
            .ok_or_else(|| {
                ArtifactError::malformed(
                    what,
                    format!("its config names {digest}, but no {media_type} layer has it"),
                )
            })?
            .at_most(artifact::MAX_MODEL_LAYER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: artifact::MANIFEST.to_owned(),
            artifact_type: None,
            config: Descriptor::new(artifact::PLUGIN_CONFIG, Digest::of(b"{}"), 2),
            layers,
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_plugin_has_one_layer_of_bounded_size() {
        let layer = |size| Descriptor::new(artifact::PLUGIN_LAYER, Digest::of(b"wasm"), size);
        assert!(manifest(vec![layer(10)]).component("p").is_ok());
        assert!(manifest(vec![layer(10), layer(10)]).component("p").is_err());
        assert!(manifest(vec![]).component("p").is_err());
        let huge = manifest(vec![layer(artifact::MAX_PLUGIN_BYTES + 1)]);
        assert!(matches!(huge.component("p"), Err(ArtifactError::TooLarge { .. })));
    }

    #[test]
    fn what_is_written_reads_back() {
        let written = manifest(vec![Descriptor::new("x/y", Digest::of(b"z"), 1).titled("train")]);
        let bytes = serde_json::to_vec(&written).unwrap();
        assert_eq!(Manifest::parse("m", &bytes).unwrap(), written);
    }
}
