//! What the schema of a JointInferenceService cannot say. Checked by the embedded API server before it stores
//! one, and by the reconciler, as a cluster's API server does not.

use std::fmt;

use serde_json::{Map, Value};

use super::super::ServingSide;
use super::{
    HardExampleMining, Instances, JointInferenceServiceSpec, MiningStage, RolloutPolicy, SentToCloud,
};
use crate::Period;

/// The largest sum of all probes as JSON: they are kept with every revision and Worker.
const PROBES_BYTES: usize = 256 << 10;
const LONGEST_DELAY: Period = Period::from_secs(10);

/// A field that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its path, e.g. `spec.edge.instances.minimum`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

impl JointInferenceServiceSpec {
    /// All that is wrong with it beyond what the schema says.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        problems.unless(!self.edge.nodes.is_empty(), "edge.nodes", "must have names or a selector");
        problems.serving("edge", self.edge.instances, self.edge.queue, self.edge.batching.as_ref());
        if let Some(cloud) = &self.cloud {
            problems.serving("cloud", cloud.instances, cloud.queue, cloud.batching.as_ref());
        }
        if let Some(mining) = &self.hard_example_mining {
            problems.mining("hardExampleMining", mining);
        }
        let mines_inputs =
            self.hard_example_mining.as_ref().is_some_and(|mining| mining.mine == MiningStage::Inputs);
        problems.unless(
            !(mines_inputs && self.offload.send == SentToCloud::Outputs),
            "offload.send",
            "must be inputs where samples are mined by their inputs: there are no outputs yet",
        );
        if let Some(after) = self.offload.hedge_after {
            let deadline = self.offload.deadline;
            problems.unless(
                after < deadline,
                "offload.hedgeAfter",
                &format!("must be less than the deadline of {deadline}: it is {after}"),
            );
        }
        let share = self.offload.share.unwrap_or(1.0);
        // Written so that NaN is refused too.
        problems.unless(share > 0.0 && share <= 1.0, "offload.share", "must be above 0 and at most 1");
        let rate = self.offload.requests_per_second.unwrap_or(1.0);
        problems.unless(rate > 0.0 && rate.is_finite(), "offload.requestsPerSecond", "must be above 0");
        problems.rollout("rollout", &self.rollout);
        problems.into()
    }

    /// A side of it, where it has that.
    pub const fn side(&self, side: ServingSide) -> Option<&super::Side> {
        match side {
            ServingSide::Edge => Some(&self.edge),
            ServingSide::Cloud => self.cloud.as_ref(),
        }
    }

    /// Whether `other` is the same but for the nodes: no new revision.
    pub fn same_but_nodes(&self, other: &Self) -> bool {
        let without = |spec: &Self| {
            let mut spec = spec.clone();
            spec.edge.nodes = super::NodeSelection::default();
            if let Some(cloud) = &mut spec.cloud {
                cloud.nodes = super::NodeSelection::default();
            }
            spec
        };
        without(self) == without(other)
    }
}

/// Problems of a spec as they are found; what kinds of resource that serve have in common is here once.
#[derive(Default)]
pub(in crate::resources) struct Problems(Vec<Problem>);

impl From<Problems> for Vec<Problem> {
    fn from(problems: Problems) -> Self {
        problems.0
    }
}

impl Problems {
    /// The field `spec.FIELD` is wrong.
    pub fn add(&mut self, field: &str, message: &str) {
        self.0.push(Problem { field: format!("spec.{field}"), message: message.to_owned() });
    }

    pub fn unless(&mut self, holds: bool, field: &str, message: &str) {
        if !holds {
            self.add(field, message);
        }
    }

    /// What answers requests.
    pub fn serving(
        &mut self,
        field: &str,
        instances: Instances,
        queue: u32,
        batching: Option<&super::Batching>,
    ) {
        let Instances { minimum, maximum } = instances;
        self.unless(minimum >= 1, &format!("{field}.instances.minimum"), "must be at least 1");
        self.unless(
            minimum <= maximum,
            &format!("{field}.instances.maximum"),
            &format!("must be at least the minimum: {maximum} is less than {minimum}"),
        );
        self.unless(queue >= 1, &format!("{field}.queue"), "must be at least 1");
        if let Some(batching) = batching {
            self.unless(batching.max_batch >= 1, &format!("{field}.batching.maxBatch"), "must be at least 1");
            self.unless(
                batching.max_delay <= LONGEST_DELAY,
                &format!("{field}.batching.maxDelay"),
                "must be at most 10s",
            );
        }
    }

    pub fn mining(&mut self, field: &str, mining: &HardExampleMining) {
        match (&mining.miner, &mining.plugin) {
            (None, None) => self.add(field, "must have a miner or a plugin"),
            (Some(_), Some(_)) => {
                let message = "must not be there beside a miner: name one of the two";
                self.add(&format!("{field}.plugin"), message);
            }
            _ => {}
        }
    }

    pub fn rollout(&mut self, field: &str, rollout: &RolloutPolicy) {
        let budget = (0.0..=1.0).contains(&rollout.error_budget);
        self.unless(budget, &format!("{field}.errorBudget"), "must be from 0 to 1");
        let mut bytes = 0_usize;
        for (at, probe) in rollout.probes.iter().enumerate() {
            bytes = bytes.saturating_add(Value::Object(probe.0.clone()).to_string().len());
            if let Err(why) = request(&probe.0) {
                self.add(&format!("{field}.probes[{at}]"), &why);
            }
        }
        self.unless(bytes <= PROBES_BYTES, &format!("{field}.probes"), "must be at most 256 KiB in all");
    }
}

/// Types of elements as the Open Inference Protocol names them.
const DATATYPES: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64",
    "BF16", "BYTES",
];

/// Why `probe` is no request of the Open Inference Protocol.
fn request(probe: &Map<String, Value>) -> Result<(), String> {
    let inputs = probe.get("inputs").and_then(Value::as_array).filter(|inputs| !inputs.is_empty());
    let inputs = inputs.ok_or("must be a request of the Open Inference Protocol: it has no `inputs`")?;
    for (at, input) in inputs.iter().enumerate() {
        let wrong = |why: String| format!("inputs[{at}]: {why}");
        let name = input.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| wrong("it has no `name`".to_owned()))?;
        let wrong = |why: &str| format!("inputs[{at}] (`{name}`): {why}");
        let shape = input.get("shape").and_then(Value::as_array).ok_or_else(|| wrong("it has no `shape`"))?;
        let elements = shape.iter().try_fold(1_u64, |count, size| count.checked_mul(size.as_u64()?));
        let elements = elements.ok_or_else(|| wrong("its `shape` must be whole numbers from 0"))?;
        let datatype = input.get("datatype").and_then(Value::as_str).unwrap_or_default();
        if !DATATYPES.contains(&datatype) {
            return Err(wrong(&format!("its `datatype` must be one of {}", DATATYPES.join(", "))));
        }
        let data = input.get("data").ok_or_else(|| wrong("it has no `data`"))?;
        let given = leaves(data, 0).ok_or_else(|| wrong("its `data` must be an array of numbers"))?;
        if given != elements {
            return Err(wrong(&format!("its `data` has {given} elements and its `shape` {elements}")));
        }
    }
    Ok(())
}

/// Elements of an array of arrays; none where it is no such thing.
fn leaves(data: &Value, depth: usize) -> Option<u64> {
    /// Dimensions of a tensor, at most.
    const DEEPEST: usize = 16;
    match data {
        Value::Array(items) if depth < DEEPEST => {
            items.iter().try_fold(0_u64, |sum, item| sum.checked_add(leaves(item, depth + 1)?))
        }
        Value::Number(_) | Value::Bool(_) | Value::String(_) if depth > 0 => Some(1),
        _ => None,
    }
}
