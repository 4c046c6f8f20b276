//! What a worker needs before it begins: its plugin, compiled, and its model, loaded. Called by `run` and `serve`.

use std::sync::Arc;

use sedge_api::node;

use super::definition::Definition;
use super::{Context, Ended, Reporter};
use crate::artifacts::{Artifact, ArtifactError};
use crate::model::Model;
use crate::nn::Choice;
use crate::runtime::Component;

/// Hears what is waited for: a CamelCase word and a sentence.
pub(super) type Pending<'a> = &'a (dyn Fn(&str, &str) + Sync);

/// The worker's component and model, however long that takes.
pub(super) async fn all(
    context: &Context,
    definition: &Definition,
    reporter: &Reporter,
    pending: Pending<'_>,
) -> Result<(Component, Option<Arc<Model>>), Ended> {
    let component = component(context, &definition.plugin, pending).await?;
    let Some(model) = &definition.model else { return Ok((component, None)) };
    pending("FetchingModel", &model.repository);
    let waiting = |error: &ArtifactError| pending(error.reason(), &error.to_string());
    let graphs = context.runtime.graphs();
    let model =
        context.artifacts.model(model, graphs, &definition.options, &waiting).await.map_err(failed)?;
    reporter.update(|status| status.engines = engines(&model));
    Ok((component, Some(Arc::new(model))))
}

/// A plugin, compiled.
pub(super) async fn component(
    context: &Context,
    plugin: &Artifact,
    pending: Pending<'_>,
) -> Result<Component, Ended> {
    pending("FetchingPlugin", &plugin.repository);
    let waiting = |error: &ArtifactError| pending(error.reason(), &error.to_string());
    let (digest, read) = context.artifacts.component(plugin, &waiting).await.map_err(failed)?;
    let runtime = context.runtime.clone();
    let compiled = tokio::task::spawn_blocking(move || runtime.component(&digest, read)).await;
    Ok(compiled.map_err(|error| {
        Ended::failed("HostError", format!("the plugin could not be compiled: {error}"))
    })??)
}

fn failed(error: ArtifactError) -> Ended {
    Ended::failed(error.reason(), error.to_string())
}

/// Which engine computes which graph, for the status.
fn engines(model: &Model) -> Vec<node::GraphEngine> {
    let told = |(graph, choice): (&String, &Arc<Choice>)| node::GraphEngine {
        graph: graph.clone(),
        engine: choice.engine.clone(),
        passed_over: choice.passed_over.iter().map(ToString::to_string).collect(),
    };
    model.choices.iter().map(told).collect()
}
