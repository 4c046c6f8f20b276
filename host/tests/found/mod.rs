//! Where tests and benches find the libraries of engines, and what it means where they do not.
//!
//! The library itself is told by whoever starts a node; the program looks in the same places, see `src/platform.rs`.

#![allow(dead_code, reason = "each user takes what it needs")]

use std::path::PathBuf;

/// What `ORT_DYLIB_PATH` names.
pub fn onnxruntime() -> Option<PathBuf> {
    std::env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The folder that `cargo xtask setup --engine NAME` fills.
pub fn folders() -> Vec<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/share"));
    absolute("XDG_DATA_HOME").or_else(home).map(|data| data.join("sedge/engines")).into_iter().collect()
}

/// Says that what follows is skipped, because `engine` is not there. `SEDGE_REQUIRE_ONNXRUNTIME=1` makes it a failure
/// of ONNX Runtime: `cargo xtask test`, which has fetched the library, sets it.
pub fn skipped(engine: &str, reason: &str) {
    let required = std::env::var_os("SEDGE_REQUIRE_ONNXRUNTIME").is_some_and(|value| value == "1");
    assert!(!(required && engine == "onnxruntime"), "{engine} must be there: {reason}");
    eprintln!("skipped: {engine}: {reason}");
}
