//! `cargo xtask demo incremental`: two streams that drift, each with a job that keeps a model good, beside the same model
//! without one and a model that was trained on everything at once. As a table while it happens, and as a picture.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sedge_client::Client;
use sedge_testbed::drift::{self, Step, Stream};
use sedge_testbed::{Platform, eventually};
use serde_json::{Value, json};

use super::plot::{Line, Mark, Plot};
use super::{BAD, BOLD, DIM, GOOD, bar};
use crate::build::{self, Profile};
use crate::shell;

const NODE: &str = "edge-1";
const SEED: u64 = 0;
const PATIENCE: Duration = Duration::from_secs(120);
/// How far below a model that was trained on everything the job may end.
const REGAINED: f64 = 0.03;

/// Show it.
pub fn run(exit: bool) -> Result<()> {
    let built = build::everything(Profile::Dev)?;
    let folder = super::folder("demo")?;
    shell::say("Starting", "sedge up: manager, cloud node and one edge node in one process");
    let platform = Platform::up_in(&built, 1, &folder)?;
    shell::say(
        "Uploading",
        "plugins sgd-trainer, evaluator, onnx-inferencer; models digits-mlp, electricity-mlp",
    );
    platform.push_plugins(&["sgd-trainer", "evaluator", "onnx-inferencer"])?;
    platform.push_digits_model()?;
    let model = shell::root().join("tests/data/electricity-mlp").display().to_string();
    platform.cli.run(&["model", "push", &model, "electricity-mlp:1"])?;

    let digits = Example {
        name: "digits",
        title: "Handwritten digits",
        unit: "week",
        weeks: 1,
        stream: drift::digits(SEED)?,
        platform: &platform,
    };
    let electricity = Example {
        name: "electricity",
        title: "Does the price of electricity rise?",
        unit: "weeks",
        weeks: 4,
        stream: drift::electricity()?,
        platform: &platform,
    };
    let mut pictures = Vec::new();
    for example in [&digits, &electricity] {
        let picture = example.show(&folder).map_err(|error| platform.with_logs(error))?;
        pictures.push(picture);
    }
    anstream::println!("\n{BOLD}Versions of `digits`{BOLD:#} {DIM}sedge model history digits{DIM:#}\n");
    anstream::print!("{}", platform.cli.run(&["model", "history", "digits"])?);
    anstream::println!();
    for picture in pictures {
        anstream::println!("{BOLD}Picture{BOLD:#}  {}", picture.display());
    }
    let further = [
        ("sedge describe ilj digits".to_owned(), "the job, its rounds and why"),
        ("sedge model diff digits".to_owned(), "what the deployed version changed"),
        ("sedge model rollback digits".to_owned(), "the version before it serves again"),
        ("sedge top".to_owned(), "what the services answer"),
    ];
    super::look_further(&built.sedge, &folder.join("data/kubeconfig"), &further);
    super::linger(exit)
}

/// A stream and the job that learns from it.
struct Example<'a> {
    /// Of the job and its service.
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    /// Of a step.
    weeks: usize,
    stream: Stream,
    platform: &'a Platform,
}

/// Shares of right answers in a step.
struct Seen {
    /// By the first version, which nobody keeps good.
    without: f64,
    /// Before the job had anything of the step; none in the first.
    arrival: Option<f64>,
    /// Once it had learnt it.
    learnt: f64,
}

/// What a round came to.
struct Round {
    outcome: String,
    version: u64,
    took: Duration,
}

impl Example<'_> {
    /// Show it, and draw it into the folder.
    fn show(&self, folder: &Path) -> Result<PathBuf> {
        let file = format!("examples/drift/{}.yaml", self.name);
        let steps = &self.stream.steps;
        let (rows, asked) = (steps[0].rows.len(), steps[0].asked.len());
        anstream::println!();
        shell::say("Applying", format!("{file}: {rows} rows arrive a step, {asked} and more are asked"));
        let client = self.platform.client(NODE)?;
        let stream = self.platform.datasets(NODE).join(format!("{}-stream.csv", self.name));
        self.stream.append(&steps[..1], &stream)?;
        let begun = Instant::now();
        self.platform.cli.run(&["apply", "-f", &shell::root().join(&file).display().to_string()])?;
        let mut round = self.learnt(self.name, rows, begun)?;
        let unattended = self.unattended(&client, &steps[0])?;

        anstream::println!(
            "\n{BOLD}{:>6}  {:<21} {:>7}  {:>8}  {:>6}  {:<20} {:<13} {:>6}{BOLD:#}",
            self.unit.to_uppercase(),
            "NEW",
            "WITHOUT",
            "ARRIVING",
            "LEARNT",
            "",
            "VERSION",
            "TOOK"
        );
        let mut seen: Vec<Seen> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            let arrival = match number {
                0 => None,
                _ => Some(step.accuracy(&client, self.name)?),
            };
            if number > 0 {
                self.stream.append(&steps[number..=number], &stream)?;
                let arrived = steps[..=number].iter().map(|step| step.rows.len()).sum();
                round = self.learnt(self.name, arrived, Instant::now())?;
            }
            let without = step.accuracy(&client, &unattended)?;
            let now = Seen { without, arrival, learnt: step.accuracy(&client, self.name)? };
            anstream::println!("{}", self.line(number, step, &now, &round));
            seen.push(now);
        }
        let everything = self.everything(&client)?;
        self.conclude(&seen, everything)?;
        let picture = folder.join(format!("{}.svg", self.name));
        std::fs::write(&picture, self.plot(&seen, everything).svg())
            .with_context(|| picture.display().to_string())?;
        Ok(picture)
    }

    /// Wait until the job has done a round with that many rows.
    fn learnt(&self, job: &str, rows: usize, begun: Instant) -> Result<Round> {
        let mut found = None;
        let what = format!("a round of `{job}` with {rows} rows");
        eventually(&what, PATIENCE, || {
            let status = self.job(job)?["status"].clone();
            if status["phase"] == "Failed" {
                bail!("the job failed: {}", status["reason"]);
            }
            let learning = &status["learning"];
            let last = learning["rounds"].as_array().and_then(|rounds| rounds.last());
            let ends = |range: &Value| range["end"].as_u64();
            let end = last.and_then(|round| round["data"].as_array()?.iter().filter_map(ends).max());
            if end == Some(rows as u64) && learning["current"].is_null() {
                let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
                found = last.map(|round| Round {
                    outcome: text(&round["outcome"]),
                    version: round["candidate"].as_u64().unwrap_or(0),
                    took: begun.elapsed(),
                });
            }
            Ok(found.is_some())
        })?;
        found.context("it was found")
    }

    fn job(&self, name: &str) -> Result<Value> {
        self.platform.cli.get(&format!("incrementallearningjobs {name}"))
    }

    /// A service of the first version, which no job looks after.
    fn unattended(&self, client: &Client, first: &Step) -> Result<String> {
        let name = format!("{}-unattended", self.name);
        let mut model = None;
        eventually("the first version to be uploaded", PATIENCE, || {
            let told = self.job(self.name)?["status"]["told"].clone();
            model = told["model"]["reference"].as_str().filter(|_| told["version"] == 1).map(str::to_owned);
            Ok(model.is_some())
        })?;
        let service = json!({
            "apiVersion": "sedge.dev/v1alpha1",
            "kind": "JointInferenceService",
            "metadata": {"name": name},
            "spec": {"edge": {"plugin": "onnx-inferencer:0.1.0", "model": model, "nodes": {"names": [NODE]}}},
        });
        self.platform.cli.apply(&service.to_string())?;
        eventually("the first version to answer by itself", PATIENCE, || {
            Ok(first.accuracy(client, &name).is_ok())
        })?;
        Ok(name)
    }

    /// What a model that learnt all steps at once answers rightly in the last.
    fn everything(&self, client: &Client) -> Result<f64> {
        let name = format!("{}-everything", self.name);
        let steps = &self.stream.steps;
        self.stream.append(steps, &self.platform.datasets(NODE).join(format!("{name}.csv")))?;
        let stream = self.platform.cli.get(&format!("datasets {}-stream", self.name))?;
        let mut dataset = json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "Dataset", "metadata": {"name": name}, "spec": stream["spec"],
        });
        dataset["spec"]["path"] = json!(format!("{name}.csv"));
        let mut job = json!({
            "apiVersion": "sedge.dev/v1alpha1", "kind": "IncrementalLearningJob", "metadata": {"name": name},
            "spec": self.job(self.name)?["spec"],
        });
        job["spec"]["dataset"] = json!(name);
        self.platform.cli.apply(&dataset.to_string())?;
        self.platform.cli.apply(&job.to_string())?;
        self.learnt(&name, steps.iter().map(|step| step.rows.len()).sum(), Instant::now())?;
        steps.last().context("a stream has steps")?.accuracy(client, &name)
    }

    fn line(&self, number: usize, step: &Step, seen: &Seen, round: &Round) -> String {
        let arrival = seen.arrival.map_or_else(|| "-".to_owned(), |arrival| format!("{arrival:.3}"));
        let colour = if seen.without < seen.learnt - 0.1 { BAD } else { DIM };
        let last = (number + 1) * self.weeks;
        let weeks = match self.weeks {
            1 => last.to_string(),
            weeks => format!("{}–{last}", last + 1 - weeks),
        };
        let outcome = match round.outcome.as_str() {
            "Deployed" => "deployed".to_owned(),
            "KeptOut" => "kept out".to_owned(),
            other => other.to_lowercase(),
        };
        format!(
            "{weeks:>6}  {:<21} {colour}{:>7.3}{colour:#}  {arrival:>8}  {:>6.3}  {GOOD}{:<20}{GOOD:#} {:>3} {outcome:<9} {DIM}{:>4.1} s{DIM:#}",
            step.new,
            seen.without,
            seen.learnt,
            bar(seen.learnt, 20),
            round.version,
            round.took.as_secs_f64(),
        )
    }

    fn conclude(&self, seen: &[Seen], everything: f64) -> Result<()> {
        let last = seen.last().context("a stream has steps")?;
        let mean = |of: &dyn Fn(&Seen) -> f64| {
            seen.iter().skip(1).map(of).sum::<f64>() / (seen.len() - 1).max(1) as f64
        };
        let (without, arrival) = (mean(&|seen| seen.without), mean(&|seen| seen.arrival.unwrap_or(0.0)));
        let learnt = mean(&|seen| seen.learnt);
        anstream::println!();
        for (name, value) in [
            (
                "In the end",
                format!(
                    "{BOLD}{:.3} with the job{BOLD:#}, {:.3} without, {everything:.3} by a model trained on everything at once",
                    last.learnt, last.without
                ),
            ),
            (
                "All along",
                format!(
                    "{learnt:.3} with the job ({arrival:.3} before it had learnt what was new), {without:.3} without"
                ),
            ),
        ] {
            anstream::println!("{BOLD}{name:<10}{BOLD:#} {value}");
        }
        if last.learnt < everything - REGAINED {
            bail!(
                "the job of `{}` ends at {:.3}, more than {REGAINED} below a model trained on everything ({everything:.3})",
                self.name,
                last.learnt
            );
        }
        Ok(())
    }

    fn plot(&self, seen: &[Seen], everything: f64) -> Plot {
        let weeks = |step: f64| step * self.weeks as f64;
        // What is asked falls and rises within a step: as it begins, and once it is learnt.
        let job = seen.iter().zip(0_u32..).flat_map(|(seen, step)| {
            let begins = seen.arrival.map(|arrival| (weeks(f64::from(step) + 0.15), arrival));
            begins.into_iter().chain([(weeks(f64::from(step) + 0.85), seen.learnt)])
        });
        let without =
            seen.iter().zip(0_u32..).map(|(seen, step)| (weeks(f64::from(step) + 0.5), seen.without));
        let steps = self.stream.steps.iter().zip(0_u32..).filter(|(step, _)| !step.new.is_empty());
        Plot {
            title: self.title,
            across: "weeks",
            up: "share of right answers",
            until: weeks(seen.len() as f64),
            lines: vec![
                Line { name: "without", colour: "#c2410c", dashed: false, points: without.collect() },
                Line { name: "with the job", colour: "#15803d", dashed: false, points: job.collect() },
                Line {
                    name: "all at once",
                    colour: "#64748b",
                    dashed: true,
                    points: vec![
                        (weeks(seen.len() as f64 - 1.0), everything),
                        (weeks(seen.len() as f64), everything),
                    ],
                },
            ],
            marks: steps.map(|(step, at)| Mark { at: weeks(f64::from(at)), text: step.new }).collect(),
        }
    }
}
