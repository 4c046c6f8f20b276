//! The registry as clients meet it: a listening server, and the real `oci-client`.

pub(crate) mod components;
mod distribution;
mod push_pull;
mod refusals;

use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use sedge_api::Digest;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::client::RegistryClient;
use super::{Access, Registry};

/// A registry on a loopback port, in a folder that goes with it.
pub(crate) struct Fixture {
    pub(crate) registry: Registry,
    pub(crate) host: String,
    folder: TempDir,
    _server: AbortOnDropHandle<()>,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::start_with(Access::default()).await
    }

    pub(crate) async fn start_with(access: Access) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(open(&folder)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = registry.router(access);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { registry, host, folder, _server: AbortOnDropHandle::new(server) }
    }

    pub(crate) fn client(&self) -> RegistryClient {
        self.client_with(None)
    }

    pub(crate) fn client_with(&self, token: Option<&str>) -> RegistryClient {
        RegistryClient::new(&format!("http://{}", self.host), token.map(str::to_owned)).unwrap()
    }

    /// Names of the files among the blobs, unfinished ones too.
    fn blobs(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path().join("blobs/sha256"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn open(folder: &TempDir) -> Dir {
    Dir::open_ambient_dir(folder.path(), ambient_authority()).unwrap()
}

pub(crate) fn no_progress() -> super::client::Progress {
    Arc::new(|_| {})
}

pub(crate) async fn push_plugin(fixture: &Fixture, reference: &str, component: Vec<u8>) -> Digest {
    fixture.client().push_plugin(&reference.parse().unwrap(), component, no_progress()).await.unwrap()
}
