//! The other side of the distribution API: what the command line pushes, lists and looks into.
//!
//! Components are inspected, and graphs and weights looked through, before a byte is sent, by the same code
//! as the registry's own. Files stream from disk; blobs that the registry has are not sent again.

mod error;
mod push;

use std::sync::Arc;

use futures::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use sedge_api::artifact::{MANIFEST, MAX_MANIFEST_BYTES, model_repository, plugin_repository};
use sedge_api::{ArtifactRef, Digest};

use super::Kind;
use super::manifest::{Descriptor, Manifest};
pub use error::ClientError;

/// Names asked for at a time.
const PAGE: usize = 1000;
/// More names than a person would list; a registry that never ends must not fill memory.
const MAX_NAMES: usize = 100_000;

/// How far one blob is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// For people: `component`, `config`, `weights` or `graph NAME`.
    pub what: &'a str,
    /// Bytes sent; `total` at once where the registry had the blob already.
    pub sent: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Who is told how a push goes on.
pub type Progress = Arc<dyn Fn(Sent<'_>) + Send + Sync>;

/// Which artifacts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Those in `plugins/`.
    Plugins,
    /// Those in `models/`.
    Models,
}

impl Shelf {
    fn repository(self, name: &str) -> String {
        match self {
            Self::Plugins => plugin_repository(name),
            Self::Models => model_repository(name),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Plugins => Kind::Plugins,
            Self::Models => Kind::Models,
        }
    }
}

/// An artifact in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What people call it.
    pub reference: ArtifactRef,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Size of its layers.
    pub bytes: u64,
}

/// A connection to one registry; requests go out when asked.
#[derive(Clone)]
pub struct RegistryClient {
    client: Client,
    auth: RegistryAuth,
    host: String,
}

impl RegistryClient {
    /// A client of the registry at `base`, e.g. `http://127.0.0.1:5000` or `https://registry.example`.
    ///
    /// Where the process has no rustls provider yet, ring is installed.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        let address = || ClientError::Address(base.to_owned());
        let uri: http::Uri = base.parse().map_err(|_| address())?;
        let protocol = match uri.scheme_str() {
            Some("http") => ClientProtocol::Http,
            Some("https") => ClientProtocol::Https,
            _ => return Err(address()),
        };
        let host = uri.authority().filter(|_| uri.path() == "/").ok_or_else(address)?.to_string();
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that another thread was faster: there is one either way.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let config = ClientConfig {
            protocol,
            use_monolithic_push: true,
            user_agent: concat!("sedge/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|error| ClientError::from_oci(error, &host))?;
        let auth = token.map_or(RegistryAuth::Anonymous, RegistryAuth::Bearer);
        Ok(Self { client, auth, host })
    }

    /// The artifacts on a shelf, by name and tag.
    pub async fn list(&self, shelf: Shelf) -> Result<Vec<Listed>, ClientError> {
        let mut listed = Vec::new();
        for repository in self.catalog().await? {
            let parsed = repository.parse::<super::Repository>().ok();
            let Some((_, name)) = repository.split_once('/') else { continue };
            if parsed.is_none_or(|parsed| parsed.kind() != shelf.kind()) {
                continue;
            }
            for tag in self.tags(shelf, name).await? {
                // What Sedge cannot name (a path below, another's tag) it does not list either.
                let Ok(reference) = format!("{name}:{tag}").parse::<ArtifactRef>() else { continue };
                let (digest, manifest) = self.manifest(shelf, &reference).await?;
                let bytes = manifest.layers.iter().fold(0_u64, |sum, l| sum.saturating_add(l.size));
                listed.push(Listed { reference, digest, bytes });
            }
        }
        Ok(listed)
    }

    /// Names of all repositories, sorted.
    pub async fn catalog(&self) -> Result<Vec<String>, ClientError> {
        // The reference serves for the host alone.
        let anywhere = self.reference("catalog".to_owned(), "latest".to_owned());
        let mut names: Vec<String> = Vec::new();
        loop {
            let last = names.last().map(String::as_str);
            let page = self.client.catalog(&anywhere, &self.auth, Some(PAGE), last).await;
            let page = page.map_err(|error| self.explain(error))?.repositories;
            if extend(&mut names, page)? {
                return Ok(names);
            }
        }
    }

    /// Tags of an artifact, sorted.
    pub async fn tags(&self, shelf: Shelf, name: &str) -> Result<Vec<String>, ClientError> {
        let repository = self.reference(shelf.repository(name), "latest".to_owned());
        let mut tags: Vec<String> = Vec::new();
        loop {
            let last = tags.last().map(String::as_str);
            let page = self.client.list_tags(&repository, &self.auth, Some(PAGE), last).await;
            let page = page.map_err(|error| self.explain(error))?.tags;
            if extend(&mut tags, page)? {
                return Ok(tags);
            }
        }
    }

    /// The manifest that the reference names now, and its digest, checked.
    pub async fn manifest(
        &self,
        shelf: Shelf,
        reference: &ArtifactRef,
    ) -> Result<(Digest, Manifest), ClientError> {
        let image = self.image(shelf, reference);
        let pulled = self.client.pull_manifest_raw(&image, &self.auth, &[MANIFEST]).await;
        let (bytes, _) = pulled.map_err(|error| self.explain(error))?;
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(ClientError::Odd(format!("the manifest of {reference} has {} bytes", bytes.len())));
        }
        let manifest = Manifest::parse(&bytes)
            .map_err(|error| ClientError::Odd(format!("the manifest of {reference}: {error}")))?;
        Ok((Digest::of(&bytes), manifest))
    }

    /// All of a blob of at most `limit` bytes, e.g. a config or a component; its digest is checked.
    pub async fn blob(
        &self,
        shelf: Shelf,
        reference: &ArtifactRef,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let odd = |why: String| ClientError::Odd(format!("the blob {}: {why}", descriptor.digest));
        if descriptor.size > limit {
            return Err(odd(format!("it has {} bytes; {limit} are read", descriptor.size)));
        }
        let image = self.image(shelf, reference);
        self.client.store_auth_if_needed(&self.host, &self.auth).await;
        let digest = descriptor.digest.to_string();
        let mut stream = self
            .client
            .pull_blob_stream(&image, digest.as_str())
            .await
            .map_err(|error| self.explain(error))?
            .stream;
        let mut content = Vec::new();
        while let Some(piece) = stream.next().await {
            let piece = piece.map_err(|error| odd(error.to_string()))?;
            if (content.len() + piece.len()) as u64 > descriptor.size {
                return Err(odd(format!("it has more than the {} bytes of its manifest", descriptor.size)));
            }
            content.extend_from_slice(&piece);
        }
        if Digest::of(&content) != descriptor.digest {
            return Err(odd("its content has another digest".to_owned()));
        }
        Ok(content)
    }

    fn image(&self, shelf: Shelf, reference: &ArtifactRef) -> Reference {
        self.reference(shelf.repository(reference.name()), reference.tag().to_owned())
    }

    fn reference(&self, repository: String, tag: String) -> Reference {
        Reference::with_tag(self.host.clone(), repository, tag)
    }

    fn explain(&self, error: oci_client::errors::OciDistributionError) -> ClientError {
        ClientError::from_oci(error, &self.host)
    }
}

/// Add a page; whether it was the last.
fn extend(names: &mut Vec<String>, page: Vec<String>) -> Result<bool, ClientError> {
    let is_last = page.len() < PAGE;
    // A registry that answers with the same page again would keep us for ever.
    if names.last().is_some_and(|last| page.first().is_some_and(|first| first <= last)) {
        return Err(ClientError::Odd("it repeats itself when asked for more names".to_owned()));
    }
    names.extend(page);
    if names.len() > MAX_NAMES {
        return Err(ClientError::Odd(format!("it lists more than {MAX_NAMES} names")));
    }
    Ok(is_last)
}
