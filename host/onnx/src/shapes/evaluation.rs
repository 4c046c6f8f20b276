//! Goes through a graph and applies each operator's rule.

use std::collections::HashSet;

use super::Loops;
use super::operators::{self, Call};
use super::value::{Value, describe};
use crate::outline::{Attribute, Graph, Node, Outline, Slot};
use crate::signature::ElementType;

/// Nodes that are evaluated, at most, those of loops each time anew.
const MAX_EVALUATIONS: usize = 400_000;

/// What a graph allocates, node by node.
pub(super) struct Trace<'g> {
    pub graph: &'g Graph,
    /// One for each of its nodes.
    pub steps: Vec<Step<'g>>,
    /// Times that it is played: a second time stands for all others.
    pub rounds: usize,
}

pub(super) struct Step<'g> {
    pub node: &'g Node,
    /// Bytes of each output.
    pub made: Vec<(Slot, f64)>,
    pub scratch: f64,
    /// Of graphs in the node.
    pub inner: Vec<Trace<'g>>,
    /// Computed when the graph is loaded.
    pub constant: bool,
}

impl Trace<'_> {
    /// Of this graph and those inside.
    pub fn steps(&self) -> usize {
        self.steps.iter().map(|step| 1 + step.inner.iter().map(Trace::steps).sum::<usize>()).sum()
    }
}

pub(super) struct Evaluation {
    values: Vec<Option<Value>>,
    opset: i64,
    threads: f64,
    /// Whether what is asked is the memory for loading: shapes are what the file declares, and what follows from
    /// them is constant.
    loading: bool,
    left: usize,
    counted: HashSet<*const Node>,
    /// The first value of unknown size.
    pub unknown: Option<String>,
    /// Bytes of the largest value, and which it is.
    pub largest: (f64, String),
    /// Bytes of constants that are computed when the graph is loaded.
    pub folded: f64,
    pub loops: Loops,
}

impl Evaluation {
    pub fn new(outline: &Outline, threads: usize, loading: bool) -> Self {
        Self {
            values: vec![None; outline.slots],
            opset: outline.opset,
            threads: threads.max(1) as f64,
            loading,
            left: MAX_EVALUATIONS,
            counted: HashSet::new(),
            unknown: None,
            largest: (0.0, String::new()),
            folded: 0.0,
            loops: Loops::default(),
        }
    }

    pub fn set(&mut self, slot: Slot, value: Value) {
        self.values[slot] = Some(value);
    }

    /// What is known of a value; all have been looked at before those that take them.
    pub fn get(&self, slot: Slot) -> Value {
        self.values[slot].clone().unwrap_or_else(|| Value::unknown(ElementType::F64))
    }

    pub fn graph<'g>(&mut self, graph: &'g Graph) -> Trace<'g> {
        for (slot, constant) in &graph.constants {
            self.values[*slot] = Some(Value::from(constant));
        }
        let steps = graph.nodes.iter().map(|node| self.node(node)).collect();
        Trace { graph, steps, rounds: 1 }
    }

    fn node<'g>(&mut self, node: &'g Node) -> Step<'g> {
        let used = node.inputs.iter().flatten().chain(&node.captures);
        let fixed = used.clone().all(|&slot| self.values[slot].as_ref().is_some_and(|value| value.constant));
        let fixed = fixed && !node.operator.starts_with("Random") && !is_random(&node.operator);

        self.loops.constant |= fixed && iterates(&node.operator);

        let mut step = Step { node, made: Vec::new(), scratch: 0.0, inner: Vec::new(), constant: fixed };
        let mut known = None;
        if self.left == 0 {
            self.cannot_tell(node, "the graph has loops in loops that are too long to follow");
        } else {
            self.left -= 1;
            known = self.outputs(node, &mut step);
        }
        let mut outputs = known.unwrap_or_default().into_iter();
        for slot in &node.outputs {
            let output = outputs.next();
            let Some(slot) = slot else { continue };
            let mut output = output.unwrap_or_else(|| Value::unknown(ElementType::F32));
            // Sizes that the file declares are as good as constants to the engine that loads it.
            output.constant = fixed || (self.loading && output.exact().is_some());
            self.account(node, &output);
            step.made.push((*slot, output.bytes()));
            self.values[*slot] = Some(output);
        }
        step.constant =
            step.made.iter().all(|(slot, _)| self.values[*slot].as_ref().is_some_and(|v| v.constant));
        if self.loading && step.constant && node.operator != "Constant" && self.counted.insert(node) {
            self.folded += step.scratch + step.made.iter().map(|(_, bytes)| bytes).sum::<f64>();
        }
        if !step.scratch.is_finite() && self.relevant(step.constant) {
            self.cannot_tell(node, "what it needs while it computes has no known size");
        }
        step
    }

    /// None where it has no rule, or the rule cannot tell.
    fn outputs<'g>(&mut self, node: &'g Node, step: &mut Step<'g>) -> Option<Vec<Value>> {
        let graph = |name: &str| match node.attributes.get(name) {
            Some(Attribute::Graph(graph)) => Some(graph),
            _ => None,
        };
        let controls = if node.domain.is_empty() { node.operator.as_str() } else { "" };
        match controls {
            "If" => self.branches(node, graph("then_branch")?, graph("else_branch")?, step),
            "Loop" => self.repeat(node, graph("body")?, step),
            "Scan" => self.scan(node, graph("body")?, step),
            _ => {
                let inputs = node.inputs.iter().map(|slot| self.values[(*slot)?].as_ref()).collect();
                let outcome =
                    operators::apply(&Call { node, inputs, opset: self.opset, threads: self.threads })?;
                step.scratch = outcome.scratch;
                Some(outcome.outputs)
            }
        }
    }

    /// When loading, only what is computed then matters; when computing, only what is not.
    fn relevant(&self, constant: bool) -> bool {
        self.loading == constant
    }

    fn account(&mut self, node: &Node, output: &Value) {
        if !self.relevant(output.constant) || node.operator == "Constant" {
            return;
        }
        let bytes = output.bytes();
        if !bytes.is_finite() {
            let shape = describe(output.dims.as_deref());
            self.cannot_tell(node, &format!("it makes {}{shape}", output.element.name()));
        } else if bytes > self.largest.0 {
            let shape = describe(output.dims.as_deref());
            let words = format!("{} makes {}{shape}, {bytes:.0} bytes", node.label, output.element.name());
            self.largest = (bytes, words);
        }
    }

    fn cannot_tell(&mut self, node: &Node, why: &str) {
        self.unknown.get_or_insert_with(|| format!("{}: {why}", node.label));
    }
}

/// Whether the operator computes a graph in it many times over.
pub(super) fn iterates(operator: &str) -> bool {
    matches!(operator, "Loop" | "Scan")
}

fn is_random(operator: &str) -> bool {
    matches!(operator, "Multinomial" | "Bernoulli" | "Dropout")
}
