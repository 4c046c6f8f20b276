//! What a manifest says, parsed from its JSON. Pure: whether the blobs it names are there is asked elsewhere.

use std::collections::BTreeMap;

use sedge_api::{Digest, InvalidName, artifact};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Media type of a list of manifests.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// More layers or manifests than any of our artifacts has; each costs a look at the disk.
const MAX_DESCRIPTORS: usize = 1024;

/// Why a manifest cannot be read.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Of no kind that is kept here.
    #[error("manifests of type `{0}` are not kept here: push an OCI image manifest or index")]
    MediaType(String),
    /// Header and content disagree.
    #[error("the request says that the manifest is `{header}`, the manifest itself says `{body}`")]
    Disagree {
        /// From `Content-Type`.
        header: String,
        /// From `mediaType`.
        body: String,
    },
    /// Not JSON of that form.
    #[error("it is not a manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// Another schema version than 2.
    #[error("schema version {0} is not known: it must be 2")]
    Schema(u64),
    /// Too long a list.
    #[error("it names {0} blobs; at most {MAX_DESCRIPTORS} may be")]
    TooMany(usize),
    /// A descriptor names something that is no SHA-256.
    #[error(transparent)]
    Digest(#[from] InvalidName),
}

/// A blob, as a manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// What the content hashes to.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// e.g. the title of a layer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The name that the layer bears, if any.
    pub fn title(&self) -> Option<&str> {
        self.annotations.get(artifact::TITLE).map(String::as_str)
    }
}

/// One artifact: a config and layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// What the manifest itself is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What the artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config blob.
    pub config: Descriptor,
    /// The layers.
    pub layers: Vec<Descriptor>,
    /// Free notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u64,
    manifests: Vec<Descriptor>,
}

/// A manifest of either kind.
#[derive(Debug)]
pub(super) enum Parsed {
    /// Names blobs.
    Manifest(Box<Manifest>),
    /// Names manifests.
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// An artifact of ours.
    pub fn new(artifact_type: Option<&str>, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(artifact::MANIFEST.to_owned()),
            artifact_type: artifact_type.map(str::to_owned),
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }

    /// Read a manifest of one artifact.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        check(manifest.schema_version, manifest.layers.len())?;
        Ok(manifest)
    }
}

/// Read what came with `content_type`, and say of which media type it is.
pub(super) fn parse(content_type: Option<&str>, bytes: &[u8]) -> Result<(String, Parsed), ManifestError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Any {
        media_type: Option<String>,
    }
    let said = serde_json::from_slice::<Any>(bytes)?.media_type;
    // `application/json` is what clients without an opinion send.
    let header = content_type
        .map(|text| text.split(';').next().unwrap_or_default().trim().to_owned())
        .filter(|text| !text.is_empty() && text != "application/json" && text != "application/octet-stream");
    let media_type = match (header, said) {
        (Some(header), Some(body)) if header != body => return Err(ManifestError::Disagree { header, body }),
        (Some(media_type), _) | (None, Some(media_type)) => media_type,
        (None, None) => artifact::MANIFEST.to_owned(),
    };
    let parsed = match media_type.as_str() {
        artifact::MANIFEST | DOCKER_MANIFEST => Parsed::Manifest(Box::new(Manifest::parse(bytes)?)),
        INDEX | DOCKER_LIST => {
            let index: Index = serde_json::from_slice(bytes)?;
            check(index.schema_version, index.manifests.len())?;
            Parsed::Index(index.manifests)
        }
        _ => return Err(ManifestError::MediaType(media_type)),
    };
    Ok((media_type, parsed))
}

fn check(schema_version: u64, descriptors: usize) -> Result<(), ManifestError> {
    if schema_version != 2 {
        return Err(ManifestError::Schema(schema_version));
    }
    if descriptors > MAX_DESCRIPTORS {
        return Err(ManifestError::TooMany(descriptors));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal(extra: &str) -> String {
        let digest = Digest::of(b"{}");
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"a/b","digest":"{digest}","size":2}},"layers":[]}}"#
        )
    }

    #[test]
    fn a_manifest_is_what_header_or_content_say() {
        for (header, extra) in [
            (None, ""),
            (Some("application/json"), ""),
            (Some(artifact::MANIFEST), ""),
            (Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), ""),
            (None, r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#),
        ] {
            let (media_type, _) = parse(header, minimal(extra).as_bytes()).unwrap();
            assert_eq!(media_type, artifact::MANIFEST, "{header:?} {extra}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_the_reason() {
        let refused =
            |header: Option<&str>, body: &str| parse(header, body.as_bytes()).unwrap_err().to_string();
        assert!(refused(None, "{").contains("not a manifest"));
        assert!(refused(None, "[]").contains("not a manifest"));
        assert!(refused(Some("text/html"), &minimal("")).contains("`text/html` are not kept"));
        assert!(refused(Some(INDEX), &minimal(r#""mediaType":"x/y","#)).contains("says `x/y`"));
        assert!(refused(None, &minimal("").replace(":2,", ":1,")).contains("schema version 1"));
        assert!(refused(None, &minimal("").replace("sha256:", "sha512:")).contains("sha256:"));
    }
}
