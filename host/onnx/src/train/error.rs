//! Why no training graph was made of a model.

use std::fmt;

use crate::error::OnnxError;

/// A node, as a person finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its operator.
    pub op: String,
    /// Its name; empty where it has none.
    pub name: String,
    /// Its position among the graph's nodes, from 0.
    pub index: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "node {} ({})", self.index, self.op),
            name => write!(f, "node {} \"{name}\" ({})", self.index, self.op),
        }
    }
}

/// Why no training graph was made of a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The file is not one that can be worked on.
    #[error(transparent)]
    File(#[from] OnnxError),
    /// An operator without a gradient between weights and loss.
    #[error("{place} has no gradient here, and it lies between the loss and {}", quoted(.weights))]
    NotDifferentiable {
        /// The node.
        place: Place,
        /// Weights that the loss reaches through it: what to freeze.
        weights: Vec<String>,
    },
    /// An operator in a form that has no gradient here.
    #[error("{place}: {why}")]
    Node {
        /// The node.
        place: Place,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// A weight of a type that is not trained.
    #[error(
        "the weight \"{name}\" is {found}; weights are trained as float32: export the model so, or freeze it"
    )]
    WeightType {
        /// The weight.
        name: String,
        /// Its type.
        found: String,
    },
    /// Nothing to train.
    #[error("{0}")]
    NoWeights(String),
    /// A pattern that names no weight.
    #[error("no weight is called \"{pattern}\"; the weights are {}", quoted(.weights))]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What there is.
        weights: Vec<String>,
    },
    /// Inputs or outputs that the loss cannot be put on.
    #[error("{0}")]
    Ends(String),
    /// A number among the options that cannot be.
    #[error("{0}")]
    Options(String),
}

/// Names, the first few of many.
fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut text = names.iter().take(SHOWN).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
