//! What the manager says of a serving worker, parsed: `Serving` of the node protocol.

use std::time::Duration;

use sedge_api::node::{self, CloudAbsent, MiningStage, OffloadPayload, ServingSide, mining};

use super::batching::Batching;
use super::budget::Rates;
use super::examples::Bounds;
use super::mining::Stage;
use super::offload::Policy;
use super::pool::Sizes;
use crate::artifacts::Artifact;

/// Instances of one worker, and requests that wait for them.
const MAX_INSTANCES: u32 = 256;
const MAX_QUEUE: u32 = 1 << 16;
const MAX_BATCH: u32 = 1 << 16;
/// Longest a batch waits: more would be a defect.
const MAX_DELAY: Duration = Duration::from_secs(10);
const MAX_PROBES: usize = 16;
/// Longest deadline: a year, as resources have it.
const MAX_MILLIS: u64 = 365 * 24 * 3_600_000;

/// A service to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    /// What clients ask for.
    pub service: String,
    /// This is what edges ask.
    pub is_cloud: bool,
    pub recipe: Recipe,
    pub terms: Terms,
}

/// What a revision is made of, beside plugin, model and parameters: another recipe is another revision to prepare.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recipe {
    pub sizes: Sizes,
    pub batching: Option<Batching>,
    pub mining: Option<Mining>,
    pub keep: Option<Keep>,
}

/// Where hard examples are kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Keep {
    /// namespace/name of a Dataset of this node.
    pub dataset: String,
    pub bounds: Bounds,
}

/// A miner to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mining {
    pub stage: Stage,
    pub miner: Miner,
    /// A JSON object.
    pub parameters: String,
}

/// Which miner.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Miner {
    Builtin(String),
    Plugin { plugin: Artifact, memory_bytes: u64, call: Duration },
}

/// What may change without preparing anything.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Terms {
    pub revision: u64,
    pub offload: Option<Policy>,
    pub rollout: Rollout,
}

/// How a new revision is taken up.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rollout {
    /// Requests in the protocol's JSON.
    pub probes: Vec<String>,
    /// How long it may take to be ready, where another answers meanwhile.
    pub deadline: Option<Duration>,
    pub probation: Duration,
    /// Share of answers that may fail.
    pub error_budget: f64,
    /// An answer that takes longer counts as failed.
    pub latency_budget: Option<Duration>,
}

impl Task {
    /// Err says what is wrong.
    pub fn parse(task: &node::Serving) -> Result<Self, String> {
        if !is_service(&task.service) {
            return Err(format!("`{}` is not the name of a service", task.service.escape_default()));
        }
        let is_cloud = match task.side() {
            ServingSide::Edge => false,
            ServingSide::Cloud => true,
            ServingSide::Unspecified => return Err("it does not say which side it serves".to_owned()),
        };
        let minimum = task.min_instances.clamp(1, MAX_INSTANCES);
        let sizes = Sizes {
            minimum,
            maximum: task.max_instances.clamp(minimum, MAX_INSTANCES),
            queue: task.queue.clamp(1, MAX_QUEUE) as usize,
        };
        let batching = task.batching.filter(|batching| batching.max_batch > 1).map(|batching| Batching {
            samples: batching.max_batch.min(MAX_BATCH) as usize,
            delay: Duration::from_micros(batching.max_delay_micros.into()).min(MAX_DELAY),
        });
        let mining = task.mining.as_ref().map(mining).transpose()?;
        let offload = task.offload.as_ref().map(policy).transpose()?;
        if mining.as_ref().is_some_and(|mining| mining.stage == Stage::Inputs)
            && offload.as_ref().is_some_and(|offload| offload.sends_outputs)
        {
            return Err("it mines inputs, before there are the outputs that it is to send".to_owned());
        }
        Ok(Self {
            service: task.service.clone(),
            is_cloud,
            recipe: Recipe {
                sizes,
                batching,
                mining,
                keep: task.keep.as_ref().map(|keep| Keep {
                    dataset: keep.dataset.clone(),
                    bounds: Bounds {
                        bytes: keep.max_bytes,
                        age: Duration::from_millis(keep.max_age_millis.min(MAX_MILLIS)),
                    },
                }),
            },
            terms: Terms {
                revision: task.revision,
                offload,
                rollout: task.rollout.as_ref().map(rollout).transpose()?.unwrap_or_default(),
            },
        })
    }
}

impl Task {
    /// The plugin that mines, where it is one.
    pub fn miner_plugin(&self) -> Option<&Artifact> {
        match &self.recipe.mining.as_ref()?.miner {
            Miner::Plugin { plugin, .. } => Some(plugin),
            Miner::Builtin(_) => None,
        }
    }
}

/// Names become a part of URLs.
fn is_service(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    (1..=320).contains(&name.len()) && name.bytes().all(inner)
}

fn mining(mining: &node::Mining) -> Result<Mining, String> {
    let stage = match mining.stage() {
        MiningStage::Outputs | MiningStage::Unspecified => Stage::Outputs,
        MiningStage::Inputs => Stage::Inputs,
    };
    let miner = match &mining.miner {
        Some(mining::Miner::Builtin(name)) => Miner::Builtin(name.clone()),
        Some(mining::Miner::Plugin(plugin)) => {
            let limits = mining.limits.unwrap_or_default();
            if limits.memory_bytes == 0 || limits.call_millis == 0 {
                return Err("the miner's limits are missing".to_owned());
            }
            Miner::Plugin {
                plugin: Artifact::parse(plugin)?,
                memory_bytes: limits.memory_bytes,
                call: Duration::from_millis(limits.call_millis.min(MAX_MILLIS)),
            }
        }
        None => return Err("it mines, but not by which miner".to_owned()),
    };
    let parameters = if mining.parameters.is_empty() { "{}" } else { &mining.parameters };
    Ok(Mining { stage, miner, parameters: parameters.to_owned() })
}

fn policy(offload: &node::Offload) -> Result<Policy, String> {
    if offload.deadline_millis == 0 {
        return Err("the deadline of offload is missing".to_owned());
    }
    let rate = |name: &str, value: f64, most: f64| match value {
        0.0 => Ok(None),
        value if value > 0.0 && value <= most => Ok(Some(value)),
        value => Err(format!("offload's {name} of {value} is not above 0 and at most {most}")),
    };
    Ok(Policy {
        endpoint: offload.endpoint.clone(),
        deadline: Duration::from_millis(offload.deadline_millis.min(MAX_MILLIS)),
        hedge_after: (offload.hedge_after_micros > 0)
            .then(|| Duration::from_micros(offload.hedge_after_micros)),
        rates: Rates {
            per_second: rate("requests per second", offload.requests_per_second, f64::MAX)?,
            share: rate("share", offload.share, 1.0)?,
        },
        sends_outputs: offload.payload() == OffloadPayload::Outputs,
        fails_without_cloud: offload.absent() == CloudAbsent::Fail,
    })
}

fn rollout(rollout: &node::Rollout) -> Result<Rollout, String> {
    if !(0.0..=1.0).contains(&rollout.error_budget) {
        return Err(format!("the rollout's error budget of {} is not from 0 to 1", rollout.error_budget));
    }
    let millis = |millis: u64| Duration::from_millis(millis.min(MAX_MILLIS));
    let some = |given: u64| (given > 0).then(|| millis(given));
    Ok(Rollout {
        probes: rollout.probes.iter().take(MAX_PROBES).cloned().collect(),
        deadline: some(rollout.deadline_millis),
        probation: millis(rollout.probation_millis),
        error_budget: rollout.error_budget,
        latency_budget: some(rollout.latency_budget_millis),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> node::Serving {
        let offload = node::Offload { deadline_millis: 100, ..node::Offload::default() };
        node::Serving {
            service: "digits".to_owned(),
            side: ServingSide::Edge.into(),
            offload: Some(offload),
            ..node::Serving::default()
        }
    }

    #[test]
    fn what_is_left_out_is_the_least() {
        let task = Task::parse(&edge()).unwrap();
        assert_eq!(task.recipe.sizes, Sizes { minimum: 1, maximum: 1, queue: 1 });
        assert_eq!(task.recipe.batching, None);
        let policy = task.terms.offload.unwrap();
        assert_eq!((policy.rates, policy.hedge_after), (Rates::default(), None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut node::Serving);
        let cases: [(Change, &str); 6] = [
            (|task| task.service = "../x".to_owned(), "name of a service"),
            (|task| task.side = 0, "side"),
            (|task| task.mining = Some(node::Mining::default()), "miner"),
            (|task| task.offload = Some(node::Offload::default()), "deadline"),
            (|task| task.offload.as_mut().unwrap().share = 1.5, "share"),
            (
                |task| task.rollout = Some(node::Rollout { error_budget: -1.0, ..Default::default() }),
                "budget",
            ),
        ];
        for (change, word) in cases {
            let mut task = edge();
            change(&mut task);
            let error = Task::parse(&task).unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
