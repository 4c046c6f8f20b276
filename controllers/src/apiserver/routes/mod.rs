//! HTTP: paths, parameters, bodies and headers are parsed here, once; the verbs do the rest.

mod delete_options;
mod discovery;
mod objects;
mod place;
mod request;
mod token;
mod watch;
mod yaml;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::IntoResponse as _;
use axum::routing::{any, get};

pub use request::Form;
pub use token::with_token;

use super::Inner;
use super::status::ApiError;

/// Most bytes in the body of a request, and in an object.
pub const MAX_BODY: usize = 3 << 20;

/// All that the server answers.
pub fn router(server: Arc<Inner>) -> Router {
    Router::new()
        .route("/version", get(discovery::version))
        .route("/healthz", get(discovery::health))
        .route("/livez", get(discovery::health))
        .route("/readyz", get(discovery::health))
        .route("/api", get(discovery::core_versions))
        .route("/apis", get(discovery::groups))
        .route("/api/v1", get(discovery::core_resources))
        .route("/apis/{group}", get(discovery::group))
        .route("/apis/{group}/{version}", get(discovery::resources))
        .fallback(any(objects::serve))
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed().into_response() })
        .layer(DefaultBodyLimit::disable()) // the bodies are bounded where they are read
        .with_state(server)
}
