//! Manifests: what is pulled by tag or digest, and what is accepted when one is pushed.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use sedge_api::Digest;
use sedge_api::artifact::MAX_MANIFEST_BYTES;

use super::refusal::{Code, Refusal};
use super::{CONTENT_DIGEST, blocking, body};
use crate::registry::Registry;
use crate::registry::manifest::{self, Descriptor, Parsed};
use crate::registry::model::{self, ModelError};
use crate::registry::names::{Kind, Reference, Repository};
use crate::registry::plugin::{self, PluginError};
use crate::registry::store::Store;

/// GET and HEAD.
pub(super) async fn get(
    registry: &Registry,
    repository: Repository,
    reference: Reference,
    is_head: bool,
) -> Result<Response, Refusal> {
    let registry = registry.clone();
    let (digest, found) = blocking(move || {
        let unknown = |what: &str| {
            Refusal::new(Code::ManifestUnknown, format_args!("`{repository}` has no manifest {what}"))
        };
        let digest = match &reference {
            Reference::Digest(digest) => *digest,
            Reference::Tag(tag) => {
                registry.inner.store.tag(&repository, tag)?.ok_or_else(|| unknown(tag.as_str()))?
            }
        };
        let found = registry.manifest_of(&repository, &digest)?;
        Ok((digest, found.ok_or_else(|| unknown(&digest.to_string()))?))
    })
    .await?;
    let headers = [
        (header::CONTENT_TYPE, found.media_type),
        (header::CONTENT_LENGTH, found.bytes.len().to_string()),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let body = if is_head { Body::empty() } else { Body::from(found.bytes) };
    Ok((headers, body).into_response())
}

/// PUT.
pub(super) async fn put(
    registry: &Registry,
    repository: Repository,
    reference: Reference,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    body::check_length(headers, MAX_MANIFEST_BYTES)?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let content = body::whole(body, MAX_MANIFEST_BYTES).await?;
    let found = Digest::of(&content);
    if let Reference::Digest(expected) = reference
        && expected != found
    {
        let why = format!("the manifest has the digest {found}, not {expected} as the request says");
        return Err(Refusal::new(Code::DigestInvalid, why));
    }
    let (media_type, parsed) = manifest::parse(content_type.as_deref(), &content)
        .map_err(|error| Refusal::new(Code::ManifestInvalid, error))?;

    let Ok(turn) = registry.inner.judging.clone().acquire_owned().await else {
        return Err(Refusal::new(Code::Unknown, "the registry is shutting down"));
    };
    let (registry, name) = (registry.clone(), repository.clone());
    blocking(move || {
        let store = &registry.inner.store;
        judge(store, &name, &parsed)?;
        drop(turn);
        let digest = store.keep_bytes(&content)?;
        store.link(&name, &digest)?;
        store.set_manifest(&name, &digest, &media_type)?;
        if let Reference::Tag(tag) = reference {
            store.set_tag(&name, &tag, &digest)?;
        }
        registry.inner.pushes.send_modify(|pushes| *pushes += 1);
        Ok(())
    })
    .await?;
    let location = format!("/v2/{repository}/manifests/{found}");
    let headers = [(header::LOCATION, location), (CONTENT_DIGEST, found.to_string())];
    Ok((StatusCode::CREATED, headers).into_response())
}

/// Whether all that the manifest names is there, and is what its repository is for.
fn judge(store: &Store, repository: &Repository, parsed: &Parsed) -> Result<(), Refusal> {
    match parsed {
        Parsed::Manifest(manifest) => {
            for descriptor in manifest.layers.iter().chain([&manifest.config]) {
                check_blob(store, repository, descriptor)?;
            }
            match repository.kind() {
                Kind::Plugins => plugin::examine(store, manifest).map(drop).map_err(Refusal::from),
                Kind::Models => model::examine(store, manifest).map(drop).map_err(Refusal::from),
                Kind::Other => Ok(()),
            }
        }
        Parsed::Index(_) if repository.kind() != Kind::Other => {
            let why = "plugins and models are single manifests, not lists of them";
            Err(Refusal::new(Code::ManifestInvalid, why))
        }
        Parsed::Index(manifests) => {
            for descriptor in manifests {
                if store.manifest(repository, &descriptor.digest)?.is_none() {
                    return Err(missing(repository, "manifest", descriptor));
                }
                check_blob(store, repository, descriptor)?;
            }
            Ok(())
        }
    }
}

fn check_blob(store: &Store, repository: &Repository, descriptor: &Descriptor) -> Result<(), Refusal> {
    let size = match store.blob(&descriptor.digest)? {
        Some((size, _)) if store.is_linked(repository, &descriptor.digest)? => size,
        _ => return Err(missing(repository, "blob", descriptor)),
    };
    if size != descriptor.size {
        let (digest, said) = (descriptor.digest, descriptor.size);
        let why = format!("the manifest says that the blob {digest} has {said} bytes; it has {size}");
        return Err(Refusal::new(Code::ManifestInvalid, why));
    }
    Ok(())
}

fn missing(repository: &Repository, what: &str, descriptor: &Descriptor) -> Refusal {
    let digest = descriptor.digest;
    let why =
        format!("the manifest names the {what} {digest}, which `{repository}` does not have: push it first");
    Refusal::new(Code::ManifestBlobUnknown, why)
}

impl From<PluginError> for Refusal {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::Registry(error) => error.into(),
            error => Self::new(Code::ManifestInvalid, error),
        }
    }
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Registry(error) => error.into(),
            error => Self::new(Code::ManifestInvalid, error),
        }
    }
}
