//! The tensor engines of this build, one file each; nothing else names them.

mod rten;

use super::graph::Engine;

/// The preferred one first; `threads` per compute.
pub fn all(threads: usize) -> Vec<Box<dyn Engine>> {
    vec![Box::new(rten::Rten::new(threads))]
}
