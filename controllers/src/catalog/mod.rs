//! The catalogue: Plugin and Model resources say what people want to use, the registry has what was pushed.
//!
//! ```text
//!  Plugin, Model ──watch──▶ reconcile ──look──▶ registry        a push wakes every reconcile
//!        ▲                      │ decide (pure)
//!        └───────status─────────┘
//! ```
//! A resource is Ready when the registry has its artifact and the artifact is well formed; reasons are `Found`,
//! `NotFound` and `Invalid`. Without a digest in its spec, the tag is resolved once and the digest pinned in
//! status: a tag that moves later moves nothing that runs. Changing the spec in any way resolves it anew.

mod decide;
mod engines;
mod model;
mod plugin;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::Controller;
use kube::runtime::controller::{self, Action};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt as _};
use sedge_api::resources::{Model, Plugin};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;

use crate::registry::{Registry, RegistryError};
pub use engines::run_engines;

use decide::{Catalogued, decide, look};

/// After an error, the next try.
const RETRY: Duration = Duration::from_secs(5);
/// Looking into an artifact may hold a component in memory.
const CONCURRENCY: u16 = 2;

/// Why a status could not be brought up to date; it is tried again.
#[derive(Debug, Error)]
enum CatalogError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the status cannot be written: {0}")]
    Write(#[from] kube::Error),
    #[error("the look into the registry broke off")]
    BrokeOff,
}

struct Context {
    client: Client,
    registry: Registry,
}

/// Keep the status of every Plugin up to date, until `shutdown`.
pub async fn run_plugins(client: Client, registry: Registry, shutdown: CancellationToken) {
    run::<Plugin>(client, registry, shutdown).await;
}

/// Keep the status of every Model up to date, until `shutdown`.
pub async fn run_models(client: Client, registry: Registry, shutdown: CancellationToken) {
    run::<Model>(client, registry, shutdown).await;
}

async fn run<K>(client: Client, registry: Registry, shutdown: CancellationToken)
where
    K: Catalogued + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let pushes = WatchStream::from_changes(registry.watch()).map(|_| ());
    Controller::new(Api::<K>::all(client.clone()), watcher::Config::default())
        .with_config(controller::Config::default().concurrency(CONCURRENCY))
        .reconcile_all_on(pushes)
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(
            reconcile::<K>,
            |resource, error, _| {
                tracing::warn!(kind = K::WORD, name = resource.name_any(), %error, "looked up in vain");
                Action::requeue(RETRY)
            },
            Arc::new(Context { client, registry }),
        )
        .for_each(|result| async move {
            match result {
                // The error policy has told of it.
                Ok(_) | Err(controller::Error::ReconcilerFailed(..)) => {}
                Err(controller::Error::ObjectNotFound(_)) => {}
                Err(error) => tracing::warn!(kind = K::WORD, %error, "the watch is interrupted"),
            }
        })
        .await;
}

async fn reconcile<K>(resource: Arc<K>, context: Arc<Context>) -> Result<Action, CatalogError>
where
    K: Catalogued + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + PartialEq + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    if resource.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let (before, registry) = (Arc::clone(&resource), context.registry.clone());
    let looked = tokio::task::spawn_blocking(move || look(&*before, &registry));
    let looked = looked.await.map_err(|_| CatalogError::BrokeOff)??;
    let after = decide(&*resource, looked, Timestamp::now());
    if after == *resource {
        return Ok(Action::await_change());
    }
    let namespace = resource.namespace().unwrap_or_default();
    let api = Api::<K>::namespaced(context.client.clone(), &namespace);
    match api.replace_status(&resource.name_any(), &PostParams::default(), &after).await {
        Ok(_) => {}
        // Changed or deleted meanwhile: the watch brings that, and with it the next look.
        Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Action::await_change())
}

#[cfg(test)]
mod tests;
