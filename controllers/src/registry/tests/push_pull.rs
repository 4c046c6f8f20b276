//! Push and pull with the real `oci-client`, against a listening server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::OciManifest;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use parking_lot::Mutex;
use sedge_api::artifact::{MODEL_CONFIG, ModelConfig, PLUGIN_LAYER};
use sedge_api::resources::Role;
use sedge_api::{ArtifactRef, Digest};

use super::super::client::{ClientError, RegistryClient, Shelf};
use super::super::component::ComponentError;
use super::super::{Access, onnx, weights};
use super::{Fixture, components, no_progress, push_plugin};

fn stock_client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() })
}

fn reference(text: &str) -> ArtifactRef {
    text.parse().unwrap()
}

/// Graphs and weights as files: two parameters of training.
fn model_files(folder: &Fixture) -> (BTreeMap<String, PathBuf>, PathBuf) {
    let header = r#"{"w":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}"#;
    let graph = folder.folder.path().join("train.onnx");
    let file = folder.folder.path().join("weights.safetensors");
    std::fs::write(&graph, onnx::tests::MODEL).unwrap();
    std::fs::write(&file, weights::tests::file(header, 24)).unwrap();
    (BTreeMap::from([("train".to_owned(), graph)]), file)
}

#[tokio::test]
async fn a_plugin_comes_back_as_it_was_pushed() {
    let fixture = Fixture::start().await;
    let component = components::exporting(Role::Trainer);
    let digest = push_plugin(&fixture, "trainer:1", component.clone()).await;

    let image = Reference::with_tag(fixture.host.clone(), "plugins/trainer".into(), "1".into());
    let client = stock_client();
    let (manifest, pulled) = client.pull_manifest(&image, &RegistryAuth::Anonymous).await.unwrap();
    assert_eq!(pulled, digest.to_string());
    let OciManifest::Image(manifest) = manifest else { panic!("an image manifest") };
    assert_eq!(manifest.layers[0].media_type, PLUGIN_LAYER);
    let mut content = Vec::new();
    client.pull_blob(&image, &manifest.layers[0], &mut content).await.unwrap();
    assert_eq!(content, component);
    assert_eq!(fixture.registry.resolve("plugins/trainer", "1").unwrap(), Some(digest));
    let facts = fixture.registry.plugin("trainer", &digest).unwrap().unwrap();
    assert_eq!(
        (facts.summary.roles.as_slice(), facts.bytes),
        ([Role::Trainer].as_slice(), content.len() as u64)
    );
}

#[tokio::test]
async fn stock_clients_push_in_chunks_too() {
    let fixture = Fixture::start().await;
    let image = Reference::with_tag(fixture.host.clone(), "stuff/notes".into(), "1".into());
    let content = vec![42; 5 << 20];
    let digest = Digest::of(&content);
    let client = stock_client();
    client.store_auth_if_needed(image.resolve_registry(), &RegistryAuth::Anonymous).await;
    client.push_blob(&image, content, &digest.to_string()).await.unwrap();
    assert_eq!(fixture.registry.blob(&digest).unwrap().unwrap().0, 5 << 20);
}

#[tokio::test]
async fn a_model_is_pushed_from_files_listed_and_looked_into() {
    let fixture = Fixture::start().await;
    let (graphs, file) = model_files(&fixture);
    let client = fixture.client();
    let digits = reference("digits:1");
    let digest = client.push_model(&digits, graphs, Some(file), no_progress()).await.unwrap();

    let listed = client.list(Shelf::Models).await.unwrap();
    assert_eq!((listed.len(), &listed[0].reference, listed[0].digest), (1, &digits, digest));
    assert!(client.list(Shelf::Plugins).await.unwrap().is_empty());
    let (found, manifest) = client.manifest(Shelf::Models, &digits).await.unwrap();
    assert_eq!((found, manifest.config.media_type.as_str()), (digest, MODEL_CONFIG));
    let config = client.blob(Shelf::Models, &digits, &manifest.config, 1 << 20).await.unwrap();
    let config: ModelConfig = serde_json::from_slice(&config).unwrap();
    assert_eq!(config.graphs["train"], Digest::of(onnx::tests::MODEL));
    assert_eq!(config.weights.map(|w| (w.tensors, w.parameters)), Some((1, 6)));
    let facts = fixture.registry.model("digits", &digest).unwrap().unwrap();
    assert_eq!((facts.graphs, facts.parameters), (vec!["train".to_owned()], Some(6)));
    assert_eq!(client.catalog().await.unwrap(), ["models/digits"]);
    assert_eq!(client.tags(Shelf::Models, "digits").await.unwrap(), ["1"]);
}

#[tokio::test]
async fn what_the_registry_has_is_not_sent_again() {
    let fixture = Fixture::start().await;
    let component = components::exporting(Role::Miner);
    push_plugin(&fixture, "miner:1", component.clone()).await;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let total = component.len() as u64;
    let progress = Arc::new(move |sent: super::super::client::Sent<'_>| {
        if sent.what == "component" {
            seen.lock().push((sent.sent, sent.total));
        }
    });
    fixture.client().push_plugin(&reference("miner:2"), component, progress).await.unwrap();
    assert_eq!(*steps.lock(), [(0, total), (total, total)]);
}

#[tokio::test]
async fn nothing_is_sent_of_what_no_node_could_use() {
    let fixture = Fixture::start().await;
    let client = fixture.client();
    let module = components::written("(module)");
    let refused = client.push_plugin(&reference("x:1"), module, no_progress()).await.unwrap_err();
    assert!(matches!(refused, ClientError::Component(ComponentError::CoreModule)), "{refused}");
    let (mut graphs, file) = model_files(&fixture);
    let (name, not_weights) = (reference("x:1"), Some(graphs["train"].clone()));
    let refused = client.push_model(&name, graphs.clone(), not_weights, no_progress()).await;
    assert!(refused.unwrap_err().to_string().contains("train.onnx"));
    graphs.insert("infer".to_owned(), file.with_file_name("absent.onnx"));
    let refused = client.push_model(&name, graphs, Some(file), no_progress()).await.unwrap_err();
    assert!(refused.to_string().contains("absent.onnx"), "{refused}");
    assert_eq!(fixture.blobs(), [""; 0]);
}

#[tokio::test]
async fn clients_are_told_what_is_wrong() {
    let access = Access { token: Some("s3cret".to_owned()), ..Access::default() };
    let fixture = Fixture::start_with(access).await;
    let component = || components::exporting(Role::Miner);
    let miner = reference("miner:1");
    for wrong in [None, Some("guess")] {
        let client = fixture.client_with(wrong);
        let refused = client.push_plugin(&miner, component(), no_progress()).await.unwrap_err();
        assert!(matches!(refused, ClientError::Unauthorized(_)), "{refused}");
        let refused = client.manifest(Shelf::Plugins, &miner).await.unwrap_err();
        assert!(matches!(refused, ClientError::Unauthorized(_)), "{refused}");
    }
    let client = fixture.client_with(Some("s3cret"));
    let absent = client.manifest(Shelf::Plugins, &miner).await.unwrap_err();
    assert!(absent.is_not_found(), "{absent}");
    client.push_plugin(&miner, component(), no_progress()).await.unwrap();
    // Through the token handshake, as docker goes.
    let image = Reference::with_tag(fixture.host.clone(), "plugins/miner".into(), "1".into());
    let auth = RegistryAuth::Basic("anyone".to_owned(), "s3cret".to_owned());
    stock_client().pull_manifest(&image, &auth).await.unwrap();

    let nowhere = RegistryClient::new("http://127.0.0.1:1", None).unwrap();
    let refused = nowhere.catalog().await.unwrap_err();
    assert!(matches!(refused, ClientError::Unreachable { .. }), "{refused}");
    assert!(matches!(RegistryClient::new("localhost:5000", None), Err(ClientError::Address(_))));
}
