//! The client's side of the OCI distribution API: what [`super::Artifacts`] asks the registry. One try per
//! call; who calls decides whether to try again.

use std::time::Duration;

use bytes::Bytes;
use cap_std::fs::File;
use futures::StreamExt;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use sedge_api::Digest;
use sedge_api::artifact::{MANIFEST, MAX_MANIFEST_BYTES};
use tokio::sync::{mpsc, watch};
use tokio_util::io::ReaderStream;

use super::ArtifactError;
use super::store::Incoming;

/// A registry whose address may come later and may change.
pub(super) struct Registry {
    http: Client,
    /// For what we send: the other would end a request whose answer has not begun within its read timeout,
    /// however long the body takes.
    uploads: Client,
    base: watch::Sender<Option<Url>>,
    token: String,
}

impl Registry {
    pub(super) fn new(token: String) -> Result<Self, ArtifactError> {
        // One provider serves the process. Whoever comes first installs it; an error says that it is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // The registry is the manager, which is dialled directly by the link as well: a proxy named in the
        // environment is for others.
        let client = || Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy();
        let failed = |error: reqwest::Error| ArtifactError::malformed("HTTP client", error.to_string());
        let http = client().read_timeout(Duration::from_secs(30)).build().map_err(failed)?;
        let uploads = client().build().map_err(failed)?;
        Ok(Self { http, uploads, base: watch::Sender::new(None), token })
    }

    /// Where the registry is, as `http://host:port`.
    pub(super) fn set_base(&self, base: &str) -> Result<(), ArtifactError> {
        let url: Url = base.parse().map_err(|_| {
            ArtifactError::malformed(format!("registry `{base}`"), "it must be like http://host:port")
        })?;
        self.base.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&url);
            *current = Some(url);
            changed
        });
        Ok(())
    }

    /// Returns when the address changes from now on.
    pub(super) async fn moved(&self) {
        let mut base = self.base.subscribe();
        // The sender lives in `self`.
        let _ = base.changed().await;
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ArtifactError> {
        let base = self.base.borrow().clone().ok_or(ArtifactError::NoRegistry)?;
        let url = base
            .join(path)
            .map_err(|error| ArtifactError::malformed(format!("path `{path}`"), error.to_string()))?;
        let request = self.http.request(method, url);
        Ok(if self.token.is_empty() { request } else { request.bearer_auth(&self.token) })
    }

    /// The bytes of the manifest with this digest (verified).
    pub(super) async fn manifest(&self, repository: &str, digest: &Digest) -> Result<Vec<u8>, ArtifactError> {
        let what = format!("manifest {repository}@{digest}");
        let request = self.request(Method::GET, &format!("/v2/{repository}/manifests/{digest}"))?;
        let response = send(request.header(ACCEPT, MANIFEST), &what).await?;
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| unreachable(&what, &error))?;
            let bytes = (body.len() + chunk.len()) as u64;
            if bytes > MAX_MANIFEST_BYTES {
                return Err(ArtifactError::TooLarge { what, bytes, limit: MAX_MANIFEST_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        let found = Digest::of(&body);
        if found == *digest { Ok(body) } else { Err(ArtifactError::WrongDigest { expected: *digest, found }) }
    }

    /// Go on receiving a blob where `incoming` stands; gives it back with what came, and what went wrong.
    pub(super) async fn blob(
        &self,
        repository: &str,
        digest: &Digest,
        mut incoming: Incoming,
    ) -> (Option<Incoming>, Result<(), ArtifactError>) {
        let what = format!("blob {repository}@{digest}");
        let offset = incoming.written();
        let request = match self.request(Method::GET, &format!("/v2/{repository}/blobs/{digest}")) {
            Ok(request) if offset > 0 => request.header(RANGE, format!("bytes={offset}-")),
            Ok(request) => request,
            Err(error) => return (Some(incoming), Err(error)),
        };
        let response = match send(request, &what).await {
            Ok(response) => response,
            Err(error) => {
                // A range that is refused would be refused for ever.
                let restarted = incoming.restart();
                return (Some(incoming), restarted.and(Err(error)));
            }
        };
        if offset > 0
            && response.status() != StatusCode::PARTIAL_CONTENT
            && let Err(error) = incoming.restart()
        {
            return (None, Err(error));
        }
        let (chunks, mut received) = mpsc::channel::<Bytes>(16);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = received.blocking_recv() {
                if let Err(error) = incoming.write(&chunk) {
                    return (None, Err(error));
                }
            }
            (Some(incoming), Ok(()))
        });
        let mut body = response.bytes_stream();
        let mut cut = Ok(());
        while let Some(chunk) = body.next().await {
            match chunk {
                // A closed channel: the writer has failed and says why below.
                Ok(chunk) => {
                    if chunks.send(chunk).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    cut = Err(unreachable(&what, &error));
                    break;
                }
            }
        }
        drop(chunks);
        match writer.await {
            Ok((incoming, written)) => (incoming, written.and(cut)),
            Err(error) => (None, Err(ArtifactError::malformed(what, error.to_string()))),
        }
    }

    /// Whether the repository has the blob.
    async fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, ArtifactError> {
        let request = self.request(Method::HEAD, &format!("/v2/{repository}/blobs/{digest}"))?;
        match send(request, &format!("blob {repository}@{digest}")).await {
            Ok(_) => Ok(true),
            Err(ArtifactError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Let `repository` have a blob: it is there, it is mounted from `from`, or `body` is uploaded.
    pub(super) async fn push_blob(
        &self,
        repository: &str,
        digest: &Digest,
        from: Option<&str>,
        body: Upload,
    ) -> Result<(), ArtifactError> {
        if self.has_blob(repository, digest).await? {
            return Ok(());
        }
        let what = format!("upload of {digest} to {repository}");
        let mount = from.map(|from| format!("?mount={digest}&from={from}")).unwrap_or_default();
        let request = self.request(Method::POST, &format!("/v2/{repository}/blobs/uploads/{mount}"))?;
        let response = send(request.header(CONTENT_LENGTH, 0), &what).await?;
        if response.status() == StatusCode::CREATED {
            return Ok(());
        }
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok())
            .and_then(|location| response.url().join(location).ok())
            .ok_or_else(|| ArtifactError::malformed(&what, "the registry gave no Location to upload to"))?;
        if location.origin() != response.url().origin() {
            // The token is for the registry alone.
            return Err(ArtifactError::malformed(&what, "the registry's Location points to another server"));
        }
        let mut location = location;
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
        let (length, body) = match body {
            Upload::Bytes(bytes) => (bytes.len() as u64, reqwest::Body::from(bytes)),
            Upload::File { file, length } => {
                let file = tokio::fs::File::from_std(file.into_std());
                (length, reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, 256 << 10)))
            }
        };
        let request = self.uploads.put(location).timeout(upload_time(length));
        let request = if self.token.is_empty() { request } else { request.bearer_auth(&self.token) };
        let request = request
            .header(CONTENT_LENGTH, length)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body);
        send(request, &what).await.map(drop)
    }

    /// Write a manifest under a tag.
    pub(super) async fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        manifest: Vec<u8>,
    ) -> Result<(), ArtifactError> {
        let request = self.request(Method::PUT, &format!("/v2/{repository}/manifests/{tag}"))?;
        let request = request.header(CONTENT_TYPE, MANIFEST).body(manifest);
        send(request, &format!("push of {repository}:{tag}")).await.map(drop)
    }
}

/// How long an upload may take: a minute, and as long as it takes at 64 KiB/s.
fn upload_time(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / (64 << 10))
}

/// What is uploaded.
pub(super) enum Upload {
    Bytes(Bytes),
    File { file: File, length: u64 },
}

/// Send, and take every status but success for an error.
async fn send(request: RequestBuilder, what: &str) -> Result<Response, ArtifactError> {
    let response = request.send().await.map_err(|error| unreachable(what, &error))?;
    match response.status() {
        status if status.is_success() => Ok(response),
        StatusCode::NOT_FOUND => Err(ArtifactError::NotFound { what: what.to_owned() }),
        status => Err(ArtifactError::Refused { what: what.to_owned(), status: status.as_u16() }),
    }
}

fn unreachable(what: &str, error: &reqwest::Error) -> ArtifactError {
    // The outer error says little; its source says whether it was refused, timed out or cut.
    let mut cause = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        cause = inner.to_string();
        source = inner.source();
    }
    ArtifactError::Unreachable { what: what.to_owned(), cause }
}
