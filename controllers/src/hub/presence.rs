//! Whether a node is in touch: its EdgeNode and the condition `Ready` of it. Called by `session` and `mod`.
//!
//! A session is put among the hub's sessions before `Ready` is written True, and the other side looks there
//! before it writes False on the version it has read. So of a loss and a return that meet, the return stays.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, PostParams};
use sedge_api::resources::{EdgeNode, EdgeNodeSpec, EdgeNodeStatus, condition, is_true, set_condition};
use tonic::Status;
use tracing::warn;

use super::Inner;
use super::register::Registration;
use super::session::HEARTBEATS;

/// Writes that are tried when others write the same EdgeNode.
const ATTEMPTS: usize = 16;
/// Pause after the API server refused a write.
const PAUSE: Duration = Duration::from_secs(1);

/// Make the EdgeNode where it is new, and write what the node says of itself and that it is ready.
pub(super) async fn arrived(hub: &Inner, registration: &Registration) -> Result<(), Status> {
    let nodes: Api<EdgeNode> = Api::all(hub.client.clone());
    let name = &registration.name;
    let refused = |error: kube::Error| Status::unavailable(format!("cannot record node `{name}`: {error}"));
    for _ in 0..ATTEMPTS {
        let Some(mut node) = nodes.get_opt(name).await.map_err(refused)? else {
            let new = EdgeNode::new(name, EdgeNodeSpec { role: registration.role, unschedulable: false });
            match nodes.create(&PostParams::default(), &new).await {
                Err(error) if !raced(&error) => return Err(refused(error)),
                _ => continue,
            }
        };
        if node.spec.role != registration.role {
            return Err(Status::failed_precondition(format!(
                "node `{name}` is known with another role: start it with that one, or delete EdgeNode `{name}` first"
            )));
        }
        let mut status = registration.status.clone();
        status.conditions = node.status.take().map(|status| status.conditions).unwrap_or_default();
        set_ready(&mut status, true, "SessionUp", "its session is up", node.metadata.generation);
        node.status = Some(status);
        match nodes.replace_status(name, &PostParams::default(), &node).await {
            Ok(_) => return Ok(()),
            Err(error) if raced(&error) => {}
            Err(error) => return Err(refused(error)),
        }
    }
    Err(Status::unavailable(format!("EdgeNode `{name}` is being written by others all the time")))
}

/// After `grace`, write that the node is not ready, unless it has a session again.
pub(super) async fn gone(hub: Arc<Inner>, name: String, grace: Duration) {
    let mut pause = grace;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Whether a node is lost while the manager is away is for the next manager to find out.
            () = hub.shutdown.cancelled() => return,
        }
        match lost(&hub, &name).await {
            Ok(()) => return,
            Err(error) if raced(&error) => pause = Duration::ZERO,
            Err(error) => {
                warn!(node = name, %error, "cannot write that the node is lost; trying again");
                pause = PAUSE;
            }
        }
    }
}

async fn lost(hub: &Inner, name: &str) -> Result<(), kube::Error> {
    let nodes: Api<EdgeNode> = Api::all(hub.client.clone());
    let Some(mut node) = nodes.get_opt(name).await? else { return Ok(()) };
    let ready = node.status.as_ref().is_some_and(|status| is_true(&status.conditions, "Ready"));
    if !ready || hub.sessions.lock().contains_key(name) {
        return Ok(());
    }
    let mut status = node.status.take().unwrap_or_default();
    let message = "its session has ended and it has not come back";
    set_ready(&mut status, false, "SessionLost", message, node.metadata.generation);
    node.status = Some(status);
    nodes.replace_status(name, &PostParams::default(), &node).await.map(|_| ())
}

/// Nodes that were ready when the manager started get the time of a loss to come back.
pub(super) async fn forget_unseen(hub: Arc<Inner>) {
    let time_to_return = async {
        tokio::time::sleep(hub.config.heartbeat * HEARTBEATS).await;
        hub.view.ready().await;
    };
    tokio::select! {
        () = time_to_return => {}
        () = hub.shutdown.cancelled() => return,
    }
    for node in hub.view.nodes.state() {
        gone(hub.clone(), node.name_any(), Duration::ZERO).await;
    }
}

fn set_ready(status: &mut EdgeNodeStatus, ready: bool, reason: &str, message: &str, generation: Option<i64>) {
    let observed = condition("Ready", ready, reason, message, generation, Timestamp::now());
    set_condition(&mut status.conditions, observed);
}

/// Whether somebody else wrote in between, so that reading again helps.
fn raced(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
