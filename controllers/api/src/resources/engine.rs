//! Which engine computes a model's graphs, and how: what a Model's spec asks for, and what it came to.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How graphs are computed; what is absent is the choice of the node that computes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EngineOptions {
    /// The engine, and no other: `onnxruntime`, `rten` or `openvino`. Absent, the fastest that the node has and
    /// that loads the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub name: Option<String>,
    /// Threads of one computation; at most as many are taken as the node has processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<u16>,
    /// How much of a graph the engine may rewrite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimization: Option<Optimization>,
    /// What the engine computes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
}

impl EngineOptions {
    /// These, and where they say nothing, `others`.
    pub fn or(&self, others: &Self) -> Self {
        Self {
            name: self.name.clone().or_else(|| others.name.clone()),
            threads: self.threads.or(others.threads),
            optimization: self.optimization.or(others.optimization),
            provider: self.provider.or(others.provider),
        }
    }

    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How much of a graph an engine may rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Optimization {
    /// Nothing.
    None,
    /// What keeps the operators.
    Basic,
    /// Also several operators into one.
    Extended,
    /// Also other layouts of tensors in memory.
    All,
}

/// What an engine computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// What a Model's spec says of engines, as it is handed on to its workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelEngines {
    /// Of all its graphs.
    #[serde(default, skip_serializing_if = "EngineOptions::is_empty")]
    pub engine: EngineOptions,
    /// By name of a graph: what goes before that.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub graphs: BTreeMap<String, EngineOptions>,
}

impl ModelEngines {
    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which engine computes a graph, and why no other does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphEngine {
    /// The graph.
    pub graph: String,
    /// The engine.
    pub engine: String,
    /// Engines that would have been taken rather, each with what it lacks: `onnxruntime: no library found; …`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<String>,
}

/// Names of the engines, each once: `onnxruntime,rten`; none of none.
pub fn engine_names(engines: &[GraphEngine]) -> Option<String> {
    let names: std::collections::BTreeSet<&str> =
        engines.iter().map(|engine| engine.engine.as_str()).collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graphs_own_options_go_before_the_models() {
        let of_model =
            EngineOptions { name: Some("rten".to_owned()), threads: Some(2), ..Default::default() };
        let own = EngineOptions { threads: Some(1), provider: Some(Provider::Cpu), ..Default::default() };
        let both = own.or(&of_model);
        assert_eq!((both.name.as_deref(), both.threads), (Some("rten"), Some(1)));
        assert_eq!((both.optimization, both.provider), (None, Some(Provider::Cpu)));
        assert!(EngineOptions::default().is_empty() && !both.is_empty());
    }

    #[test]
    fn names_are_told_once() {
        let engine = |graph: &str, engine: &str| GraphEngine {
            graph: graph.to_owned(),
            engine: engine.to_owned(),
            passed_over: Vec::new(),
        };
        let engines = [engine("train", "rten"), engine("infer", "onnxruntime"), engine("evaluate", "rten")];
        assert_eq!(engine_names(&engines).as_deref(), Some("onnxruntime,rten"));
        assert_eq!(engine_names(&[]), None);
    }
}
