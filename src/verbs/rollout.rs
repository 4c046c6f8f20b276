//! `sedge rollout`: a service's change of revision, followed to its end or undone.

use std::pin::pin;

use futures::TryStreamExt as _;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use sedge_api::Period;
use sedge_api::resources::{JointInferenceService, PinnedRevision, RolloutState};
use serde_json::json;

use crate::failure::Failure;
use crate::screen;
use crate::server::{Access, Server};
use crate::services;

/// Follow a service's change of revision, or undo it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Wait until the spec is taken up everywhere, or undone, which is a failure
    Status {
        /// The service
        #[arg(value_name = "NAME")]
        name: String,
        /// How long to wait at most
        #[arg(long, default_value = "10m", value_name = "TIME")]
        timeout: Period,
    },
    /// Make the spec what it was before: the last revision that was kept
    Undo {
        /// The service
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Follow a service's change of revision, or undo it.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let server = access.server().await?;
    match args.verb {
        Verb::Status { name, timeout } => follow(&server, services::bare(&name), timeout).await,
        Verb::Undo { name } => undo(&server, services::bare(&name)).await,
    }
}

/// How a service stands to its spec.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Kept(String),
    Undone { what: String, why: String },
    NotYet(String),
}

fn standing(service: &JointInferenceService) -> Standing {
    let status = service.status.clone().unwrap_or_default();
    let condition = |kind: &str| status.conditions.iter().find(|condition| condition.type_ == kind);
    if status.observed_generation != service.metadata.generation {
        let why = condition("Accepted").filter(|accepted| accepted.status == "False");
        return Standing::NotYet(why.map_or("its spec was not looked at yet".to_owned(), |why| {
            format!("its spec waits ({}: {})", why.reason, why.message)
        }));
    }
    let Some(rollout) = status.rollout else {
        return Standing::NotYet("nothing was rolled out yet".to_owned());
    };
    let message = rollout.message.unwrap_or_default();
    match rollout.state {
        RolloutState::Complete => {
            Standing::Kept(format!("revision {} is rolled out: {message}", rollout.revision))
        }
        RolloutState::Undone => Standing::Undone {
            what: format!("revision {} was undone", rollout.revision),
            why: format!("{}: {message}", rollout.reason.unwrap_or_default()),
        },
        RolloutState::Progressing => {
            let said = condition("RolledOut").map(|condition| condition.message.clone());
            Standing::NotYet(said.unwrap_or_else(|| format!("revision {} is on its way", rollout.revision)))
        }
    }
}

async fn follow(server: &Server, name: &str, timeout: Period) -> anyhow::Result<()> {
    services::find(server, name).await?;
    let mut last = String::new();
    match tokio::time::timeout(timeout.duration(), until_settled(server, name, &mut last)).await {
        Ok(settled) => settled,
        Err(_) => Err(Failure::new(format!("service `{name}` is not rolled out after {timeout}"))
            .detail(format!("now: {last}"))
            .hint(format!("`sedge describe jis/{name}` says more"))
            .into()),
    }
}

async fn until_settled(server: &Server, name: &str, last: &mut String) -> anyhow::Result<()> {
    let mut states = pin!(watcher::watch_object(services::api(server), name).default_backoff());
    loop {
        let service = match states.try_next().await {
            Ok(Some(Some(service))) => service,
            Ok(Some(None) | None) => {
                return Err(Failure::new(format!("service `{name}` is gone")).into());
            }
            Err(error) => {
                tracing::warn!(%error, "the watch was interrupted; trying again");
                continue;
            }
        };
        match standing(&service) {
            Standing::Kept(said) => {
                screen::print(&format!("{name}: {said}\n"))?;
                return Ok(());
            }
            Standing::Undone { what, why } => {
                return Err(Failure::new(format!("service `{name}`: {what}")).detail(why).into());
            }
            Standing::NotYet(said) if said != *last => {
                screen::print(&screen::styled(&format!("{name}: {said}\n"), screen::DIM))?;
                *last = said;
            }
            Standing::NotYet(_) => {}
        }
    }
}

/// What the spec is to be again: what serves, where the spec is something else that was undone or never taken up;
/// else the revision before.
fn before(service: &JointInferenceService) -> Option<PinnedRevision> {
    let status = service.status.clone()?;
    let current = status.current?;
    let undone = status.rollout.is_some_and(|rollout| rollout.revision != current.revision);
    match current.spec != service.spec && (undone || status.previous.is_none()) {
        true => Some(current),
        false => status.previous,
    }
}

async fn undo(server: &Server, name: &str) -> anyhow::Result<()> {
    let service = services::find(server, name).await?;
    let Some(revision) = before(&service) else {
        return Err(Failure::new(format!("service `{name}` has no revision to go back to")).into());
    };
    // Only if it is still what was looked at.
    let patch = json!([
        {"op": "test", "path": "/metadata/resourceVersion", "value": service.resource_version()},
        {"op": "replace", "path": "/spec", "value": revision.spec},
    ]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch)?);
    services::api(server).patch(name, &PatchParams::default(), &patch).await?;
    screen::print(&format!("{name}: the spec is again that of revision {}\n", revision.revision))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(queue: u32) -> Value {
        json!({"edge": {"plugin": "p:1", "nodes": {"names": ["edge-1"]}, "queue": queue}})
    }

    fn revision(number: u64, queue: u32) -> Value {
        let plugin = json!({"reference": "p:1", "digest": format!("sha256:{}", "0".repeat(64))});
        json!({"revision": number, "edge": {"plugin": plugin}, "spec": spec(queue)})
    }

    fn service(rollout: (u64, &str), current: Value, previous: Value) -> JointInferenceService {
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "JointInferenceService",
            "metadata": {"name": "digits", "generation": 3}, "spec": spec(3),
            "status": {
                "observedGeneration": 3, "current": current, "previous": previous,
                "rollout": {"revision": rollout.0, "state": rollout.1, "reason": "ProbeFailed",
                            "message": "node `edge-1`: no", "at": "2026-01-01T00:00:00Z"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_rollout_ends_kept_or_undone_with_the_reason() {
        let kept = service((3, "Complete"), revision(3, 3), Value::Null);
        assert!(matches!(standing(&kept), Standing::Kept(_)));
        let undone = service((3, "Undone"), revision(2, 2), Value::Null);
        let said = Standing::Undone {
            what: "revision 3 was undone".into(),
            why: "ProbeFailed: node `edge-1`: no".into(),
        };
        assert_eq!(standing(&undone), said);
        let mut waiting = kept;
        waiting.metadata.generation = Some(4);
        assert_eq!(standing(&waiting), Standing::NotYet("its spec was not looked at yet".into()));
    }

    #[test]
    fn undoing_goes_back_to_what_was_kept() {
        let number = |service: &JointInferenceService| before(service).map(|revision| revision.revision);
        assert_eq!(number(&service((3, "Complete"), revision(3, 3), revision(2, 2))), Some(2));
        assert_eq!(
            number(&service((3, "Undone"), revision(2, 2), Value::Null)),
            Some(2),
            "the spec is put back"
        );
        assert_eq!(number(&service((3, "Complete"), revision(3, 3), Value::Null)), None);
    }
}
