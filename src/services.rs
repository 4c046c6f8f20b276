//! Services as the command line meets them: found by name, where they answer, and asked over the Open Inference
//! Protocol. Called by `infer`, `top` and `rollout`.

use std::time::Duration;

use kube::Api;
use kube::api::ListParams;
use sedge_api::resources::{JointInferenceService, ServingSide};
use serde_json::Value;

use crate::failure::Failure;
use crate::server::Server;

/// From the request to the whole answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// The largest answer that is read.
const MAX_ANSWER: usize = 256 << 20;

/// Services of the namespace asked for.
pub fn api(server: &Server) -> Api<JointInferenceService> {
    Api::namespaced(server.client.clone(), &server.namespace)
}

/// The service called `name`, which may be written `jis/NAME` too.
pub async fn find(server: &Server, name: &str) -> anyhow::Result<JointInferenceService> {
    let name = bare(name);
    api(server).get_opt(name).await?.ok_or_else(|| {
        Failure::new(format!("there is no service `{name}` in namespace {}", server.namespace))
            .hint("`sedge get jis -A` lists what there is")
            .into()
    })
}

/// `NAME` of `NAME`, `jis/NAME` and its like.
pub fn bare(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// All services of the namespace, by name.
pub async fn all(server: &Server) -> anyhow::Result<Vec<JointInferenceService>> {
    let mut found = api(server).list(&ListParams::default()).await?.items;
    found.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    Ok(found)
}

/// What clients call it: its name, and `NAMESPACE.NAME` outside the namespace `default`.
pub fn client_name(namespace: &str, name: &str) -> String {
    if namespace == "default" { name.to_owned() } else { format!("{namespace}.{name}") }
}

/// Where the service answers: on `node`, or on the first edge that is ready.
pub fn url(service: &JointInferenceService, node: Option<&str>) -> Result<String, Failure> {
    let name = service.metadata.name.clone().unwrap_or_default();
    let status = service.status.clone().unwrap_or_default();
    let endpoints = &status.endpoints;
    let described = format!("`sedge describe jis/{name}` says more");
    match node {
        Some(node) => {
            let found = endpoints.iter().find(|endpoint| endpoint.node == node).ok_or_else(|| {
                let nodes: Vec<&str> = endpoints.iter().map(|endpoint| endpoint.node.as_str()).collect();
                Failure::new(format!("service `{name}` is not served on node `{node}`"))
                    .hint(format!("it is on [{}]", nodes.join(", ")))
            })?;
            found.url.clone().ok_or_else(|| {
                Failure::new(format!("it is not known where node `{node}` serves")).hint(described)
            })
        }
        None => {
            let edges = endpoints.iter().filter(|endpoint| endpoint.role == ServingSide::Edge);
            let ready = edges.filter(|endpoint| endpoint.ready).find_map(|endpoint| endpoint.url.clone());
            ready.ok_or_else(|| {
                let why = status.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                Failure::new(format!("no edge of service `{name}` answers{why}")).hint(described)
            })
        }
    }
}

/// A node's Open Inference Protocol over REST.
pub struct Node {
    client: reqwest::Client,
    base: String,
}

impl Node {
    /// The node at `base`, `http://host:port`.
    pub fn new(base: &str) -> anyhow::Result<Self> {
        let client =
            reqwest::Client::builder().timeout(ANSWER_WITHIN).connect_timeout(CONNECT_WITHIN).build()?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned() })
    }

    /// What the service takes and gives.
    pub async fn metadata(&self, service: &str) -> anyhow::Result<Value> {
        self.ask(self.client.get(format!("{}/v2/models/{service}", self.base))).await
    }

    /// The answer to a request of the protocol.
    pub async fn infer(&self, service: &str, request: &Value) -> anyhow::Result<Value> {
        let url = format!("{}/v2/models/{service}/infer", self.base);
        let body = serde_json::to_vec(request)?;
        self.ask(self.client.post(url).header("content-type", "application/json").body(body)).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let unreachable =
            |error: reqwest::Error| Failure::new(format!("no answer from {}: {}", self.base, cause(&error)));
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(
                    Failure::new(format!("the answer of {} is larger than 256 MiB", self.base)).into()
                );
            }
            body.extend_from_slice(&piece);
        }
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        match answer {
            Some(answer) if status.is_success() => Ok(answer),
            answer => {
                let said = answer.as_ref().and_then(|answer| answer["error"].as_str()).map(str::to_owned);
                let text = || String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned();
                let said = said.unwrap_or_else(text);
                Err(Failure::new(format!("{} answers {status}: {said}", self.base)).into())
            }
        }
    }
}

/// The innermost cause, which says most.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> JointInferenceService {
        serde_json::from_value(json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "JointInferenceService",
            "metadata": {"name": "digits", "namespace": "default"},
            "spec": {"edge": {"plugin": "p:1", "nodes": {"names": ["edge-1", "edge-2"]}}},
            "status": {"reason": "EdgesNotReady", "endpoints": [
                {"node": "cloud", "url": "http://c:1", "role": "cloud", "ready": true},
                {"node": "edge-1", "url": "http://e:1", "role": "edge", "ready": false},
                {"node": "edge-2", "url": "http://e:2", "role": "edge", "ready": true},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn the_first_edge_that_is_ready_is_asked_or_the_node_that_is_named() {
        assert_eq!(url(&service(), None).unwrap(), "http://e:2");
        assert_eq!(url(&service(), Some("cloud")).unwrap(), "http://c:1");
        assert!(url(&service(), Some("edge-9")).unwrap_err().to_string().contains("`edge-9`"));
        let mut service = service();
        service.status.as_mut().unwrap().endpoints[2].ready = false;
        let none = url(&service, None).unwrap_err().to_string();
        assert_eq!(none, "no edge of service `digits` answers (EdgesNotReady)");
    }

    #[test]
    fn a_name_is_written_in_many_ways() {
        assert_eq!((bare("digits"), bare("jis/digits")), ("digits", "digits"));
        assert_eq!((client_name("default", "d"), client_name("lab", "d")), ("d".into(), "lab.d".into()));
    }
}
