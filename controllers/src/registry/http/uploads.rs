//! Pushing blobs: in one request, or as a session of POST, any number of PATCH, and PUT.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sedge_api::Digest;
use sedge_api::artifact::{MAX_MODEL_LAYER_BYTES, MAX_PLUGIN_BYTES};
use uuid::Uuid;

use super::refusal::{Code, Refusal};
use super::{CONTENT_DIGEST, Parameters, blocking, body};
use crate::registry::names::{Kind, Repository};
use crate::registry::uploads::Lease;
use crate::registry::{Registry, RegistryError};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Content is written and hashed in batches of this size, each in one trip to a blocking thread.
const BATCH: usize = 1 << 20;

/// POST: mount a blob from another repository, push one at once, or open a session.
pub(super) async fn begin(
    registry: &Registry,
    repository: Repository,
    parameters: Parameters,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    if let (Some(mount), Some(from)) = (&parameters.mount, &parameters.from) {
        let digest = parse_digest(mount)?;
        let from: Repository = from.parse()?;
        let (registry, to) = (registry.clone(), repository.clone());
        let is_mounted = blocking(move || {
            let store = &registry.inner.store;
            if !store.is_linked(&from, &digest)? || store.blob(&digest)?.is_none() {
                return Ok(false);
            }
            store.link(&to, &digest)?;
            Ok(true)
        });
        if is_mounted.await? {
            return Ok(created(&repository, &digest));
        }
        // Not there: the client is to push it, as if it had not asked.
    }
    let limit = limit(&repository);
    body::check_length(headers, limit)?;
    let digest = parameters.digest.as_deref().map(parse_digest).transpose()?;
    let uploads = registry.inner.uploads.clone();
    let name = repository.clone();
    let mut lease = blocking(move || Ok(uploads.begin(&name)?)).await?;
    match digest {
        Some(digest) => {
            lease.end_when_dropped();
            let lease = receive(lease, body, limit).await?;
            blocking(move || Ok(lease.finish(&digest)?)).await?;
            Ok(created(&repository, &digest))
        }
        None => Ok(accepted(StatusCode::ACCEPTED, &repository, &lease)),
    }
}

/// GET: how far a session is.
pub(super) fn status(registry: &Registry, repository: &Repository, id: Uuid) -> Result<Response, Refusal> {
    let lease = registry.inner.uploads.resume(repository, id)?;
    Ok(accepted(StatusCode::NO_CONTENT, repository, &lease))
}

/// PATCH: more content.
pub(super) async fn append(
    registry: &Registry,
    repository: Repository,
    id: Uuid,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let lease = registry.inner.uploads.resume(&repository, id)?;
    if let Some(range) = headers.get(header::CONTENT_RANGE) {
        check_range(range, &repository, &lease)?;
    }
    let limit = limit(&repository);
    body::check_length(headers, limit - lease.written().min(limit))?;
    let lease = receive(lease, body, limit).await?;
    Ok(accepted(StatusCode::ACCEPTED, &repository, &lease))
}

/// PUT: the last content, if any, and the digest of all of it.
pub(super) async fn finish(
    registry: &Registry,
    repository: Repository,
    id: Uuid,
    parameters: Parameters,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Some(digest) = parameters.digest else {
        return Err(Refusal::new(Code::DigestInvalid, "`?digest=` must say what was pushed"));
    };
    let digest = parse_digest(&digest)?;
    let mut lease = registry.inner.uploads.resume(&repository, id)?;
    if let Some(range) = headers.get(header::CONTENT_RANGE) {
        check_range(range, &repository, &lease)?;
    }
    lease.end_when_dropped();
    let lease = receive(lease, body, limit(&repository)).await?;
    blocking(move || Ok(lease.finish(&digest)?)).await?;
    Ok(created(&repository, &digest))
}

/// DELETE: give a session up.
pub(super) async fn cancel(
    registry: &Registry,
    repository: &Repository,
    id: Uuid,
) -> Result<Response, Refusal> {
    let mut lease = registry.inner.uploads.resume(repository, id)?;
    lease.end_when_dropped();
    blocking(move || {
        drop(lease);
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Write a whole body to a session.
async fn receive(mut lease: Lease, mut body: Body, limit: u64) -> Result<Lease, Refusal> {
    let mut batch = Vec::new();
    let mut batched = 0;
    while let Some(piece) = body::next(&mut body).await? {
        batched += piece.len();
        if lease.written() + batched as u64 > limit {
            lease.end_when_dropped();
            return Err(body::too_large(limit));
        }
        batch.push(piece);
        if batched >= BATCH {
            lease = write(lease, std::mem::take(&mut batch)).await?;
            batched = 0;
        }
    }
    if batch.is_empty() { Ok(lease) } else { write(lease, batch).await }
}

async fn write(mut lease: Lease, batch: Vec<Bytes>) -> Result<Lease, Refusal> {
    blocking(move || {
        for piece in batch {
            let id = lease.id();
            lease.append(&piece).map_err(|source| RegistryError::disk("write upload", id, source))?;
        }
        Ok(lease)
    })
    .await
}

/// Chunks come in order: one must begin where the last one ended.
fn check_range(range: &HeaderValue, repository: &Repository, lease: &Lease) -> Result<(), Refusal> {
    let start = range
        .to_str()
        .ok()
        .map(|text| text.trim_start_matches("bytes").trim_start_matches([' ', '=']))
        .and_then(|text| text.split_once('-')?.0.parse::<u64>().ok());
    if start == Some(lease.written()) {
        return Ok(());
    }
    let why = format!(
        "the upload in `{repository}` goes on at byte {}; this chunk is `{}`",
        lease.written(),
        String::from_utf8_lossy(range.as_bytes())
    );
    Err(Refusal::new(Code::BlobUploadInvalid, why).with_status(StatusCode::RANGE_NOT_SATISFIABLE))
}

fn limit(repository: &Repository) -> u64 {
    match repository.kind() {
        Kind::Plugins => MAX_PLUGIN_BYTES,
        Kind::Models | Kind::Other => MAX_MODEL_LAYER_BYTES,
    }
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|error| Refusal::new(Code::DigestInvalid, error))
}

fn created(repository: &Repository, digest: &Digest) -> Response {
    let location = format!("/v2/{repository}/blobs/{digest}");
    (StatusCode::CREATED, [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())])
        .into_response()
}

fn accepted(status: StatusCode, repository: &Repository, lease: &Lease) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/blobs/uploads/{}", lease.id())),
        // Both ends count; of nothing it says `0-0`, as all registries do.
        (header::RANGE, format!("0-{}", lease.written().saturating_sub(1))),
        (UPLOAD_ID, lease.id().to_string()),
    ];
    (status, headers).into_response()
}
