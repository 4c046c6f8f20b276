//! The protocol's REST half: a request's method and path to its answer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use serde_json::json;
use tonic::Code;

use super::super::endpoint::{self, ServeError};
use super::body::{self, Reply};
use super::datatypes::invalid;
use super::refusal::Refusal;
use super::server::Shared;
use super::{EXTENSIONS, PLATFORM, all_ready, answer, binary, find, json};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What a path asks for.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Server,
    Live,
    Ready,
    Index,
    Model { name: &'a str, version: &'a str },
    ModelReady { name: &'a str, version: &'a str },
    Infer { name: &'a str, version: &'a str },
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix("/v2")?;
        let model = match path {
            "" | "/" => return Some(Self::Server),
            "/health/live" => return Some(Self::Live),
            "/health/ready" => return Some(Self::Ready),
            "/repository/index" => return Some(Self::Index),
            _ => path.strip_prefix("/models/")?,
        };
        let (name, rest) = model.split_once('/').unwrap_or((model, ""));
        let (version, verb) = match rest.strip_prefix("versions/") {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => ("", rest),
        };
        match verb {
            _ if name.is_empty() => None,
            "" => Some(Self::Model { name, version }),
            "ready" => Some(Self::ModelReady { name, version }),
            "infer" => Some(Self::Infer { name, version }),
            _ => None,
        }
    }

    fn method(&self) -> Method {
        match self {
            Self::Infer { .. } | Self::Index => Method::POST,
            _ => Method::GET,
        }
    }
}

/// Answer a request.
pub(super) async fn respond<B>(shared: &Shared, request: Request<B>) -> Response<Reply>
where
    B: Body<Data = Bytes> + Unpin,
{
    match answered(shared, request).await {
        Ok(response) => response,
        Err(refusal) => {
            let text = json!({ "error": refusal.message }).to_string();
            reply(refusal.status, text.into_bytes())
        }
    }
}

fn reply(status: StatusCode, json: Vec<u8>) -> Response<Reply> {
    let mut response = Response::new(Reply::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Ready or not, and nothing else to say.
fn health(ready: bool) -> Response<Reply> {
    let mut response = Response::new(Reply::default());
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn answered<B>(shared: &Shared, request: Request<B>) -> Result<Response<Reply>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (head, body) = request.into_parts();
    let Some(route) = Route::of(head.uri.path()) else {
        let text = format!("nothing is served at {:.200}", head.uri.path());
        return Err(Refusal::new(StatusCode::NOT_FOUND, Code::NotFound, text));
    };
    if head.method != route.method() {
        let text = format!("{:.200} takes {}", head.uri.path(), route.method());
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, text));
    }
    let services = &shared.services;
    Ok(match route {
        Route::Infer { name, version } => return infer(shared, name, version, &head, body).await,
        Route::Live => health(true),
        Route::Ready => health(all_ready(services)),
        Route::ModelReady { name, version } => health(find(services, name, version)?.ready()),
        Route::Model { name, version } => {
            let metadata = find(services, name, version)?.metadata();
            reply(StatusCode::OK, answer::metadata(name, &metadata))
        }
        Route::Server => {
            let server =
                json!({ "name": PLATFORM, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS });
            reply(StatusCode::OK, server.to_string().into_bytes())
        }
        Route::Index => {
            let names = services.names();
            let index: Vec<_> = names.iter().filter_map(|name| Some((name, services.find(name)?))).collect();
            let model = |(name, endpoint): &(&String, std::sync::Arc<dyn endpoint::Endpoint>)| {
                let state = if endpoint.ready() { "READY" } else { "UNAVAILABLE" };
                let version = answer::version(&endpoint.metadata().versions);
                json!({ "name": name, "version": version, "state": state, "reason": "" })
            };
            let index: Vec<_> = index.iter().map(model).collect();
            reply(StatusCode::OK, json!(index).to_string().into_bytes())
        }
    })
}

async fn infer<B>(
    shared: &Shared,
    name: &str,
    version: &str,
    head: &Parts,
    body: B,
) -> Result<Response<Reply>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let endpoint = find(&shared.services, name, version)?;
    if let Some(encoding) = head.headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        let text = format!("Content-Encoding {encoding:?} is not taken; send the body as it is");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented, text));
    }
    let limits = &shared.limits;
    let (body, share) = body::gather(body, limits.body, limits.body_timeout, &shared.memory).await?;
    let length = head.headers.get(binary::HEADER).map(HeaderValue::as_bytes);
    let (text, behind) = binary::split(body, length)?;
    let json::Written { id, parameters, inputs, outputs } = json::parse(&text)?;
    drop(text);
    let inputs = binary::place(inputs.0, behind)?;
    let deadline = deadline(parameters.timeout)?;
    let by_default = parameters.binary_data_output;
    let wanted: Vec<(String, bool)> = outputs
        .0
        .into_iter()
        .map(|output| (output.name, output.parameters.binary_data.unwrap_or(by_default)))
        .collect();

    let answer = endpoint.infer(endpoint::Request { inputs, deadline }).await?;

    let selected = answer::select(&answer, &wanted, by_default)?;
    let (json, behind) = answer::write(name, id.as_deref(), &answer, &selected)?;
    let mut response = if behind.is_empty() {
        reply(StatusCode::OK, json)
    } else {
        let length = HeaderValue::from(json.len());
        let mut parts = VecDeque::with_capacity(1 + behind.len());
        parts.push_back(Bytes::from(json));
        parts.extend(behind);
        let mut response = Response::new(Reply::new(parts, None));
        response.headers_mut().insert(header::CONTENT_TYPE, BINARY);
        response.headers_mut().insert(binary::HEADER, length);
        response
    };
    response.body_mut().hold(share)?;
    Ok(response)
}

/// When a request that gives so many microseconds is worth nothing any more; none and zero: never.
pub(super) fn deadline(timeout: Option<u64>) -> Result<Option<Instant>, ServeError> {
    let Some(micros) = timeout.filter(|micros| *micros > 0) else { return Ok(None) };
    let deadline = Instant::now().checked_add(Duration::from_micros(micros));
    deadline.map(Some).ok_or_else(|| invalid(format!("a timeout of {micros} µs is too long")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(Route::of("/v2"), Some(Route::Server));
        assert_eq!(Route::of("/v2/models/ns.a"), Some(Route::Model { name: "ns.a", version: "" }));
        let infer = Route::Infer { name: "a", version: "12" };
        assert_eq!(Route::of("/v2/models/a/versions/12/infer"), Some(infer));
        for none in [
            "/",
            "/v1",
            "/v2x",
            "/v2/models/",
            "/v2/models//infer",
            "/v2/models/a/b",
            "/v2/models/a/versions/1/2/3",
        ] {
            assert_eq!(Route::of(none), None, "{none}");
        }
    }
}
