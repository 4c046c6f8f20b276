//! The store against a registry that loses the link, on real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers one HTTP request per connection: `answers` by turns, each raw; then the socket is closed.
/// Gives back the requests' heads.
async fn registry(answers: Vec<Vec<u8>>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            heads.push(String::from_utf8(head).unwrap());
            socket.write_all(&answer).await.unwrap();
        }
        heads
    });
    (base, served)
}

fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let mut bytes = std::mem::take(&mut answer).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn open(folder: &tempfile::TempDir) -> Arc<Artifacts> {
    let dir = Dir::open_ambient_dir(folder.path(), cap_std::ambient_authority()).unwrap();
    Artifacts::open(&dir, "secret".to_owned()).unwrap()
}

fn plugin(component: &[u8]) -> (Artifact, Vec<u8>) {
    let manifest = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": artifact::MANIFEST,
        "config": {"mediaType": artifact::PLUGIN_CONFIG, "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": artifact::PLUGIN_LAYER, "digest": Digest::of(component), "size": component.len()}],
    }))
    .unwrap();
    (Artifact { repository: "plugins/p".to_owned(), digest: Digest::of(&manifest) }, manifest)
}

#[tokio::test]
async fn a_lost_link_is_resumed_and_what_is_kept_needs_no_registry() {
    let component = b"0123456789";
    let (artifact, manifest) = plugin(component);
    let (base, served) = registry(vec![
        answer("200 OK", manifest.len(), &manifest),
        answer("200 OK", 10, &component[..4]),
        answer("206 Partial Content", 6, &component[4..]),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder);
    artifacts.set_registry(&base).unwrap();
    let waits = Mutex::new(0);
    let (digest, read) = artifacts.component(&artifact, &|_| *waits.lock() += 1).await.unwrap();
    assert_eq!(digest, Digest::of(component));
    assert_eq!(read().unwrap(), component.as_slice());
    assert_eq!(*waits.lock(), 1);
    let heads = served.await.unwrap();
    assert!(heads[2].contains("range: bytes=4-"), "{}", heads[2]);
    assert!(heads.iter().all(|head| head.contains("authorization: Bearer secret")));

    let again = open(&folder);
    let (_, read) = again.component(&artifact, &|_| panic!("it asked the registry")).await.unwrap();
    assert_eq!(read().unwrap(), component.as_slice());
}

#[tokio::test]
async fn damaged_content_is_fetched_again() {
    let component = b"0123456789";
    let (artifact, manifest) = plugin(component);
    let (base, _served) = registry(vec![
        answer("200 OK", manifest.len(), &manifest),
        answer("200 OK", 10, b"0123456780"),
        answer("200 OK", 10, component),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder);
    artifacts.set_registry(&base).unwrap();
    let (_, read) = artifacts.component(&artifact, &|_| {}).await.unwrap();
    assert_eq!(read().unwrap(), component.as_slice());
}

#[tokio::test]
async fn more_than_the_manifest_announced_is_refused() {
    let component = b"0123456789";
    let (artifact, manifest) = plugin(component);
    let (base, _served) =
        registry(vec![answer("200 OK", manifest.len(), &manifest), answer("200 OK", 11, b"01234567890")])
            .await;
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder);
    artifacts.set_registry(&base).unwrap();
    let Err(error) = artifacts.component(&artifact, &|_| {}).await else { panic!("it was taken") };
    assert!(matches!(error, ArtifactError::TooLarge { bytes: 11, limit: 10, .. }), "{error}");
}

#[test]
fn a_repository_cannot_leave_its_place_in_the_url() {
    for name in ["plugins/fedavg", "models/digits.v2", "a"] {
        assert!(is_repository(name), "{name}");
    }
    for name in ["", "/", "a//b", "../x", "a/..", "a?b", "a#b", "A", "a/", "a%2f"] {
        assert!(!is_repository(name), "{name}");
    }
}

/// A model without graphs, in the store of `artifacts`.
fn base(artifacts: &Artifacts) -> Artifact {
    let config = br#"{"graphs": {}}"#;
    let manifest = serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2,
        "mediaType": artifact::MANIFEST,
        "config": {"mediaType": artifact::MODEL_CONFIG, "digest": Digest::of(config), "size": config.len()},
        "layers": [],
    }))
    .unwrap();
    artifacts.store.put(Digest::of(config), &[config]).unwrap();
    artifacts.store.put(Digest::of(&manifest), &[&manifest]).unwrap();
    Artifact { repository: "models/base".to_owned(), digest: Digest::of(&manifest) }
}

fn weights(value: f32) -> Weights {
    let tensor = crate::nn::Tensor::from_vec(&[2], vec![value, 1.0]).unwrap();
    Weights::new(vec![("w".to_owned(), tensor)]).unwrap()
}

#[tokio::test]
async fn a_model_that_is_made_here_is_loaded_without_a_registry_until_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = open(&folder);
    let base = base(&artifacts);
    let keep = |value| artifacts.keep_model(&base, weights(value), "models/digits");
    let made = keep(3.0).await.unwrap();
    assert_eq!(keep(3.0).await.unwrap(), made, "the same weights are the same model");
    let other = keep(4.0).await.unwrap();
    assert_ne!((other.weights, other.artifact.digest), (made.weights, made.artifact.digest));

    let (graphs, options) = (Arc::new(Graphs::new(1)), ModelOptions::default());
    let silent = |_: &ArtifactError| panic!("it asked the registry");
    let loaded = open(&folder).model(&made.artifact, &graphs, &options, &silent).await.unwrap();
    let tensor = loaded.weights.unwrap().get("w").unwrap().clone();
    assert_eq!(tensor.as_slice::<f32>().unwrap(), [3.0, 1.0]);

    artifacts.forget_model(&made.artifact).await.unwrap();
    artifacts.forget_model(&made.artifact).await.unwrap();
    assert!(!artifacts.store.contains(&made.weights) && !artifacts.store.contains(&made.artifact.digest));
    assert!(artifacts.store.contains(&other.weights) && artifacts.store.contains(&base.digest));
    assert_eq!(tensor.as_slice::<f32>().unwrap(), [3.0, 1.0], "who holds it goes on");
}
