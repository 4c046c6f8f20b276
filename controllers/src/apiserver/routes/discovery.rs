//! What the server is and what it serves, in the legacy form of discovery that every client reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::apiserver::Inner;
use crate::apiserver::status::ApiError;

/// The Kubernetes version whose API this follows.
const MINOR: &str = "35";

/// `/version`.
pub async fn version() -> Json<Value> {
    Json(json!({
        "major": "1", "minor": MINOR,
        "gitVersion": format!("v1.{MINOR}.0+sedge-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

/// `/healthz` and its kin.
pub async fn health() -> &'static str {
    "ok"
}

/// `/api`.
pub async fn core_versions() -> Json<Value> {
    Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
}

/// `/apis`.
pub async fn groups(State(server): State<Arc<Inner>>) -> Json<Value> {
    let names: BTreeSet<&str> = server.kinds.iter().map(|kind| &kind.group[..]).collect();
    let groups = names.into_iter().filter_map(|name| group_of(&server, name));
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()}))
}

/// `/apis/GROUP`.
pub async fn group(
    State(server): State<Arc<Inner>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let mut group = group_of(&server, &name).ok_or_else(ApiError::unknown_path)?;
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(Json(group))
}

fn group_of(server: &Inner, name: &str) -> Option<Value> {
    if name.is_empty() {
        return None;
    }
    let kinds = server.kinds.iter().filter(|kind| kind.group == name);
    let versions: BTreeSet<&str> = kinds.map(|kind| &kind.version[..]).collect();
    let versions: Vec<Value> = versions
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    let preferred = versions.last()?.clone();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

/// `/api/v1`.
pub async fn core_resources(State(server): State<Arc<Inner>>) -> Result<Json<Value>, ApiError> {
    list(&server, "", "v1")
}

/// `/apis/GROUP/VERSION`.
pub async fn resources(
    State(server): State<Arc<Inner>>,
    Path((group, version)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    list(&server, &group, &version)
}

fn list(server: &Inner, group: &str, version: &str) -> Result<Json<Value>, ApiError> {
    let kinds = server.kinds.iter().filter(|kind| kind.group == group && kind.version == version);
    let resources: Vec<Value> = kinds.flat_map(|kind| kind.discovery()).collect();
    if resources.is_empty() {
        return Err(ApiError::unknown_path());
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(Json(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources,
    })))
}
