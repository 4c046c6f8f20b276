//! Errors as Kubernetes has them: an HTTP code and a `Status` object with reason and details.
//!
//! Every part of the server fails with [`ApiError`]; the routes turn it into a response, a watch into
//! an `ERROR` event.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use sedge_api::resources::Problem;
use serde_json::{Map, Value, json};

use super::kinds::Kind;

/// At most this many causes are listed in one `Status`.
const MAX_CAUSES: usize = 50;

/// One field that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Path of the field, e.g. `spec.aggregation.rounds`.
    pub field: String,
    /// What is wrong with it, with its value.
    pub message: String,
    /// `FieldValueInvalid` and its kin.
    pub reason: &'static str,
}

impl Cause {
    /// The field has a value that breaks a rule.
    pub fn invalid(field: impl Into<String>, value: &Value, rule: impl AsRef<str>) -> Self {
        let message = format!("Invalid value: {}: {}", shown(value), rule.as_ref());
        Self { field: field.into(), message, reason: "FieldValueInvalid" }
    }

    /// The field must be there.
    pub fn required(field: impl Into<String>) -> Self {
        Self { field: field.into(), message: "Required value".to_owned(), reason: "FieldValueRequired" }
    }

    /// The field takes one of a few values.
    pub fn unsupported(field: impl Into<String>, value: &Value, supported: &[Value]) -> Self {
        let supported = supported.iter().take(30).map(shown).collect::<Vec<_>>().join(", ");
        let message = format!("Unsupported value: {}: supported values: {supported}", shown(value));
        Self { field: field.into(), message, reason: "FieldValueNotSupported" }
    }

    /// The field may not be set.
    pub fn forbidden(field: impl Into<String>, rule: impl AsRef<str>) -> Self {
        let message = format!("Forbidden: {}", rule.as_ref());
        Self { field: field.into(), message, reason: "FieldValueForbidden" }
    }
}

impl From<Problem> for Cause {
    fn from(problem: Problem) -> Self {
        let message = format!("Invalid value: {}", problem.message);
        Self { field: problem.field, message, reason: "FieldValueInvalid" }
    }
}

/// A value for people, cut to a readable length.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    code: StatusCode,
    reason: &'static str,
    message: String,
    details: Map<String, Value>,
}

impl ApiError {
    fn new(code: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Map::new() }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        for (key, value) in [("name", name), ("group", &kind.group), ("kind", &kind.plural)] {
            if !value.is_empty() {
                self.details.insert(key.to_owned(), value.into());
            }
        }
        self
    }

    /// 400: the request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401: no token, or the wrong one.
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "Unauthorized: send `Authorization: Bearer TOKEN`",
        )
    }

    /// 403: never allowed, whoever asks.
    pub fn forbidden(kind: &Kind, name: &str, message: impl Into<String>) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {}", kind.resource, message.into());
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(kind, name)
    }

    /// 404: no such object.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource);
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(kind, name)
    }

    /// 404: no such path.
    pub fn unknown_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", "the server could not find the requested resource")
    }

    /// 405: the path does not know the method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    /// 406: no form that the client accepts.
    pub fn not_acceptable() -> Self {
        let message = "only application/json is served (also as Table and PartialObjectMetadata)";
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message)
    }

    /// 408: the body did not arrive.
    pub fn too_slow(patience: std::time::Duration) -> Self {
        let message = format!("the body did not arrive within {patience:?}");
        Self::new(StatusCode::REQUEST_TIMEOUT, "Timeout", message)
    }

    /// 409: the name is taken.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource);
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(kind, name)
    }

    /// 409: the object is not what the client thinks.
    pub fn conflict(kind: &Kind, name: &str, why: impl AsRef<str>) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {}", kind.resource, why.as_ref());
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(kind, name)
    }

    /// 409: the object has moved on since the client read it.
    pub fn stale(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 410: the version asked for is no longer, or not yet, in the watch history.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        let message = format!("too old resource version: {asked} ({oldest})");
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413: more than the server takes.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("limit is {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 415: a media type that the server does not read.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message)
    }

    /// 422: fields that break rules.
    pub fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let lines: Vec<String> =
            causes.iter().take(MAX_CAUSES).map(|c| format!("{}: {}", c.field, c.message)).collect();
        let list = if let [line] = &lines[..] { line.clone() } else { format!("[{}]", lines.join(", ")) };
        let qualified = match &kind.group[..] {
            "" => kind.kind.clone(),
            group => format!("{}.{group}", kind.kind),
        };
        let message = format!("{qualified} \"{name}\" is invalid: {list}");
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).about(kind, name);
        error.details.insert("kind".to_owned(), kind.kind.clone().into());
        let causes = causes.iter().take(MAX_CAUSES);
        let causes = causes.map(|c| json!({"field": c.field, "message": c.message, "reason": c.reason}));
        error.details.insert("causes".to_owned(), causes.collect());
        error
    }

    /// 500: the server's own fault; what exactly goes to the log, not to the client.
    pub fn internal(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "API server: {what}");
        let message = format!("Internal error occurred: {what}; see the manager's log");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    /// The HTTP code.
    pub fn code(&self) -> StatusCode {
        self.code
    }

    /// Whether this says that there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code == StatusCode::NOT_FOUND
    }

    /// As a `Status` object.
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code.as_u16(),
        });
        if !self.details.is_empty() {
            status["details"] = Value::Object(self.details.clone());
        }
        status
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let head = [(header::CONTENT_TYPE, "application/json")];
        (self.code, head, self.status().to_string()).into_response()
    }
}

/// The `Status` that says an object or a collection is gone.
pub fn success(kind: &Kind, name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": name, "group": kind.group, "kind": kind.plural, "uid": uid},
    })
}
