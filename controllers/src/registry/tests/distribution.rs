//! The protocol itself, request by request.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::response::Response;
use http::{HeaderMap, Method, Request, StatusCode, header};
use sedge_api::Digest;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tower::ServiceExt as _;

use super::super::uploads::MAX_OPEN;
use super::super::{Access, Registry};
use super::{Fixture, open};

const HELLO: &[u8] = b"hello, registry";

/// Ask the router without a network.
pub(super) async fn ask(fixture: &Fixture, method: Method, path: &str, body: impl Into<Body>) -> Response {
    ask_with(fixture, method, path, &[], body).await
}

pub(super) async fn ask_with(
    fixture: &Fixture,
    method: Method,
    path: &str,
    headers: &[(header::HeaderName, &str)],
    body: impl Into<Body>,
) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    let router = fixture.registry.router(Access::default());
    router.oneshot(request.body(body.into()).unwrap()).await.unwrap()
}

/// Status, code and message of a refusal.
pub(super) async fn refusal(response: Response) -> (StatusCode, String, String) {
    let status = response.status();
    let body: Value = serde_json::from_slice(&content(response).await).unwrap();
    let first = &body["errors"][0];
    (status, first["code"].as_str().unwrap().to_owned(), first["message"].as_str().unwrap().to_owned())
}

async fn content(response: Response) -> Vec<u8> {
    to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers[name].to_str().unwrap()
}

pub(super) async fn push_blob(fixture: &Fixture, repository: &str, content: &[u8]) -> Digest {
    let digest = Digest::of(content);
    let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
    let response = ask(fixture, Method::POST, &path, content.to_vec()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    digest
}

async fn begin(fixture: &Fixture, repository: &str) -> String {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let response = ask(fixture, Method::POST, &path, Body::empty()).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    text(response.headers(), "location").to_owned()
}

#[tokio::test]
async fn a_blob_arrives_in_chunks_and_is_read_back() {
    let fixture = Fixture::start().await;
    let session = begin(&fixture, "models/a").await;
    let (first, last) = HELLO.split_at(5);
    let response =
        ask_with(&fixture, Method::PATCH, &session, &[(header::CONTENT_RANGE, "0-4")], first).await;
    assert_eq!((response.status(), text(response.headers(), "range")), (StatusCode::ACCEPTED, "0-4"));

    let misplaced =
        ask_with(&fixture, Method::PATCH, &session, &[(header::CONTENT_RANGE, "9-10")], &b"xx"[..]).await;
    assert_eq!(misplaced.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    let status = ask(&fixture, Method::GET, &session, Body::empty()).await;
    assert_eq!((status.status(), text(status.headers(), "range")), (StatusCode::NO_CONTENT, "0-4"));

    let digest = Digest::of(HELLO);
    let response = ask(&fixture, Method::PUT, &format!("{session}?digest={digest}"), last).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let place = text(response.headers(), "location").to_owned();
    assert_eq!(place, format!("/v2/models/a/blobs/{digest}"));

    let head = ask(&fixture, Method::HEAD, &place, Body::empty()).await;
    assert_eq!(text(head.headers(), "content-length"), HELLO.len().to_string());
    assert_eq!(text(head.headers(), "docker-content-digest"), digest.to_string());
    assert_eq!(content(ask(&fixture, Method::GET, &place, Body::empty()).await).await, HELLO);
    let part = ask_with(&fixture, Method::GET, &place, &[(header::RANGE, "bytes=7-9")], Body::empty()).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(part.headers(), "content-range"), "bytes 7-9/15");
    assert_eq!(content(part).await, b"reg");
    let beyond =
        ask_with(&fixture, Method::GET, &place, &[(header::RANGE, "bytes=99-")], Body::empty()).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn content_with_another_digest_is_refused_and_leaves_nothing() {
    let fixture = Fixture::start().await;
    let other = Digest::of(b"something else");
    let path = format!("/v2/models/a/blobs/uploads/?digest={other}");
    let (status, code, message) = refusal(ask(&fixture, Method::POST, &path, HELLO).await).await;
    assert_eq!((status, code.as_str()), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"));
    assert!(message.contains(&Digest::of(HELLO).to_string()), "{message}");

    let session = begin(&fixture, "models/a").await;
    let put = ask(&fixture, Method::PUT, &format!("{session}?digest={other}"), HELLO).await;
    assert_eq!(refusal(put).await.1, "DIGEST_INVALID");
    assert_eq!(ask(&fixture, Method::GET, &session, Body::empty()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(fixture.blobs(), [""; 0]);
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing() {
    let fixture = Fixture::start().await;
    let session = begin(&fixture, "models/a").await;
    ask(&fixture, Method::PATCH, &session, HELLO).await;
    assert_eq!(fixture.blobs().len(), 1);
    assert_eq!(ask(&fixture, Method::DELETE, &session, Body::empty()).await.status(), StatusCode::NO_CONTENT);
    let gone = refusal(ask(&fixture, Method::PATCH, &session, HELLO).await).await;
    assert_eq!((gone.0, gone.1.as_str()), (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"));
    assert_eq!(fixture.blobs(), [""; 0]);
}

#[tokio::test]
async fn an_interrupted_upload_leaves_nothing() {
    let fixture = Fixture::start().await;
    let digest = Digest::of(HELLO);
    let mut stream = TcpStream::connect(&fixture.host).await.unwrap();
    let head = format!(
        "POST /v2/models/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![7; 1_500_000]).await.unwrap();
    until(|| fixture.blobs().len() == 1).await;
    drop(stream);
    until(|| fixture.blobs().is_empty()).await;
}

/// Wait for a condition, at most so long that only a failure takes it.
async fn until(holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect("the condition holds in time");
}

#[tokio::test]
async fn what_an_earlier_run_left_unfinished_is_removed_at_open() {
    let fixture = Fixture::start().await;
    let digest = push_blob(&fixture, "models/a", HELLO).await;
    std::fs::write(fixture.folder.path().join("blobs/sha256/.upload-left-over"), b"half").unwrap();
    let again = Registry::open(open(&fixture.folder)).unwrap();
    assert_eq!(fixture.blobs(), [digest.hex()]);
    assert_eq!(again.blob(&digest).unwrap().unwrap().0, HELLO.len() as u64);
}

#[tokio::test]
async fn a_blob_is_reached_only_through_its_repositories() {
    let fixture = Fixture::start().await;
    let digest = push_blob(&fixture, "models/a", HELLO).await;
    let elsewhere = format!("/v2/models/b/blobs/{digest}");
    let unknown = refusal(ask(&fixture, Method::GET, &elsewhere, Body::empty()).await).await;
    assert_eq!((unknown.0, unknown.1.as_str()), (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"));

    let mount = |from: &str| format!("/v2/models/b/blobs/uploads/?mount={digest}&from={from}");
    let not_there = ask(&fixture, Method::POST, &mount("models/c"), Body::empty()).await;
    assert_eq!(not_there.status(), StatusCode::ACCEPTED);
    let mounted = ask(&fixture, Method::POST, &mount("models/a"), Body::empty()).await;
    assert_eq!(mounted.status(), StatusCode::CREATED);
    assert_eq!(ask(&fixture, Method::GET, &elsewhere, Body::empty()).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn tricks_with_paths_reach_nothing() {
    let fixture = Fixture::start().await;
    for path in [
        "/v2/../../etc/passwd/manifests/latest",
        "/v2/%2e%2e/%2e%2e/etc/manifests/passwd",
        "/v2/models/a%2f..%2f..%2fb/tags/list",
        "/v2/models/_tags/manifests/1",
        "/v2/models/a/manifests/..%2f..%2fx",
        "/v2/models/a/blobs/sha256:..%2f..%2f..%2fetc%2fpasswd",
        "/v2/models/a/blobs/uploads/..%2f..%2fx",
        "/v2/models/a%00b/tags/list",
    ] {
        let status = ask(&fixture, Method::GET, path, Body::empty()).await.status();
        assert!(status.is_client_error(), "{path}: {status}");
        let status = ask(&fixture, Method::PUT, path, HELLO).await.status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
    assert_eq!(fixture.blobs(), [""; 0]);
    assert_eq!(std::fs::read_dir(fixture.folder.path().join("repositories")).unwrap().count(), 0);
}

#[tokio::test]
async fn one_blob_may_be_pushed_by_many_at_once() {
    let fixture = Fixture::start().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let pushes = (0..8).map(|n| {
        let (fixture, content) = (&fixture, &content);
        async move { push_blob(fixture, &format!("models/m{}", n % 2), content).await }
    });
    let digests = futures::future::join_all(pushes).await;
    assert_eq!(fixture.blobs(), [digests[0].hex()]);
    let place = format!("/v2/models/m1/blobs/{}", digests[0]);
    let pulled = ask(&fixture, Method::GET, &place, Body::empty()).await.into_body();
    assert_eq!(Digest::of(&to_bytes(pulled, usize::MAX).await.unwrap()), digests[0]);
}

#[tokio::test]
async fn open_uploads_are_bounded() {
    let fixture = Fixture::start().await;
    let mut sessions = Vec::new();
    for _ in 0..MAX_OPEN {
        sessions.push(begin(&fixture, "models/a").await);
    }
    let one_more = ask(&fixture, Method::POST, "/v2/models/a/blobs/uploads/", Body::empty()).await;
    let (status, code, _) = refusal(one_more).await;
    assert_eq!((status, code.as_str()), (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"));
    ask(&fixture, Method::DELETE, &sessions[0], Body::empty()).await;
    begin(&fixture, "models/a").await;
}

#[tokio::test]
async fn what_says_that_it_is_too_large_is_refused_at_once() {
    let fixture = Fixture::start().await;
    let digest = Digest::of(HELLO);
    let path = format!("/v2/plugins/a/blobs/uploads/?digest={digest}");
    let length = [(header::CONTENT_LENGTH, "268435457")];
    let refused = refusal(ask_with(&fixture, Method::POST, &path, &length, Body::empty()).await).await;
    assert_eq!((refused.0, refused.1.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"));
    let length = [(header::CONTENT_LENGTH, "4194305")];
    let put = ask_with(&fixture, Method::PUT, "/v2/models/a/manifests/1", &length, Body::empty()).await;
    assert_eq!(put.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn nothing_is_deleted() {
    let fixture = Fixture::start().await;
    let digest = push_blob(&fixture, "models/a", HELLO).await;
    for path in [format!("/v2/models/a/blobs/{digest}"), "/v2/models/a/manifests/1".to_owned()] {
        let refused = refusal(ask(&fixture, Method::DELETE, &path, Body::empty()).await).await;
        assert_eq!((refused.0, refused.1.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"));
    }
}

#[tokio::test]
async fn who_may_push_models_alone_pushes_nothing_else() {
    let fixture = Fixture::start().await;
    let router = fixture.registry.router(Access { writes_below: Some("models/"), ..Access::default() });
    let ask = |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router.clone().oneshot(request)
    };
    let begun = ask(Method::POST, "/v2/models/a/blobs/uploads/").await.unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    for (method, path) in [
        (Method::POST, "/v2/plugins/a/blobs/uploads/"),
        (Method::PUT, "/v2/plugins/a/manifests/1"),
        (Method::PUT, "/v2/models-of-mine/manifests/1"),
    ] {
        let refused = refusal(ask(method, path).await.unwrap()).await;
        assert_eq!((refused.0, refused.1.as_str()), (StatusCode::FORBIDDEN, "DENIED"), "{path}");
    }
    assert_eq!(ask(Method::GET, "/v2/plugins/a/manifests/1").await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_token_opens_the_registry() {
    let fixture = Fixture::start().await;
    let access = Access { token: Some("s3cret".to_owned()), ..Access::default() };
    let ask = |path: &'static str, authorization: Option<&'static str>| {
        let router = fixture.registry.router(access.clone());
        let mut request = Request::builder().uri(path).header(header::HOST, "registry:5000");
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        async move { router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap() }
    };
    // The user is `anyone`, the password the token, or `wrong`.
    let (basic, wrong_basic) = ("Basic YW55b25lOnMzY3JldA==", "Basic YW55b25lOndyb25n");
    for right in ["Bearer s3cret", "bearer s3cret", basic] {
        assert_eq!(ask("/v2/", Some(right)).await.status(), StatusCode::OK, "{right}");
    }
    for wrong in [None, Some("Bearer s3cre"), Some("Bearer"), Some(wrong_basic), Some("Basic !"), Some("X y")]
    {
        let response = ask("/v2/models/a/tags/list", wrong).await;
        assert_eq!(
            text(response.headers(), "www-authenticate"),
            r#"Bearer realm="http://registry:5000/v2/_token",service="sedge""#
        );
        assert_eq!(refusal(response).await.0, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    let issued: Value = serde_json::from_slice(&content(ask("/v2/_token", Some(basic)).await).await).unwrap();
    assert_eq!(issued["token"], "s3cret");
    assert_eq!(ask("/v2/_token", None).await.status(), StatusCode::UNAUTHORIZED);
}
