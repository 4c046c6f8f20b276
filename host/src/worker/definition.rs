//! What the manager says of a worker, parsed: from here on its names are safe to use and its task is whole.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use sedge_api::node::{self, Comparison, WorkerRole, worker::Task as Wire};

use crate::artifacts::{Artifact, is_repository};
use crate::federation::aggregation::{Stop, Task};
use crate::federation::rounds::Terms;
use crate::learning;
use crate::nn::{GraphOptions, ModelOptions, Optimization, Provider};
use crate::serving;

/// A worker to run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) job_uid: String,
    pub(super) plugin: Artifact,
    pub(super) model: Option<Artifact>,
    /// How the model's graphs are to be computed.
    pub(super) options: ModelOptions,
    pub(super) parameters: String,
    /// Name for the guest to namespace/name.
    pub(super) datasets: BTreeMap<String, String>,
    pub(super) memory_bytes: u64,
    pub(super) call: Duration,
    pub(super) part: Part,
}

/// What it does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Train(Participation),
    Evaluate(Participation),
    Aggregate(Task),
    Serve(Box<serving::Task>),
    /// Lead the rounds of an incremental learning job.
    Learn(Box<learning::Task>),
    /// Measure for one.
    Assess(Box<learning::AssessTask>),
}

/// Whose rounds it joins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Participation {
    /// Empty while the aggregating node is not known.
    pub(super) endpoint: String,
    pub(super) token: String,
}

/// Longest deadline: a year, as resources have it.
const MAX_MILLIS: u64 = 365 * 24 * 3_600_000;

/// Whether a uid can be the name of a folder.
pub(super) fn is_uid(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

impl Definition {
    /// Err says what is wrong.
    pub(super) fn parse(worker: &node::Worker) -> Result<Self, String> {
        if !is_uid(&worker.uid) {
            return Err(format!("the uid `{}` is not one", worker.uid.escape_default()));
        }
        let plugin = worker.plugin.as_ref().ok_or("it names no plugin")?;
        let limits = worker.limits.unwrap_or_default();
        if limits.memory_bytes == 0 || limits.call_millis == 0 {
            return Err("its limits are missing".to_owned());
        }
        let parameters = if worker.parameters.is_empty() { "{}" } else { &worker.parameters };
        if !serde_json::from_str::<serde_json::Value>(parameters).is_ok_and(|value| value.is_object()) {
            return Err("its parameters are not a JSON object".to_owned());
        }
        let model = worker.model.as_ref().map(Artifact::parse).transpose()?;
        let part = match (worker.role(), &worker.task) {
            (WorkerRole::Trainer, Some(Wire::Participation(task))) => Part::Train(participation(task)),
            (WorkerRole::Evaluator, Some(Wire::Participation(task))) => Part::Evaluate(participation(task)),
            (WorkerRole::Aggregator, Some(Wire::Aggregation(task))) => Part::Aggregate(aggregation(task)?),
            (WorkerRole::Inferencer, Some(Wire::Serving(task))) => {
                Part::Serve(Box::new(serving::Task::parse(task)?))
            }
            (WorkerRole::Trainer, Some(Wire::Learning(task))) => {
                Part::Learn(Box::new(learning::Task::parse(task)?))
            }
            (WorkerRole::Evaluator, Some(Wire::Assessment(task))) => {
                Part::Assess(Box::new(learning::AssessTask::parse(task)?))
            }
            (role, _) => {
                return Err(format!("this node does not run the role {} with that task", role.as_str_name()));
            }
        };
        if matches!(part, Part::Aggregate(_)) && model.is_none() {
            return Err("an aggregator needs a model to begin with".to_owned());
        }
        Ok(Self {
            uid: worker.uid.clone(),
            name: worker.name.clone(),
            job_uid: worker.job_uid.clone(),
            plugin: Artifact::parse(plugin)?,
            model,
            options: model_options(worker)?,
            parameters: parameters.to_owned(),
            datasets: worker
                .datasets
                .iter()
                .map(|grant| (grant.name.clone(), grant.dataset.clone()))
                .collect(),
            memory_bytes: limits.memory_bytes,
            call: Duration::from_millis(limits.call_millis.min(MAX_MILLIS)),
            part,
        })
    }
}

impl Definition {
    /// Whether what serves by this definition serves by the other as well, on other terms at most.
    pub(super) fn is_made_as(&self, other: &Self) -> bool {
        let (Part::Serve(ours), Part::Serve(theirs)) = (&self.part, &other.part) else { return false };
        let made = |it: &Self| {
            (
                it.plugin.clone(),
                it.model.clone(),
                it.options.clone(),
                it.parameters.clone(),
                it.memory_bytes,
                it.call,
            )
        };
        made(self) == made(other)
            && (&ours.service, ours.is_cloud, &ours.recipe)
                == (&theirs.service, theirs.is_cloud, &theirs.recipe)
    }
}

fn model_options(worker: &node::Worker) -> Result<ModelOptions, String> {
    let of = |options: Option<&node::EngineOptions>| {
        options.map_or_else(|| Ok(GraphOptions::default()), graph_options)
    };
    let graph = |graph: &node::GraphOptions| Ok((graph.graph.clone(), of(graph.options.as_ref())?));
    Ok(ModelOptions {
        default: of(worker.engine.as_ref())?,
        graphs: worker.graph_engines.iter().map(graph).collect::<Result<_, String>>()?,
    })
}

fn graph_options(options: &node::EngineOptions) -> Result<GraphOptions, String> {
    let is_name =
        |name: &str| name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !is_name(&options.name) {
        return Err(format!(
            "`{:.100}` is not the name of an engine",
            options.name.escape_default().to_string()
        ));
    }
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = usize::try_from(options.threads).unwrap_or(usize::MAX).min(processors);
    Ok(GraphOptions {
        engine: (!options.name.is_empty()).then(|| options.name.clone()),
        threads: u16::try_from(threads).ok().and_then(NonZeroU16::new),
        optimization: match options.optimization() {
            node::Optimization::Unspecified => None,
            node::Optimization::None => Some(Optimization::None),
            node::Optimization::Basic => Some(Optimization::Basic),
            node::Optimization::Extended => Some(Optimization::Extended),
            node::Optimization::All => Some(Optimization::All),
        },
        provider: match options.provider() {
            node::Provider::Unspecified | node::Provider::Cpu => Provider::Cpu,
            node::Provider::Cuda => Provider::Cuda,
        },
    })
}

fn participation(task: &node::Participation) -> Participation {
    Participation { endpoint: task.endpoint.clone(), token: task.token.clone() }
}

fn aggregation(task: &node::Aggregation) -> Result<Task, String> {
    if task.rounds == 0 || task.deadline_millis == 0 {
        return Err("its number of rounds or its deadline is missing".to_owned());
    }
    if !(task.fraction > 0.0 && task.fraction <= 1.0) {
        return Err(format!("its fraction {} is not above 0 and at most 1", task.fraction));
    }
    if !is_repository(&task.result_repository) {
        return Err(format!("`{}` is not the name of a repository", task.result_repository));
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if task.result_tag.is_empty() || task.result_tag.len() > 128 || !task.result_tag.bytes().all(inner) {
        return Err(format!("`{}` is not a tag", task.result_tag.escape_default()));
    }
    let stop = match &task.stop {
        None => None,
        Some(stop) => Some(Stop {
            metric: stop.metric.clone(),
            at_least: match stop.comparison() {
                Comparison::AtLeast => true,
                Comparison::AtMost => false,
                Comparison::Unspecified => return Err("its stop condition compares to nothing".to_owned()),
            },
            threshold: stop.threshold,
        }),
    };
    Ok(Task {
        rounds: task.rounds,
        terms: Terms {
            minimum: task.minimum.max(1) as usize,
            fraction: task.fraction,
            deadline: Duration::from_millis(task.deadline_millis.min(MAX_MILLIS)),
        },
        trainers: task.trainers.iter().cloned().collect(),
        evaluators: task.evaluators.iter().cloned().collect(),
        token: task.token.clone(),
        stop,
        repository: task.result_repository.clone(),
        tag: task.result_tag.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trainer() -> node::Worker {
        let digest = sedge_api::Digest::of(b"p").to_string();
        node::Worker {
            uid: "0a-1b".to_owned(),
            name: "job-trainer-0".to_owned(),
            role: WorkerRole::Trainer.into(),
            plugin: Some(node::Artifact { repository: "plugins/p".to_owned(), digest }),
            limits: Some(node::Limits { memory_bytes: 1 << 20, call_millis: 1000 }),
            task: Some(Wire::Participation(node::Participation::default())),
            ..node::Worker::default()
        }
    }

    #[test]
    fn a_whole_definition_is_taken() {
        let definition = Definition::parse(&trainer()).unwrap();
        assert_eq!(definition.parameters, "{}");
        assert_eq!(definition.part, Part::Train(participation(&node::Participation::default())));
    }

    #[test]
    fn options_are_the_models_or_the_graphs_own() {
        let options = |name: &str, threads| {
            let name = name.to_owned();
            Some(node::EngineOptions { name, threads, ..Default::default() })
        };
        let infer = node::GraphOptions { graph: "infer".to_owned(), options: options("rten", 1) };
        let worker = node::Worker { engine: options("", u32::MAX), graph_engines: vec![infer], ..trainer() };
        let options = Definition::parse(&worker).unwrap().options;
        let processors = std::thread::available_parallelism().unwrap().get();
        let train = options.of("train");
        assert_eq!(train.engine, None);
        assert_eq!(usize::from(train.threads.unwrap().get()), processors);
        assert_eq!(options.of("infer").engine.as_deref(), Some("rten"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut node::Worker);
        let cases: [(Change, &str); 7] = [
            (
                |worker| {
                    worker.engine =
                        Some(node::EngineOptions { name: "Rten\n".to_owned(), ..Default::default() })
                },
                "engine",
            ),
            (|worker| worker.uid = "../x".to_owned(), "uid"),
            (|worker| worker.plugin = None, "plugin"),
            (|worker| worker.limits = None, "limits"),
            (|worker| worker.parameters = "[]".to_owned(), "JSON object"),
            (|worker| worker.set_role(WorkerRole::Miner), "WORKER_ROLE_MINER"),
            (|worker| worker.task = Some(Wire::Aggregation(node::Aggregation::default())), "TRAINER"),
        ];
        for (change, word) in cases {
            let mut worker = trainer();
            change(&mut worker);
            let error = Definition::parse(&worker).unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
