//! The resource that stands for an artifact in the registry: made after a push, and waited for until the
//! manager has looked at what was pushed.

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt as _;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use sedge_api::{ArtifactRef, Digest};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kinds::Kind;
use crate::objects;
use crate::server::Server;

/// How long the manager may take to look at an artifact.
const PATIENCE: Duration = Duration::from_secs(60);

/// Make or change the resource of `kind` for `reference`, and wait until it is ready.
pub async fn publish(
    server: &Server,
    kind: &Kind,
    reference: &ArtifactRef,
    digest: Digest,
) -> anyhow::Result<Value> {
    let name = reference.resource_name();
    let api = objects::api(server, kind, false);
    let spec = json!({"spec": {"reference": reference, "digest": digest}});
    if api.get_opt(&name).await?.is_some() {
        api.patch(&name, &PatchParams::default(), &Patch::Merge(&spec)).await?;
    } else {
        let object = DynamicObject::new(&name, &kind.resource).data(spec);
        api.create(&PostParams::default(), &object).await?;
    }
    let mut last = String::from("the manager has not looked at it");
    match tokio::time::timeout(PATIENCE, ready(server, kind, &name, digest, &mut last)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(format!("{reference} is in the registry, but not ready after a minute"))
            .detail(format!("now: {last}"))
            .hint(format!("`sedge describe {}/{name}` says more", kind.singular()))
            .into()),
    }
}

async fn ready(
    server: &Server,
    kind: &Kind,
    name: &str,
    digest: Digest,
    last: &mut String,
) -> anyhow::Result<Value> {
    let mut states = pin!(watcher::watch_object(objects::api(server, kind, false), name).default_backoff());
    loop {
        let document = match states.try_next().await {
            Ok(Some(Some(object))) => objects::document(kind, object),
            Ok(Some(None)) => return Err(Failure::new(format!("{name} was deleted meanwhile")).into()),
            Ok(None) => return Err(Failure::new("the watch ended").into()),
            Err(error) => {
                tracing::warn!(%error, "the watch was interrupted; trying again");
                continue;
            }
        };
        match state(&document, digest) {
            State::Ready => return Ok(document),
            State::Refused(why) => return Err(Failure::new(format!("the manager refused it: {why}")).into()),
            State::Waiting(why) => *last = why,
        }
    }
}

/// What the manager says of this version of an artifact.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Ready,
    Refused(String),
    Waiting(String),
}

fn state(document: &Value, digest: Digest) -> State {
    let conditions = document["status"]["conditions"].as_array().into_iter().flatten();
    let Some(ready) = conditions.into_iter().find(|condition| condition["type"] == "Ready") else {
        return State::Waiting("the manager has not looked at it".into());
    };
    let why = match objects::text(ready, "/message") {
        "" => objects::text(ready, "/reason"),
        message => message,
    };
    let current = match (ready["observedGeneration"].as_i64(), document["metadata"]["generation"].as_i64()) {
        (Some(observed), Some(generation)) => observed >= generation,
        // Without a generation the digest tells whether this version was meant.
        _ => objects::text(document, "/status/digest") == digest.to_string(),
    };
    match (current, objects::text(ready, "/status")) {
        (true, "True") => State::Ready,
        (true, "False") => State::Refused(why.to_owned()),
        _ => State::Waiting(why.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manager_said_of_an_older_version_does_not_count() {
        let digest = Digest::of(b"x");
        let resource = |status: &str, observed: i64| {
            json!({"metadata": {"generation": 2}, "status": {"conditions": [
                {"type": "Ready", "status": status, "reason": "R", "message": "m", "observedGeneration": observed}]}})
        };
        assert_eq!(state(&resource("True", 2), digest), State::Ready);
        assert_eq!(state(&resource("False", 2), digest), State::Refused("m".into()));
        assert_eq!(state(&resource("False", 1), digest), State::Waiting("m".into()));
        assert!(matches!(state(&json!({}), digest), State::Waiting(_)));
    }
}
