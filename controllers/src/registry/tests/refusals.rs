//! Every manifest that is not accepted, and what its sender is told.

use http::{Method, StatusCode};
use sedge_api::Digest;
use sedge_api::artifact::{MODEL_CONFIG, MODEL_GRAPH, MODEL_WEIGHTS, PLUGIN_CONFIG, PLUGIN_LAYER};
use sedge_api::resources::Role;
use serde_json::{Value, json};

use super::super::{onnx, weights};
use super::distribution::{ask, push_blob, refusal};
use super::{Fixture, components};

/// A blob in the repository, and its descriptor.
async fn blob(fixture: &Fixture, repository: &str, media_type: &str, content: &[u8]) -> Value {
    let digest = push_blob(fixture, repository, content).await;
    json!({ "mediaType": media_type, "digest": digest, "size": content.len() })
}

fn manifest(config: &Value, layers: &[Value]) -> Value {
    json!({ "schemaVersion": 2, "config": config, "layers": layers })
}

/// Put a manifest that must be refused; its code and message.
async fn refused(fixture: &Fixture, repository: &str, manifest: &Value) -> (String, String) {
    let path = format!("/v2/{repository}/manifests/1");
    let (status, code, message) = refusal(ask(fixture, Method::PUT, &path, manifest.to_string()).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{message}");
    assert_eq!(fixture.registry.resolve(repository, "1").unwrap(), None);
    (code, message)
}

/// The message of a plugin's manifest with such a layer.
async fn refused_plugin(layer: &[u8]) -> String {
    let fixture = Fixture::start().await;
    let config = blob(&fixture, "plugins/p", PLUGIN_CONFIG, b"{}").await;
    let layer = blob(&fixture, "plugins/p", PLUGIN_LAYER, layer).await;
    let (code, message) = refused(&fixture, "plugins/p", &manifest(&config, &[layer])).await;
    assert_eq!(code, "MANIFEST_INVALID");
    message
}

#[tokio::test]
async fn a_plugin_must_be_a_component_that_plays_a_role() {
    let whole = components::exporting(Role::Trainer);
    for (layer, told) in [
        (components::written("(module)"), "core WebAssembly module"),
        (components::written("(component)"), "`sedge:worker/training@0.1.0` (trainer)"),
        (whole[..whole.len() - 40].to_vec(), "truncated"),
        (b"\x7fELF\x02\x01\x01\0\0\0\0\0".to_vec(), "precompiled"),
    ] {
        let message = refused_plugin(&layer).await;
        assert!(message.contains(told), "{told}: {message}");
        assert!(message.contains(&Digest::of(&layer).to_string()), "{message}");
    }
}

#[tokio::test]
async fn a_plugin_is_one_layer_of_wasm_with_the_wasm_config() {
    let fixture = Fixture::start().await;
    let put = async |manifest: Value| refused(&fixture, "plugins/p", &manifest).await.1;
    let config = blob(&fixture, "plugins/p", PLUGIN_CONFIG, b"{}").await;
    let other = blob(&fixture, "plugins/p", "application/x", b"{}").await;
    let layer = blob(&fixture, "plugins/p", PLUGIN_LAYER, &components::exporting(Role::Trainer)).await;
    assert!(
        put(manifest(&other, std::slice::from_ref(&layer))).await.contains("this one is `application/x`")
    );
    assert!(put(manifest(&config, &[])).await.contains("this one has 0"));
    assert!(put(manifest(&config, &[layer.clone(), layer.clone()])).await.contains("this one has 2"));
    assert!(
        put(manifest(&config, std::slice::from_ref(&other))).await.contains("one of type `application/x`")
    );
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []
    });
    assert!(put(index).await.contains("not lists"));
}

#[tokio::test]
async fn a_manifest_names_only_what_its_repository_has() {
    let fixture = Fixture::start().await;
    let config = blob(&fixture, "stuff/a", "application/x", b"{}").await;
    let elsewhere = blob(&fixture, "stuff/b", "application/x", b"elsewhere").await;
    let mut wrong_size = config.clone();
    wrong_size["size"] = json!(3);
    let (code, message) = refused(&fixture, "stuff/a", &manifest(&config, &[elsewhere])).await;
    assert_eq!(code, "MANIFEST_BLOB_UNKNOWN");
    assert!(message.contains("push it first"), "{message}");
    let (code, message) = refused(&fixture, "stuff/a", &manifest(&wrong_size, &[])).await;
    assert_eq!(code, "MANIFEST_INVALID");
    assert!(message.contains("has 3 bytes; it has 2"), "{message}");
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [config]
    });
    assert_eq!(refused(&fixture, "stuff/a", &index).await.0, "MANIFEST_BLOB_UNKNOWN");

    let good = manifest(&config, &[]).to_string();
    let other = Digest::of(b"other");
    let path = format!("/v2/stuff/a/manifests/{other}");
    let (_, code, _) = refusal(ask(&fixture, Method::PUT, &path, good.clone()).await).await;
    assert_eq!(code, "DIGEST_INVALID");
    let path = format!("/v2/stuff/a/manifests/{}", Digest::of(good.as_bytes()));
    assert_eq!(ask(&fixture, Method::PUT, &path, good).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_model_is_what_its_config_says() {
    let fixture = Fixture::start().await;
    let at = "models/m";
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let (good_weights, bad_weights) = (weights::tests::file(header, 8), weights::tests::file(header, 4));
    let graph = blob(&fixture, at, MODEL_GRAPH, onnx::tests::MODEL).await;
    let not_onnx = blob(&fixture, at, MODEL_GRAPH, b"{\"no\": \"graph\"}").await;
    let data = blob(&fixture, at, MODEL_WEIGHTS, &good_weights).await;
    let truncated = blob(&fixture, at, MODEL_WEIGHTS, &bad_weights).await;
    let summary = |layer: &Value, parameters: u64| json!({ "digest": layer["digest"], "tensors": 1, "parameters": parameters });
    let with_graph = |layer: &Value| json!({ "graphs": { "train": layer["digest"] } });
    let mut titled = graph.clone();
    titled["annotations"] = json!({ "org.opencontainers.image.title": "infer" });

    for (config, layers, told) in [
        (json!({ "graphs": {} }), vec![], "neither graphs nor weights"),
        (json!({ "graphs": [1] }), vec![], "config cannot be read"),
        (with_graph(&graph), vec![], "the graph `train` with digest"),
        (with_graph(&graph), vec![graph.clone(), data.clone()], "not one that the model's config names"),
        (with_graph(&graph), vec![titled], "is titled `infer`"),
        (with_graph(&not_onnx), vec![not_onnx.clone()], "the graph `train`: it is not an ONNX model"),
        (json!({ "graphs": {}, "weights": summary(&data, 2) }), vec![], "names weights with digest"),
        (
            json!({ "graphs": {}, "weights": summary(&data, 9) }),
            vec![data.clone()],
            "9 parameters, its weights hold 1 and 2",
        ),
        (
            json!({ "graphs": {}, "weights": summary(&truncated, 2) }),
            vec![truncated.clone()],
            "the weights: it is truncated",
        ),
    ] {
        let config = blob(&fixture, at, MODEL_CONFIG, config.to_string().as_bytes()).await;
        let (code, message) = refused(&fixture, at, &manifest(&config, &layers)).await;
        assert_eq!(code, "MANIFEST_INVALID");
        assert!(message.contains(told), "{told}: {message}");
    }
    let other = blob(&fixture, at, "application/x", b"{}").await;
    assert!(refused(&fixture, at, &manifest(&other, &[])).await.1.contains("this one is `application/x`"));
}
