//! Libraries of ONNX Runtime that are none: the node goes on without, and says why. In a process of its own,
//! for a process has one library.

#![allow(clippy::unwrap_used, reason = "this is a test from its first line to its last")]

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use sedge_api::Digest;
use sedge_host::nn::{EngineSettings, GraphOptions, Graphs};

const TRAIN: &[u8] = include_bytes!("data/train-4-8-3.onnx");

/// A library that says what ONNX Runtime 1.10 says.
const OLD: &str = r#"
    struct base { const void* (*get_api)(unsigned); const char* (*get_version)(void); };
    static const void* get_api(unsigned version) { return 0; }
    static const char* get_version(void) { return "1.10.0"; }
    static const struct base it = { get_api, get_version };
    const struct base* OrtGetApiBase(void) { return &it; }
"#;

/// A library of something else.
const OTHER: &str = "int answer(void) { return 42; }";

/// The library of `source`; none where this system has no compiler for it.
fn compile(folder: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let (code, library) = (folder.join("code.c"), folder.join(name));
    std::fs::write(&code, source).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&code).status();
    built.is_ok_and(|status| status.success()).then_some(library)
}

/// Why a graph is not computed by ONNX Runtime; it is by another.
fn passed_over(settings: &EngineSettings) -> String {
    let graphs = Graphs::with(settings);
    assert!(graphs.engines().iter().all(|engine| !engine.starts_with("onnxruntime")));
    let load = |engine: Option<&str>| {
        let options = GraphOptions { engine: engine.map(str::to_owned), ..GraphOptions::default() };
        graphs.load(&Digest::of(TRAIN), &options, || Ok(Bytes::from_static(TRAIN)))
    };
    let choice = load(None).unwrap().choice;
    assert_eq!(choice.engine, "rten");
    let told = choice.passed_over[0].to_string();
    let why = told.strip_prefix("onnxruntime: ").unwrap().to_owned();

    let refused = load(Some("onnxruntime")).err().unwrap().message;
    assert!(refused.contains(&why), "{refused}");
    why
}

#[test]
fn a_library_that_is_none_is_said_and_the_node_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let builtin = EngineSettings::builtin(1);
    let named = |path: &Path| EngineSettings { onnxruntime: Some(path.to_owned()), ..builtin.clone() };

    let searched = EngineSettings { folders: vec![folder.path().to_owned()], ..builtin.clone() };
    assert!(passed_over(&searched).contains("cargo xtask setup --engine onnxruntime"));

    let missing = folder.path().join("nowhere.so");
    assert!(passed_over(&named(&missing)).starts_with("there is no file"));

    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    assert!(passed_over(&named(&text)).ends_with("it is no shared library"));

    let mut whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    whole.truncate(whole.len() / 2);
    let cut = folder.path().join("cut.so");
    std::fs::write(&cut, &whole).unwrap();
    let why = passed_over(&named(&cut));
    assert!(why.contains("it is cut off") || why.contains("cannot be loaded"), "{why}");

    if let Some(other) = compile(folder.path(), "other.so", OTHER) {
        assert!(passed_over(&named(&other)).ends_with("it is no library of ONNX Runtime"));
    }
    if let Some(old) = compile(folder.path(), "libonnxruntime.so.1.10.0", OLD) {
        assert!(passed_over(&named(&old)).contains("it is ONNX Runtime 1.10.0, and 1.24 or newer is needed"));
        assert!(passed_over(&searched).contains("1.24 or newer"));
    }
}
