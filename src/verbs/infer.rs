//! `sedge infer`: a file becomes a request of the Open Inference Protocol, a service answers it, and the answer is
//! shown.

mod input;
mod picture;
mod port;
mod samples;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::columns::{decimal, written};
use crate::screen;
use crate::server::Access;
use crate::services::{self, Node};
use crate::table::{Cell, Table};

/// Values of one output that a row shows.
const SHOWN: usize = 10;

/// Ask a service, and show its answer.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service
    #[arg(value_name = "NAME")]
    name: String,
    /// What to ask: samples in .npy, .npz (arrays by the names of inputs) or .csv, a picture in .png or .jpg, or
    /// .json with a request of the Open Inference Protocol or an array of arrays; `-`: JSON from standard input
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,
    /// The column of a .csv or .npy that is no input, by its heading or zero-based index: what the samples are
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Ask this node; without it, the first edge that answers
    #[arg(long, value_name = "NODE", conflicts_with = "url")]
    node: Option<String>,
    /// Ask there, without looking the service up
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// table, or json: the answer as it came
    #[arg(short, long, value_enum, default_value_t = Output::Table, value_name = "FORM")]
    output: Output,
    #[command(flatten)]
    picture: picture::Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Ask a service, and show its answer.
pub async fn run(args: Args, access: &Access) -> anyhow::Result<()> {
    let name = services::bare(&args.name);
    let url = match &args.url {
        Some(url) => url.clone(),
        None => services::url(&services::find(&access.server().await?, name).await?, args.node.as_deref())?,
    };
    let (path, label) = (args.input.clone(), args.label.clone());
    let given = tokio::task::spawn_blocking(move || input::read(&path, label.as_deref())).await??;
    let node = Node::new(&url)?;
    let service = services::client_name(&access.namespace, name);
    let request = match given {
        input::Given::Request(request) => request,
        input::Given::Samples(samples) => samples.request(&node.metadata(&service).await?)?,
        input::Given::Arrays(arrays) => samples::request(arrays, &node.metadata(&service).await?)?,
        input::Given::Picture(picture) => picture.request(&node.metadata(&service).await?, &args.picture)?,
    };
    let answer = node.infer(&service, &request).await?;
    screen::print(&match args.output {
        Output::Json => serde_json::to_string_pretty(&answer)? + "\n",
        Output::Table => shown(&answer, screen::width()),
    })?;
    Ok(())
}

/// The answer as a table with a row per sample, and who gave it.
fn shown(answer: &Value, width: Option<usize>) -> String {
    let parameters = &answer["parameters"];
    let hard: BTreeSet<usize> = match &parameters["hard_samples"] {
        Value::String(list) => list.split(',').filter_map(|at| at.trim().parse().ok()).collect(),
        _ => BTreeSet::new(),
    };
    let outputs: Vec<Tensor> = answer["outputs"].as_array().into_iter().flatten().map(Tensor::read).collect();
    let samples = outputs.iter().map(|output| output.samples).max().unwrap_or(0);
    let mut heading = vec!["SAMPLE".to_owned()];
    for output in &outputs {
        heading.push(output.name.to_uppercase());
        if output.has_best() {
            heading.push("BEST".to_owned());
        }
    }
    heading.push("HARD".to_owned());
    let mut table = Table::new(heading);
    for sample in 0..samples {
        let mut row = vec![Cell::number(sample.to_string())];
        for output in &outputs {
            let values = output.of(sample);
            let mut texts: Vec<String> = values.iter().take(SHOWN).map(number).collect();
            if values.len() > SHOWN {
                texts.push(format!("… {} more", values.len() - SHOWN));
            }
            row.push(Cell::new(texts.join(" ")).style(screen::PLAIN));
            if output.has_best() {
                row.push(
                    Cell::number(best(values).map(|at| at.to_string()).unwrap_or_default())
                        .style(screen::BOLD),
                );
            }
        }
        row.push(match hard.contains(&sample) {
            true => Cell::new("hard").style(screen::WAITING),
            false => Cell::new(""),
        });
        table.row(row);
    }
    let mut text = table.render(width) + "\n";
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("{} {value}\n", screen::styled(&format!("{name:<12}"), screen::DIM)));
        }
    };
    field("Answered by", written(&parameters["answered_by"]));
    let version = written(&answer["model_version"]);
    field("Version", version);
    if !hard.is_empty() {
        field("Hard", format!("{} of {samples} samples", hard.len()));
    }
    text
}

/// Four decimals at most.
fn number(value: &Value) -> String {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(float) if float.abs() < 0.001 && float != 0.0 => format!("{float:.1e}"),
        Some(float) => decimal(float),
        None => written(value),
    }
}

/// The place of the largest value.
fn best(values: &[Value]) -> Option<usize> {
    let numbers = values.iter().map(|value| value.as_f64().unwrap_or(f64::NEG_INFINITY));
    numbers.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

/// An output.
struct Tensor {
    name: String,
    samples: usize,
    per_sample: usize,
    floats: bool,
    data: Vec<Value>,
}

impl Tensor {
    fn read(output: &Value) -> Self {
        let data = output["data"].as_array().map(|data| flat(data)).unwrap_or_default();
        let first = output["shape"].as_array().and_then(|shape| shape.first()).and_then(Value::as_u64);
        let samples = first.and_then(|samples| usize::try_from(samples).ok()).unwrap_or(1).min(data.len());
        Self {
            name: written(&output["name"]),
            samples,
            per_sample: data.len().checked_div(samples).unwrap_or(0),
            floats: output["datatype"].as_str().is_some_and(|kind| kind.contains("FP") || kind == "BF16"),
            data,
        }
    }

    fn of(&self, sample: usize) -> &[Value] {
        let from = sample * self.per_sample;
        self.data.get(from..from + self.per_sample).unwrap_or_default()
    }

    /// Whether its values are scores of which one is the largest.
    fn has_best(&self) -> bool {
        self.floats && self.per_sample > 1
    }
}

/// The elements of arrays of arrays, in order.
fn flat(data: &[Value]) -> Vec<Value> {
    data.iter()
        .flat_map(|value| match value {
            Value::Array(inner) => flat(inner),
            one => vec![one.clone()],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_says_who_gave_it_and_what_was_hard() {
        let answer = json!({
            "model_name": "digits", "model_version": "0f3c9a1b2d4e",
            "outputs": [
                {"name": "probs", "shape": [2, 3], "datatype": "FP32", "data": [0.1, 0.85, 0.05, 0.4, 0.25, 0.35]},
                {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 0]},
            ],
            "parameters": {"answered_by": "cloud", "hard": true, "hard_samples": "1"},
        });
        let text = screen::plain(&shown(&answer, None));
        let text: String = text.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        insta::assert_snapshot!(text, @"
        SAMPLE   PROBS           BEST   LABEL   HARD
             0   0.1 0.85 0.05      1   1
             1   0.4 0.25 0.35      0   0       hard

        Answered by  cloud
        Version      0f3c9a1b2d4e
        Hard         1 of 2 samples
        ");
    }

    #[test]
    fn an_answer_that_is_none_makes_an_empty_table() {
        assert_eq!(screen::plain(&shown(&json!({"outputs": [{}]}), None)).lines().count(), 2);
    }
}
