//! The registry of the server: what lies in it, and pushing to it with a bar that shows how far that is.
//!
//! `plugin` and `model` call this.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use futures::io::AsyncReadExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use sedge_api::artifact::model_repository;
use sedge_api::{ArtifactRef, Digest};
use sedge_controllers::registry::Manifest;
use sedge_controllers::registry::client::{ClientError, Progress, RegistryClient, Shelf};

use crate::failure::Failure;
use crate::server::Server;
use crate::weights::{self, Tensor};

/// The client of the server's registry.
pub fn client(server: &Server) -> anyhow::Result<RegistryClient> {
    let base = server.address.trim_end_matches('/');
    RegistryClient::new(base, server.token.clone()).context("the registry cannot be used")
}

/// The manifest of an artifact and its digest.
pub async fn manifest(
    server: &Server,
    shelf: Shelf,
    reference: &ArtifactRef,
) -> anyhow::Result<(Digest, Manifest)> {
    let unknown = |code: &str| matches!(code, "MANIFEST_UNKNOWN" | "NAME_UNKNOWN");
    match client(server)?.manifest(shelf, reference).await {
        Err(ClientError::Refused { code, .. }) if unknown(&code) => {
            let what = match shelf {
                Shelf::Plugins => "plugin",
                Shelf::Models => "model",
            };
            Err(Failure::new(format!("there is no {what} `{reference}` in the registry"))
                .hint(format!("`sedge {what} ls` lists what there is"))
                .into())
        }
        found => Ok(found?),
    }
}

/// The tensors of a model's weights. Only the beginning is read, so that large weights stay where they are.
pub async fn tensors(server: &Server, model: &ArtifactRef, weights: Digest) -> anyhow::Result<Vec<Tensor>> {
    let url = format!("/v2/{}/blobs/{weights}", model_repository(model.name()));
    let request = http::Request::get(url).body(Vec::new())?;
    let mut body = Box::pin(server.client.request_stream(request).await?);
    let mut prefix = [0; weights::PREFIX];
    body.read_exact(&mut prefix).await.context("the weights are cut short")?;
    let mut header = vec![0; weights::header_length(prefix)?];
    body.read_exact(&mut header).await.context("the weights are cut short")?;
    weights::tensors(&header)
}

/// Upload a component; the digest is its manifest's.
pub async fn push_plugin(
    server: &Server,
    reference: &ArtifactRef,
    component: Vec<u8>,
) -> anyhow::Result<Digest> {
    let (bar, progress) = bar();
    let pushed = client(server)?.push_plugin(reference, component, progress).await;
    bar.finish_and_clear();
    pushed.with_context(|| format!("cannot push {reference}"))
}

/// Upload graphs by name and weights; the digest is their manifest's.
pub async fn push_model(
    server: &Server,
    reference: &ArtifactRef,
    graphs: BTreeMap<String, PathBuf>,
    weights: Option<PathBuf>,
) -> anyhow::Result<Digest> {
    let (bar, progress) = bar();
    let pushed = client(server)?.push_model(reference, graphs, weights, progress).await;
    bar.finish_and_clear();
    pushed.with_context(|| format!("cannot push {reference}"))
}

/// A bar for bytes on their way, and what moves it; it hides itself where there is no terminal.
fn bar() -> (ProgressBar, Progress) {
    let bar = ProgressBar::no_length();
    let style = ProgressStyle::with_template(
        "{msg:12} {bar:30.green/dim} {bytes}/{total_bytes} {binary_bytes_per_sec}",
    );
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("━━─"));
    }
    let moved = bar.clone();
    let progress: Progress = Arc::new(move |sent| {
        moved.set_message(sent.what.to_owned());
        moved.set_length(sent.total);
        moved.set_position(sent.sent);
    });
    (bar, progress)
}
