//! What is wrong with a trigger, for the person who wrote it.

use std::fmt;

use thiserror::Error;

/// A field that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its path within the trigger, e.g. `window.timeZone`.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Why there is no such trigger: all that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the trigger is not valid: {}", listed(.0))]
pub struct InvalidTrigger(pub Vec<Problem>);

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
}
