//! The embedded Kubernetes API server: what a cluster would give, from one file on disk.
//!
//! ```text
//!  kube::Client ──in process──┐
//!  kubectl, CLI ──loopback────┴▶ routes ──▶ verbs ──▶ store (SQLite) ──▶ history ──▶ watches
//!                                            │
//!                         object · schema · patch · selector · metadata  (pure rules)
//! ```
//!
//! It serves the kinds of the definitions that it is opened with, and Kubernetes' own that are listed in
//! `kinds`. Nothing in it knows what a job is.

mod kinds;
mod metadata;
mod object;
mod patch;
mod routes;
mod schema;
mod selector;
mod status;
mod store;
mod table;
mod verbs;
mod view;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub use kinds::InvalidDefinition;
use kinds::Kinds;
pub use schema::InvalidSchema;
pub use status::ApiError;
pub use store::StoreError;
use store::{HistoryLimits, Key, Store};

/// The server. Clones share one database.
#[derive(Clone)]
pub struct ApiServer {
    inner: Arc<Inner>,
}

struct Inner {
    kinds: Kinds,
    store: Arc<Store>,
    /// Ends the watches.
    closing: CancellationToken,
}

impl ApiServer {
    /// Open the database at `database`, made with mode 0600 where it is not there, and serve the kinds of
    /// `definitions`. Blocks for some milliseconds; for a few seconds where another server has the database.
    pub fn open(database: &Path, definitions: Vec<CustomResourceDefinition>) -> Result<Self, StoreError> {
        Self::open_with(database, definitions, HistoryLimits::default())
    }

    fn open_with(
        database: &Path,
        definitions: Vec<CustomResourceDefinition>,
        history: HistoryLimits,
    ) -> Result<Self, StoreError> {
        let kinds = Kinds::new(definitions)?;
        let store = Arc::new(Store::open(database, history)?);
        let namespaces = kinds.namespaces().clone();
        let default = json!({"metadata": {"name": "default"}});
        store
            .write_now(false, |tx| {
                if tx.get(&Key::new(&namespaces.resource, "", "default"))?.is_none() {
                    verbs::create(tx, &kinds, &namespaces, "", default, verbs::Validation::Ignore)?;
                }
                Ok(())
            })
            .map_err(StoreError::Prepare)?;
        Ok(Self { inner: Arc::new(Inner { kinds, store, closing: CancellationToken::new() }) })
    }

    /// A client that calls the server in process, with `namespace` as its default. Needs a tokio runtime.
    pub fn client(&self, namespace: &str) -> kube::Client {
        let service = self
            .router()
            .map_request(|request: http::Request<kube::client::Body>| request.map(axum::body::Body::new));
        kube::Client::new(service, namespace)
    }

    /// The API without authentication: for calls in process.
    pub fn router(&self) -> Router {
        routes::router(self.inner.clone())
    }

    /// The API for callers that send `Authorization: Bearer TOKEN`. `/version` and the health checks are open.
    pub fn router_with_token(&self, token: &str) -> Router {
        routes::with_token(self.router(), token)
    }

    /// End all watches, so that a server that is shutting down need not wait for them. Later watches end at once.
    pub fn end_watches(&self) {
        self.inner.closing.cancel();
    }
}
