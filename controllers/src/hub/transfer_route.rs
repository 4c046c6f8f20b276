//! `GET …/datasets/NAME/samples` and `POST …/datasets/NAME/labelled`, beside the API server's routes: samples of a Dataset as a
//! file to be labelled, and a labelled file for a Dataset. Called by the CLI.
//!
//! What passes is bounded and streams through; the node that holds the Dataset makes the one and judges the other.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use kube::Client;
use kube::api::Api;
use sedge_api::is_resource_name;
use sedge_api::node::transfer_request::What;
use sedge_api::node::{
    FileForm, Labelled, LayoutWanted, MAX_LAYOUT_BYTES, MAX_TRANSFER_BYTES, SamplesWanted, TRANSFER_PIECE,
    TransferAnswer, manager_piece,
};
use sedge_api::resources::Dataset;
use serde::Deserialize;
use serde_json::json;

use super::refusal::Refusal;
use super::register::cut;
use super::transfers::{Line, TransferError};
use super::{Hub, Token};

/// Where samples of a Dataset are had.
pub const SAMPLES_PATH: &str = "/apis/sedge.dev/v1alpha1/namespaces/{namespace}/datasets/{name}/samples";
/// Where labelled samples of a Dataset are taken.
pub const LABELLED_PATH: &str = "/apis/sedge.dev/v1alpha1/namespaces/{namespace}/datasets/{name}/labelled";
/// Says what a file of samples has, as JSON.
const EXPORT: HeaderName = HeaderName::from_static("sedge-export");

/// Longest name of a file that is repeated in messages.
const SHOWN: usize = 100;

#[derive(Clone)]
struct Context {
    hub: Hub,
    client: Client,
    token: Token,
}

/// As the query says it.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Csv,
    Npz,
}

impl From<Form> for i32 {
    fn from(form: Form) -> Self {
        match form {
            Form::Csv => FileForm::Csv.into(),
            Form::Npz => FileForm::Npz.into(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WantedSamples {
    format: Form,
    like: Option<String>,
    limit: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Brought {
    format: Form,
    /// What the file is called, for messages.
    file: Option<String>,
    #[serde(default)]
    new_labels: bool,
}

/// The routes [`SAMPLES_PATH`] and [`LABELLED_PATH`], for bearers of `token`.
pub fn transfer_router(hub: Hub, client: Client, token: Token) -> Router {
    Router::new().route(SAMPLES_PATH, get(samples)).route(LABELLED_PATH, post(labelled)).with_state(Context {
        hub,
        client,
        token,
    })
}

impl Context {
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        if self.token.authorizes(bearer) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", "the token is missing or wrong"))
    }

    /// The node of a Dataset.
    async fn node(&self, namespace: &str, name: &str) -> Result<String, Refusal> {
        let unknown = || {
            let message = format!("datasets.sedge.dev \"{}\" not found", cut(name.to_owned(), SHOWN));
            Refusal::new(StatusCode::NOT_FOUND, "NotFound", message)
        };
        if !is_resource_name(name) || !is_resource_name(namespace) {
            return Err(unknown());
        }
        let datasets: Api<Dataset> = Api::namespaced(self.client.clone(), namespace);
        let dataset = datasets.get_opt(name).await.map_err(|error| {
            let message = format!("cannot read it: {error}");
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
        })?;
        Ok(dataset.ok_or_else(unknown)?.spec.node)
    }

    /// How the files of a Dataset are laid out.
    async fn layout(&self, namespace: &str, name: &str) -> Result<String, Refusal> {
        let node = self.node(namespace, name).await?;
        let what = What::Layout(LayoutWanted {});
        let mut line = self.hub.transfer(&node, format!("{namespace}/{name}"), what).await?;
        line.answer().await?;
        let mut layout = Vec::new();
        while let Some(piece) = line.bytes().await? {
            layout.extend(piece);
            if layout.len() as u64 > MAX_LAYOUT_BYTES {
                return Err(TransferError::Interrupted("the layout is too large".to_owned()).into());
            }
        }
        String::from_utf8(layout)
            .map_err(|_| TransferError::Interrupted("the layout is no text".to_owned()).into())
    }
}

fn bad(rejected: &QueryRejection) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "BadRequest", rejected.body_text())
}

async fn samples(
    State(context): State<Context>,
    Path((namespace, name)): Path<(String, String)>,
    wanted: Result<Query<WantedSamples>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    context.authorize(&headers)?;
    let Query(wanted) = wanted.map_err(|rejected| bad(&rejected))?;
    let node = context.node(&namespace, &name).await?;
    let like = match &wanted.like {
        Some(like) => context.layout(&namespace, like).await?,
        None => String::new(),
    };
    let what = SamplesWanted { form: wanted.format.into(), like, latest: wanted.limit.unwrap_or(0) };
    let mut line = context.hub.transfer(&node, format!("{namespace}/{name}"), What::Samples(what)).await?;
    let answer = line.answer().await?;
    if answer.bytes > MAX_TRANSFER_BYTES {
        return Err(TransferError::Interrupted("the node sends too much".to_owned()).into());
    }
    let empty: Vec<String> = answer.empty.iter().take(16).map(|name| cut(name.clone(), SHOWN)).collect();
    let export = json!({"samples": answer.samples, "empty": empty}).to_string();
    let mut response = Response::new(Body::from_stream(file(line, answer.bytes)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, answer.bytes.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(export) = HeaderValue::from_bytes(export.as_bytes()) {
        headers.insert(EXPORT, export);
    }
    Ok(response)
}

/// So many bytes of a line, or an error.
fn file(line: Line, bytes: u64) -> impl futures::Stream<Item = Result<Vec<u8>, TransferError>> + Send {
    stream::try_unfold((line, bytes), |(mut line, left)| async move {
        match line.bytes().await? {
            None if left == 0 => Ok(None),
            None => Err(TransferError::Interrupted(format!("{left} bytes are missing"))),
            Some(piece) => match left.checked_sub(piece.len() as u64) {
                Some(left) => Ok(Some((piece, (line, left)))),
                None => Err(TransferError::Interrupted("there are more bytes than were said".to_owned())),
            },
        }
    })
}

async fn labelled(
    State(context): State<Context>,
    Path((namespace, name)): Path<(String, String)>,
    brought: Result<Query<Brought>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    context.authorize(&headers)?;
    let Query(brought) = brought.map_err(|rejected| bad(&rejected))?;
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_TRANSFER_BYTES) {
        return Err(too_large());
    }
    let node = context.node(&namespace, &name).await?;
    let shown = brought.file.unwrap_or_else(|| "the file".to_owned());
    let shown = cut(shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(), SHOWN);
    let what = Labelled { form: brought.format.into(), shown, new_labels: brought.new_labels };
    let mut line = context.hub.transfer(&node, format!("{namespace}/{name}"), What::Labelled(what)).await?;
    send(&line, body).await?;
    let TransferAnswer { samples, taken, unlabelled, repeated, file, already, .. } = line.answer().await?;
    Ok(Json(json!({
        "samples": samples, "taken": taken, "unlabelled": unlabelled, "repeated": repeated,
        "file": cut(file, 4096), "already": already, "node": node,
    }))
    .into_response())
}

/// A whole body, unless the node takes no more of it.
async fn send(line: &Line, body: Body) -> Result<(), Refusal> {
    let mut chunks = body.into_data_stream();
    let mut sent = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| TransferError::Interrupted(error.to_string()))?;
        sent += chunk.len() as u64;
        if sent > MAX_TRANSFER_BYTES {
            return Err(too_large());
        }
        for piece in chunk.chunks(TRANSFER_PIECE) {
            if !line.send(manager_piece::Piece::Bytes(piece.to_vec())).await {
                return Ok(());
            }
        }
    }
    line.send(manager_piece::Piece::End(true)).await;
    Ok(())
}

fn too_large() -> Refusal {
    let message = format!(
        "at most {} MiB come in as one file; bring it in parts, or put the file into the dataset's folder on its node",
        MAX_TRANSFER_BYTES >> 20
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        let (code, reason) = match &error {
            TransferError::NotInTouch { .. } => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            TransferError::Busy { .. } => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
            TransferError::Silent { .. } => (StatusCode::GATEWAY_TIMEOUT, "Timeout"),
            TransferError::Refused { reason, .. } if reason == "TooLarge" => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge")
            }
            TransferError::Refused { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid"),
            TransferError::Interrupted(_) => (StatusCode::BAD_GATEWAY, "InternalError"),
        };
        Self::new(code, reason, error.to_string())
    }
}
