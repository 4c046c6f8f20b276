//! Who hears workers in tests and benches.

#![allow(dead_code, clippy::unwrap_used, reason = "helpers of tests; each user takes what it needs")]

use std::sync::Mutex;

use sedge_host::runtime::{Metric, Observer};

/// Prints the worker's lines to standard error, where those of a plugin that fails are wanted.
pub struct Printed;

impl Observer for Printed {
    fn log(&self, line: &str) {
        eprintln!("{line}");
    }
    fn progress(&self, _: u64, _: u64, _: &[Metric]) {}
    fn should_stop(&self) -> bool {
        false
    }
}

/// Keeps the worker's lines.
#[derive(Default)]
pub struct Heard(Mutex<Vec<String>>);

impl Heard {
    /// Its lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Observer for Heard {
    fn log(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn progress(&self, _: u64, _: u64, _: &[Metric]) {}
    fn should_stop(&self) -> bool {
        false
    }
}
