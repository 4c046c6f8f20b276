//! The OCI distribution API, version 1.1 (<https://github.com/opencontainers/distribution-spec>): what clients
//! may ask under `/v2/`, and who may ask.
//!
//! Repository names hold slashes, so an address is told from its end, here, into an [`Endpoint`] of parsed
//! names; `blobs`, `uploads`, `manifests` and `lists` answer.

mod access;
mod blobs;
mod body;
mod lists;
mod manifests;
mod refusal;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use sedge_api::Digest;
use serde::Deserialize;
use uuid::Uuid;

use super::Registry;
use super::names::{Reference, Repository};
pub use access::Access;
use refusal::{Code, Refusal};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// What a request's address names.
#[derive(Debug, PartialEq, Eq)]
enum Endpoint {
    Root,
    Token,
    Catalog,
    Tags(Repository),
    Manifest(Repository, Reference),
    Blob(Repository, Digest),
    Uploads(Repository),
    Upload(Repository, Uuid),
}

impl Endpoint {
    /// The repository that a request with this method would write to.
    fn written(&self, method: &Method) -> Option<&Repository> {
        match self {
            Self::Uploads(name) | Self::Upload(name, _) => Some(name),
            Self::Manifest(name, _) if *method != Method::GET && *method != Method::HEAD => Some(name),
            _ => None,
        }
    }
}

/// What may follow the question mark; each endpoint takes its own.
#[derive(Debug, Default, Deserialize)]
struct Parameters {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
    n: Option<usize>,
    last: Option<String>,
}

struct Served {
    registry: Registry,
    access: Access,
}

/// The routes of `registry`.
pub(super) fn router(registry: Registry, access: Access) -> Router {
    Router::new()
        .route("/v2", any(root))
        .route("/v2/", any(root))
        .route("/v2/{*endpoint}", any(named))
        .with_state(Arc::new(Served { registry, access }))
}

async fn root(State(served): State<Arc<Served>>, method: Method, headers: HeaderMap) -> Response {
    let answer = served.answer(Endpoint::Root, method, Parameters::default(), &headers, Body::empty()).await;
    answer.into_response()
}

async fn named(
    State(served): State<Arc<Served>>,
    path: Result<Path<String>, PathRejection>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let Path(path) = path.map_err(|error| Refusal::new(Code::NameInvalid, error))?;
        let Query(parameters) = parameters.map_err(|error| Refusal::new(Code::Unsupported, error))?;
        served.answer(parse(&path)?, method, parameters, &headers, body).await
    };
    answer.await.into_response()
}

fn parse(path: &str) -> Result<Endpoint, Refusal> {
    let repository = |parts: &[&str]| parts.join("/").parse::<Repository>().map_err(Refusal::from);
    let parts: Vec<&str> = path.split('/').collect();
    Ok(match parts.as_slice() {
        ["_catalog"] => Endpoint::Catalog,
        ["_token"] => Endpoint::Token,
        [name @ .., "tags", "list"] => Endpoint::Tags(repository(name)?),
        [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => {
            Endpoint::Uploads(repository(name)?)
        }
        [name @ .., "blobs", "uploads", id] => {
            let name = repository(name)?;
            let id = id.parse().map_err(|_| {
                Refusal::new(Code::BlobUploadUnknown, format_args!("there is no such upload in `{name}`"))
            })?;
            Endpoint::Upload(name, id)
        }
        [name @ .., "blobs", digest] => Endpoint::Blob(
            repository(name)?,
            digest.parse().map_err(|error| Refusal::new(Code::DigestInvalid, error))?,
        ),
        [name @ .., "manifests", reference] => Endpoint::Manifest(
            repository(name)?,
            reference.parse().map_err(|error| Refusal::new(Code::ManifestInvalid, error))?,
        ),
        _ => {
            return Err(Refusal::new(Code::Unsupported, "there is nothing at this address")
                .with_status(StatusCode::NOT_FOUND));
        }
    })
}

impl Served {
    async fn answer(
        &self,
        endpoint: Endpoint,
        method: Method,
        parameters: Parameters,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, Refusal> {
        if endpoint == Endpoint::Token {
            return self.access.issue(headers);
        }
        self.access.check(headers)?;
        if let Some(repository) = endpoint.written(&method) {
            self.access.check_write(repository)?;
        }
        let registry = &self.registry;
        let is = |wanted: Method| method == wanted;
        match endpoint {
            Endpoint::Root if is(Method::GET) || is(Method::HEAD) => {
                Ok(([(API_VERSION, "registry/2.0")], axum::Json(serde_json::json!({}))).into_response())
            }
            Endpoint::Catalog if is(Method::GET) => lists::catalog(registry, parameters).await,
            Endpoint::Tags(name) if is(Method::GET) => lists::tags(registry, name, parameters).await,
            Endpoint::Manifest(name, reference) if is(Method::GET) || is(Method::HEAD) => {
                manifests::get(registry, name, reference, is(Method::HEAD)).await
            }
            Endpoint::Manifest(name, reference) if is(Method::PUT) => {
                manifests::put(registry, name, reference, headers, body).await
            }
            Endpoint::Blob(name, digest) if is(Method::GET) || is(Method::HEAD) => {
                blobs::get(registry, name, digest, headers, is(Method::HEAD)).await
            }
            Endpoint::Uploads(name) if is(Method::POST) => {
                uploads::begin(registry, name, parameters, headers, body).await
            }
            Endpoint::Upload(name, id) if is(Method::GET) => uploads::status(registry, &name, id),
            Endpoint::Upload(name, id) if is(Method::PATCH) => {
                uploads::append(registry, name, id, headers, body).await
            }
            Endpoint::Upload(name, id) if is(Method::PUT) => {
                uploads::finish(registry, name, id, parameters, headers, body).await
            }
            Endpoint::Upload(name, id) if is(Method::DELETE) => uploads::cancel(registry, &name, id).await,
            _ => Err(Refusal::new(Code::Unsupported, format_args!("{method} is not offered here"))
                .with_status(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }
}

/// Run what blocks beside the executor.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request to the registry broke off");
        Err(Refusal::new(Code::Unknown, "the registry is shutting down"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_its_end() {
        let name: Repository = "a/blobs/uploads/b".parse().unwrap();
        let id = Uuid::new_v4();
        let digest = Digest::of(b"");
        for (path, endpoint) in [
            ("_catalog".to_owned(), Endpoint::Catalog),
            ("a/blobs/uploads/b/tags/list".to_owned(), Endpoint::Tags(name.clone())),
            ("a/blobs/uploads/b/blobs/uploads/".to_owned(), Endpoint::Uploads(name.clone())),
            (format!("a/blobs/uploads/b/blobs/uploads/{id}"), Endpoint::Upload(name.clone(), id)),
            (format!("a/blobs/uploads/b/blobs/{digest}"), Endpoint::Blob(name.clone(), digest)),
            (
                "a/blobs/uploads/b/manifests/1".to_owned(),
                Endpoint::Manifest(name.clone(), Reference::Tag("1".parse().unwrap())),
            ),
        ] {
            assert_eq!(parse(&path).unwrap(), endpoint, "{path}");
        }
    }

    #[test]
    fn what_is_no_address_has_a_code() {
        for (path, code) in [
            ("../../etc/manifests/passwd", "NAME_INVALID"),
            ("a/../b/tags/list", "NAME_INVALID"),
            ("manifests/1", "NAME_INVALID"),
            ("a/manifests/..", "MANIFEST_INVALID"),
            ("a/blobs/sha512:00", "DIGEST_INVALID"),
            ("a/blobs/uploads/..", "BLOB_UPLOAD_UNKNOWN"),
            ("a/b/c", "UNSUPPORTED"),
        ] {
            assert_eq!(parse(path).unwrap_err().code(), code, "{path}");
        }
    }
}
