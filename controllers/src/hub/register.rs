//! A node's first message, checked. Called by `session`.

use std::collections::BTreeMap;

use sedge_api::is_dns_label;
use sedge_api::node::{self, NodeMessage, PROTOCOL, node_message};
use sedge_api::resources::{EdgeNodeStatus, NodeRole};
use tonic::Status;

/// Labels that a node may have.
const MAX_LABELS: usize = 64;

/// A node as it registers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registration {
    pub name: String,
    pub role: NodeRole,
    /// Of EdgeNode.status, all but the conditions.
    pub status: EdgeNodeStatus,
}

impl Registration {
    /// From the first message of a session.
    pub fn parse(message: NodeMessage) -> Result<Self, Status> {
        let Some(node_message::Message::Register(register)) = message.message else {
            return Err(Status::failed_precondition("the first message of a session must be Register"));
        };
        if register.protocol != PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "node speaks version {} of the protocol and this manager {PROTOCOL}: upgrade the older one",
                register.protocol
            )));
        }
        if !is_dns_label(&register.node) {
            return Err(Status::invalid_argument(
                "the node's name must be 1 to 63 lower-case letters, digits and inner dashes",
            ));
        }
        let role = match register.role() {
            node::NodeRole::Edge => NodeRole::Edge,
            node::NodeRole::Cloud => NodeRole::Cloud,
            node::NodeRole::Unspecified => {
                return Err(Status::invalid_argument("the node's role is missing"));
            }
        };
        let federation_endpoint = endpoint("federation", register.federation_endpoint)?;
        let serving_endpoint = endpoint("serving", register.serving_endpoint)?;
        Ok(Self {
            name: register.node,
            role,
            status: EdgeNodeStatus {
                conditions: Vec::new(),
                version: Some(cut(register.version, 100)).filter(|version| !version.is_empty()),
                cpus: Some(register.cpus),
                memory_bytes: Some(register.memory_bytes),
                engines: register.engines.into_iter().take(16).map(|engine| cut(engine, 63)).collect(),
                federation_endpoint,
                serving_endpoint,
                labels: labels(register.labels)?,
            },
        })
    }
}

fn endpoint(what: &str, text: String) -> Result<Option<String>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let uri: Option<http::Uri> = text.parse().ok();
    let valid = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if valid && text.len() <= 512 {
        Ok(Some(text))
    } else {
        Err(Status::invalid_argument(format!(
            "the {what} endpoint must be an address like http://10.0.0.5:7003"
        )))
    }
}

fn labels(labels: impl IntoIterator<Item = (String, String)>) -> Result<BTreeMap<String, String>, Status> {
    let labels: BTreeMap<String, String> = labels.into_iter().collect();
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let word = |text: &str| text.len() <= 63 && text.bytes().all(inner);
    let key = |text: &str| {
        let name = text.rsplit('/').next().unwrap_or_default();
        text.len() <= 317 && !name.is_empty() && word(name) && text.matches('/').count() <= 1
    };
    if labels.len() > MAX_LABELS {
        return Err(Status::invalid_argument(format!("a node takes at most {MAX_LABELS} labels")));
    }
    match labels.iter().find(|(name, value)| !key(name) || !word(value)) {
        Some((name, _)) => {
            let name: String = name.chars().take(100).collect();
            Err(Status::invalid_argument(format!("label `{name}` or its value is not a valid label")))
        }
        None => Ok(labels),
    }
}

/// The first `limit` characters.
pub(super) fn cut(text: String, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register() -> node::Register {
        node::Register {
            protocol: PROTOCOL,
            node: "edge-1".to_owned(),
            role: node::NodeRole::Edge.into(),
            federation_endpoint: "http://127.0.0.1:7003".to_owned(),
            serving_endpoint: "http://127.0.0.1:7501".to_owned(),
            ..node::Register::default()
        }
    }

    fn parse(register: node::Register) -> Result<Registration, Status> {
        Registration::parse(NodeMessage { message: Some(node_message::Message::Register(register)) })
    }

    #[test]
    fn a_registration_is_taken() {
        let node = parse(register()).unwrap();
        assert_eq!((node.name.as_str(), node.role), ("edge-1", NodeRole::Edge));
        assert_eq!(node.status.serving_endpoint.as_deref(), Some("http://127.0.0.1:7501"));
    }

    #[test]
    fn what_cannot_be_a_node_is_refused_with_what_is_wrong() {
        type Spoil = fn(&mut node::Register);
        let cases: [(Spoil, &str); 7] = [
            (|r| r.protocol = 99, "version 99"),
            (|r| r.node = "../etc".to_owned(), "name must be"),
            (|r| r.role = 0, "role is missing"),
            (|r| r.federation_endpoint = "file:///etc".to_owned(), "federation endpoint must be"),
            (|r| r.serving_endpoint = "10.0.0.5".to_owned(), "serving endpoint must be"),
            (|r| r.labels = [("a b".to_owned(), String::new())].into(), "`a b`"),
            (|r| r.labels = (0..65).map(|i| (format!("l{i}"), String::new())).collect(), "at most 64"),
        ];
        for (spoil, why) in cases {
            let mut bad = register();
            spoil(&mut bad);
            let refused = parse(bad).unwrap_err();
            assert!(refused.message().contains(why), "{refused}");
        }
    }

    #[test]
    fn another_first_message_is_refused() {
        let heartbeat = node_message::Message::Heartbeat(node::Heartbeat {});
        let refused = Registration::parse(NodeMessage { message: Some(heartbeat) }).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    }
}
