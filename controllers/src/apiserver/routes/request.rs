//! A request's parts, parsed: which object, which parameters, which form of answer, which body. The
//! parsers are pure, but for the body, which is read with a bound.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Query;
use axum::http::{HeaderMap, Uri, header};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::{MAX_BODY, yaml};
use crate::apiserver::kinds::{Kind, Kinds};
use crate::apiserver::object::Part;
use crate::apiserver::status::ApiError;
use crate::apiserver::verbs::Validation;

/// What a path names.
#[derive(Debug, Clone)]
pub struct Target {
    /// Of which kind.
    pub kind: Arc<Kind>,
    /// In which namespace; absent for all, and for kinds without.
    pub namespace: Option<String>,
    /// Which object; absent for the collection.
    pub name: Option<String>,
    /// Which part of it.
    pub part: Part,
}

impl Target {
    /// From a path: `/api/VERSION/…` or `/apis/GROUP/VERSION/…`, then `[namespaces/NAMESPACE/]PLURAL[/NAME[/status]]`.
    pub fn parse(kinds: &Kinds, path: &str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = path.trim_start_matches('/').trim_end_matches('/').split('/').collect();
        let (group, version, rest) = match &parts[..] {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !group.is_empty() => (*group, *version, rest),
            _ => return Err(ApiError::unknown_path()),
        };
        if rest.iter().any(|part| part.is_empty()) {
            return Err(ApiError::unknown_path());
        }
        // `namespaces/x/status` may be the status of a namespace; no kind is called `status`.
        let (namespace, plural, rest) = match rest {
            ["namespaces", namespace, plural, rest @ ..] if kinds.at(group, version, plural).is_some() => {
                (Some((*namespace).to_owned()), *plural, rest)
            }
            [plural, rest @ ..] => (None, *plural, rest),
            [] => return Err(ApiError::unknown_path()),
        };
        let kind = kinds.at(group, version, plural).ok_or_else(ApiError::unknown_path)?.clone();
        let (name, part) = match rest {
            [] => (None, Part::Main),
            [name] => (Some((*name).to_owned()), Part::Main),
            [name, "status"] if kind.has_status => (Some((*name).to_owned()), Part::Status),
            _ => return Err(ApiError::unknown_path()),
        };
        let fits = if kind.namespaced { namespace.is_some() || name.is_none() } else { namespace.is_none() };
        if fits { Ok(Self { kind, namespace, name, part }) } else { Err(ApiError::unknown_path()) }
    }
}

/// Parameters in the query of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parameters {
    pub label_selector: String,
    pub field_selector: String,
    pub limit: Option<u32>,
    #[serde(rename = "continue")]
    pub continue_token: String,
    watch: String,
    pub resource_version: String,
    allow_watch_bookmarks: String,
    send_initial_events: String,
    pub timeout_seconds: Option<u32>,
    dry_run: String,
    field_validation: String,
    pub field_manager: String,
    pub propagation_policy: Option<String>,
}

fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1" | "True" | "TRUE" | "t")
}

impl Parameters {
    /// From the query of `uri`.
    pub fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let parsed = Query::<Self>::try_from_uri(uri);
        parsed.map(|Query(parameters)| parameters).map_err(|error| ApiError::bad_request(error.body_text()))
    }

    /// Whether a list is to go on as a watch.
    pub fn wants_watch(&self) -> bool {
        is_true(&self.watch)
    }

    /// Whether a watch may send bookmarks.
    pub fn wants_bookmarks(&self) -> bool {
        is_true(&self.allow_watch_bookmarks)
    }

    /// Whether a watch is to begin with all there is, and a bookmark after it.
    pub fn wants_initial_events(&self) -> bool {
        is_true(&self.send_initial_events)
    }

    /// Whether nothing is to be kept.
    pub fn is_dry_run(&self) -> Result<bool, ApiError> {
        match &self.dry_run[..] {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(ApiError::bad_request(format!("dryRun takes `All`, not `{other}`"))),
        }
    }

    /// What to do about unknown fields.
    pub fn validation(&self) -> Result<Validation, ApiError> {
        match &self.field_validation[..] {
            "" | "Warn" => Ok(Validation::Warn),
            "Ignore" => Ok(Validation::Ignore),
            "Strict" => Ok(Validation::Strict),
            other => {
                let message = format!("fieldValidation takes `Ignore`, `Warn` or `Strict`, not `{other}`");
                Err(ApiError::bad_request(message))
            }
        }
    }
}

/// The form in which a client wants objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Whole,
    /// Their metadata alone.
    Metadata,
    /// Rows of a table to print.
    Table,
}

impl Form {
    /// The first form in `Accept` that is served.
    pub fn accepted(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Self::Whole) };
        let accept = accept.to_str().unwrap_or_default();
        let mut ranges = accept.split(',').map(str::trim).filter(|range| !range.is_empty()).peekable();
        if ranges.peek().is_none() {
            return Ok(Self::Whole);
        }
        ranges.find_map(Self::of_range).ok_or_else(ApiError::not_acceptable)
    }

    fn of_range(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        if !matches!(parts.next()?, "application/json" | "application/*" | "*/*") {
            return None;
        }
        let mut form = Self::Whole;
        for part in parts {
            match part.split_once('=') {
                Some(("as", "Table")) => form = Self::Table,
                Some(("as", "PartialObjectMetadata" | "PartialObjectMetadataList")) => form = Self::Metadata,
                Some(("as", _)) => return None,
                Some(("g", group)) if group != "meta.k8s.io" => return None,
                Some(("v", version)) if version != "v1" => return None,
                _ => {}
            }
        }
        Some(form)
    }
}

/// The media type of a request's body, without parameters.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bytes of a body, at most [`MAX_BODY`], and within [`PATIENCE`].
pub async fn read_body(body: axum::body::Body) -> Result<Bytes, ApiError> {
    read_within(body, PATIENCE).await
}

async fn read_within(body: axum::body::Body, patience: Duration) -> Result<Bytes, ApiError> {
    use http_body_util::{BodyExt as _, LengthLimitError, Limited};
    let body = tokio::time::timeout(patience, Limited::new(body, MAX_BODY).collect()).await;
    let body = body.map_err(|_| ApiError::too_slow(patience))?.map_err(|error| {
        if error.downcast_ref::<LengthLimitError>().is_some() {
            ApiError::too_large(MAX_BODY)
        } else {
            ApiError::bad_request(format!("the body could not be read: {error}"))
        }
    });
    Ok(body?.to_bytes())
}

/// A body of JSON, or of YAML where the client says so.
pub async fn parse_object(media_type: &str, body: Bytes) -> Result<Value, ApiError> {
    match media_type {
        "" | "application/json" => parse_json(&body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => parse_yaml(body).await,
        other => Err(ApiError::unsupported_media_type(format!(
            "the body is of type {other}; this server reads application/json and application/yaml"
        ))),
    }
}

/// A body of JSON.
pub fn parse_json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))
}

/// A body of YAML. Reading it may take a second, so a thread that may block does.
pub async fn parse_yaml(body: Bytes) -> Result<Value, ApiError> {
    let parsed = tokio::task::spawn_blocking(move || yaml::parse(&body, MAX_BODY)).await;
    parsed
        .map_err(|error| ApiError::internal("a body could not be read", &error))?
        .map_err(|error| ApiError::bad_request(format!("the body is not YAML: {error}")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> Kinds {
        Kinds::new(sedge_api::resources::definitions()).unwrap()
    }

    fn parsed(path: &str) -> Option<(String, Option<String>, Option<String>, Part)> {
        let target = Target::parse(&kinds(), path).ok()?;
        Some((target.kind.kind.clone(), target.namespace, target.name, target.part))
    }

    #[test]
    fn a_path_names_a_collection_an_object_or_its_status() {
        let some = |text: &str| Some(text.to_owned());
        for (path, kind, namespace, name, part) in [
            ("/apis/sedge.dev/v1alpha1/workers", "Worker", None, None, Part::Main),
            ("/apis/sedge.dev/v1alpha1/namespaces/a/workers/", "Worker", some("a"), None, Part::Main),
            ("/apis/sedge.dev/v1alpha1/namespaces/a/workers/b", "Worker", some("a"), some("b"), Part::Main),
            (
                "/apis/sedge.dev/v1alpha1/namespaces/a/workers/b/status",
                "Worker",
                some("a"),
                some("b"),
                Part::Status,
            ),
            ("/apis/sedge.dev/v1alpha1/edgenodes/n", "EdgeNode", None, some("n"), Part::Main),
            ("/api/v1/namespaces", "Namespace", None, None, Part::Main),
            ("/api/v1/namespaces/a", "Namespace", None, some("a"), Part::Main),
            ("/api/v1/namespaces/a/status", "Namespace", None, some("a"), Part::Status),
            (
                "/api/v1/namespaces/secrets/secrets/secrets",
                "Secret",
                some("secrets"),
                some("secrets"),
                Part::Main,
            ),
        ] {
            assert_eq!(parsed(path), Some((kind.to_owned(), namespace, name, part)), "{path}");
        }
        for path in [
            "/",
            "/apis",
            "/apis/sedge.dev/v1/workers",
            "/apis/sedge.dev/v1alpha1/workers/b",
            "/apis/sedge.dev/v1alpha1/namespaces/a/edgenodes",
            "/apis/sedge.dev/v1alpha1/namespaces/a/workers/b/scale",
            "/apis/sedge.dev/v1alpha1/namespaces//workers",
            "/api/v1/namespaces/a/secrets/s/status",
            "/apis//v1/namespaces",
        ] {
            assert_eq!(parsed(path), None, "{path}");
        }
    }

    #[test]
    fn the_first_form_that_is_served_is_taken() {
        let form = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            Form::accepted(&headers).ok()
        };
        for (accept, expected) in [
            ("", Some(Form::Whole)),
            ("*/*", Some(Form::Whole)),
            ("application/vnd.kubernetes.protobuf,application/json", Some(Form::Whole)),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Form::Table)),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some(Form::Whole)),
            ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata)),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
        ] {
            assert_eq!(form(accept), expected, "{accept}");
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let silent =
            axum::body::Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = read_within(silent, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(refused.code(), http::StatusCode::REQUEST_TIMEOUT);
    }

    proptest! {
        #[test]
        fn no_path_panics_the_parser(path in "(/(api|apis|v1|namespaces|workers|sedge.dev|v1alpha1|status|.{0,4})){0,9}") {
            let _ = Target::parse(&kinds(), &path);
        }
    }
}
