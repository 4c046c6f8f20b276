//! Objects and collections: which verb a request is, and what it answers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;

use super::delete_options;
use super::place::Place;
use super::request::{self, Form, Parameters, Target};
use super::{MAX_BODY, watch};
use crate::apiserver::Inner;
use crate::apiserver::object::{self, Part};
use crate::apiserver::patch::{Patch, PatchError};
use crate::apiserver::selector::Selector;
use crate::apiserver::status::{self, ApiError};
use crate::apiserver::store::{Key, Page};
use crate::apiserver::table;
use crate::apiserver::verbs::{self, Written};

/// At most this many warnings go with an answer.
const MAX_WARNINGS: usize = 20;

/// A request as the verbs below take it.
struct Call {
    server: Arc<Inner>,
    target: Target,
    parameters: Parameters,
    form: Form,
}

/// Whatever lies below `/api/v1` and `/apis/GROUP/VERSION`.
pub async fn serve(State(server): State<Arc<Inner>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let target = Target::parse(&server.kinds, parts.uri.path())?;
    let parameters = Parameters::parse(&parts.uri)?;
    let form = Form::accepted(&parts.headers)?;
    let call = Call { server, target, parameters, form };
    let name = call.target.name.clone();
    match (&parts.method, name) {
        (&Method::GET | &Method::HEAD, Some(name)) if !call.parameters.wants_watch() => call.get(&name).await,
        (&Method::GET | &Method::HEAD, _) if call.target.part == Part::Main => {
            if call.parameters.wants_watch() { call.watch().await } else { call.list().await }
        }
        (&Method::POST, None) => call.create(&parts, body).await,
        (&Method::PUT, Some(name)) => call.replace(&name, &parts, body).await,
        (&Method::PATCH, Some(name)) => call.patch(&name, &parts, body).await,
        (&Method::DELETE, name) if call.target.part == Part::Main => call.delete(name, body).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

impl Call {
    fn key(&self, name: &str) -> Key {
        Key::new(&self.target.kind.stored().resource, self.namespace(), name)
    }

    fn namespace(&self) -> &str {
        self.target.namespace.as_deref().unwrap_or_default()
    }

    fn selector(&self) -> Result<Selector, ApiError> {
        let parameters = &self.parameters;
        Selector::parse(&self.target.kind, &parameters.label_selector, &parameters.field_selector)
    }

    async fn get(self, name: &str) -> Result<Response, ApiError> {
        let key = self.key(name);
        let text = self.server.store.read(move |snapshot| Ok(snapshot.text(&key)?)).await?;
        let text = text.ok_or_else(|| ApiError::not_found(&self.target.kind, name))?;
        Ok(json_response(StatusCode::OK, table::object(&self.target.kind, self.form, text)?))
    }

    async fn list(self) -> Result<Response, ApiError> {
        let selector = self.selector()?;
        let limit = self.parameters.limit.filter(|limit| *limit > 0).map(|limit| limit as usize);
        let place = Place::parse(&self.parameters.continue_token)?;
        if let Some(place) = &place {
            // What changed since the first page must still be told to a watch that starts from it.
            let since = self.server.store.history().after(place.version, 1);
            since.map_err(|compacted| ApiError::expired(place.version, compacted.oldest))?;
        }
        let version = place.as_ref().map(|place| place.version);
        let page = Page {
            namespace: self.target.namespace.clone(),
            name: selector.name().map(str::to_owned),
            after: place.map(|place| (place.namespace, place.name)),
        };
        let resource = self.target.kind.stored().resource.clone();
        let read = self.server.store.read(move |snapshot| {
            let mut items = Vec::new();
            let mut last: Option<Key> = None;
            let mut has_more = false;
            snapshot.scan(&resource, &page, |key, text| {
                if matches(&selector, &text)? {
                    if limit.is_some_and(|limit| items.len() >= limit) {
                        has_more = true;
                        return Ok(false);
                    }
                    items.push(text);
                    last = Some(key);
                }
                Ok(true)
            })?;
            let version = version.unwrap_or(snapshot.version());
            let next = last.filter(|_| has_more);
            let next = next.map(|key| Place { version, namespace: key.namespace, name: key.name });
            Ok((items, version, next))
        });
        let (items, version, next) = read.await?;
        let next = next.map(|next| next.token()).unwrap_or_default();
        let list = table::list(&self.target.kind, self.form, items, version, &next)?;
        Ok(json_response(StatusCode::OK, list))
    }

    async fn watch(self) -> Result<Response, ApiError> {
        let mut selector = self.selector()?;
        if let Some(name) = &self.target.name {
            let fields = format!("metadata.name={name},{}", self.parameters.field_selector);
            selector = Selector::parse(&self.target.kind, &self.parameters.label_selector, &fields)?;
        }
        watch::respond(self.server, self.target, self.form, selector, &self.parameters).await
    }

    async fn create(self, parts: &Parts, body: axum::body::Body) -> Result<Response, ApiError> {
        let (dry_run, validation) = (self.parameters.is_dry_run()?, self.parameters.validation()?);
        let media_type = request::media_type(&parts.headers);
        let body = request::parse_object(media_type, request::read_body(body).await?).await?;
        let (server, kind) = (self.server.clone(), self.target.kind.clone());
        if kind.namespaced && self.target.namespace.is_none() {
            return Err(ApiError::method_not_allowed());
        }
        let namespace = self.namespace().to_owned();
        let written = self
            .server
            .store
            .write(dry_run, move |tx| verbs::create(tx, &server.kinds, &kind, &namespace, body, validation));
        self.written(written.await?)
    }

    async fn replace(self, name: &str, parts: &Parts, body: axum::body::Body) -> Result<Response, ApiError> {
        let (dry_run, validation) = (self.parameters.is_dry_run()?, self.parameters.validation()?);
        let media_type = request::media_type(&parts.headers);
        let body = request::parse_object(media_type, request::read_body(body).await?).await?;
        let (server, kind, key, part) =
            (self.server.clone(), self.target.kind.clone(), self.key(name), self.target.part);
        let written = self
            .server
            .store
            .write(dry_run, move |tx| verbs::replace(tx, &server.kinds, &kind, &key, part, body, validation));
        self.written(written.await?)
    }

    async fn patch(self, name: &str, parts: &Parts, body: axum::body::Body) -> Result<Response, ApiError> {
        let (dry_run, validation) = (self.parameters.is_dry_run()?, self.parameters.validation()?);
        let media_type = request::media_type(&parts.headers);
        let patch = parse_patch(media_type, request::read_body(body).await?, &self.parameters).await?;
        let (server, kind, key, part) =
            (self.server.clone(), self.target.kind.clone(), self.key(name), self.target.part);
        let written = self
            .server
            .store
            .write(dry_run, move |tx| verbs::patch(tx, &server.kinds, &kind, &key, part, &patch, validation));
        self.written(written.await?)
    }

    fn written(&self, written: Written) -> Result<Response, ApiError> {
        let code = if written.is_new { StatusCode::CREATED } else { StatusCode::OK };
        let text = table::object(&self.target.kind, self.form, written.object.to_string())?;
        let mut response = json_response(code, text);
        for warning in written.warnings.iter().take(MAX_WARNINGS) {
            let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::try_from(format!("299 - \"{quoted}\"")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        Ok(response)
    }

    async fn delete(self, name: Option<String>, body: axum::body::Body) -> Result<Response, ApiError> {
        let body = request::read_body(body).await?;
        let (options, dry_run) = delete_options::parse(&body, &self.parameters)?;
        let (server, kind) = (self.server.clone(), self.target.kind.stored().clone());
        let Some(name) = name else {
            if kind.namespaced && self.target.namespace.is_none() {
                // As on a cluster: nobody means all namespaces.
                return Err(ApiError::method_not_allowed());
            }
            let (selector, namespace) = (self.selector()?, self.target.namespace.clone());
            let deleted = self.server.store.write(dry_run, move |tx| {
                let wanted = |object: &Value| selector.matches(object);
                verbs::delete_collection(tx, &server.kinds, &kind, namespace.as_deref(), wanted, &options)
            });
            let items = deleted.await?.into_iter().map(|object| object.to_string()).collect();
            let version = *self.server.store.history().subscribe().borrow();
            let list = table::list(&self.target.kind, self.form, items, version, "")?;
            return Ok(json_response(StatusCode::OK, list));
        };
        let key = self.key(&name);
        let deleted = self
            .server
            .store
            .write(dry_run, move |tx| verbs::delete(tx, &server.kinds, &kind, &key, &options))
            .await?;
        let text = if deleted.is_gone {
            status::success(&self.target.kind, &name, object::uid(&deleted.object)).to_string()
        } else {
            table::object(&self.target.kind, self.form, deleted.object.to_string())?
        };
        Ok(json_response(StatusCode::OK, text))
    }
}

fn json_response(code: StatusCode, text: String) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Whether an object in the store is wanted; it is parsed only where that depends on it.
pub fn matches(selector: &Selector, text: &str) -> Result<bool, ApiError> {
    if selector.is_everything() {
        return Ok(true);
    }
    let object: Value = serde_json::from_str(text)
        .map_err(|error| ApiError::internal("a stored object cannot be read", &error))?;
    Ok(selector.matches(&object))
}

async fn parse_patch(media_type: &str, body: Bytes, parameters: &Parameters) -> Result<Patch, ApiError> {
    let patch = match media_type {
        "application/merge-patch+json" => Patch::merge(request::parse_json(&body)?),
        "application/json-patch+json" => Patch::json(request::parse_json(&body)?),
        "application/apply-patch+yaml" => {
            if parameters.field_manager.is_empty() {
                return Err(ApiError::bad_request("fieldManager is required for apply"));
            }
            Patch::apply(request::parse_yaml(body).await?)
        }
        other => {
            return Err(ApiError::unsupported_media_type(format!(
                "the patch is of type {other}; this server reads application/merge-patch+json, \
                 application/json-patch+json and application/apply-patch+yaml"
            )));
        }
    };
    patch.map_err(|error| match error {
        PatchError::TooLarge => ApiError::too_large(MAX_BODY),
        other => ApiError::bad_request(other.to_string()),
    })
}
