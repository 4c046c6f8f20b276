//! Watches: a stream of lines, one event each, from a place in the history onwards.
//!
//! A watch pulls: it holds at most one batch of lines that its client has not taken. A client that is too
//! slow for the history is told in the stream that its version is expired, as one that comes too late.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::header;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval, sleep_until};

use super::objects::matches;
use super::request::{Form, Parameters, Target};
use crate::apiserver::Inner;
use crate::apiserver::selector::Selector;
use crate::apiserver::status::ApiError;
use crate::apiserver::store::{Change, ChangeKind, Page};
use crate::apiserver::table;

/// Changes looked at in one go.
const BATCH: usize = 256;
/// Bytes of lines held for a client, and at most one line more.
const BATCH_BYTES: usize = 256 << 10;
/// How often a quiet watch tells where it stands.
const BOOKMARKS: Duration = Duration::from_secs(30);

struct Watch {
    server: Arc<Inner>,
    target: Target,
    form: Form,
    selector: Selector,
    /// All there was at the start, still to be told.
    initial: VecDeque<String>,
    /// Tell when that has been told.
    marks_initial_end: bool,
    /// All changes up to this version have been looked at.
    version: u64,
    /// Told whenever there are new changes.
    latest: watch::Receiver<u64>,
    bookmarks: Option<Interval>,
    deadline: Instant,
    is_over: bool,
}

/// Answer a watch on what `target` names.
pub async fn respond(
    server: Arc<Inner>,
    target: Target,
    form: Form,
    selector: Selector,
    parameters: &Parameters,
) -> Result<Response, ApiError> {
    let mut initial = VecDeque::new();
    let latest = server.store.history().subscribe();
    let asked = &parameters.resource_version[..];
    let wants_all = matches!(asked, "" | "0") || parameters.wants_initial_events();
    let version = if wants_all {
        let page = Page {
            namespace: target.namespace.clone(),
            name: selector.name().map(str::to_owned),
            after: None,
        };
        let (resource, wanted) = (target.kind.stored().resource.clone(), selector.clone());
        let read = server.store.read(move |snapshot| {
            let mut items = VecDeque::new();
            snapshot.scan(&resource, &page, |_, text| {
                if matches(&wanted, &text)? {
                    items.push_back(text);
                }
                Ok(true)
            })?;
            Ok((items, snapshot.version()))
        });
        let (items, version) = read.await?;
        initial = items;
        version
    } else {
        let invalid = |_| ApiError::bad_request(format!("resourceVersion is a number, not `{asked}`"));
        asked.parse().map_err(invalid)?
    };
    // Without a wish of the client, between half an hour and an hour, so that not all come back at once.
    let seconds = parameters.timeout_seconds.filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or_else(|| 1800 + rand::random::<u32>() % 1800);
    let mut bookmarks = parameters.wants_bookmarks().then(|| interval(BOOKMARKS));
    if let Some(bookmarks) = &mut bookmarks {
        bookmarks.reset();
    }
    let watch = Watch {
        server,
        target,
        form,
        selector,
        initial,
        marks_initial_end: parameters.wants_initial_events(),
        version,
        latest,
        bookmarks,
        deadline: Instant::now() + Duration::from_secs(seconds.into()),
        is_over: false,
    };
    let lines = stream::unfold(watch, |mut watch| async move {
        let lines = watch.next().await?;
        Some((Ok::<_, Infallible>(lines), watch))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

impl Watch {
    /// The next lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_over || self.server.closing.is_cancelled() {
                return None;
            }
            // Asked for first, so that a watch that always has something to tell ends too.
            if Instant::now() >= self.deadline {
                self.is_over = true;
                // A bookmark says that all before it has been told.
                let is_told = self.bookmarks.is_some() && self.initial.is_empty();
                return is_told.then(|| self.bookmark(false));
            }
            let mut lines = BytesMut::new();
            if let Err(error) = self.tell_what_is_there(&mut lines) {
                self.is_over = true;
                push(&mut lines, "ERROR", &error.status().to_string());
            }
            if !lines.is_empty() {
                return Some(lines.freeze());
            }
            let bookmark_due = async {
                match &mut self.bookmarks {
                    Some(bookmarks) => drop(bookmarks.tick().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.server.closing.cancelled() => return None,
                changed = self.latest.changed() => self.is_over = changed.is_err(),
                () = bookmark_due => return Some(self.bookmark(false)),
                () = sleep_until(self.deadline) => {}
            }
        }
    }

    /// A batch of what can be told without waiting.
    fn tell_what_is_there(&mut self, lines: &mut BytesMut) -> Result<(), ApiError> {
        while lines.len() < BATCH_BYTES
            && let Some(text) = self.initial.pop_front()
        {
            push(lines, "ADDED", &table::object(&self.target.kind, self.form, text)?);
        }
        if !self.initial.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.marks_initial_end) {
            lines.extend_from_slice(&self.bookmark(true));
        }
        while lines.len() < BATCH_BYTES {
            let changes = self.server.store.history().after(self.version, BATCH);
            let changes = changes.map_err(|compacted| ApiError::expired(self.version, compacted.oldest))?;
            if changes.is_empty() {
                break;
            }
            for change in changes {
                self.version = change.version;
                self.tell(&change, lines)?;
                if lines.len() >= BATCH_BYTES {
                    break;
                }
            }
        }
        Ok(())
    }

    /// What `change` is to this watch: an object that begins to match is added, one that ends to is deleted.
    fn tell(&self, change: &Change, lines: &mut BytesMut) -> Result<(), ApiError> {
        let kind = &self.target.kind;
        let is_here = self.target.namespace.as_ref().is_none_or(|namespace| *namespace == change.namespace);
        if change.resource != kind.stored().resource || !is_here {
            return Ok(());
        }
        let matches_now = self.selector.matches(&change.object);
        let matched = change.previous.as_ref().is_some_and(|previous| self.selector.matches(previous));
        let (event, text) = match (change.kind, matched, matches_now) {
            (ChangeKind::Added, _, true) | (ChangeKind::Modified, false, true) => {
                ("ADDED", change.text.clone())
            }
            (ChangeKind::Modified, true, true) => ("MODIFIED", change.text.clone()),
            (ChangeKind::Deleted, true, _) => ("DELETED", change.text.clone()),
            (ChangeKind::Modified, true, false) => ("DELETED", last_match(change)),
            _ => return Ok(()),
        };
        push(lines, event, &table::object(kind, self.form, text)?);
        Ok(())
    }

    fn bookmark(&self, is_initial_end: bool) -> Bytes {
        let kind = &self.target.kind;
        let mut object = json!({
            "apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null},
        });
        if is_initial_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut lines = BytesMut::new();
        let text = table::bookmark(self.form, object).to_string();
        push(&mut lines, "BOOKMARK", &text);
        lines.freeze()
    }
}

/// The object as it matched last, with the version of the change that ended that.
fn last_match(change: &Change) -> String {
    let mut object = change.previous.clone().unwrap_or(Value::Null);
    object["metadata"]["resourceVersion"] = change.version.to_string().into();
    object.to_string()
}

fn push(lines: &mut BytesMut, event: &str, object: &str) {
    for piece in ["{\"type\":\"", event, "\",\"object\":", object, "}\n"] {
        lines.extend_from_slice(piece.as_bytes());
    }
}
