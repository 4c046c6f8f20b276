//! A model as people have it, an inference graph with its weights inside, becomes one that jobs train.

use anyhow::Result;
use sedge_testbed::{Built, Platform, root};

use crate::job;

#[test]
fn a_network_that_was_only_made_to_infer_learns_in_a_job() -> Result<()> {
    let built = Built::from_environment()?;
    let platform = Platform::up(&built, 2)?;
    let model = platform.folder().join("mine");
    let graph = root().join("tests/data/cnn-28x28/model.onnx");
    platform.cli.run(&[
        "model",
        "trainable",
        &graph.display().to_string(),
        "--loss",
        "softmax-cross-entropy",
        "--optimizer",
        "momentum",
        "-o",
        &model.display().to_string(),
    ])?;
    platform.cli.run(&["model", "push", &model.display().to_string(), "mine:1"])?;
    platform.push_plugins(&["sgd-trainer", "evaluator", "fedavg"])?;

    let mut yaml = String::new();
    for node in ["edge-1", "edge-2", "cloud"] {
        let folder = platform.datasets(node);
        std::fs::create_dir_all(&folder)?;
        std::fs::copy(root().join("tests/data/mnist-2500.npz"), folder.join("mnist.npz"))?;
        // Both trainers have the same digits; what they train on is what the evaluator leaves out.
        yaml += &format!(
            "apiVersion: sedge.dev/v1alpha1
kind: Dataset
metadata: {{name: mnist-{node}}}
spec: {{node: {node}, path: mnist.npz, format: npz, split: {{test: 0.2, seed: 1}}}}
---
"
        );
    }
    yaml += "apiVersion: sedge.dev/v1alpha1
kind: FederatedLearningJob
metadata: {name: mine}
spec:
  model: mine:1
  aggregation: {plugin: 'fedavg:0.1.0', rounds: 2, participants: {minimum: 2}}
  training:
    plugin: sgd-trainer:0.1.0
    parameters: {epochs: 1, batchSize: 32, learningRate: 0.02}
    datasets: {names: [mnist-edge-1, mnist-edge-2]}
  evaluation:
    plugin: evaluator:0.1.0
    dataset: mnist-cloud
    parameters: {split: test}
";
    platform.cli.apply(&yaml)?;
    let job = job::await_complete(&platform, "mine", "3m")?;
    let rounds = job::rounds(&job)?;
    let accuracy = job::metric(&rounds[1], "accuracy")?;
    assert!(accuracy >= 0.85, "{rounds:?}");
    assert!(job::metric(&rounds[1], "loss")? < job::metric(&rounds[0], "loss")?, "{rounds:?}");
    Ok(())
}
