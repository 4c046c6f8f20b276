//! Calls of one node's services.

use std::io;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::Uri;

use crate::{Error, Tensor, wire};

/// Says where the JSON of a request or an answer ends.
const HEAD_LENGTH: &str = "inference-header-content-length";
/// The largest answer that is read.
const LARGEST_ANSWER: u64 = 256 << 20;
/// Connections that are kept open; more are opened where more threads call at once.
const KEPT: usize = 16;

/// The services of a node. Threads may share it; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    url: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Named tensors.
    pub outputs: Vec<(String, Tensor)>,
    /// `edge`, `cloud`, `edge-after-timeout` or `edge-without-cloud`; None if the server is not Sedge.
    pub answered_by: Option<String>,
    /// Whether any sample was hard.
    pub hard: bool,
    /// Which: indices along the first dimension.
    pub hard_samples: Vec<usize>,
    /// What the service that was asked is made of.
    pub versions: Versions,
}

/// Digests; None where an answer does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// Of the plugin.
    pub plugin: Option<String>,
    /// Of the model.
    pub model: Option<String>,
}

impl Answer {
    /// The output called `name`.
    ///
    /// # Errors
    /// When there is none, with those that there are.
    pub fn output(&self, name: &str) -> Result<&Tensor, Error> {
        self.outputs.iter().find(|(present, _)| present == name).map(|(_, tensor)| tensor).ok_or_else(|| {
            let names: Vec<_> = self.outputs.iter().map(|(name, _)| name.as_str()).collect();
            Error::Tensor(format!("there is no output `{name}` among {names:?}"))
        })
    }
}

impl Client {
    /// The services of the node at `url`, e.g. `http://127.0.0.1:7501`. It connects when it is asked first.
    ///
    /// # Errors
    /// Text that is no such address.
    pub fn new(url: &str) -> Result<Self, Error> {
        let url = url.trim_end_matches('/');
        let parsed = url.parse::<Uri>().ok();
        if !parsed.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some()) {
            return Err(Error::Address(url.to_owned()));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_idle_connections(KEPT)
            .max_idle_connections_per_host(KEPT)
            .max_redirects(0)
            .proxy(None)
            .build();
        Ok(Self { agent: config.into(), url: url.to_owned() })
    }

    /// Have `service` answer `inputs`, whose first dimension counts samples. `timeout` bounds the whole call, and the
    /// node knows of it.
    ///
    /// # Errors
    /// What the node refuses, each kind apart, and what is wrong on the way there and back.
    pub fn infer(
        &self,
        service: &str,
        inputs: &[(&str, Tensor)],
        timeout: Duration,
    ) -> Result<Answer, Error> {
        let (body, head) = wire::encode(inputs, timeout)?;
        let url = self.path(service, "infer");
        let reply = self.call(timeout, |left| {
            let request = self.agent.post(&url).config().timeout_global(Some(left)).build();
            request.content_type("application/octet-stream").header(HEAD_LENGTH, head.to_string()).send(&body)
        })?;
        match reply.status {
            200 => wire::decode(&reply.body, reply.head),
            status => Err(Error::of_status(status, wire::message(&reply.body, status))),
        }
    }

    /// Whether `service` would answer now.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn ready(&self, service: &str, timeout: Duration) -> Result<bool, Error> {
        let url = self.path(service, "ready");
        let reply = self
            .call(timeout, |left| self.agent.get(&url).config().timeout_global(Some(left)).build().call())?;
        Ok(reply.status == 200)
    }

    fn path(&self, service: &str, verb: &str) -> String {
        let mut path = format!("{}/v2/models/", self.url);
        for byte in service.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(byte.into()),
                _ => path.push_str(&format!("%{byte:02X}")),
            }
        }
        path + "/" + verb
    }

    /// Send and read the whole answer. A node may close a connection that was idle, just when it is used again: then
    /// once more, on another one. To ask twice changes nothing.
    fn call(
        &self,
        timeout: Duration,
        send: impl Fn(Duration) -> Result<Sent, ureq::Error>,
    ) -> Result<Reply, Error> {
        let begun = Instant::now();
        let mut again = true;
        loop {
            let left = timeout.saturating_sub(begun.elapsed()).max(Duration::from_micros(1));
            let reply = send(left).and_then(Reply::read);
            return match reply {
                Ok(reply) => Ok(reply),
                Err(error) if again && broke(&error) => {
                    again = false;
                    continue;
                }
                Err(ureq::Error::Timeout(_)) => Err(Error::TimedOut { url: self.url.clone(), timeout }),
                Err(ureq::Error::BodyExceedsLimit(limit)) => {
                    Err(Error::Protocol(format!("it has more than {limit} bytes")))
                }
                Err(error @ (ureq::Error::Protocol(_) | ureq::Error::Http(_))) => {
                    Err(Error::Protocol(error.to_string()))
                }
                Err(cause) => Err(Error::Unreachable { url: self.url.clone(), cause }),
            };
        }
    }
}

type Sent = ureq::http::Response<ureq::Body>;

/// A reply that was read.
struct Reply {
    status: u16,
    head: Option<usize>,
    body: Vec<u8>,
}

impl Reply {
    fn read(mut response: Sent) -> Result<Self, ureq::Error> {
        let head = response.headers().get(HEAD_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = response.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec()?;
        Ok(Self { status: response.status().as_u16(), head, body })
    }
}

/// Whether the other side closed the connection.
fn broke(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let ureq::Error::Io(error) = error else { return false };
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_nodes_are_taken() {
        assert!(Client::new("http://127.0.0.1:7501/").is_ok());
        for wrong in ["127.0.0.1:7501", "ftp://node", "", "http://"] {
            assert!(Client::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_service_is_part_of_the_path_whatever_its_name() {
        let client = Client::new("http://node:1").unwrap();
        assert_eq!(client.path("team.digits", "infer"), "http://node:1/v2/models/team.digits/infer");
        assert_eq!(client.path("a/b?c", "infer"), "http://node:1/v2/models/a%2Fb%3Fc/infer");
    }
}
