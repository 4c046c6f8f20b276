//! Objects of an S3-compatible store, and files of an HTTP server, through the crate `object_store`.
//!
//! Credentials come from the caller, are held by the client alone, and appear in no message and no `Debug`.

mod address;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::AmazonS3Builder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

pub use self::address::{Patience, S3};
use self::address::{options, retry};
use super::{Blob, Entry, Listing, Wanted};
use crate::error::DataError;

/// An object, or all with a prefix.
#[derive(Clone)]
pub struct Remote {
    store: Arc<dyn ObjectStore>,
    key: String,
    /// The store, as people are told of it, up to the key.
    base: String,
    name: String,
    listable: bool,
    patience: Patience,
    runtime: Handle,
    cancel: CancellationToken,
}

impl Remote {
    /// The object `key`, or the objects below `key/`, of an S3-compatible store. `runtime` drives the requests; the methods
    /// themselves block, and are called from threads that may.
    pub fn s3(s3: S3, key: &str, patience: Patience, runtime: Handle) -> Result<Self, DataError> {
        let base = format!("s3://{}/", s3.bucket);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&s3.bucket)
            .with_region(s3.region.unwrap_or_else(|| "us-east-1".to_owned()))
            .with_allow_http(s3.allow_http)
            .with_retry(retry(&patience))
            .with_client_options(options(&patience).with_allow_http(s3.allow_http));
        if let Some(endpoint) = s3.endpoint {
            builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
        }
        builder = match s3.keys {
            Some((key, secret)) => builder.with_access_key_id(key).with_secret_access_key(secret),
            None => builder.with_skip_signature(true),
        };
        if let Some(token) = s3.token {
            builder = builder.with_token(token);
        }
        let store = builder.build().map_err(|error| DataError::description(format!("{base}: {error}")))?;
        Self::new(Arc::new(store), key, base, true, patience, runtime)
    }

    /// A file of an HTTP server, e.g. `https://data.example/digits.parquet`, with headers for all requests, such as one of
    /// authorization. A server has no listing: a URL is always of one file.
    pub fn http(
        url: &str,
        headers: http::HeaderMap,
        patience: Patience,
        runtime: Handle,
    ) -> Result<Self, DataError> {
        // What a URL may hold of a user and password is no part of any message.
        let wrong = |what: &str| DataError::description(format!("a URL of a dataset: {what}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("use http:// or https://"))?;
        if !matches!(scheme, "http" | "https") {
            return Err(wrong("use http:// or https://"));
        }
        let (host, key) = rest.split_once('/').ok_or_else(|| wrong("it names no file"))?;
        if host.contains('@') || key.contains(['?', '#']) {
            return Err(wrong("give credentials as headers; queries and fragments are not supported"));
        }
        let base = format!("{scheme}://{host}/");
        let store = HttpBuilder::new()
            .with_url(&base)
            .with_retry(retry(&patience))
            .with_client_options(
                options(&patience).with_allow_http(scheme == "http").with_default_headers(headers),
            )
            .build()
            .map_err(|error| DataError::description(format!("{base}: {error}")))?;
        Self::new(Arc::new(store), key, base, false, patience, runtime)
    }

    fn new(
        store: Arc<dyn ObjectStore>,
        key: &str,
        base: String,
        listable: bool,
        patience: Patience,
        runtime: Handle,
    ) -> Result<Self, DataError> {
        let name = format!("{base}{key}");
        parse(key).map_err(|what| DataError::description(format!("{name}: {what}")))?;
        let cancel = CancellationToken::new();
        Ok(Self { store, key: key.to_owned(), base, name, listable, patience, runtime, cancel })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn cancelled_by(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
    }

    /// The same, with a token of its own beside the one that it has.
    pub(super) fn child(&self) -> (Self, CancellationToken) {
        let cancel = self.cancel.child_token();
        (Self { cancel: cancel.clone(), ..self.clone() }, cancel)
    }

    /// Wait for a request, within patience.
    fn wait<T>(
        &self,
        name: &str,
        request: impl Future<Output = Result<T, DataError>>,
    ) -> Result<T, DataError> {
        self.runtime.block_on(async {
            let deadline = Instant::now() + self.patience.total;
            tokio::select! {
                () = self.cancel.cancelled() => Err(DataError::Cancelled { file: name.to_owned() }),
                answer = timeout_at(deadline, request) => answer.unwrap_or_else(|_| {
                    let what = format!("the server took more than {:?}", self.patience.total);
                    Err(DataError::Unreachable { file: name.to_owned(), what })
                }),
            }
        })
    }

    pub(super) fn find(&self, key: &str) -> Result<Entry, DataError> {
        let name = format!("{}{key}", self.base);
        let path = parse(key).map_err(|what| DataError::Unreadable { file: name.clone(), what })?;
        let options = GetOptions { head: true, ..GetOptions::default() };
        let head = async {
            let found = self.store.get_opts(&path, options).await.map_err(|error| said(&name, error))?;
            Ok(self.entry(&found.meta, None))
        };
        self.wait(&name, head)
    }

    pub(super) fn list(&self, wanted: &Wanted<'_>) -> Result<Listing, DataError> {
        if !self.key.ends_with('/') && !self.key.is_empty() {
            match self.find(&self.key) {
                Ok(entry) => return Ok(Listing { entries: vec![entry], folder: false }),
                Err(DataError::NotFound { .. }) if self.listable => {}
                Err(error) => return Err(error),
            }
        }
        if !self.listable {
            let what = "a URL is of one file, and this is one of a folder; name the file".to_owned();
            return Err(DataError::Unsupported { file: self.name.clone(), what });
        }
        let prefix = parse(&self.key).map_err(DataError::description)?;
        let list = async {
            let mut objects = self.store.list(Some(&prefix));
            let mut entries = Vec::new();
            while let Some(object) = objects.try_next().await.map_err(|error| said(&self.name, error))? {
                let Some(parts) = object.location.prefix_match(&prefix) else { continue };
                let below = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
                if !wanted.takes(&below) || (!wanted.deep && below.contains('/')) {
                    continue;
                }
                if entries.len() >= wanted.limits.files {
                    return Err(wanted.too_many(&self.name));
                }
                entries.push(self.entry(&object, Some(below)));
            }
            Ok(entries)
        };
        let entries = self.wait(&self.name, list)?;
        if entries.is_empty() {
            return Err(DataError::NotFound { file: self.name.clone() });
        }
        Ok(Listing { entries, folder: true })
    }

    pub(super) fn open(&self, entry: &Entry) -> Blob {
        Blob::remote(entry.clone(), self.clone())
    }

    /// All of a range of an object that is still what the entry says.
    pub(super) fn fetch(&self, entry: &Entry, range: Range<u64>) -> Result<Bytes, DataError> {
        self.wait(&entry.name, self.fetch_all(entry, range))
    }

    async fn fetch_all(&self, entry: &Entry, range: Range<u64>) -> Result<Bytes, DataError> {
        let name = &entry.name;
        let path = parse(&entry.key).map_err(|what| DataError::Unreadable { file: name.clone(), what })?;
        let wanted = (range.end - range.start) as usize;
        let mut got = BytesMut::new();
        let mut fruitless = 0;
        loop {
            let before = got.len();
            let rest = range.start + before as u64..range.end;
            let what = match self.fetch_some(entry, &path, rest, &mut got).await {
                Ok(()) if got.len() == wanted => return Ok(got.freeze()),
                Ok(()) => format!("the answer ended after {} of {wanted} bytes", got.len()),
                Err(DataError::Unreachable { what, .. }) => what,
                Err(error) => return Err(error),
            };
            fruitless = if got.len() > before { 0 } else { fruitless + 1 };
            if fruitless >= self.patience.tries {
                return Err(DataError::Unreachable { file: name.clone(), what });
            }
            sleep(self.patience.pause * (1 << fruitless.min(6))).await;
        }
    }

    /// As much of a range as one answer brings, appended to `got`.
    async fn fetch_some(
        &self,
        entry: &Entry,
        path: &Path,
        range: Range<u64>,
        got: &mut BytesMut,
    ) -> Result<(), DataError> {
        let name = &entry.name;
        let replaced = || DataError::Replaced { file: name.clone() };
        // A weak tag matches nothing, by RFC 9110.
        let tag = Some(entry.version.clone()).filter(|tag| tag.starts_with('"'));
        let options = GetOptions {
            if_match: tag,
            range: Some(GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(path, options).await.map_err(|error| said(name, error))?;
        if answer.meta.size != entry.size || version(&answer.meta) != entry.version {
            return Err(replaced());
        }
        if answer.range != range {
            let what =
                format!("the server answered with bytes {:?} where {range:?} were asked for", answer.range);
            return Err(DataError::Unreachable { file: name.clone(), what });
        }
        let end = got.len() + (range.end - range.start) as usize;
        let mut body = answer.into_stream();
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| said(name, error))?;
            if got.len() + bytes.len() > end {
                let what = "the server sent more than was asked for".to_owned();
                return Err(DataError::Unreadable { file: name.clone(), what });
            }
            got.extend_from_slice(&bytes);
        }
        Ok(())
    }

    fn entry(&self, object: &ObjectMeta, below: Option<String>) -> Entry {
        let key = object.location.to_string();
        Entry {
            name: format!("{}{key}", self.base),
            key,
            below,
            size: object.size,
            version: version(object),
            identity: String::new(),
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.name)
    }
}

/// What changes with an object: its tag, or where the server gives none, its time.
fn version(object: &ObjectMeta) -> String {
    object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339())
}

fn parse(key: &str) -> Result<Path, String> {
    Path::parse(key.trim_end_matches('/')).map_err(|error| error.to_string())
}

/// What a store's error means here.
fn said(name: &str, error: StoreError) -> DataError {
    let file = name.to_owned();
    match error {
        StoreError::NotFound { .. } => DataError::NotFound { file },
        StoreError::Precondition { .. } => DataError::Replaced { file },
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            DataError::Unreadable { file, what: "the server refuses these credentials".to_owned() }
        }
        StoreError::NotSupported { source } => DataError::Unsupported { file, what: source.to_string() },
        StoreError::Generic { source, .. } => DataError::Unreachable { file, what: chain(&*source) },
        other => DataError::Unreachable { file, what: chain(&other) },
    }
}

/// An error and its causes, which say more than it does, on one line of bounded length.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
