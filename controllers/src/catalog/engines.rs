//! Which engines compute a Model: in go the statuses of the Workers on it, out comes a part of its status.
//!
//! ```text
//!  Worker ──watch──▶ cache ──▶ computed (pure) ──▶ Model.status.engines
//! ```
//! A Model is told of by Workers on what it stands for now, by digest. Where there are none any more, what
//! they last said stands.

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt as _;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use kube::{Client, ResourceExt as _};
use sedge_api::Digest;
use sedge_api::resources::{GraphEngine, Model, Worker, engine_names};
use tokio_util::sync::CancellationToken;

/// Engines of one Model that are told, at most.
const TOLD: usize = 64;

/// Namespace, name and digest of a Model as its Workers have it.
type Key = (String, String, Digest);

/// Keep the engines in the status of every Model up to date, until `shutdown`.
pub async fn run_engines(client: Client, shutdown: CancellationToken) {
    let (workers, writer) = reflector::store();
    let watch = watcher(Api::<Worker>::all(client.clone()), watcher::Config::default());
    let mut changes = watch.default_backoff().reflect(writer).applied_objects().boxed();
    // Workers say much that is nothing new here.
    let mut written: HashMap<Key, Vec<GraphEngine>> = HashMap::new();
    loop {
        let worker = tokio::select! {
            () = shutdown.cancelled() => return,
            change = changes.next() => match change {
                Some(Ok(worker)) => worker,
                Some(Err(error)) => {
                    tracing::debug!(%error, "the watch of Workers is interrupted");
                    continue;
                }
                None => return,
            },
        };
        let Some(key) = key(&worker) else { continue };
        let said = worker.status.as_ref().map_or(&[][..], |status| &status.engines);
        // A Worker that serves speaks every second or so, and has no new engines to tell of.
        if written.get(&key).is_some_and(|engines| said.iter().all(|engine| engines.contains(engine))) {
            continue;
        }
        let all = workers.state();
        // The store does not have what came first until all of it has come.
        let engines = computed(&key, all.iter().map(AsRef::as_ref).chain([&worker]));
        if engines.is_empty() || written.get(&key) == Some(&engines) {
            continue;
        }
        let present: std::collections::HashSet<_> =
            all.iter().filter_map(|worker| self::key(worker)).collect();
        written.retain(|other, _| *other == key || present.contains(other));
        match write(&client, &key, &engines).await {
            Ok(true) => drop(written.insert(key, engines)),
            // The next word of a Worker tries again.
            Ok(false) => {}
            Err(error) => tracing::warn!(model = key.1, %error, "its engines could not be told"),
        }
    }
}

/// The Model that a Worker computes with, named as `sedge model push` names it.
fn key(worker: &Worker) -> Option<Key> {
    let model = worker.spec.model.as_ref()?;
    Some((worker.namespace()?, model.reference.resource_name(), model.digest))
}

/// The engines that the Model's Workers compute with: each of a graph's once, with what was last said of others.
fn computed<'a>(model: &Key, workers: impl Iterator<Item = &'a Worker>) -> Vec<GraphEngine> {
    let mut engines = BTreeMap::new();
    for worker in workers.filter(|worker| key(worker).as_ref() == Some(model)) {
        for engine in worker.status.iter().flat_map(|status| &status.engines) {
            engines.insert((&engine.graph, &engine.engine), engine);
        }
    }
    engines.into_values().take(TOLD).cloned().collect()
}

/// Whether the status of `model` has to change, and to what.
fn decide(model: &Model, digest: &Digest, engines: &[GraphEngine]) -> Option<Model> {
    let mut status = model.status.clone().unwrap_or_default();
    if status.digest.as_ref() != Some(digest) || status.engines == engines {
        return None;
    }
    status.engines = engines.to_vec();
    status.engine = engine_names(engines);
    Some(Model { status: Some(status), ..model.clone() })
}

/// Whether it stands there now.
async fn write(
    client: &Client,
    (namespace, name, digest): &Key,
    engines: &[GraphEngine],
) -> kube::Result<bool> {
    /// Others write the same status.
    const TRIES: usize = 5;
    let api = Api::<Model>::namespaced(client.clone(), namespace);
    for _ in 0..TRIES {
        let Some(model) = api.get_opt(name).await? else { return Ok(false) };
        let Some(after) = decide(&model, digest, engines) else {
            return Ok(model.status.is_some_and(|status| status.engines == engines));
        };
        match api.replace_status(name, &PostParams::default(), &after).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
            other => return other.map(|_| true),
        }
    }
    tracing::debug!(model = name, "others kept writing its status");
    Ok(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest() -> Digest {
        Digest::of(b"manifest")
    }

    fn worker(name: &str, digest: Digest, engine: &str) -> Worker {
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Worker",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "node": name, "role": "trainer",
                "job": {"kind": "FederatedLearningJob", "name": "digits", "uid": "job-1"},
                "plugin": {"reference": "sgd:1", "digest": Digest::of(b"plugin")},
                "model": {"reference": "digits:1", "digest": digest},
            },
            "status": {"phase": "Running", "engines": [{"graph": "train", "engine": engine}]},
        }))
        .unwrap()
    }

    fn model() -> Model {
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Model",
            "metadata": {"name": "digits.1", "namespace": "default"},
            "spec": {"reference": "digits:1"}, "status": {"digest": digest()},
        }))
        .unwrap()
    }

    #[test]
    fn a_model_has_the_engines_of_its_workers() {
        let workers = [
            worker("a", digest(), "rten"),
            worker("b", digest(), "onnxruntime"),
            worker("c", digest(), "rten"),
            worker("d", Digest::of(b"an older one"), "openvino"),
        ];
        let key = key(&workers[0]).unwrap();
        assert_eq!(key, ("default".to_owned(), "digits.1".to_owned(), digest()));
        let engines = computed(&key, workers.iter());
        let after = decide(&model(), &digest(), &engines).unwrap();
        let status = after.status.clone().unwrap();
        assert_eq!(status.engine.as_deref(), Some("onnxruntime,rten"));
        assert_eq!(status.engines.len(), 2);
        assert_eq!(decide(&after, &digest(), &engines), None);
    }

    #[test]
    fn what_workers_on_another_digest_say_is_not_told() {
        let engines = computed(&("default".into(), "digits.1".into(), digest()), [].iter());
        assert_eq!(engines, []);
        let other = Digest::of(b"an older one");
        assert_eq!(
            decide(
                &model(),
                &other,
                &[GraphEngine { graph: "train".into(), engine: "rten".into(), passed_over: vec![] }]
            ),
            None
        );
    }
}
