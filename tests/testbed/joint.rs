//! The example of joint inference: two classifiers of digits, the samples that neither has seen, and a service of both.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sedge_client::{Answer, Client, Tensor};

use crate::{Platform, root};

/// How long one request may take on a slow machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Digits that were held out: every fourth of `digits.csv`.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Pixels, 64 of each.
    pub samples: Vec<Vec<f32>>,
    /// Which digit each is.
    pub labels: Vec<usize>,
}

impl HeldOut {
    /// From the repository's data.
    pub fn read() -> Result<Self> {
        let path = root().join("tests/data/digits.csv");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (mut samples, mut labels) = (Vec::new(), Vec::new());
        for line in text.lines().skip(1).skip(3).step_by(4) {
            let mut row = line.split(',').map(str::parse::<f32>).collect::<Result<Vec<_>, _>>()?;
            labels.push(row.pop().context("a row has a label")? as usize);
            samples.push(row);
        }
        Ok(Self { samples, labels })
    }
}

/// Ask about one sample.
pub fn ask(client: &Client, service: &str, sample: &[f32]) -> Result<Answer, sedge_client::Error> {
    let x = Tensor::new(&[1, sample.len() as u64], sample)?;
    client.infer(service, &[("x", x)], PATIENCE)
}

/// The digit that an answer to [`ask`] says.
pub fn digit(answer: &Answer) -> Result<usize> {
    let probabilities = answer.output("probabilities")?.elements::<f32>()?;
    let largest = probabilities.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
    Ok(largest.context("an answer has probabilities")?.0)
}

/// The example service, with lines of its text replaced.
pub fn service(replacements: &[(&str, &str)]) -> Result<String> {
    let path = root().join("tests/data/digits-joint/service.yaml");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(replacements.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "the example service has no `{from}`");
        text.replace(from, to)
    }))
}

impl Platform {
    /// All that the example service names.
    pub fn prepare_joint(&self) -> Result<()> {
        self.push_plugins(&["onnx-inferencer"])?;
        for size in ["small", "large"] {
            let folder = root().join("tests/data/digits-joint").join(size);
            self.cli.run(&["model", "push", &folder.display().to_string(), &format!("digits-{size}:1")])?;
        }
        Ok(())
    }

    /// A client of the node's serving port.
    pub fn client(&self, node: &str) -> Result<Client> {
        let resource = self.cli.get(&format!("edgenodes {node}"))?;
        let url = resource["status"]["servingEndpoint"].as_str();
        Ok(Client::new(url.with_context(|| format!("{node} does not say where it serves"))?)?)
    }
}
