//! The memory that a compute takes, known before it begins.
//!
//! ```text
//!  Outline + shapes of the inputs ──▶ evaluation: the shape of every value ──▶ trace ──▶ arena ──▶ Bound
//!            (and elements of small ones)    │ operators: a rule each
//! ```
//!
//! An engine that allocates 100 GB takes its process down, for Rust aborts where an allocation fails; so the
//! host asks here first. Sizes are followed as ranges (see [`range`]), and so are the elements of small tensors,
//! from which graphs compute the shapes of others; what depends on the data is bounded where a bound exists
//! (`NonZero` finds no more than there is) and unknown elsewhere.
//!
//! What a trace of allocations comes to is computed by playing it through a pool of buffers that works as rten's
//! does, in the file's order and in the order that rten plans, and taking the larger: see [`arena`]. Beside
//! outputs it counts what engines need in between (packed and unrolled matrices, gathered rows), each factor
//! stated at its operator. No operator is taken to work in place, so the bound lies above what is really held;
//! tests compare it with rten's own allocations.

mod arena;
mod control;
mod evaluation;
mod operators;
mod order;
pub(crate) mod range;
mod value;

use std::collections::HashSet;

use super::outline::{Attribute, Graph, Outline, Slot};
use super::signature::ElementType;
use evaluation::Evaluation;
use range::Range;
use value::{MAX_NUMBERS, Value};

/// An input as it is about to be computed with.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// As the graph calls it.
    pub name: &'a str,
    /// The elements' type.
    pub element: ElementType,
    /// The shape.
    pub shape: &'a [usize],
    /// The elements, row major, of an input that [`Outline::deciding`] names; where there are at most
    /// [`MAX_DECIDING`].
    pub elements: Option<Vec<f64>>,
}

/// Elements of an input that are looked at, at most.
pub const MAX_DECIDING: usize = MAX_NUMBERS;

/// Memory that a compute, or loading, takes at most.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// So many bytes beside the inputs.
    Bytes {
        /// Of outputs and everything in between, at one time.
        bytes: u64,
        /// The largest single value: which node makes it, its shape and size. Empty where there is none.
        largest: String,
    },
    /// It depends on the data, or an operator is not known.
    Unknown {
        /// Which node makes a value of unknown size, and why.
        why: String,
    },
}

/// What is known of a graph's loops.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loops {
    /// The node whose rounds never end: whatever it is given, its condition stays true, and it has no number of
    /// rounds, or one so large that nobody waits for it.
    pub endless: Option<String>,
    /// Whether some depend on no input: an engine that folds constants goes round them when it loads the graph.
    pub constant: bool,
}

/// Bytes that are taken for small things: plans, shapes, lists.
const SMALL: f64 = 16.0 * 1024.0;
const SMALL_PER_NODE: f64 = 256.0;

impl Outline {
    /// The memory that a compute with such inputs takes beside them, with that many threads.
    pub fn bound(&self, given: &[Given<'_>], threads: usize) -> Bound {
        let mut evaluation = Evaluation::new(self, threads, false);
        let mut converted = 0.0;
        for input in &self.graph.inputs {
            let value = match given.iter().find(|given| given.name == input.name) {
                Some(given) => of_given(given),
                None => Value::unknown(input.element.unwrap_or(ElementType::F32)),
            };
            // Engines convert integers and truth values to types of their own.
            if value.element != ElementType::F32 {
                converted += value.bytes();
            }
            evaluation.set(input.slot, value);
        }
        let trace = evaluation.graph(&self.graph);
        if let Some(why) = evaluation.unknown {
            return Bound::Unknown { why };
        }
        let small = SMALL + SMALL_PER_NODE * trace.steps() as f64;
        let bytes = arena::peak(&trace) + converted + small;
        Bound::Bytes { bytes: whole(bytes), largest: evaluation.largest.1 }
    }

    /// The memory that engines take beside the file's own tensors when they load it and compute, once and for
    /// all, what depends on no input; and what its loops are.
    pub fn load_bound(&self) -> (Bound, Loops) {
        let mut evaluation = Evaluation::new(self, 1, true);
        for input in &self.graph.inputs {
            let element = input.element.unwrap_or(ElementType::F32);
            let dims = input.shape.as_ref().map(|shape| {
                shape.iter().map(|dim| dim.map_or(Range::SIZE, |dim| Range::from(dim as u64))).collect()
            });
            evaluation
                .set(input.slot, dims.map_or(Value::unknown(element), |dims| Value::tensor(element, dims)));
        }
        evaluation.graph(&self.graph);
        let bound = match evaluation.unknown {
            Some(why) => Bound::Unknown { why },
            None => Bound::Bytes { bytes: whole(evaluation.folded), largest: evaluation.largest.1 },
        };
        (bound, evaluation.loops)
    }

    /// Inputs whose elements, not only their shapes, may decide how large other values are.
    pub fn deciding(&self) -> Vec<&str> {
        let mut wanted = HashSet::new();
        want(&self.graph, &mut wanted);
        let decides = |slot: &Slot| wanted.contains(slot);
        self.graph
            .inputs
            .iter()
            .filter(|input| decides(&input.slot))
            .map(|input| input.name.as_str())
            .collect()
    }
}

fn of_given(given: &Given<'_>) -> Value {
    let dims = given.shape.iter().map(|&dim| Range::from(dim as u64)).collect();
    let numbers = given
        .elements
        .as_ref()
        .map(|elements| elements.iter().map(|&element| Range::new(element, element)).collect());
    Value::tensor(given.element, dims).with(numbers)
}

/// More than can be counted is counted as the most.
fn whole(bytes: f64) -> u64 {
    bytes.ceil() as u64
}

/// Adds the slots whose elements decide sizes, going backwards from where they do.
fn want(graph: &Graph, wanted: &mut HashSet<Slot>) {
    for node in graph.nodes.iter().rev() {
        let made = node.outputs.iter().flatten().any(|slot| wanted.contains(slot));
        let iterates = evaluation::iterates(&node.operator);
        for attribute in node.attributes.values() {
            let Attribute::Graph(inner) = attribute else { continue };
            if made || iterates {
                wanted.extend(&inner.outputs);
            }
            want(inner, wanted);
        }
        if iterates || (made && !matches!(node.operator.as_str(), "Shape" | "Size")) {
            wanted.extend(node.inputs.iter().flatten());
        } else {
            let deciding = operators::deciding(node).iter();
            wanted.extend(deciding.filter_map(|&at| node.inputs.get(at).copied().flatten()));
        }
    }
}

#[cfg(test)]
mod tests;
