//! `GET …/workers/NAME/log`, beside the API server's routes: the log of a Worker as plain text. Called by
//! the CLI and by anything that reads pod logs this way.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::{StreamExt as _, stream};
use http::{HeaderMap, StatusCode, header};
use kube::api::Api;
use kube::{Client, ResourceExt as _};
use sedge_api::resources::Worker;
use serde::Deserialize;

use super::refusal::Refusal;
use super::{Hub, LogError, Token};

/// Where a Worker's log is read.
pub const LOG_PATH: &str = "/apis/sedge.dev/v1alpha1/namespaces/{namespace}/workers/{name}/log";

/// How long a node has to begin its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a log that is followed may be silent before it is held for one without lines yet.
const REFUSE_WITHIN: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Context {
    hub: Hub,
    client: Client,
    token: Token,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wish {
    tail_lines: Option<u32>,
    #[serde(default)]
    follow: bool,
}

/// The route [`LOG_PATH`], for bearers of `token`.
pub fn log_router(hub: Hub, client: Client, token: Token) -> Router {
    Router::new().route(LOG_PATH, get(log)).with_state(Context { hub, client, token })
}

async fn log(
    State(context): State<Context>,
    Path((namespace, name)): Path<(String, String)>,
    wish: Result<Query<Wish>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !context.token.authorizes(bearer) {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "the token is missing or wrong"));
    }
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", message);
    let Query(wish) = wish.map_err(|error| bad(error.body_text()))?;
    if wish.tail_lines == Some(0) {
        return Err(bad("tailLines must be at least 1; leave it out for all lines".to_owned()));
    }
    let workers: Api<Worker> = Api::namespaced(context.client, &namespace);
    let worker = workers.get_opt(&name).await.map_err(|error| {
        Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            format!("cannot read it: {error}"),
        )
    })?;
    let worker = worker.ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, "NotFound", format!("workers.sedge.dev \"{name}\" not found"))
    })?;
    let uid = worker.uid().unwrap_or_default();
    let tail = wish.tail_lines.unwrap_or_default();
    let mut log = context.hub.logs(&worker.spec.node, &uid, tail, wish.follow)?;
    // The first chunk is worth waiting for: a refusal then has a status of its own.
    let first = match wish.follow {
        true => tokio::time::timeout(REFUSE_WITHIN, log.next()).await.unwrap_or_default(),
        false => tokio::time::timeout(ANSWER_WITHIN, log.next()).await.map_err(|_| {
            let message = format!("node `{}` did not answer", worker.spec.node);
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, "Timeout", message)
        })?,
    };
    let first = first.transpose()?;
    let body = Body::from_stream(stream::iter(first.map(Ok)).chain(log));
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response())
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        let (code, reason) = match &error {
            LogError::NotInTouch { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            LogError::Busy => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            LogError::Refused(_) => (StatusCode::NOT_FOUND, "NotFound"),
            LogError::Interrupted => (StatusCode::BAD_GATEWAY, "InternalError"),
        };
        Self::new(code, reason, error.to_string())
    }
}
