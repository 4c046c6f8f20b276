//! The server over HTTP: tokens, discovery, bodies, forms.

use axum::Router;
use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Server, job, node};

const JOBS: &str = "/apis/sedge.dev/v1alpha1/namespaces/default/federatedlearningjobs";
const NODES: &str = "/apis/sedge.dev/v1alpha1/edgenodes";

async fn send(router: &Router, request: Request<Body>) -> (Response<()>, Value) {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
    (Response::from_parts(parts, ()), value)
}

async fn get(router: &Router, path: &str, accept: &str) -> (StatusCode, Value) {
    let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    let (response, value) = send(router, request).await;
    (response.status(), value)
}

async fn post(router: &Router, path: &str, media_type: &str, body: impl Into<Body>) -> (Response<()>, Value) {
    let request = Request::post(path).header(header::CONTENT_TYPE, media_type).body(body.into()).unwrap();
    send(router, request).await
}

fn body_of(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

#[tokio::test]
async fn a_token_is_asked_for_but_where_health_is_told() {
    let server = Server::start();
    let router = server.api.router_with_token("s3cret");
    let call = async |path: &str, authorization: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    for path in ["/version", "/healthz", "/livez", "/readyz"] {
        assert_eq!(call(path, None).await.0.status(), StatusCode::OK, "{path}");
    }
    for authorization in [None, Some("Bearer wrong"), Some("Bearer "), Some("Basic s3cret"), Some("s3cret")] {
        for path in [NODES, "/api", "/nothing"] {
            let (response, status) = call(path, authorization).await;
            assert_eq!(
                (response.status(), &status["reason"]),
                (StatusCode::UNAUTHORIZED, &json!("Unauthorized"))
            );
        }
    }
    assert_eq!(call(NODES, Some("Bearer s3cret")).await.0.status(), StatusCode::OK);
}

#[tokio::test]
async fn discovery_tells_all_kinds() {
    let server = Server::start();
    let router = server.api.router();
    let (_, groups) = get(&router, "/apis", "*/*").await;
    let names: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert!(
        names.contains(&&json!("sedge.dev")) && names.contains(&&json!("coordination.k8s.io")),
        "{names:?}"
    );
    let (_, list) = get(&router, "/apis/sedge.dev/v1alpha1", "*/*").await;
    let resources = list["resources"].as_array().unwrap();
    let jobs = resources.iter().find(|resource| resource["name"] == "federatedlearningjobs").unwrap();
    assert_eq!((&jobs["shortNames"], &jobs["categories"]), (&json!(["flj"]), &json!(["sedge"])));
    assert!(resources.iter().any(|resource| resource["name"] == "federatedlearningjobs/status"));
    let (_, list) = get(&router, "/api/v1", "*/*").await;
    assert_eq!(list["groupVersion"], "v1");
    let apis = kube::discovery::Discovery::new(server.client.clone()).run().await.unwrap();
    assert!(apis.has_group("sedge.dev"));
    assert_eq!(server.client.apiserver_version().await.unwrap().major, "1");
    for path in ["/apis/none.dev", "/apis/sedge.dev/v9", "/nothing", "/api/v1/pods"] {
        let (code, status) = get(&router, path, "*/*").await;
        assert_eq!((code, &status["kind"]), (StatusCode::NOT_FOUND, &json!("Status")), "{path}");
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_with_a_status() {
    let server = Server::start();
    let router = server.api.router();
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(4 << 20));
    for (media_type, body, code, reason) in [
        ("application/json", "{".to_owned(), 400, "BadRequest"),
        ("application/json", "[]".to_owned(), 400, "BadRequest"),
        ("application/json", deep, 400, "BadRequest"),
        ("application/json", large, 413, "RequestEntityTooLarge"),
        ("application/vnd.kubernetes.protobuf", "k8s".to_owned(), 415, "UnsupportedMediaType"),
        ("application/json", r#"{"kind": "Worker"}"#.to_owned(), 400, "BadRequest"),
        ("application/json", r#"{"metadata": {"labels": 3}}"#.to_owned(), 400, "BadRequest"),
        (
            "application/json",
            r#"{"metadata": {"name": "a", "namespace": "b"}}"#.to_owned(),
            400,
            "BadRequest",
        ),
    ] {
        let (response, status) = post(&router, JOBS, media_type, body).await;
        assert_eq!((response.status().as_u16(), &status["reason"]), (code, &json!(reason)), "{status}");
        assert_eq!((&status["kind"], &status["code"]), (&json!("Status"), &json!(code)));
    }
}

#[tokio::test]
async fn patches_that_make_no_sense_are_refused_with_a_status() {
    let server = Server::start();
    let router = server.api.router();
    post(&router, NODES, "application/json", body_of(&node("a")).to_string()).await;
    for (name, media_type, body, code) in [
        ("new", "application/apply-patch+yaml", "metadata: text", 400),
        ("new", "application/apply-patch+yaml", "{metadata: {name: other}}", 400),
        ("new", "application/apply-patch+yaml", "- 1", 400),
        ("new", "application/apply-patch+yaml", "spec: {role: sky}", 422),
        ("new", "application/merge-patch+json", "{}", 404),
        ("a", "application/apply-patch+yaml", "metadata: text", 400),
        ("a", "application/merge-patch+json", r#"{"metadata": null, "spec": 3}"#, 422),
        ("a", "application/merge-patch+json", "[]", 400),
        ("a", "application/json-patch+json", r#"[{"op": "replace", "path": "", "value": 3}]"#, 400),
        ("a", "application/json-patch+json", r#"[{"op": "replace", "path": "/metadata", "value": []}]"#, 400),
        ("a", "application/json-patch+json", r#"[{"op": "remove", "path": "/none"}]"#, 422),
        ("a", "application/json-patch+json", r#"[{"op": "leap", "path": "/spec"}]"#, 400),
        ("a", "text/plain", "spec", 415),
    ] {
        let request = Request::patch(format!("{NODES}/{name}?fieldManager=test"))
            .header(header::CONTENT_TYPE, media_type)
            .body(Body::from(body))
            .unwrap();
        let (response, status) = send(&router, request).await;
        assert_eq!(
            (response.status().as_u16(), &status["kind"]),
            (code, &json!("Status")),
            "{body}: {status}"
        );
    }
}

#[tokio::test]
async fn yaml_is_read_as_well() {
    let server = Server::start();
    let body = "apiVersion: sedge.dev/v1alpha1\nkind: EdgeNode\nmetadata: {name: a}\nspec: {role: edge}\n";
    let (response, _) = post(&server.api.router(), NODES, "application/yaml", body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn unknown_fields_are_refused_told_or_dropped() {
    let server = Server::start();
    let router = server.api.router();
    let mut object = body_of(&node("a"));
    object["spec"]["colour"] = "red".into();
    let path = format!("{NODES}?fieldValidation=Strict");
    let (response, status) = post(&router, &path, "application/json", object.to_string()).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(status["details"]["causes"][0]["field"], "spec.colour");

    let (response, made) = post(&router, NODES, "application/json", object.to_string()).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(made["spec"], json!({"role": "edge"}));
    assert_eq!(response.headers()[header::WARNING], "299 - \"unknown field \\\"spec.colour\\\"\"");
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_keeps_nothing() {
    let server = Server::start();
    let router = server.api.router();
    let object = body_of(&node("a")).to_string();
    let (response, made) = post(&router, &format!("{NODES}?dryRun=All"), "application/json", object).await;
    assert_eq!((response.status(), made["metadata"]["uid"].is_string()), (StatusCode::CREATED, true));
    assert_eq!(get(&router, &format!("{NODES}/a"), "*/*").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn tables_have_the_columns_of_the_kind() {
    let server = Server::start();
    let router = server.api.router();
    post(&router, JOBS, "application/json", body_of(&job("digits")).to_string()).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, table) = get(&router, JOBS, accept).await;
    let columns = table["columnDefinitions"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(&names[..4], ["Name", "Phase", "Round", "Rounds"]);
    let cells = &table["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1], &cells[3]), (&json!("digits"), &Value::Null, &json!(20)));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, table) = get(&router, "/api/v1/namespaces", accept).await;
    assert_eq!(table["columnDefinitions"][1]["name"], "Age", "where a kind has no columns");
}

#[tokio::test]
async fn methods_that_a_path_does_not_know_are_refused() {
    let server = Server::start();
    let router = server.api.router();
    for (method, path) in [
        (Method::POST, format!("{NODES}/a")),
        (Method::PUT, NODES.to_owned()),
        (Method::DELETE, format!("{NODES}/a/status")),
        (Method::POST, "/apis".to_owned()),
        (Method::DELETE, "/apis/sedge.dev/v1alpha1/workers".to_owned()),
    ] {
        let request = Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
        let (response, status) = send(&router, request).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(status["reason"], "MethodNotAllowed");
    }
    let (code, _) = get(&router, NODES, "application/vnd.kubernetes.protobuf").await;
    assert_eq!(code, StatusCode::NOT_ACCEPTABLE);
}
