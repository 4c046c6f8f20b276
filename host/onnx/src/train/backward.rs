//! Reverse-mode differentiation: from the loss back along the nodes, each node's rule turns the gradient of its
//! output into gradients of its inputs; what reaches a value along several ways is added up.
//!
//! For `L` a number and `y = f(a, b)`, the gradient of `a` is the gradient of `y` times the derivative of `f` by `a`
//! (Griewank and Walther, *Evaluating Derivatives*, 2008, chapter 3). [`gradients`](super::gradients) has the rules.

use std::collections::{HashMap, HashSet};

use crate::proto::{NodeProto, TensorProto};

use super::dim::Shape;
use super::error::TrainError;
use super::gradients;
use super::graph::Graph;
use super::node;
use super::shapes::Shapes;
use super::source::Node;

/// A node of the forward pass.
#[derive(Debug, Clone)]
pub struct Step {
    /// As the inference graph has it.
    pub node: Node,
    /// What its training form left for its gradient.
    pub normalised: Option<Normalised>,
}

/// Left by a normalisation `y = scale · x̂ + bias`.
#[derive(Debug, Clone)]
pub struct Normalised {
    /// x̂, of x's shape.
    pub x_hat: String,
    /// 1 / standard deviation, of x's rank.
    pub inverse: String,
}

impl Step {
    /// The node itself.
    pub fn proto(&self) -> &NodeProto {
        &self.node.proto
    }

    /// The name of input `at`.
    pub fn input(&self, at: usize) -> Result<&str, TrainError> {
        node::input(self.proto(), at).ok_or_else(|| self.refuse(format!("it has no input {at}")))
    }

    /// The name of its first output.
    pub fn output(&self) -> Result<&str, TrainError> {
        node::output(self.proto(), 0).ok_or_else(|| self.refuse("it has no output"))
    }

    /// It cannot be differentiated as it is.
    pub fn refuse(&self, why: impl Into<String>) -> TrainError {
        self.node.refuse(why)
    }
}

/// Gradients on their way back.
pub struct Backward<'a> {
    /// Where their nodes are written.
    pub graph: &'a mut Graph,
    /// Of the forward pass.
    pub shapes: &'a Shapes,
    /// What the file fixes and nothing trains.
    pub constants: HashMap<&'a str, &'a TensorProto>,
    /// Values that depend on what is trained.
    wanted: &'a HashSet<String>,
    gradients: HashMap<String, String>,
}

impl<'a> Backward<'a> {
    /// With the gradient of one value, the one nearest to the loss.
    pub fn new(
        graph: &'a mut Graph,
        shapes: &'a Shapes,
        constants: HashMap<&'a str, &'a TensorProto>,
        wanted: &'a HashSet<String>,
        seed: (String, String),
    ) -> Self {
        Self { graph, shapes, constants, wanted, gradients: HashMap::from([seed]) }
    }

    /// Goes back along `steps`; the gradients of all values that are wanted.
    pub fn run(mut self, steps: &[Step]) -> Result<HashMap<String, String>, TrainError> {
        for step in steps.iter().rev() {
            let reached = step.proto().output.iter().any(|output| self.gradients.contains_key(output));
            if !reached || !step.proto().input.iter().any(|input| self.wanted.contains(input)) {
                continue;
            }
            let rule = gradients::rule(step.proto()).ok_or_else(|| TrainError::NotDifferentiable {
                place: step.node.place.clone(),
                weights: vec![],
            })?;
            let first = step.output()?;
            if let Some(other) =
                step.proto().output.iter().skip(1).find(|name| self.gradients.contains_key(*name))
                && !gradients::of_all_outputs(step.proto())
            {
                return Err(step
                    .refuse(format!("the loss uses its output \"{other}\", of which there is no gradient")));
            }
            match self.gradients.get(first).cloned() {
                Some(gradient) => rule(&mut self, step, &gradient)?,
                None if gradients::of_all_outputs(step.proto()) => rule(&mut self, step, "")?,
                None => {}
            }
        }
        Ok(self.gradients)
    }

    /// The gradient of a value, if the loss depends on it.
    pub fn gradient(&self, name: &str) -> Option<&str> {
        self.gradients.get(name).map(String::as_str)
    }

    /// Whether the gradient of input `at` is needed.
    pub fn wants(&self, step: &Step, at: usize) -> bool {
        node::input(step.proto(), at).is_some_and(|name| self.wanted.contains(name))
    }

    /// The shape of a value that `step` reads or gives.
    pub fn shape(&self, step: &Step, name: &str) -> Result<Shape, TrainError> {
        self.shapes.of(name).cloned().ok_or_else(|| {
            step.refuse(format!(
                "the number of axes of \"{name}\" is known only when it is computed; fix the shapes before it when \
                 the model is exported, or freeze the weights before it"
            ))
        })
    }

    /// The sizes of a value's axes from `from` on, which its gradient needs to know.
    pub fn sizes(&self, step: &Step, name: &str, from: usize) -> Result<Vec<usize>, TrainError> {
        let shape = self.shape(step, name)?;
        let sizes = shape.get(from..).and_then(super::dim::sizes);
        sizes.ok_or_else(|| {
            step.refuse(format!(
                "the sizes of \"{name}\" are known only when it is computed; export the model with all sizes fixed \
                 but the batch's"
            ))
        })
    }

    /// Adds to the gradient of input `at`, whose shape `gradient` has.
    pub fn give(&mut self, step: &Step, at: usize, gradient: String) -> Result<(), TrainError> {
        let name = step.input(at)?;
        let sum = match self.gradients.get(name) {
            Some(before) => self.graph.op("Add", &[before, &gradient], vec![]),
            None => gradient,
        };
        self.gradients.insert(name.to_owned(), sum);
        Ok(())
    }

    /// Adds to the gradient of input `at`, which was broadcast to the shape of the output, which `gradient` has.
    pub fn give_reduced(&mut self, step: &Step, at: usize, gradient: String) -> Result<(), TrainError> {
        let output = self.shape(step, step.output()?)?;
        self.give_reduced_from(step, at, gradient, &output)
    }

    /// Adds to the gradient of input `at`, which was broadcast to `from`, which is the shape of `gradient`.
    pub fn give_reduced_from(
        &mut self,
        step: &Step,
        at: usize,
        gradient: String,
        from: &Shape,
    ) -> Result<(), TrainError> {
        let name = step.input(at)?;
        let shape = self.shape(step, name)?;
        let gradient = self.reduce(gradient, from, name, &shape);
        self.give(step, at, gradient)
    }

    /// Broadcasting repeats elements, so the gradient of one is the sum of its copies'.
    fn reduce(&mut self, gradient: String, from: &Shape, operand: &str, shape: &Shape) -> String {
        let added = from.len() - shape.len().min(from.len());
        let mut gradient = gradient;
        if added > 0 {
            let axes: Vec<i64> = (0..added as i64).collect();
            gradient = self.graph.reduce_sum(&gradient, Some(&axes), false);
        }
        let (mut axes, mut unclear) = (vec![], false);
        for (at, dim) in shape.iter().enumerate() {
            let to = &from[added + at];
            if dim == to || dim.size().is_some_and(|size| size != 1) {
                continue;
            }
            match dim.is(1) {
                true => axes.push(at as i64),
                false => unclear = true,
            }
        }
        if unclear {
            return self.reduce_at_run_time(&gradient, operand);
        }
        if axes.is_empty() { gradient } else { self.graph.reduce_sum(&gradient, Some(&axes), true) }
    }

    /// The axes to sum over are those on which the operand turns out to have size 1.
    fn reduce_at_run_time(&mut self, gradient: &str, operand: &str) -> String {
        let graph = &mut *self.graph;
        let shape = graph.unary("Shape", operand);
        let one = graph.int(1);
        let ones = graph.op("Equal", &[&shape, &one], vec![]);
        let ones = graph.to_float(&ones);
        let axes = graph.unary("NonZero", &ones);
        let axes = graph.squeeze(&axes, &[0]);
        let attributes = vec![node::with_int("keepdims", 1), node::with_int("noop_with_empty_axes", 1)];
        graph.op("ReduceSum", &[gradient, &axes], attributes)
    }
}
