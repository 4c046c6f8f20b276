//! How a weight moves, given its gradient. What an optimiser remembers is further weights, all f32, so that it goes
//! round with the others and federated averaging averages it too.

use super::error::TrainError;
use super::graph::Graph;

/// How a weight `w` moves, given its gradient `g` and the learning rate `lr`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// `w − lr · g`.
    Sgd,
    /// Heavy ball (Polyak 1964), as PyTorch's SGD has it: `v = momentum · v + g`, `w − lr · v`. Remembers `v` as
    /// `NAME.velocity`.
    Momentum {
        /// Share of the old velocity that stays, 0.9 by custom.
        momentum: f32,
    },
    /// Adam (Kingma and Ba 2015, <https://arxiv.org/abs/1412.6980>, algorithm 1): `m = β₁·m + (1 − β₁)·g`,
    /// `v = β₂·v + (1 − β₂)·g²`, `w − lr · m̂ / (√v̂ + ε)` with `m̂ = m / (1 − β₁ᵗ)` and `v̂ = v / (1 − β₂ᵗ)`.
    /// Remembers `m` and `v` as `NAME.mean` and `NAME.square`, and the two divisors as `adam.mean` and
    /// `adam.square`: `c = β·c + (1 − β)` from 0 is `1 − βᵗ`, more exactly than a power in f32, and stays right when
    /// nodes that took different numbers of steps are averaged.
    Adam {
        /// β₁, 0.9 by custom.
        beta1: f32,
        /// β₂, 0.999 by custom.
        beta2: f32,
        /// ε, 1e-8 by custom.
        epsilon: f32,
    },
}

/// Something that an optimiser remembers, at first all zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its name as a weight.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Optimizer {
    /// Refuses numbers with which nothing converges.
    pub fn check(self) -> Result<(), TrainError> {
        let share = |name: &str, value: f32| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(TrainError::Options(format!("{name} is {value}, but must be from 0 to below 1"))),
        };
        match self {
            Self::Sgd => Ok(()),
            Self::Momentum { momentum } => share("momentum", momentum),
            Self::Adam { beta1, beta2, epsilon } => {
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                match epsilon.is_finite() && epsilon > 0.0 {
                    true => Ok(()),
                    false => Err(TrainError::Options(format!("epsilon is {epsilon}, but must be above 0"))),
                }
            }
        }
    }

    /// Writes `NAME.next` for each weight (name, shape, gradient), and gives what is remembered, whose `.next` is
    /// written too.
    pub fn write(self, graph: &mut Graph, weights: &[(String, Vec<usize>, String)]) -> Vec<State> {
        let mut states = Vec::new();
        let mut state = |graph: &mut Graph, name: &str, shape: &[usize]| {
            let name = graph.name(name);
            states.push(State { name: name.clone(), shape: shape.to_vec() });
            name
        };
        let corrections = match self {
            Self::Adam { beta1, beta2, .. } => {
                Some([("adam.mean", beta1), ("adam.square", beta2)].map(|(name, beta)| {
                    let old = state(graph, name, &[1]);
                    let one = graph.scalar(1.0);
                    follow(graph, &old, &one, beta)
                }))
            }
            _ => None,
        };
        for (name, shape, gradient) in weights {
            let direction = match self {
                Self::Sgd => gradient.clone(),
                Self::Momentum { momentum } => {
                    let old = state(graph, &format!("{name}.velocity"), shape);
                    let kept = graph.scale(&old, momentum);
                    next(graph, "Add", [&kept, gradient], &old)
                }
                Self::Adam { beta1, beta2, epsilon } => {
                    let [mean_share, square_share] = corrections.as_ref().expect("Adam has its corrections");
                    let old = state(graph, &format!("{name}.mean"), shape);
                    let mean = follow(graph, &old, gradient, beta1);
                    let old = state(graph, &format!("{name}.square"), shape);
                    let square = graph.mul(gradient, gradient);
                    let square = follow(graph, &old, &square, beta2);
                    let mean = graph.div(&mean, mean_share);
                    let square = graph.div(&square, square_share);
                    let root = graph.unary("Sqrt", &square);
                    let epsilon = graph.scalar(epsilon);
                    let root = graph.add(&root, &epsilon);
                    graph.div(&mean, &root)
                }
            };
            let step = graph.mul(&direction, "lr");
            next(graph, "Sub", [name, &step], name);
        }
        states
    }
}

/// `share · old + (1 − share) · new` as the next value of `old`.
fn follow(graph: &mut Graph, old: &str, new: &str, share: f32) -> String {
    let kept = graph.scale(old, share);
    // In f64 first: 1 − 0.999 in f32 would be wrong in its fifth digit.
    let decimal: f64 = share.to_string().parse().unwrap_or(f64::from(share));
    let added = graph.scale(new, (1.0 - decimal) as f32);
    next(graph, "Add", [&kept, &added], old)
}

fn next(graph: &mut Graph, op: &str, inputs: [&str; 2], of: &str) -> String {
    let name = format!("{of}.next");
    graph.op_as(op, &inputs, vec![], &name);
    name
}
