//! The tensor engines of this build, one file each; nothing else names them.
//!
//! `onnxruntime` comes first: it is the fastest, at the smallest graphs too, and takes the most operators. It
//! needs a library of ONNX Runtime, which is loaded when the node starts. `rten` is compiled in. `openvino`,
//! in builds with the feature of that name, comes last: it is there for Models that name it.

mod guard;
mod onnxruntime;
#[cfg(feature = "openvino")]
mod openvino;
mod rten;

use self::guard::{guard, with_stack};
use super::graph::Engine;
use super::options::EngineSettings;

/// An engine of this build that this node does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub engine: &'static str,
    /// What is missing, and what to do.
    pub reason: String,
    /// Whether it would be taken for graphs of which nobody says which engine is to compute them.
    pub preferred: bool,
}

/// The preferred one first, and those that are not there.
pub fn all(settings: &EngineSettings) -> (Vec<Box<dyn Engine>>, Vec<Missing>) {
    let (mut engines, mut missing) = (Vec::<Box<dyn Engine>>::new(), Vec::new());
    match onnxruntime::OnnxRuntime::open(settings) {
        Ok(engine) => engines.push(Box::new(engine)),
        Err(reason) => missing.push(Missing { engine: onnxruntime::NAME, reason, preferred: true }),
    }
    engines.push(Box::new(rten::Rten::new(settings.threads.max(1))));
    #[cfg(feature = "openvino")]
    match openvino::OpenVino::open(settings) {
        Ok(engine) => engines.push(Box::new(engine)),
        Err(reason) => missing.push(Missing { engine: openvino::NAME, reason, preferred: false }),
    }
    #[cfg(not(feature = "openvino"))]
    missing.push(Missing {
        engine: "openvino",
        reason: "this program was built without it: build it with `--features openvino`".to_owned(),
        preferred: false,
    });
    (engines, missing)
}
