//! What was wrong with data that was left out: the first problems as they are, the others as a number.

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// Problems found, bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problems {
    /// All there were.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Problem>,
    #[serde(skip)]
    shown: usize,
}

impl Problems {
    /// Keeps the first `shown`.
    pub fn new(shown: usize) -> Self {
        Self { count: 0, first: Vec::new(), shown }
    }

    /// None yet, and as many shown.
    pub fn emptied(&self) -> Self {
        Self::new(self.shown)
    }

    /// One more.
    pub fn add(&mut self, problem: Problem) {
        self.count += 1;
        if self.first.len() < self.shown {
            self.first.push(problem);
        }
    }

    /// These as well.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = self.shown.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }
}
