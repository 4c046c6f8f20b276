//! ONNX and safetensors files that are damaged or lie: whatever they hold, reading, checking, bounding, loading
//! and computing is a value or an error.
//!
//! `cargo test` replays the files in `tests/data/corpus`. `cargo xtask fuzz` runs the same entry points over
//! changed copies of them for as long as it is told, in a process with a limit on its memory.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "hostile/entries.rs"]
mod entries;
#[path = "hostile/mutate.rs"]
mod mutate;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use entries::{ENTRIES, Entry};

/// What an input may take before it counts as endless.
const PATIENCE: Duration = Duration::from_secs(20);

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data")
}

/// The corpus of an entry, and whole models that it begins with.
fn corpus(kind: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = std::fs::read_dir(data().join("corpus").join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.extend(std::fs::read_dir(data().join("digits-mlp")).unwrap().map(|entry| entry.unwrap().path()));
    paths.retain(|path| {
        let extension = path.extension().unwrap_or_default();
        extension == kind || path.parent().is_some_and(|parent| parent.ends_with(kind))
    });
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_corpus_is_harmless() {
    for Entry { name, kind, run } in ENTRIES {
        let files = corpus(kind);
        assert!(files.len() > 3, "{name}");
        for file in files {
            run(&file);
        }
    }
}

#[test]
fn beginnings_of_files_are_harmless() {
    for Entry { kind, run, .. } in ENTRIES {
        let whole = corpus(kind).into_iter().min_by_key(Vec::len).unwrap();
        for end in (0..whole.len()).step_by(1 + whole.len() / 100) {
            run(&whole[..end]);
        }
    }
}

/// Driven by `cargo xtask fuzz`: SEDGE_FUZZ names the entry, SEDGE_FUZZ_SECONDS says how long, SEDGE_FUZZ_SEED
/// where to begin, and SEDGE_FUZZ_LAST is the file that holds the input under way.
#[test]
fn changed_files_are_harmless() {
    let variable = |name| std::env::var(name).ok();
    let Some(entry) = variable("SEDGE_FUZZ") else { return };
    let Entry { kind, run, .. } = ENTRIES.iter().find(|known| known.name == entry).unwrap();
    let seconds: u64 = variable("SEDGE_FUZZ_SECONDS").unwrap().parse().unwrap();
    let seed: u64 = variable("SEDGE_FUZZ_SEED").unwrap().parse().unwrap();
    let last = variable("SEDGE_FUZZ_LAST").unwrap();

    entries::quiet();
    let begun = Arc::new(AtomicU64::new(0));
    watch(Arc::clone(&begun));
    let (corpus, start) = (corpus(kind), Instant::now());
    let mut executions = 0u64;
    while start.elapsed() < Duration::from_secs(seconds) {
        let mut random = mutate::Random::new(seed.wrapping_add(executions));
        let input = mutate::change(&corpus, kind, &mut random);
        std::fs::write(&last, &input).unwrap();
        begun.store(executions + 1, Ordering::SeqCst);
        run(&input);
        executions += 1;
    }
    println!("SEDGE_FUZZ: {executions} executions");
}

/// Ends the process where one input takes too long.
fn watch(begun: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let mut seen = (0, Instant::now());
        loop {
            std::thread::park_timeout(Duration::from_secs(1));
            let now = begun.load(Ordering::SeqCst);
            if now != seen.0 {
                seen = (now, Instant::now());
            } else if now > 0 && seen.1.elapsed() > PATIENCE {
                eprintln!("one input took more than {PATIENCE:?}");
                std::process::abort();
            }
        }
    });
}
